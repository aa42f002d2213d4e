import CVQDiffusion

/// The noise schedule: the marginals q(x_t | x_0) at the timesteps 0 … T - 1, in float64.
///
/// The tables belong to the caller and are only looked at; `Scheduler` owns a pair. Timestep -1
/// stands for clean data throughout.
public struct NoiseSchedule {
    /// K, the number of classes without the mask. The mask class has index K.
    public let classes: Int
    /// ᾱ_t for t = 0 … T - 1.
    public let alphaCumulative: UnsafeBufferPointer<Double>
    /// γ̄_t for t = 0 … T - 1.
    public let gammaCumulative: UnsafeBufferPointer<Double>

    /// A view of two tables of one length.
    ///
    /// - Throws: `ArgumentError` when there is no class, or more than 32-bit indices can name.
    public init(
        classes: Int, alphaCumulative: UnsafeBufferPointer<Double>,
        gammaCumulative: UnsafeBufferPointer<Double>
    ) throws(ArgumentError) {
        let upper = Int(Int32.max) - 1
        guard 1...upper ~= classes else {
            throw ArgumentError("num_classes", .outside(classes, lower: 1, upper: upper))
        }
        guard alphaCumulative.count == gammaCumulative.count, alphaCumulative.count >= 1 else {
            throw ArgumentError(
                "gamma_cumulative",
                .shape(expected: Shape(alphaCumulative.count), actual: Shape(gammaCumulative.count))
            )
        }
        self.classes = classes
        self.alphaCumulative = alphaCumulative
        self.gammaCumulative = gammaCumulative
    }

    /// T.
    public var timesteps: Int { alphaCumulative.count }

    /// The marginal at a timestep -1 … T - 1.
    ///
    /// - Throws: `ArgumentError` under the given name when the timestep is outside `lower` … T - 1.
    public func marginal(at timestep: Int, lower: Int = -1, name: StaticString = "timestep")
        throws(ArgumentError) -> Marginal
    {
        guard timestep >= lower && timestep < timesteps else {
            throw ArgumentError(name, .outside(timestep, lower: lower, upper: timesteps - 1))
        }
        guard timestep >= 0 else { return .clean }
        return Marginal(
            alpha: alphaCumulative[timestep], gamma: gammaCumulative[timestep], classes: classes)
    }

    /// The reverse step from t to s < t.
    ///
    /// - Throws: `ArgumentError` under the given names when t is outside 0 … T - 1 or s outside -1
    ///   … t - 1.
    public func reverseStep(
        from t: Int, to s: Int,
        names: (t: StaticString, s: StaticString) = ("timestep", "previous_timestep")
    ) throws(ArgumentError) -> ReverseStep {
        let now = try marginal(at: t, lower: 0, name: names.t)
        guard s >= -1 && s < t else {
            throw ArgumentError(names.s, .outside(s, lower: -1, upper: t - 1))
        }
        return ReverseStep(
            timestep: t, previousTimestep: s, classes: classes, now: now,
            earlier: try marginal(at: s, name: names.s))
    }

    /// Checks that the tables describe a Markov chain: every entry a probability, ᾱ + γ̄ ≤ 1, γ̄
    /// never falls and ᾱ/(1 - γ̄) never rises, each up to rounding.
    ///
    /// - Throws: `ArgumentError` naming the first timestep that breaks a rule.
    public func checkChain() throws(ArgumentError) {
        // The tables carry roundings of some 1e-16; those of a small ᾱ are as much smaller.
        let slack = 8 * Double.ulpOfOne
        var earlier = Marginal.clean
        for t in 0..<timesteps {
            let (alpha, gamma) = (alphaCumulative[t], gammaCumulative[t])
            guard 0...1 ~= alpha else {
                throw ArgumentError("alpha_cumulative", .notProbability(alpha))
            }
            guard 0...1 ~= gamma else {
                throw ArgumentError("gamma_cumulative", .notProbability(gamma))
            }
            guard alpha + gamma <= 1 + slack else {
                throw ArgumentError(
                    "schedule",
                    .notAChain(
                        rule: "cumulative alpha + cumulative gamma is greater than 1", timestep: t))
            }
            guard gamma >= earlier.gamma - slack else {
                throw ArgumentError(
                    "schedule", .notAChain(rule: "cumulative gamma falls", timestep: t))
            }
            // ᾱ_t/(1 - γ̄_t) ≤ ᾱ_s/(1 - γ̄_s), multiplied out.
            let (now, before) = (alpha * (1 - earlier.gamma), earlier.alpha * (1 - gamma))
            guard now <= before + slack * (alpha + (1 - gamma)) else {
                throw ArgumentError(
                    "schedule",
                    .notAChain(rule: "cumulative alpha / (1 - cumulative gamma) rises", timestep: t)
                )
            }
            earlier = Marginal(alpha: alpha, gamma: gamma, classes: classes)
        }
    }

    /// Logarithms of α_t, β_t, γ_t for the single step t - 1 → t (`.clean` before the first), as
    /// the tables of the documented class hold them.
    ///
    /// Here β is the textbook (1 - α - γ)/K, so that the tables agree with those users know; the
    /// posterior uses `Transition`.
    public func logSingleStep(at t: Int, name: StaticString = "t") throws(ArgumentError) -> LogRates
    {
        let now = try marginal(at: t, lower: 0, name: name)
        let earlier = try marginal(at: t - 1)
        let alpha = earlier.alpha > 0 ? now.alpha / earlier.alpha : 0
        let gamma = earlier.gamma < 1 ? 1 - (1 - now.gamma) / (1 - earlier.gamma) : 1
        let beta = now.beta > 0 ? max(0, (1 - alpha - gamma) / Double(classes)) : 0
        return LogRates(alpha: vqd_log(alpha), beta: vqd_log(beta), gamma: vqd_log(max(0, gamma)))
    }

    /// Logarithms of ᾱ_t, β̄_t, γ̄_t; at t = -1 they are 0, -∞, -∞.
    public func logCumulative(at t: Int, name: StaticString = "t") throws(ArgumentError) -> LogRates
    {
        let now = try marginal(at: t, name: name)
        return LogRates(
            alpha: vqd_log(now.alpha), beta: vqd_log(now.beta), gamma: vqd_log(now.gamma))
    }
}

/// Logarithms of the three rates of a transition.
public struct LogRates: Sendable {
    public var alpha, beta, gamma: Double
}
