import CVQDiffusion

/// The posterior of one pixel as a function of its column, in logarithms.
///
/// For every class k but the pixel's own, p(x_s = k | x_t) is a part that follows the model and a
/// part that is the same for all (see `PosteriorFactors`). With x_k the log-probability of class k
/// their logarithms are x_k + signal and level, and that of their sum is max(x_k + signal, level) +
/// log(1 + e^-|x_k + slope|): nothing overflows or cancels. Where β̄_s = 0 the second part is
/// absent and it is x_k + signal.
struct PixelCoefficients {
    var signal: Double
    var level: Double
    /// signal - level, and -∞ where the signal is: nothing follows the model then.
    var logRatio: Double
    /// The value for the pixel's own class.
    var own: Double
    /// The value for the mask.
    var mask: Double
}

/// The logarithms of `PosteriorFactors`, taken once for all pixels of a kind.
struct LogPosteriorFactors {
    private let signal, level, ownSignal, ownLevel, mask, ownMask: Double
    private let isLinear: Bool

    /// - Parameter isLinear: the formula has no second part.
    init(_ factors: PosteriorFactors, isLinear: Bool) {
        signal = vqd_log(factors.signal)
        level = vqd_log(factors.level)
        ownSignal = vqd_log(factors.ownSignal)
        ownLevel = vqd_log(factors.ownLevel)
        mask = vqd_log(factors.mask)
        ownMask = vqd_log(factors.ownMask)
        self.isLinear = isLinear
    }

    /// The coefficients of a pixel.
    ///
    /// - Parameters:
    ///   - x: the log-probability of the pixel's class; of no matter for the mask.
    ///   - logMass: as `ReverseStep.mass(of:)` defines it.
    func coefficients(own x: Double, logMass: Double) -> PixelCoefficients {
        let own =
            ownSignal > -.infinity
            ? logAddExp(ownSignal + x, ownLevel + logMass) : ownLevel + logMass
        let mask =
            ownMask > -.infinity ? logAddExp(ownMask + x, mask + logMass) : mask + logMass
        guard !isLinear else {
            return PixelCoefficients(signal: signal, level: 0, logRatio: 0, own: own, mask: mask)
        }
        let level = level + logMass
        return PixelCoefficients(
            signal: signal, level: level,
            logRatio: signal > -.infinity ? signal - level : -.infinity, own: own,
            mask: mask)
    }
}

extension RealVector {
    /// The logarithm of the posterior of one class at sixteen pixels that do not show it.
    @inline(__always)
    static func logPosterior(_ x: Self, signal: Self, level: Self, logRatio: Self, linear: Bool)
        -> Self
    {
        let raised = x + signal
        return linear ? raised : .greater(raised, level) + .logAddExpTail(x + logRatio)
    }
}

extension ReverseStep {
    /// True when β̄_s = 0, so that the posterior of a class is proportional to its probability.
    var isLinear: Bool { earlier.beta == 0 }
}

/// log(e^a + e^b).
func logAddExp(_ a: Double, _ b: Double) -> Double {
    let largest = max(a, b)
    guard min(a, b) > -.infinity else { return largest }
    return largest + vqd_log(1 + vqd_exp(-abs(a - b)))
}
