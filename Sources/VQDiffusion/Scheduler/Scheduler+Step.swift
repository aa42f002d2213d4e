extension Scheduler {
    /// Draws x_s from p(x_s | x_t), eq. 11 of Gu et al. 2021, by inverting its cumulative
    /// distribution at one uniform per pixel. At s = -1 draws from the model output itself; the
    /// mask is never drawn then, and where β̄_t = 0 the pixels that show a class keep it.
    ///
    /// - Parameters:
    ///   - modelOutput: log-probabilities of x_0, (batch, K, pixels).
    ///   - t: the timestep of the sample.
    ///   - s: the timestep to go to, t - 1 unless given.
    ///   - sample: x_t.
    ///   - known: the classes of the pixels that are to stay, such as the given part of a picture,
    ///     and -1 for the others; nil where nothing is known. Known pixels show their class in the
    ///     result, and their columns are not read.
    ///   - remask: σ, with which pixels that show a class are masked again; see
    ///     `ReverseStep.remasking`.
    /// - Throws: `ArgumentError` for shapes that disagree, a timestep or a class out of range, NaN
    ///   or +∞ or a column without mass in what is read. A generator that is a value is then as it
    ///   was.
    public func step(
        _ modelOutput: LogProbabilityTensor, at t: Int, to s: Int? = nil, from sample: ClassGrid,
        known: ClassGrid? = nil, remask: Double = 0,
        using generator: inout some RandomNumberGenerator
    ) throws(ArgumentError) -> ClassGrid {
        var drawing = generator
        let uniforms = Uniforms(batch: sample.batch, pixels: sample.pixels, using: &drawing)
        let result = try step(modelOutput, at: t, to: s, from: sample, known, remask, uniforms)
        generator = drawing
        return result
    }

    /// Draws x_s by the keys of the rows: the same tokens whichever rows are together.
    ///
    /// - Parameters:
    ///   - keys: one for each batch row; they draw at the timestep t.
    ///   - modelOutput, t, s, sample, known, remask: as with a generator.
    /// - Throws: as with a generator; also when there is another number of keys.
    public func step(
        _ modelOutput: LogProbabilityTensor, at t: Int, to s: Int? = nil, from sample: ClassGrid,
        known: ClassGrid? = nil, remask: Double = 0, using keys: RowKeys
    ) throws(ArgumentError) -> ClassGrid {
        let uniforms = try uniforms(for: sample, using: keys, at: t)
        return try step(modelOutput, at: t, to: s, from: sample, known, remask, uniforms)
    }

    private func step(
        _ modelOutput: LogProbabilityTensor, at t: Int, to s: Int?, from sample: ClassGrid,
        _ known: ClassGrid?, _ remask: Double, _ uniforms: Uniforms
    ) throws(ArgumentError) -> ClassGrid {
        try draw(at: t, to: s ?? t &- 1, from: sample, known, remask, uniforms) {
            (step, sample, known, uniforms, output) throws(ArgumentError) in
            try modelOutput.withView(name: "modelOutput") { (p) throws(ArgumentError) in
                try step.sampleInverseCDF(
                    from: p, given: sample, known: known, uniforms: uniforms, into: output)
            }
        }
    }

    /// Completes a planned step from the model output of the needed pixels alone.
    ///
    /// - Parameters:
    ///   - columns: log-probabilities of x_0 for the M needed pixels, row after row: (1, K, M). All
    ///     are read.
    ///   - plan: what `plan` of this scheduler has given; it may be used again.
    /// - Throws: `ArgumentError` for another number of classes or columns, NaN or +∞ or a column
    ///   without mass.
    public func step(_ columns: LogProbabilityTensor, completing plan: StepPlan)
        throws(ArgumentError) -> ClassGrid
    {
        try draw(
            at: plan.timestep, to: plan.earlier, from: plan.sample, plan.known, plan.remask,
            plan.uniforms
        ) { (step, sample, known, uniforms, output) throws(ArgumentError) in
            try columns.withView(name: "columns") { (p) throws(ArgumentError) in
                try step.completeInverseCDF(
                    from: p, given: sample, known: known, uniforms: uniforms, into: output)
            }
        }
    }

    /// The uniforms of a step from t by the keys of its rows.
    func uniforms(for sample: ClassGrid, using keys: RowKeys, at t: Int) throws(ArgumentError)
        -> Uniforms
    {
        try Uniforms(
            batch: sample.batch, pixels: sample.pixels, using: keys,
            at: Array(repeating: t, count: sample.batch), name: "t")
    }

    /// A new grid that `body` has written, from the views that it needs.
    private func draw(
        at t: Int, to s: Int, from sample: ClassGrid, _ known: ClassGrid?, _ remask: Double,
        _ uniforms: Uniforms,
        _ body: (ReverseStep, ClassIndices, ClassIndices?, UniformGrid, OutputTensor)
            throws(ArgumentError) -> Void
    ) throws(ArgumentError) -> ClassGrid {
        var result = sample
        try withViews(at: t, to: s, sample, known, uniforms) {
            (step, sample, known, uniforms) throws(ArgumentError) in
            let step = try step.remasking(remask)
            try result.fill { (output) throws(ArgumentError) in
                try body(step, sample, known, uniforms, output)
            }
        }
        return result
    }

    /// Calls `body` with views of what a step takes beside the model output.
    func withViews(
        at t: Int, to s: Int, _ sample: ClassGrid, _ known: ClassGrid?, _ uniforms: Uniforms,
        _ body: (ReverseStep, ClassIndices, ClassIndices?, UniformGrid) throws(ArgumentError) ->
            Void
    ) throws(ArgumentError) {
        try withStep(at: t, to: s) { (step) throws(ArgumentError) in
            try sample.withView(name: "sample") { (sample) throws(ArgumentError) in
                try uniforms.withView { (uniforms) throws(ArgumentError) in
                    guard let known else { return try body(step, sample, nil, uniforms) }
                    try known.withView(name: "known") { (known) throws(ArgumentError) in
                        try body(step, sample, known, uniforms)
                    }
                }
            }
        }
    }
}
