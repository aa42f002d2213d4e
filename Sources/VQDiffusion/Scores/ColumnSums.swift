import CVQDiffusion

/// What a pixel's scores follow from: of its logits x, the two largest and sums over
/// e^(x - largest).
struct ColumnSums {
    var largest, second: Double
    /// The class of the largest, the first one of equals.
    var argmax: Int
    /// Z = Σ e^(x - largest), at least 1.
    var mass: Double
    /// Σ (x - largest) e^(x - largest).
    var moment: Double

    /// False with NaN, +∞, or nothing but -∞ in the column.
    var isFinite: Bool { largest > -.infinity && largest < .infinity && mass < .infinity }

    /// log Σ e^x.
    var logSumExp: Double { largest + vqd_log(mass) }

    /// -Σ p log p of p = e^x / Σ e^x, in nats. Rounding makes no negative numbers of it.
    var entropy: Double { max(0, vqd_log(mass) - moment / mass) }

    /// The difference of the two largest p; with one class, p itself.
    var margin: Double { (1 - vqd_exp(second - largest)) / mass }

    /// p of a class with the logit x.
    func probability(of x: Double) -> Double { vqd_exp(x - largest) / mass }
}
