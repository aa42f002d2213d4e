import CVQDiffusion

/// The posterior of one pixel as a function of its column: eq. 11 in closed form, in logarithms.
///
/// For every class k but the pixel's own, p(x_s = k | x_t) is a part that follows the model, ᾱ_s w_k, and a part that is the same for all, β̄_s S. With x_k the
/// log-probability of class k their logarithms are x_k + signal and level, and that of their sum is max(x_k + signal, level) + log(1 + e^-|x_k + slope|):
/// nothing overflows or cancels. Where β̄_s = 0 the second part is absent and it is x_k + signal. Not normalised: the posterior sums to Σ p.
struct PixelCoefficients {
    var signal: Double
    var level: Double
    /// signal - level, finite also where both are -∞ because the step cannot change the pixel.
    var slope: Double
    /// The value for the pixel's own class.
    var own: Double
    /// The value for the mask.
    var mask: Double

    /// The model output as it is, for a `ReverseStep.isLinear` formula, and no mask.
    static var direct: PixelCoefficients { PixelCoefficients(signal: 0, level: 0, slope: 0, own: -.infinity, mask: -.infinity) }
}

extension RealVector {
    /// The logarithm of the posterior of one class at sixteen pixels that do not show it.
    @inline(__always)
    static func logPosterior(_ x: Self, signal: Self, level: Self, slope: Self, linear: Bool) -> Self {
        let raised = x + signal
        return linear ? raised : .greater(raised, level) + .logAddExpTail(x + slope)
    }
}

extension ReverseStep {
    /// True when β̄_s = 0, so that the posterior of a class is proportional to its probability.
    var isLinear: Bool { earlier.beta == 0 }

    /// True when what is drawn from follows the columns alone: no uniform part is to be added.
    var drawsLinearly: Bool { isLinear || drawsModelOutput }

    /// What a one-hot logarithm of this family holds instead of log 0, and so the log-probability of the transition from a class to the mask seen
    /// backwards, which cannot happen.
    static var logImpossible: Double { vqd_log(1e-30) }

    /// The mass that the posterior of a pixel of this class depends on.
    func mass(of own: Int32) -> ColumnMass {
        own == maskClass || carriesOver ? .plain : .unmasked(at: now)
    }

    /// The class of a pixel whose mass does not enter that of all others: its own, or none. A pixel that is carried over keeps its class whatever the
    /// rest: only the whole mass matters.
    func countedApart(_ shown: Int32) -> Int32 { carriesOver ? maskClass : shown }

    /// The coefficients for a pixel showing a class, or the mask.
    ///
    /// - Parameters:
    ///   - x: the log-probability of that class; of no matter for the mask.
    ///   - logMass: as `mass(of:)` defines it.
    func coefficients(of shown: Int32, own x: Double, logMass: Double) -> PixelCoefficients {
        shown == maskClass ? masked(logMass: logMass) : unmasked(own: x, logMass: logMass)
    }

    /// The coefficients for a masked pixel whose column has the mass P.
    ///
    /// k: (γ_{t|s}/γ̄_t)(ᾱ_s p_k + β̄_s P);  mask: (γ̄_s/γ̄_t) P.
    private func masked(logMass: Double) -> PixelCoefficients {
        let factor = vqd_log(transition.gamma) - vqd_log(now.gamma)
        let mask = vqd_log(earlier.gamma) - vqd_log(now.gamma) + logMass
        let logAlpha = vqd_log(earlier.alpha)
        guard !isLinear else {
            return PixelCoefficients(signal: factor + logAlpha, level: 0, slope: 0, own: -.infinity, mask: mask)
        }
        let uniform = vqd_log(earlier.beta) + logMass
        return PixelCoefficients(
            signal: factor + logAlpha, level: factor + uniform, slope: logAlpha - uniform, own: -.infinity, mask: mask)
    }

    /// The coefficients for a pixel showing a class of log-probability `x` whose column has the mass S.
    ///
    /// k: β_{t|s}(ᾱ_s p_k/β̄_t + β̄_s S);  own: (α_{t|s} + β_{t|s})(ᾱ_s p_i/D_t + β̄_s S).
    private func unmasked(own x: Double, logMass: Double) -> PixelCoefficients {
        if carriesOver {
            return PixelCoefficients(signal: -.infinity, level: -.infinity, slope: 0, own: logMass, mask: -.infinity)
        }
        let logAlpha = vqd_log(earlier.alpha)
        let logBeta = vqd_log(transition.beta)
        let logKeep = vqd_log(transition.keep)
        let mask = ReverseStep.logImpossible + vqd_log(earlier.gamma) + logMass
        let ownSignal = logAlpha + x - vqd_log(now.keep)
        let signal = logAlpha - vqd_log(now.beta)
        guard !isLinear else {
            return PixelCoefficients(signal: logBeta + signal, level: 0, slope: 0, own: logKeep + ownSignal, mask: mask)
        }
        let uniform = vqd_log(earlier.beta) + logMass
        return PixelCoefficients(
            signal: logBeta + signal, level: logBeta + uniform, slope: signal - uniform,
            own: logKeep + logAddExp(ownSignal, uniform), mask: mask)
    }
}

/// log(e^a + e^b).
func logAddExp(_ a: Double, _ b: Double) -> Double {
    let largest = max(a, b)
    guard largest > -.infinity else { return largest }
    return largest + vqd_log(1 + vqd_exp(-abs(a - b)))
}
