/// The marginal law q(x_t | x_0) at one timestep (eq. 8): an unmasked pixel has kept its class with
/// probability ᾱ + β̄, has become any one other class with β̄, and is masked with γ̄.
public struct Marginal: Equatable, Sendable {
    /// ᾱ_t.
    public var alpha: Double
    /// β̄_t, per class.
    public var beta: Double
    /// γ̄_t.
    public var gamma: Double

    /// Clean data, t = -1.
    public static var clean: Marginal { Marginal(alpha: 1, beta: 0, gamma: 0) }

    public init(alpha: Double, beta: Double, gamma: Double) {
        self.alpha = alpha
        self.beta = beta
        self.gamma = gamma
    }

    /// β̄ = (1 - ᾱ - γ̄)/K. Where ᾱ = 1 - γ̄ was meant, that difference is a rounding error of
    /// either sign: a negative one has no logarithm, and a positive one would let pixels change
    /// class at ratios of rounding errors. Both count as 0.
    init(alpha: Double, gamma: Double, classes: Int) {
        let rest = 1 - alpha - gamma
        self.init(alpha: alpha, beta: rest > 0x1p-50 ? rest / Double(classes) : 0, gamma: gamma)
    }

    /// ᾱ + β̄, the probability of showing the class of x_0.
    var keep: Double { alpha + beta }
}
