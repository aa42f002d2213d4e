import CVQDiffusion

/// What is known of the scores of Gumbel-max at the pixels of one kind before the masses of their
/// columns are, in a form that takes six instructions for sixteen classes.
///
/// A score is log(signal p_k + level S) plus noise; see `PosteriorFactors`. The signal does not
/// depend on the mass S, and the level, which hardly ever matters, has a bound if the mass is taken
/// to be no more than `largestMass`. The noise is at most -log v, where v = 1 - u is the complement
/// of its uniform. So a score can be above a floor only where a + b > v, with a = signal
/// e^-floor p_k and b = level S e^-floor; that implies a > (1 - λ) v or b > λ v.
///
/// Both are compared in the bit patterns of floats: the pattern of e^y is 2²³(127 + y/log 2) but
/// for the curve of the fraction, which lies below. Such a product, rounded, read as a float
/// (Schraudolph 1999) is e^y times 1 to 1.0615. And the sum of these floats brackets the mass of
/// the column.
struct ScoreBounds {
    /// 2²³/log 2: what turns a logarithm into a difference of bit patterns.
    static var scale: Float { 12_102_203.2 }
    /// Largest ratio of such a float to e^y: 2/(e log 2).
    private static var curve: Double { 1.061_48 }
    /// A model output is normalised, or is what truncation has left of that.
    private static var largestMass: Double { 1.1 }
    /// What the logarithms of a score and of its bound may differ by in float32, many times over.
    private static var margin: Double { 0.001 }
    /// A signal below e^-40 raises no bound above the least complement, 2⁻²⁴, but leaves the sum of
    /// the column where float32 is.
    private static var leastSignal: Double { -40 }

    /// Bit pattern of the bound of a class of log-probability x: max(x · scale + signal, level).
    let signal, level: Float
    private let perSum, slack, roundings: Double
    private let massTaken: Double

    /// - Parameters:
    ///   - factors, mass: of the kind of pixels.
    ///   - floor: of the scores that matter.
    init(_ factors: PosteriorFactors, _ mass: ColumnMass, classes: Int, floor: Double) {
        let signalLog = max(vqd_log(factors.signal), ScoreBounds.leastSignal)
        let levelLog = vqd_log(factors.level * mass.of(own: 0, others: ScoreBounds.largestMass))
        var (signalBound, levelBound) = (signalLog - floor + ScoreBounds.margin, -Double.infinity)
        if levelLog > -.infinity {
            // a + b > c needs a > (1 - share) c or b > share c, whatever the share. The fewest
            // classes are listed when the shares are as the square roots of what the two parts come
            // to over all classes.
            let ratio = vqd_exp(0.5 * (signalLog - vqd_log(Double(classes)) - levelLog))
            let share = min(max(1 / (1 + ratio), 1e-3), 0.999)
            signalBound -= vqd_log(1 - share)
            levelBound = levelLog - vqd_log(share) - floor + ScoreBounds.margin
        }
        let (one, scale) = (Double(0x3f80_0000), Double(ScoreBounds.scale))
        signal = Float(signalBound * scale + one)
        // No pattern may be negative; that of the least normal float is far below any complement.
        level = Float(max(levelBound * scale + one, Double(0x80_0000)))
        perSum = vqd_exp(-(Double(signal) - one) / scale)
        slack = Double(classes) * vqd_exp((Double(level) - Double(signal)) / scale)
        massTaken = levelLog > -.infinity ? ScoreBounds.largestMass : .infinity
        // Of the patterns 1e-5, and of the sum half an ulp for each of its terms.
        roundings = 1e-4 + Double(classes) * 0x1p-24
    }

    /// A column's mass, all classes together, from the sum of its floats: not less and not more
    /// than. Nil when the bounds do not hold for that.
    ///
    /// Every float counts at least the level, which `slack` makes up for.
    @inline(__always)
    func mass(sum: Double) -> Bracket? {
        let sum = sum * perSum
        let (low, high) = (sum * (1 - roundings) / ScoreBounds.curve - slack, sum * (1 + roundings))
        return low > 1e-30 && high <= massTaken && high < 1e30 ? Bracket(low: low, high: high) : nil
    }

    /// Whether the float of this log-probability was within the range of floats, as that of NaN and
    /// +∞ is not.
    @inline(__always)
    func takes(_ x: Float) -> Bool { x * ScoreBounds.scale + signal < 0x7e80_0000 }
}
