import CVQDiffusion

/// The losses of sixteen pixels, and their gradient with respect to the logits z.
///
/// With p = softmax z, j the class of x_0 and S = Σ σ p the mass of the column
/// (`ReverseStep.mass(of:)`), eq. 11 is m_k = A_k p_k + B_k S, and for p_k = δ_kj it is τ_k = A_k
/// δ_kj + B_k σ_j. The loss is KL = Σ τ log(τ/m), to which the mask adds nothing, as both give it
/// the same probability. With d = τ/m - 1 and ψ(d) = (1 + d) log(1 + d) - d
///
///     KL = Σ m ψ(d)
///     ∂KL/∂z_k = p_k (σ_k Ω - A_k d_k),  Ω = -Σ B d
///
/// All classes but j and the one that the pixel shows have the same A, B and σ, and for them 1 +
/// d_k = q/(1 + x_k) with q = σ_j/S and x_k = A p_k/(B S). Of these others, Σ log(1 + x_k) and
/// Σ v_k, v_k = x_k/(1 + x_k), are all that is needed.
struct PixelLosses {
    private typealias V = DoubleVector

    private let row: RowLoss
    private let kinds: LossKinds
    /// log(Σ e^z) - z_j.
    private let crossEntropy: DoubleVector
    /// Σ e^z, relative to the largest.
    private let total: DoubleVector
    /// p of j, 1 - p of j, p of the class that the pixel shows where it shows another, and Σ p of
    /// the others.
    private let clean, notClean, observed, othersShare: DoubleVector
    /// How many others there are.
    private let others: DoubleVector
    /// S, and q - 1.
    private let mass, excess: DoubleVector

    /// - Parameters:
    ///   - logClean: z_j less the largest logit.
    ///   - logObserved: the same of the class that a pixel shows, where it shows another.
    ///   - others: the sum of the exponentials of all other logits less the largest.
    init(
        _ row: RowLoss, _ kinds: LossKinds, logClean: DoubleVector, logObserved: DoubleVector,
        others: DoubleVector
    ) {
        let nothing = V(repeating: 0)
        let clean = exponential(logClean)
        let observed = exponential(logObserved).kept(where: kinds.another, else: nothing)
        let rest = others + observed
        let total = rest + clean
        self.row = row
        self.kinds = kinds
        self.total = total
        crossEntropy = V.log(total) - logClean
        self.clean = clean / total
        notClean = rest / total
        self.observed = observed / total
        othersShare = others / total
        self.others = V(repeating: Double(row.step.classes - 2)).kept(
            where: kinds.another, else: V(repeating: Double(row.step.classes - 1)))
        let own = kinds.select(row) { $0.ownWeight }
        let other = kinds.select(row) { $0.otherWeight }
        // σ_i p_i + σ Σ p of the rest, and σ_j - S.
        let mass =
            (own * self.clean + other * notClean).kept(
                where: kinds.kept, else: own * self.observed + other * (othersShare + self.clean))
        let excess = ((own - other) * notClean).kept(
            where: kinds.kept, else: (other - own) * self.observed)
        self.mass = mass
        self.excess = excess / mass
    }

    /// x_k/e^{z_k} of the others, z less the largest.
    var ratio: DoubleVector {
        let level = kinds.select(row) { $0.posterior.level }
        let ratio = kinds.select(row) { $0.posterior.signal } / (level * mass * total)
        // Where this limit holds, p_k < 1e-18 for all of them.
        return V.lesser(ratio, V(repeating: 1e37)).kept(
            where: kinds.having(.divergence, in: row), else: V(repeating: 0))
    }

    struct Result {
        /// L_t, and the cross-entropy that is added to it, both with their weights.
        var loss, auxiliary: DoubleVector
        /// The gradient of the others is e^{z_k} (constant + slope v_k), z less the largest.
        var constant, slope: DoubleVector
        /// The gradient of j, and of the other class that the pixel shows.
        var clean, observed: DoubleVector
    }

