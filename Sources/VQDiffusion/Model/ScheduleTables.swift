import CVQDiffusion

/// A noise schedule by its tables, and those of the field's papers.
///
/// What is left of a pixel's probability, 1 - ᾱ - γ̄, is spread evenly over the K classes. The
/// papers write schedules over a time from 0 to 1, which is u = (t + 1)/T here.
///
/// Where a paper gives ᾱ alone, `maskShare` is the share m of the lost mass that goes to the mask:
/// γ̄ = m (1 - ᾱ). With m = 1 the chain is absorbing, with m = 0 it is uniform, and every m between
/// is a Markov chain too. Tables with m = 1 hold ᾱ = 1 - γ̄ as `Double` rounds it.
public struct ScheduleTables: Equatable, Sendable {
    /// ᾱ_t, the probability that a pixel has not been replaced, for t = 0 … T - 1.
    public let alphaCumulative: [Double]
    /// γ̄_t, the probability that a pixel is masked, for t = 0 … T - 1.
    public let gammaCumulative: [Double]

    /// ᾱ falls and γ̄ rises linearly in t: the schedule of VQ-Diffusion (Gu et al. 2021, arXiv
    /// 2111.14822, section 4.1).
    ///
    /// - Parameters:
    ///   - timesteps: T, at least 2.
    ///   - alpha: ᾱ at the first and at the last timestep.
    ///   - gamma: γ̄ at the first and at the last timestep.
    /// - Throws: `ArgumentError` when that is no Markov chain.
    public static func linear(
        timesteps: Int, alpha: (first: Double, last: Double) = (0.99999, 0.000009),
        gamma: (first: Double, last: Double) = (0.000009, 0.99999)
    ) throws(ArgumentError) -> ScheduleTables {
        try check(timesteps: timesteps)
        let tables = ScheduleTables(
            alphaCumulative: try LinearSchedule.cumulative(
                timesteps, from: alpha.first, to: alpha.last, names: ("alpha.first", "alpha.last")),
            gammaCumulative: try LinearSchedule.cumulative(
                timesteps, from: gamma.first, to: gamma.last, names: ("gamma.first", "gamma.last")))
        // Whether they are a chain does not depend on the classes.
        _ = try Scheduler(classes: 1, schedule: tables)
        return tables
    }

    /// ᾱ = 1 - (1 - ε) u, which ends at ε: the schedule of MDLM (Sahoo et al. 2024, arXiv
    /// 2406.07524). Its name is that of the noise -log ᾱ.
    ///
    /// With ε = 0 it is ᾱ = 1 - u, the chain whose single steps mask with 1/T, 1/(T - 1) … 1:
    /// D3PM's for absorbing chains (Austin et al. 2021, arXiv 2107.03006), which it derives from
    /// mutual information, and the one that LLaDA samples with (Nie et al. 2025, arXiv 2502.09992).
    ///
    /// - Parameters:
    ///   - timesteps: T, at least 2.
    ///   - epsilon: ε, in [0, 1).
    ///   - maskShare: m of γ̄ = m (1 - ᾱ), in [0, 1]; 1 in these papers.
    /// - Throws: `ArgumentError` when an argument is out of its range.
    public static func logLinear(
        timesteps: Int, epsilon: Double = 1e-3, maskShare: Double = 1
    ) throws(ArgumentError) -> ScheduleTables {
        guard 0 <= epsilon && epsilon < 1 else {
            throw ArgumentError("epsilon", .notUniform(epsilon))
        }
        return try losing(timesteps, maskShare) { u, left in
            (left + epsilon * u, (1 - epsilon) * u)
        }
    }

    /// ᾱ = 1 - u^p, so that an absorbing chain masks γ̄ = u^p: the schedule of MD4 (Shi et al.
    /// 2024, arXiv 2406.04329). Exponents above 1 mask late, those below 1 early.
    ///
    /// - Parameters:
    ///   - timesteps: T, at least 2.
    ///   - exponent: p, positive and finite.
    ///   - maskShare: m of γ̄ = m (1 - ᾱ), in [0, 1]; 1 in the paper.
    /// - Throws: `ArgumentError` when an argument is out of its range.
    public static func polynomial(
        timesteps: Int, exponent: Double = 2, maskShare: Double = 1
    ) throws(ArgumentError) -> ScheduleTables {
        try check(positive: exponent, "exponent")
        return try losing(timesteps, maskShare) { u, _ in
            let lost = vqd_pow(u, exponent)
            return (1 - lost, lost)
        }
    }

