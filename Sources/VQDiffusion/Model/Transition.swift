/// The transition q(x_t | x_s) from timestep s to t > s: an unmasked pixel keeps its class with α +
/// β, becomes any one other class with β and the mask with γ; a masked pixel stays masked. With s =
/// t - 1 it is eq. 7 of Gu et al. 2021.
public struct Transition: Equatable, Sendable {
    /// α_{t|s}.
    public var alpha: Double
    /// β_{t|s}, per class.
    public var beta: Double
    /// γ_{t|s}.
    public var gamma: Double

    /// The transition that changes nothing.
    static var identity: Transition { Transition(alpha: 1, beta: 0, gamma: 0) }

    private init(alpha: Double, beta: Double, gamma: Double) {
        (self.alpha, self.beta, self.gamma) = (alpha, beta, gamma)
    }

    /// The transition between two marginals of one chain.
    ///
    /// β comes from the marginals, β_{t|s} = (β̄_t - α_{t|s} β̄_s)/(1 - γ̄_s), which is good to
    /// 1e-14; the textbook form (1 - α - γ)/K subtracts numbers near one and loses six digits.
    public init(from s: Marginal, to t: Marginal) {
        let unmasked = 1 - s.gamma
        guard unmasked > 0 else {
            // Everything is masked at s and stays so.
            self = .identity
            return
        }
        alpha = s.alpha > 0 ? t.alpha / s.alpha : 0
        beta = max(0, (t.beta - alpha * s.beta) / unmasked)
        gamma = max(0, (t.gamma - s.gamma) / unmasked)
    }

    /// α + β, the probability of keeping the class.
    var keep: Double { alpha + beta }
}
