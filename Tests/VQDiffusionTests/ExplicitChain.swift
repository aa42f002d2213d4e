import VQDiffusion

/// The chain of eq. 7 by explicit (K + 1) x (K + 1) matrices and Bayes' rule, in double precision:
/// what everything else is held against.
struct ExplicitChain {
    let classes: Int
    let alphaCumulative, gammaCumulative: [Double]

    /// The published linear schedule.
    init(classes: Int, timesteps: Int = 100) {
        self.classes = classes
        func line(_ first: Double, _ last: Double) -> [Double] {
            (0..<timesteps).map { Double($0) / Double(timesteps - 1) * (last - first) + first }
        }
        alphaCumulative = line(0.99999, 0.000009)
        gammaCumulative = line(0.000009, 0.99999)
    }

    init(classes: Int, alphaCumulative: [Double], gammaCumulative: [Double]) {
        (self.classes, self.alphaCumulative, self.gammaCumulative) = (
            classes, alphaCumulative, gammaCumulative
        )
    }

    /// q(x_t | x_0): `matrix[x_0][x_t]`; at t = -1 the identity.
    func cumulative(_ t: Int) -> [[Double]] {
        matrix(t < 0 ? 1 : alphaCumulative[t], t < 0 ? 0 : gammaCumulative[t])
    }

    /// q(x_t | x_s): `matrix[x_s][x_t]`, from the ratios of the marginals.
    func transition(_ s: Int, _ t: Int) -> [[Double]] {
        let alpha = alphaCumulative[t] / (s < 0 ? 1 : alphaCumulative[s])
        let gamma = 1 - (1 - gammaCumulative[t]) / (1 - (s < 0 ? 0 : gammaCumulative[s]))
        return matrix(alpha, gamma)
    }

    private func matrix(_ alpha: Double, _ gamma: Double) -> [[Double]] {
        let beta = (1 - alpha - gamma) / Double(classes)
        return (0...classes).map { from in
            (0...classes).map { to in
                if from == classes { return to == classes ? 1 : 0 }
                return to == classes ? gamma : from == to ? alpha + beta : beta
            }
        }
    }

    /// Σ_{x_0} q(x_s | x_t, x_0) p(x_0) for every class and the mask, by Bayes. Where no class
    /// leads to another (β̄_t = 0), a pixel that shows one has kept it, whatever p says.
    func posterior(_ p: [Double], observed: Int, from t: Int, to s: Int) -> [Double] {
        let (toS, toT, step) = (cumulative(s), cumulative(t), transition(s, t))
        if observed < classes && 1 - alphaCumulative[t] - gammaCumulative[t] == 0 {
            return (0...classes).map { $0 == observed ? p.reduce(0, +) : 0 }
        }
        return (0...classes).map { k in
            (0..<classes).reduce(0) {
                $0 + p[$1] * toS[$1][k] * step[k][observed] / toT[$1][observed]
            }
        }
    }
}

/// SplitMix64: fixed streams for tests.
struct TestGenerator: RandomNumberGenerator {
    var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}

/// The sentence of the error that `body` throws; nil where it throws none, or another.
func message<Result>(_ body: () throws -> Result) -> String? {
    do { _ = try body() } catch { return (error as? ArgumentError)?.description }
    return nil
}
