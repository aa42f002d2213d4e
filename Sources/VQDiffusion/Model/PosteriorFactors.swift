import CVQDiffusion

/// Eq. 11 in closed form, for all pixels of one kind: those that are masked at t, or those that
/// show a class.
///
/// With S the mass of a pixel's column as `ReverseStep.mass(of:)` defines it, and p_k the
/// probability of class k in it, the posterior is
///
///     class k          signal p_k + level S
///     its own class i  ownSignal p_i + ownLevel S
///     the mask         mask S
///
/// and is not normalised: it sums to Σ p.
struct PosteriorFactors {
    var signal, level: Double
    var ownSignal = 0.0
    var ownLevel = 0.0
    var mask: Double

    /// The model output as it is.
    static var direct: PosteriorFactors { PosteriorFactors(signal: 1, level: 0, mask: 0) }
}

extension ReverseStep {
    /// What a one-hot probability of this family holds instead of 0, and so the probability of the
    /// transition from a class to the mask seen backwards, which cannot happen.
    static var impossible: Double { 1e-30 }

    /// The factors of the pixels that show a class, or the mask.
    func factors(of observed: Int32) -> PosteriorFactors {
        if observed == maskClass {
            // Also where no pixel can be masked at t and the quotients are 0/0.
            if earlier == .clean { return .direct }
            let unmasking = transition.gamma / now.gamma
            return PosteriorFactors(
                signal: unmasking * earlier.alpha, level: unmasking * earlier.beta,
                mask: earlier.gamma / now.gamma)
        }
        if isAbsorbing { return PosteriorFactors(signal: 0, level: 0, ownLevel: 1, mask: 0) }
        return PosteriorFactors(
            signal: transition.beta * earlier.alpha / now.beta,
            level: transition.beta * earlier.beta,
            ownSignal: transition.keep * earlier.alpha / now.keep,
            ownLevel: transition.keep * earlier.beta,
            mask: ReverseStep.impossible * earlier.gamma)
    }

    /// The mass that the posterior of a pixel of this class depends on.
    func mass(of own: Int32) -> ColumnMass {
        own == maskClass || isAbsorbing ? .plain : .unmasked(at: now)
    }

    /// The class of a pixel whose mass does not enter that of all others: its own, or none. A pixel
    /// that is carried over keeps its class whatever the rest: only the whole mass matters.
    func countedApart(_ observed: Int32) -> Int32 { isAbsorbing ? maskClass : observed }
}
