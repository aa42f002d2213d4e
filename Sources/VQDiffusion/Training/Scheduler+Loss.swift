/// A training loss and its gradient, as `Scheduler.loss` gives them.
public struct TrainingLoss: Equatable, Sendable {
    /// The loss of the batch.
    public let loss: Double
    /// For each batch row the sum of L_t over its pixels.
    public let perRow: [Double]
    /// The gradient of the loss with respect to the logits.
    public let gradient: LogProbabilityTensor
}

extension Scheduler {
    /// The variational bound of a model's prediction, and its gradient; see `NoiseSchedule.loss`.
    ///
    /// ```swift
    /// let noised = try scheduler.noised(data, at: timesteps, using: &noise)
    /// let loss = try scheduler.loss(of: model(noised, timesteps), data, noised, at: timesteps)
    /// ```
    ///
    /// - Parameters:
    ///   - logits: what the model predicts of x_0, (batch, K, pixels).
    ///   - data: x_0.
    ///   - sample: x_t.
    ///   - timesteps: t for each batch row.
    ///   - previous: s < t for each batch row; t - 1 unless given.
    /// - Throws: `ArgumentError` for shapes that disagree, a class or a timestep out of range, a
    ///   bad weight, NaN or +∞ or a column that is -∞ throughout.
    public func loss(
        of logits: LogProbabilityTensor, _ data: ClassGrid, _ sample: ClassGrid,
        at timesteps: [Int], to previous: [Int]? = nil, options: LossOptions = LossOptions()
    ) throws(ArgumentError) -> TrainingLoss {
        var perRow = [Double](repeating: 0, count: max(1, logits.batch))
        var gradient = LogProbabilityTensor(
            repeating: 0, batch: logits.batch, classes: logits.classes, pixels: logits.pixels)
        var loss = 0.0
        // One more than there are, so that there is memory also for none.
        let now = timesteps.map { Int64($0) } + [0]
        let earlier = (previous ?? timesteps.map { $0 &- 1 }).map { Int64($0) } + [0]
        try withSchedule { (schedule) throws(ArgumentError) in
            try logits.withView(name: "logits") { (z) throws(ArgumentError) in
                try data.withView(name: "data") { (data) throws(ArgumentError) in
                    try sample.withView(name: "sample") { (sample) throws(ArgumentError) in
                        try now.withUnsafeBufferPointer { (now) throws(ArgumentError) in
                            try earlier.withUnsafeBufferPointer { (earlier) throws(ArgumentError) in
                                let batch = TrainingBatch(
                                    clean: data, sample: sample,
                                    timesteps: TimestepList(
                                        name: "timesteps", base: now.baseAddress!,
                                        count: now.count - 1),
                                    previousTimesteps: TimestepList(
                                        name: "previous", base: earlier.baseAddress!,
                                        count: earlier.count - 1))
                                loss = try schedule.loss(
                                    of: z, for: batch, options: options, &perRow, &gradient)
                            }
                        }
                    }
                }
            }
        }
        return TrainingLoss(
            loss: loss, perRow: Array(perRow.prefix(logits.batch)), gradient: gradient)
    }
}

extension NoiseSchedule {
    /// The loss into arrays, of which `perRow` is not empty.
    fileprivate func loss(
        of logits: LogProbabilities, for batch: TrainingBatch, options: LossOptions,
        _ perRow: inout [Double], _ gradient: inout LogProbabilityTensor
    ) throws(ArgumentError) -> Double {
        let strides = (logits.batchStride, logits.classStride, logits.pixelStride)
        return try perRow.withUnsafeMutableBufferPointer { (rows) throws(ArgumentError) in
            try gradient.values.withUnsafeMutableBufferPointer { (buffer) throws(ArgumentError) in
                let base = buffer.baseAddress.map { UnsafeMutableRawPointer($0) }
                return try loss(
                    of: logits, for: batch, options: options, perRow: rows.baseAddress!,
                    gradient: base.map {
                        GradientTensor(
                            name: "gradient", base: $0, shape: logits.shape,
                            strides: (strides.0, strides.1, strides.2))
                    })
            }
        }
    }
}
