/// The numbers that the posterior of a step x_t → x_s, and every draw from it, are made of. They
/// follow from the marginals at t and s alone.
public struct StepCoefficients: Sendable {
    /// Eq. 11 for the pixels that are masked at t, and for those that show a class.
    public let masked, unmasked: PosteriorFactors
    /// What classes weigh in the mass S of a pixel that shows class i, S = Σ_j p_j / q(x_t = i |
    /// x_0 = j): 1/β̄_t for j ≠ i, and 1/(ᾱ_t + β̄_t) for i itself. Both are 1 where β̄_t = 0.
    public let otherWeight, ownWeight: Double
    /// K β̄_s/(1 - γ̄_s): the share of the uniform part among what unmasked pixels show at s.
    public let uniformShare: Double
    /// (1 - σ) (α + β) β̄_s/β̄_t, with which a pixel that shows a class keeps it at the least,
    /// whatever the model says; 1 - σ where β̄_t = 0.
    public let settled: Double
    /// σ, with which a pixel that shows a class is masked again, whatever the model says.
    public let remask: Double

    /// - Parameter remask: from 0 to `largestRemask`.
    init(
        _ now: Marginal, _ earlier: Marginal, _ transition: Transition, classes: Int,
        remask: Double = 0
    ) {
        masked = PosteriorFactors.masked(now, earlier, transition).whereOthersRemask(
            remask, now, earlier)
        unmasked = PosteriorFactors.unmasked(now, earlier, transition).remasking(remask, now)
        self.remask = remask
        uniformShare =
            earlier.beta > 0 ? Double(classes) * earlier.beta / (1 - earlier.gamma) : 0
        guard now.beta > 0 else {
            (otherWeight, ownWeight, settled) = (1, 1, 1 - remask)
            return
        }
        (otherWeight, ownWeight) = (1 / now.beta, 1 / now.keep)
        settled = (1 - remask) * (transition.keep * earlier.beta / now.beta)
    }

    /// γ̄_s/γ̄_t, less where pixels are masked again: a masked pixel stays masked with this
    /// probability, whatever the model says.
    var stay: Double { masked.mask }
}

extension ReverseStep {
    /// The factors of the pixels that show a class, or the mask.
    func factors(of observed: Int32) -> PosteriorFactors {
        observed == maskClass ? coefficients.masked : coefficients.unmasked
    }

    /// The mass that the posterior of a pixel of this class depends on.
    func mass(of own: Int32) -> ColumnMass {
        own == maskClass || isAbsorbing
            ? .plain
            : ColumnMass(
                otherWeight: coefficients.otherWeight, ownWeight: coefficients.ownWeight)
    }

    /// The class of a pixel whose mass does not enter that of all others: its own, or none. A pixel
    /// that is carried over keeps its class whatever the rest: only the whole mass matters.
    func countedApart(_ observed: Int32) -> Int32 { isAbsorbing ? maskClass : observed }
}
