/// What `Scheduler.reveal` gives.
public struct Revealed: Equatable, Sendable {
    /// x_s.
    public var sample: ClassGrid
    /// For every pixel, row after row, whether the step has revealed it.
    public var isRevealed: [Bool]
    /// The keys of the order, without noise; NaN at pixels that were not read.
    public var scores: [Double]
}

extension Scheduler {
    /// Reveals some masked pixels of each row, and leaves all others as they are.
    ///
    /// ```swift
    /// for (t, s) in try scheduler.strides(10) {
    ///     sample = try scheduler.reveal(
    ///         model(sample, t), at: t, to: s, from: sample, by: UnmaskOptions(), using: &noise
    ///     ).sample
    /// }
    /// ```
    ///
    /// - Parameters:
    ///   - modelOutput: log-probabilities of x_0, (batch, K, pixels).
    ///   - t: the timestep of the sample.
    ///   - s: the timestep to go to, t - 1 unless given.
    ///   - sample: x_t.
    ///   - known: the classes of the pixels that are to stay, and -1 for the others.
    ///   - options: which pixels and how many; their uniforms are drawn here, after those of the
    ///     classes, where the order has noise.
    /// - Throws: `ArgumentError` for shapes that disagree, a timestep, a class or an option out of
    ///   range, NaN or +∞ or a column without mass in what is read. A generator that is a value is
    ///   then as it was.
    public func reveal(
        _ modelOutput: LogProbabilityTensor, at t: Int, to s: Int? = nil, from sample: ClassGrid,
        known: ClassGrid? = nil, by options: UnmaskOptions = UnmaskOptions(),
        using generator: inout some RandomNumberGenerator
    ) throws(ArgumentError) -> Revealed {
        var drawing = generator
        let uniforms = Uniforms(batch: sample.batch, pixels: sample.pixels, using: &drawing)
        let order =
            options.hasNoise
            ? Uniforms(batch: sample.batch, pixels: sample.pixels, using: &drawing) : uniforms
        let result = try reveal(modelOutput, t, s, sample, known, options, uniforms, order)
        generator = drawing
        return result
    }

    /// Reveals pixels by the keys of the rows: the same whichever rows are together.
    ///
    /// - Parameters:
    ///   - keys: one for each batch row; they draw at the timestep t, as many uniforms as a row has
    ///     pixels for the classes, those of `step`, and then as many for the order.
    ///   - modelOutput, t, s, sample, known, options: as with a generator.
    /// - Throws: as with a generator; also when there is another number of keys.
    public func reveal(
        _ modelOutput: LogProbabilityTensor, at t: Int, to s: Int? = nil, from sample: ClassGrid,
        known: ClassGrid? = nil, by options: UnmaskOptions = UnmaskOptions(), using keys: RowKeys
    ) throws(ArgumentError) -> Revealed {
        let both = try Uniforms(
            batch: sample.batch, pixels: 2 * sample.pixels, using: keys,
            at: Array(repeating: t, count: sample.batch), name: "t")
        return try reveal(
            modelOutput, t, s, sample, known, options, both.half(0), both.half(1))
    }

    private func reveal(
        _ modelOutput: LogProbabilityTensor, _ t: Int, _ s: Int?, _ sample: ClassGrid,
        _ known: ClassGrid?, _ options: UnmaskOptions, _ uniforms: Uniforms, _ order: Uniforms
    ) throws(ArgumentError) -> Revealed {
        let shape = Shape(sample.batch, sample.pixels)
        var tokens = sample
        var flags = [UInt8](repeating: 0, count: sample.indices.count)
        var scores = [Double](repeating: .nan, count: sample.indices.count)
        try withViews(at: t, to: s ?? t &- 1, sample, known, uniforms) {
            (step, sample, known, uniforms) throws(ArgumentError) in
            try order.withView { (order) throws(ArgumentError) in
                var options = options
                options.uniforms = order
                try modelOutput.withView(name: "modelOutput") { (p) throws(ArgumentError) in
                    try tokens.fill { (output) throws(ArgumentError) in
                        try flags.withUnsafeMutableBufferPointer {
                            (flags) throws(ArgumentError) in
                            try scores.withUnsafeMutableBufferPointer {
                                (scores) throws(ArgumentError) in
                                try step.reveal(
                                    from: p, given: sample, known: known, uniforms: uniforms,
                                    by: options,
                                    into: RevealOutputs(
                                        tokens: output, revealed: OutputTensor(flags, shape),
                                        scores: OutputTensor(scores, shape)))
                            }
                        }
                    }
                }
            }
        }
        return Revealed(sample: tokens, isRevealed: flags.map { $0 != 0 }, scores: scores)
    }
}