    /// ᾱ = exp(-σ) with the noise σ = σ_min^(1 - u) σ_max^u: the schedule of SEDD's uniform chain
    /// (Lou et al. 2023, arXiv 2310.16834).
    ///
    /// - Parameters:
    ///   - timesteps: T, at least 2.
    ///   - sigmaMin: σ at u = 0, which lies one step before t = 0; positive.
    ///   - sigmaMax: σ at t = T - 1, finite and above `sigmaMin`. It tells how much of the data is
    ///     left there: 20 leaves ᾱ = 2e-9, and 1 leaves 0.37.
    ///   - maskShare: m of γ̄ = m (1 - ᾱ), in [0, 1]; 0 in the paper.
    /// - Throws: `ArgumentError` when an argument is out of its range.
    public static func geometric(
        timesteps: Int, sigmaMin: Double = 1e-4, sigmaMax: Double = 20, maskShare: Double = 0
    ) throws(ArgumentError) -> ScheduleTables {
        try check(positive: sigmaMin, "sigmaMin")
        try check(positive: sigmaMax, "sigmaMax")
        guard sigmaMax > sigmaMin else {
            throw ArgumentError("sigmaMax", .notAbove(sigmaMax, lower: sigmaMin))
        }
        return try losing(timesteps, maskShare) { u, left in
            let sigma = vqd_pow(sigmaMin, left) * vqd_pow(sigmaMax, u)
            return (vqd_exp(-sigma), -vqd_expm1(-sigma))
        }
    }

    /// Masks and, most in the middle, replaces: the schedule of GIDD (von Rütte et al. 2025, arXiv
    /// 2503.04482, section 4).
    ///
    /// ᾱ = (1 - u)/C and γ̄ = u/C with C = 1 + c and c = 2 p/(1 - p) · √(u (1 - u)). The share of
    /// replaced pixels, c/C, is p at u = ½ and 0 at both ends: the last timestep is fully masked.
    /// This is GIDD's γ = 1, and as there the mask is no replacement.
    ///
    /// - Parameters:
    ///   - timesteps: T, at least 2.
    ///   - uniformShare: p, in [0, 1). The paper trains with 0, 0.1 and 0.2; 0 is `logLinear` with
    ///     ε = 0.
    /// - Throws: `ArgumentError` when an argument is out of its range.
    public static func hybrid(
        timesteps: Int, uniformShare p: Double = 0.1
    ) throws(ArgumentError) -> ScheduleTables {
        guard 0 <= p && p < 1 else { throw ArgumentError("uniformShare", .notUniform(p)) }
        return try tables(timesteps) { u, left in
            let scale = 1 + 2 * p / (1 - p) * (u * left).squareRoot()
            return (left / scale, u / scale)
        }
    }

    /// The tables of what is kept and lost at a time, `maskShare` of the lost going to the mask.
    ///
    /// - Parameter law: from u and 1 - u to ᾱ and 1 - ᾱ, each with all its digits where it is
    ///   small.
    static func losing(
        _ timesteps: Int, _ maskShare: Double,
        by law: (_ u: Double, _ left: Double) -> (kept: Double, lost: Double)
    ) throws(ArgumentError) -> ScheduleTables {
        guard 0...1 ~= maskShare else {
            throw ArgumentError("maskShare", .notProbability(maskShare))
        }
        return try tables(timesteps) { u, left in
            let (kept, lost) = law(u, left)
            let gamma = maskShare * lost
            let rest = 1 - gamma
            return (maskShare == 1 ? rest : min(kept, rest), gamma)
        }
    }

    /// The tables of ᾱ and γ̄ as functions of u = (t + 1)/T and 1 - u, each with its last digit
    /// right.
    private static func tables(
        _ timesteps: Int, of law: (_ u: Double, _ left: Double) -> (alpha: Double, gamma: Double)
    ) throws(ArgumentError) -> ScheduleTables {
        try check(timesteps: timesteps)
        let steps = Double(timesteps)
        let entries = (1...timesteps).map { done in
            law(Double(done) / steps, Double(timesteps - done) / steps)
        }
        return ScheduleTables(
            alphaCumulative: entries.map { $0.alpha }, gammaCumulative: entries.map { $0.gamma })
    }

    private static func check(timesteps: Int) throws(ArgumentError) {
        guard timesteps >= 2 else {
            throw ArgumentError("timesteps", .tooSmall(timesteps, lower: 2))
        }
    }

    private static func check(positive value: Double, _ name: StaticString) throws(ArgumentError) {
        guard value > 0 && value < .infinity else {
            throw ArgumentError(name, .notPositive(value))
        }
    }
}
