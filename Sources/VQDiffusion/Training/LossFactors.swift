/// What the loss of a pixel is made of: that of all pixels of one batch row that are masked at t,
/// or of all that show a class.
struct LossFactors {
    enum Form {
        /// β̄_t = 0, and the pixel shows a class: x_s = x_t whatever the model says.
        case carriedOver
        /// -log p_j, j the class of x_0, times `signal`. At s = -1 it is the loss by definition,
        /// and KL where β̄_s = 0: given x_t, x_s is then either x_0 or known.
        case crossEntropy
        /// KL(q(x_s | x_t, x_0) ‖ p(x_s | x_t)).
        case divergence
    }

    let form: Form
    /// What to multiply the loss with.
    let weight: Double
    /// Eq. 11 in closed form, as in `PosteriorFactors`.
    let posterior: PosteriorFactors
    /// What the classes that the pixel does not show weigh in the mass S of its column, and what
    /// its own weighs.
    let otherWeight, ownWeight: Double

    init(_ step: ReverseStep, isMasked: Bool, weights: LossOptions.Weights) {
        let observed = isMasked ? step.maskClass : 0
        let mass = step.mass(of: observed)
        otherWeight = mass.of(own: 0, others: 1)
        ownWeight = isMasked ? otherWeight : mass.of(own: 1, others: 0)
        if step.earlier == .clean {
            form = !isMasked && step.isAbsorbing ? .carriedOver : .crossEntropy
            posterior = .direct
            weight = 1
            return
        }
        posterior = step.factors(of: observed)
        weight = isMasked ? weights.masked : weights.others
        if !isMasked && step.isAbsorbing {
            form = .carriedOver
        } else {
            form = posterior.level > 0 ? .divergence : .crossEntropy
        }
    }
}

/// The loss of one batch row, as far as it follows from its timesteps.
struct RowLoss {
    let step: ReverseStep
    let masked, observed: LossFactors
    /// λ a_t: the weight of the cross-entropy that is added to the loss.
    let auxiliary: Double
    /// What the row's losses are multiplied with in that of the batch: 1/(p(t) B N).
    let scale: Double

    init(_ step: ReverseStep, options: LossOptions, timesteps: Int, scale: Double) {
        self.step = step
        self.scale = scale
        masked = LossFactors(step, isMasked: true, weights: options.weights)
        observed = LossFactors(step, isMasked: false, weights: options.weights)
        auxiliary =
            options.auxiliaryWeight
            * (options.isAdaptive ? 2 - Double(step.timestep) / Double(timesteps) : 1)
    }

    /// The greatest sum of signal/level over all classes, ᾱ_s/β̄_s; ∞ where β̄_s = 0.
    private var signalToLevel: Double { step.earlier.alpha / step.earlier.beta }

    var hasDivergence: Bool { masked.form == .divergence || observed.form == .divergence }

    /// Whether the row is computed in double precision. Where replaced pixels outnumber those that
    /// still show their class by more than four to one, q and p agree so far that their divergence
    /// is a small difference of sums of single precision; where less than one pixel in 10¹⁹ is
    /// replaced by a class, products of two numbers overflow single precision.
    var needsDouble: Bool {
        guard hasDivergence else { return false }
        return !(signalToLevel >= max(4, Double(step.classes) / 4) && signalToLevel <= 1e19)
    }

    /// Whether Π (1 + x_k) of four classes stays in the range of single precision. As the x_k add
    /// up to `signalToLevel` at most, it is at most (1 + signalToLevel/4)⁴.
    var fitsFour: Bool { signalToLevel <= 1.6e10 }
}
