import CVQDiffusion

/// Bounds on the scores of Gumbel-max at the pixels of one kind, without the masses of their
/// columns, in a form that takes six instructions for sixteen classes.
///
/// A score is log(signal p_k + level S) plus noise; see `PosteriorFactors`. The signal does not
/// depend on the mass S, and the level, which hardly ever matters, has a bound if S is at most
/// `largestMass`. The noise is at most -log v, where v = 1 - u is the complement of its uniform. So
/// a score can be above a floor only where a + b > v, with a = signal e^-floor p_k and
/// b = level S e^-floor; that implies a > (1 - λ) v or b > λ v.
///
/// Both are compared in the bit patterns of floats: the pattern of e^y is 2²³(127 + y/log 2) but
/// for the curve of the fraction, which lies below. Such a product, rounded and read as a float
/// (Schraudolph 1999), is e^y times 1 to 1.0615. The sum of these floats over the classes brackets
/// the mass of the column.
struct ScoreBounds {
    /// 2²³/log 2: turns a logarithm into a difference of bit patterns.
    static var scale: Float { 12_102_203.2 }
    /// Largest ratio of such a float to e^y: 2/(e log 2).
    private static var curve: Double { 1.061_48 }
    /// Above the mass of any normalised model output, truncated or not.
    private static var largestMass: Double { 1.1 }
    /// Many times the float32 rounding errors of a score and of its bound, as logarithms.
    private static var margin: Double { 0.001 }
    /// A signal below e^-40 raises no bound above the least complement, 2⁻²⁴. Smaller ones are
    /// raised to this so that sums of columns stay in the range of float32.
    private static var leastSignal: Double { -40 }

    /// Bit pattern of the bound of a class of log-probability x: max(x · scale + signal, level).
    let signal, level: Float
    private let perSum, slack, roundings: Double
    /// The mass up to which the bounds hold.
    private let validMass: Double

    /// - Parameters:
    ///   - factors, mass: of the kind of pixels.
    ///   - floor: scores up to this need not be found.
    init(_ factors: PosteriorFactors, _ mass: ColumnMass, classes: Int, floor: Double) {
        let signalLog = max(vqd_log(factors.signal), ScoreBounds.leastSignal)
        let levelLog = vqd_log(factors.level * mass.of(own: 0, others: ScoreBounds.largestMass))
        var (signalBound, levelBound) = (signalLog - floor + ScoreBounds.margin, -Double.infinity)
        if levelLog > -.infinity {
            // λ. Fewest classes are listed when λ/(1 - λ) is the square root of the ratio of the
            // two parts, each summed over all classes.
            let ratio = vqd_exp(0.5 * (signalLog - vqd_log(Double(classes)) - levelLog))
            let share = min(max(1 / (1 + ratio), 1e-3), 0.999)
            signalBound -= vqd_log(1 - share)
            levelBound = levelLog - vqd_log(share) - floor + ScoreBounds.margin
        }
        let (one, scale) = (Double(0x3f80_0000), Double(ScoreBounds.scale))
        signal = Float(signalBound * scale + one)
        // Patterns must not be negative; that of the least normal float is far below any
        // complement.
        level = Float(max(levelBound * scale + one, Double(0x80_0000)))
        perSum = vqd_exp(-(Double(signal) - one) / scale)
        slack = Double(classes) * vqd_exp((Double(level) - Double(signal)) / scale)
        validMass = levelLog > -.infinity ? ScoreBounds.largestMass : .infinity
        // 1e-5 for the patterns, and half an ulp of the sum for each of its terms.
        roundings = 1e-4 + Double(classes) * 0x1p-24
    }

    /// Brackets a column's mass over all classes by the sum of its floats; nil when the bounds do
    /// not hold for that mass.
    ///
    /// Every float counts at least the level; `slack` takes that off again.
    @inline(__always)
    func mass(sum: Double) -> Bracket? {
        let sum = sum * perSum
        let (low, high) = (sum * (1 - roundings) / ScoreBounds.curve - slack, sum * (1 + roundings))
        return low > 1e-30 && high <= validMass && high < 1e30
            ? Bracket(low: low, high: high) : nil
    }

    /// Whether the float of this log-probability was within the range of floats; those of NaN and
    /// +∞ are not.
    @inline(__always)
    func takes(_ x: Float) -> Bool { x * ScoreBounds.scale + signal < 0x7e80_0000 }
}

/// A lower and an upper bound of a number.
struct Bracket {
    var low, high: Double
}

/// The factors and bounds of all pixels of one kind: the masked ones, or those that show a class.
struct PixelKind {
    let factors: PosteriorFactors
    let mass: ColumnMass
    let bounds: ScoreBounds

    /// - Parameters:
    ///   - observed: the mask, or any class.
    ///   - floor: as in `ScoreBounds`.
    fileprivate init(_ step: ReverseStep, observed: Int32, floor: Double) {
        factors = step.factors(of: observed)
        mass = step.mass(of: observed)
        bounds = ScoreBounds(factors, mass, classes: step.classes, floor: floor)
    }
}

/// Both kinds of pixels, by the observed class of a pixel.
struct PixelKinds {
    private let masked, unmasked: PixelKind
    let maskClass: Int32

    init(_ step: ReverseStep, floor: Double) {
        masked = PixelKind(step, observed: step.maskClass, floor: floor)
        unmasked = PixelKind(step, observed: 0, floor: floor)
        maskClass = step.maskClass
    }

    @inline(__always)
    subscript(observed: Int32) -> PixelKind { observed == maskClass ? masked : unmasked }
}
