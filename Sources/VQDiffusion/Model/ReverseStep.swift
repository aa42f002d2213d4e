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
    public let coefficients: StepCoefficients

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
