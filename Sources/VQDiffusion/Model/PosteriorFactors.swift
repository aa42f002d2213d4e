/// Eq. 11 in closed form, for all pixels of one kind: those that are masked at t, or those that
/// show a class.
///
/// With S the mass of a pixel's column as `ReverseStep.mass(of:)` defines it, and p_k the
/// probability of class k in it, the posterior is
///
///     class k          signal p_k + level S
///     its own class i  ownSignal p_i + ownLevel S
///     the mask         ownMask p_i + mask S
///
/// and is not normalised: it sums to Σ p.
public struct PosteriorFactors: Sendable {
    public var signal, level: Double
    public var ownSignal = 0.0
    public var ownLevel = 0.0
    public var mask: Double
    /// 0 unless pixels are masked again.
    public var ownMask = 0.0

    /// The model output as it is.
    static var direct: PosteriorFactors { PosteriorFactors(signal: 1, level: 0, mask: 0) }

    /// What a one-hot probability of this family holds instead of 0, and so the probability of the
    /// transition from a class to the mask seen backwards, which cannot happen.
    static var impossible: Double { 1e-30 }

    /// Of pixels that are masked at t; NaN where none can be.
    static func masked(_ now: Marginal, _ earlier: Marginal, _ transition: Transition)
        -> PosteriorFactors
    {
        // Also where no pixel can be masked at t and the quotients are 0/0.
        if earlier == .clean { return .direct }
        let unmasking = transition.gamma / now.gamma
        return PosteriorFactors(
            signal: unmasking * earlier.alpha, level: unmasking * earlier.beta,
            mask: earlier.gamma / now.gamma)
    }

    /// Of pixels that show a class at t. Where β̄_t = 0 they are carried over.
    static func unmasked(_ now: Marginal, _ earlier: Marginal, _ transition: Transition)
        -> PosteriorFactors
    {
        if now.beta == 0 { return PosteriorFactors(signal: 0, level: 0, ownLevel: 1, mask: 0) }
        return PosteriorFactors(
            signal: transition.beta * earlier.alpha / now.beta,
            level: transition.beta * earlier.beta,
            ownSignal: transition.keep * earlier.alpha / now.keep,
            ownLevel: transition.keep * earlier.beta,
            mask: impossible * earlier.gamma)
    }

    /// These factors of masked pixels where those that show a class are masked again with
    /// probability σ: so many fewer stay masked that the marginal at s remains.
    func whereOthersRemask(_ sigma: Double, _ now: Marginal, _ earlier: Marginal)
        -> PosteriorFactors
    {
        guard sigma > 0 else { return self }
        // 0 where all is masked at t.
        let moved = sigma * (1 - now.gamma) / now.gamma
        var factors = self
        factors.mask = max(0, mask - moved)
        guard moved > 0 else { return factors }
        factors.signal += moved / (1 - earlier.gamma) * earlier.alpha
        factors.level += moved / (1 - earlier.gamma) * earlier.beta
        return factors
    }

    /// These factors of pixels that show a class where they are masked again with probability σ,
    /// whatever the model says: σ Σ p, by the class that is shown and S.
    func remasking(_ sigma: Double, _ now: Marginal) -> PosteriorFactors {
        guard sigma > 0 else { return self }
        let rest = 1 - sigma
        return PosteriorFactors(
            signal: rest * signal, level: rest * level, ownSignal: rest * ownSignal,
            ownLevel: rest * ownLevel, mask: now.beta > 0 ? sigma * now.beta : sigma,
            ownMask: now.beta > 0 ? sigma * now.alpha / now.keep : 0)
    }
}