    /// - Parameters:
    ///   - logs, shares: Σ log(1 + x_k) and Σ v_k over the others.
    ///   - pixelWeights: what to multiply all with.
    func result(logs: DoubleVector, shares: DoubleVector, pixelWeights: DoubleVector) -> Result {
        let nothing = V(repeating: 0)
        let isCarriedOver = kinds.having(.carriedOver, in: row)
        let weight = nothing.kept(
            where: isCarriedOver, else: kinds.select(row) { $0.weight } * pixelWeights)
        let isDivergence = kinds.having(.divergence, in: row)
        let plain = nothing.kept(
            where: isDivergence, else: weight * kinds.select(row) { $0.posterior.signal })
        let added = weight * V(repeating: row.auxiliary)
        // Where the model gives j no probability 0 · ∞ must be 0.
        var result = Result(
            loss: (plain * crossEntropy).kept(where: plain, above: nothing, else: nothing),
            auxiliary: (added * crossEntropy).kept(where: added, above: nothing, else: nothing),
            constant: (plain + added) / total, slope: nothing,
            clean: nothing - (plain + added) * notClean, observed: (plain + added) * observed)
        guard isDivergence != 0 else { return result }
        let divergence = divergence(logs: logs, shares: shares, weight: weight)
        let isWeighed = isDivergence & weight.lanes(above: nothing)
        result.loss = divergence.loss.kept(where: isWeighed, else: result.loss)
        result.slope = divergence.slope.kept(where: isWeighed, else: nothing)
        result.constant =
            result.constant + divergence.constant.kept(where: isWeighed, else: nothing)
        result.clean = result.clean + divergence.clean.kept(where: isWeighed, else: nothing)
        result.observed =
            result.observed
            + divergence.observed.kept(where: isWeighed & kinds.another, else: nothing)
        return result
    }

    private func divergence(logs: DoubleVector, shares: DoubleVector, weight: DoubleVector)
        -> Result
    {
        let (nothing, one) = (V(repeating: 0), V(repeating: 1))
        let signal = kinds.select(row) { $0.posterior.signal }
        let level = kinds.select(row) { $0.posterior.level }
        let ownSignal = kinds.select(row) { $0.posterior.ownSignal }
        let ownLevel = kinds.select(row) { $0.posterior.ownLevel }
        let own = kinds.select(row) { $0.ownWeight }
        let other = kinds.select(row) { $0.otherWeight }
        let difference = excess * mass  // σ_j - S
        let q = one + excess

        // j, whose formula is that of the pixel's own class where it shows j.
        let signalOfClean = ownSignal.kept(where: kinds.kept, else: signal)
        let levelOfClean = ownLevel.kept(where: kinds.kept, else: level)
        let valueOfClean = signalOfClean * clean + levelOfClean * mass
        let d = (signalOfClean * notClean + levelOfClean * difference) / valueOfClean
        // Another class that the pixel shows.
        let valueOfObserved = ownSignal * observed + ownLevel * mass
        let dOfObserved = ((ownLevel * difference - ownSignal * observed) / valueOfObserved).kept(
            where: kinds.another, else: nothing)

        let omega =
            level * (q * shares - others * excess) - levelOfClean * d - ownLevel * dOfObserved
        let ofOthers =
            others * level * mass * psi(excess) + (signal * othersShare - level * mass * q * logs)
        let ofOwn = (valueOfObserved * psi(dOfObserved)).kept(where: kinds.another, else: nothing)
        return Result(
            loss: weight * .greater(ofOthers + valueOfClean * psi(d) + ofOwn, nothing),
            auxiliary: nothing,
            constant: weight * (other * omega - signal * excess) / total,
            slope: weight * signal * q / total,
            clean: weight * clean
                * (own.kept(where: kinds.kept, else: other) * omega - signalOfClean * d),
            observed: weight * observed * (own * omega - ownSignal * dOfObserved))
    }
}

/// What sixteen pixels show at t, as bits.
struct LossKinds {
    /// The mask; the class of x_0; another class.
    var masked: UInt16 = 0
    var kept: UInt16 = 0
    var another: UInt16 { ~(masked | kept) }

    /// A number of the factors of each pixel.
    @inline(__always)
    func select(_ row: RowLoss, _ number: (LossFactors) -> Double) -> DoubleVector {
        DoubleVector(repeating: number(row.masked)).kept(
            where: masked, else: DoubleVector(repeating: number(row.observed)))
    }

    /// The pixels whose loss has a form.
    @inline(__always)
    func having(_ form: LossFactors.Form, in row: RowLoss) -> UInt16 {
        (row.masked.form == form ? masked : 0) | (row.observed.form == form ? ~masked : 0)
    }
}

/// e^x, and 0 where it would be subnormal.
private func exponential(_ x: DoubleVector) -> DoubleVector {
    DoubleVector.exp(x).kept(
        where: x, above: DoubleVector(repeating: -700), else: DoubleVector(repeating: 0))
}

/// (1 + d) log(1 + d) - d for d ≥ -1, to 1e-12 of itself: it is d²/2 near 0.
private func psi(_ d: DoubleVector) -> DoubleVector {
    func constant(_ x: Double) -> DoubleVector { DoubleVector(repeating: x) }
    let one = constant(1)
    // Σ (-d)ⁿ/(n (n - 1)) from n = 2 on, good for |d| < 0.01.
    var series = constant(1 / 56)
    for n in [42.0, 30, 20, 12, 6, 2] { series = constant(1 / n) - d * series }
    let direct = (one + d) * .log(.greater(one + d, constant(1e-300))) - d
    return direct.kept(where: d * d, above: constant(1e-4), else: d * d * series)
}
