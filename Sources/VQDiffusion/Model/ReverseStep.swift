import CVQDiffusion

/// One step of the reverse chain, x_t → x_s: everything about it that does not depend on the data.
public struct ReverseStep: Sendable {
    /// t.
    public let timestep: Int
    /// s, or -1 for clean data.
    public let previousTimestep: Int
    /// K, the number of classes without the mask.
    public let classes: Int
    /// The marginal at t.
    public let now: Marginal
    /// The marginal at s.
    public let earlier: Marginal
    /// The transition s → t.
    public let transition: Transition
    /// What the posterior, and every draw from it, are made of.
    public private(set) var coefficients: StepCoefficients

    init(
        timestep: Int, previousTimestep: Int, classes: Int, now: Marginal, earlier: Marginal
    ) {
        self.timestep = timestep
        self.previousTimestep = previousTimestep
        self.classes = classes
        self.now = now
        self.earlier = earlier
        transition = Transition(from: earlier, to: now)
        coefficients = StepCoefficients(now, earlier, transition, classes: classes)
    }

    /// min(1, γ̄_s/(1 - γ̄_t)), the largest probability with which pixels that show a class can be
    /// masked again: no masked pixel stays masked then. 0 where nothing is masked at s, as in clean
    /// data, also at γ̄_t = 1.
    public var largestRemask: Double {
        guard earlier.gamma > 0 else { return 0 }
        let shown = 1 - now.gamma
        return earlier.gamma < shown ? earlier.gamma / shown : 1
    }

    /// The same step with the probability σ that a pixel that shows a class is masked again (ReMDM,
    /// Wang et al. 2025, for any schedule): else it follows the posterior. A masked pixel stays
    /// masked with (γ̄_s - σ (1 - γ̄_t))/γ̄_t, so that the marginals at s stay those of the forward
    /// process. At 0 it is this step, bit for bit.
    ///
    /// - Throws: `ArgumentError` unless σ is from 0 to `largestRemask`.
    public func remasking(_ sigma: Double, name: StaticString = "remask") throws(ArgumentError)
        -> ReverseStep
    {
        guard sigma >= 0 && sigma <= largestRemask else {
            throw ArgumentError(
                name, .remaskTooLarge(sigma, largest: largestRemask, timestep: previousTimestep))
        }
        var step = self
        step.coefficients = StepCoefficients(
            now, earlier, transition, classes: classes, remask: sigma)
        return step
    }

    /// The index of the mask class.
    var maskClass: Int32 { Int32(classes) }

    /// A step to clean data draws from the model output itself, and never the mask.
    var drawsModelOutput: Bool { previousTimestep < 0 }

    /// Whether the step looks at the sample. One to clean data does so only to carry pixels over.
    public var readsSample: Bool { !drawsModelOutput || isAbsorbing }

    /// With β̄_t = 0 (absorbing diffusion) an unmasked pixel cannot have changed: x_s = x_t. The
    /// general formula would be 0/0.
    var isAbsorbing: Bool { now.beta == 0 }
}
