import CVQDiffusion

/// What is known of the scores of Gumbel-max before the masses of the columns are.
///
/// A score is log(p_k e^signal + e^level) plus noise; see `PixelCoefficients`. The signal does not depend on the mass, and the level, which hardly ever
/// matters, has a bound if the mass is taken to be no more than `largestMass`.
struct ScoreBounds {
    /// A class whose score is above a floor has x + signal + noise > 0 or level + noise > 0.
    let signal, level: Double
    /// What the level was taken for; no pixel's may be greater.
    let levelTaken: Double

    /// A model output is normalised, or is what truncation has left of that.
    private static var largestMass: Double { 1.1 }

    /// - Parameter shown: any class of the kind, or the mask.
    init(_ step: ReverseStep, showing shown: Int32, floor: Double) {
        let coefficients =
            step.drawsModelOutput
            ? .direct : step.coefficients(of: shown, own: 0, logMass: vqd_log(step.mass(of: shown).of(own: 0, others: ScoreBounds.largestMass)))
        guard !step.drawsLinearly && coefficients.level > -.infinity else {
            signal = coefficients.signal - floor
            level = -.infinity
            levelTaken = .infinity
            return
        }
        // a + b > c needs a > (1 - share) c or b > share c, whatever the share. The fewest classes are listed when the shares are as the square roots of what
        // the two parts come to over all classes.
        let ratio = vqd_exp(0.5 * (coefficients.signal - vqd_log(Double(step.classes)) - coefficients.level))
        let share = min(max(1 / (1 + ratio), 1e-3), 0.999)
        signal = coefficients.signal - vqd_log(1 - share) - floor
        level = coefficients.level - vqd_log(share) - floor
        levelTaken = coefficients.level
    }
}
