import CVQDiffusion

/// One training batch: what the model was asked and what it should have said.
public struct TrainingBatch {
    /// x_0, classes 0 … K - 1, and x_t, classes 0 … K, both (batch, pixels).
    public var clean, sample: ClassIndices
    /// t, and s < t, for each batch row.
    public var timesteps, previousTimesteps: TimestepList
    /// The probability with which each row's t was drawn; 1/T where nil.
    public var probabilities: WeightGrid?
    /// What to multiply the loss of each pixel with; 1 where nil.
    public var pixelWeights: WeightGrid?

    public init(
        clean: ClassIndices, sample: ClassIndices, timesteps: TimestepList,
        previousTimesteps: TimestepList, probabilities: WeightGrid? = nil,
        pixelWeights: WeightGrid? = nil
    ) {
        (self.clean, self.sample) = (clean, sample)
        (self.timesteps, self.previousTimesteps) = (timesteps, previousTimesteps)
        (self.probabilities, self.pixelWeights) = (probabilities, pixelWeights)
    }
}

extension NoiseSchedule {
    /// The variational bound of Gu et al. 2021 as a loss, and its gradient with respect to the
    /// logits, fused with their softmax.
    ///
    /// Of a pixel it is w KL(q(x_s | x_t, x_0) ‖ p(x_s | x_t)), at s = -1 the cross-entropy, and to
    /// that λ a_t w times the cross-entropy (`LossOptions`). Where β̄_t = 0 a pixel that shows a
    /// class is carried over, and its loss and gradient are 0.
    ///
    /// Before anything is written the logits are read once, for the maxima of their columns and to
    /// check them all. Then each thread keeps the exponentials of some columns, and reads and
    /// writes everything once more.
    ///
    /// - Parameters:
    ///   - logits: (batch, K, pixels); finite or -∞.
    ///   - perRow: the sum of L_t over the pixels of each row; `auxiliary`, where given, that of
    ///     the cross-entropies with their weight. Each holds one number for each batch row.
    ///   - gradient: (batch, K, pixels), that of the result. Untouched when an error is thrown, as
    ///     all else is.
    /// - Returns: Σ (L_t + cross-entropy)/p(t) over all rows, divided by batch · pixels.
    /// - Throws: `ArgumentError` for shapes that disagree, a class or a timestep out of range, a
    ///   bad weight or probability, NaN or +∞, a column that is -∞ throughout.
    @export(interface)
    public func loss(
        of logits: LogProbabilities, for batch: TrainingBatch,
        options: LossOptions = LossOptions(), perRow: UnsafeMutablePointer<Double>,
        auxiliary: UnsafeMutablePointer<Double>? = nil, gradient: GradientTensor? = nil,
        parallelism: Parallelism = Parallelism()
    ) throws(ArgumentError) -> Double {
        let rows = try rowLosses(of: logits, for: batch, options: options)
        if let gradient, gradient.shape != logits.shape {
            throw ArgumentError(
                gradient.name, .shape(expected: logits.shape, actual: gradient.shape))
        }
        let clean = try batch.clean.checked(
            batch: logits.batch, pixels: logits.pixels, upper: classes - 1)
        let observed = try batch.sample.checked(
            batch: logits.batch, pixels: logits.pixels, upper: classes)
        for row in 0..<logits.batch where rows[row].step.now.gamma == 0 {
            let shown = observed.pointer + row * logits.pixels
            for n in 0..<logits.pixels
            where shown[n] == classes && rows[row].step.earlier != .clean {
                throw ArgumentError(
                    batch.sample.name,
                    .maskUnreachable(timestep: rows[row].step.timestep, row: row, pixel: n))
            }
        }
        try logits.checkHasClasses()
        let pixels = LossPixels(
            logits: logits, clean: clean.pointer, observed: observed.pointer, rows: rows.pointer,
            weights: batch.pixelWeights, gradient: gradient)
        let sums = try pixels.sums(parallelism)
        var loss = 0.0
        for row in 0..<logits.batch {
            perRow[row] = sums.losses[row]
            auxiliary?[row] = sums.auxiliary[row]
            loss += (sums.losses[row] + sums.auxiliary[row]) * rows[row].scale
        }
        return loss
    }

    private func rowLosses(
        of logits: LogProbabilities, for batch: TrainingBatch, options: LossOptions
    ) throws(ArgumentError) -> Scratch<RowLoss> {
        try options.check()
        try logits.checkShape(Shape(-1, classes, -1))
        let count = logits.batch
        for list in [batch.timesteps, batch.previousTimesteps] where list.count != count {
            throw ArgumentError(
                list.name, .shape(expected: Shape(count), actual: Shape(list.count)))
        }
        try batch.probabilities?.checkProbabilities(batch: count)
        try batch.pixelWeights?.checkWeights(Shape(count, logits.pixels))
        let rows = try Scratch<RowLoss>(count)
        for row in 0..<count {
            let step = try reverseStep(
                from: batch.timesteps[row], to: batch.previousTimesteps[row],
                names: (batch.timesteps.name, batch.previousTimesteps.name))
            let probability = batch.probabilities.map { $0[row, 0] } ?? 1 / Double(timesteps)
            rows[row] = RowLoss(
                step, options: options, timesteps: timesteps,
                scale: 1 / (probability * Double(count) * Double(max(logits.pixels, 1))))
        }
        return rows
    }
}
