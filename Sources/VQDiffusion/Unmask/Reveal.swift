extension ReverseStep {
    /// Reveals some masked pixels of each row: draws a class there from the model output, by
    /// inverting its cumulative distribution at the pixel's uniform, and leaves every other pixel
    /// as it is.
    ///
    /// Except under `confidence`, whose law is biased, which pixels are revealed does not depend on
    /// what is drawn there. Only columns of masked pixels are read.
    ///
    /// - Parameters:
    ///   - p: log-probabilities of x_0, (batch, K, pixels).
    ///   - sample: x_t, (batch, pixels), classes 0 … K.
    ///   - known: (batch, pixels), classes 0 … K - 1 that pixels are given, or -1; nil where
    ///     nothing is known. Known pixels are not counted.
    ///   - uniforms: one for each pixel, in [0, 1), for the classes.
    ///   - outputs: untouched when an error is thrown.
    /// - Throws: `ArgumentError` for shapes that disagree, a class or a number out of range, and in
    ///   a column that is read NaN, +∞ or no mass.
    @export(interface)
    public func reveal(
        from p: LogProbabilities, given sample: ClassIndices, known: ClassIndices? = nil,
        uniforms: UniformGrid, by options: UnmaskOptions, into outputs: RevealOutputs,
        parallelism: Parallelism = Parallelism()
    ) throws(ArgumentError) {
        try p.checkShape(Shape(-1, classes, -1))
        try outputs.checkShape(Shape(p.batch, p.pixels))
        let decision = try RevealDecision(
            self, sample: sample, known: known, uniforms: uniforms, options: options,
            batch: p.batch, pixels: p.pixels)
        try complete(decision, from: p, gathered: false, options, outputs, parallelism)
    }

    /// The same under guidance and truncation, of the columns that are read.
    @export(interface)
    public func reveal(
        from modelOutput: GuidedModelOutput, given sample: ClassIndices,
        known: ClassIndices? = nil, uniforms: UniformGrid, by options: UnmaskOptions,
        into outputs: RevealOutputs, parallelism: Parallelism = Parallelism()
    ) throws(ArgumentError) {
        try modelOutput.check(classes: classes)
        let p = modelOutput.conditional
        try outputs.checkShape(Shape(p.batch, p.pixels))
        let decision = try RevealDecision(
            self, sample: sample, known: known, uniforms: uniforms, options: options,
            batch: p.batch, pixels: p.pixels)
        let prepared = try modelOutput.prepared(for: decision.needed, parallelism: parallelism)
        try complete(decision, from: prepared.view, gathered: true, options, outputs, parallelism)
    }

    /// Tells which columns `reveal` will read.
    ///
    /// - Parameter needed: (batch, pixels), a byte each: 1 where the column is needed, else 0.
    ///   Untouched when an error is thrown.
    @export(interface)
    public func planReveal(
        given sample: ClassIndices, known: ClassIndices? = nil, uniforms: UniformGrid,
        by options: UnmaskOptions, into needed: OutputTensor
    ) throws(ArgumentError) {
        let (batch, pixels) = (uniforms.batch, uniforms.pixels)
        try needed.checkShape(Shape(batch, pixels))
        let decision = try RevealDecision(
            self, sample: sample, known: known, uniforms: uniforms, options: options, batch: batch,
            pixels: pixels)
        decision.needed.mark(in: needed)
    }

    /// The same as `reveal`, given only the columns that `planReveal` says are needed, (1, K, M).
    @export(interface)
    public func completeReveal(
        from columns: LogProbabilities, given sample: ClassIndices, known: ClassIndices? = nil,
        uniforms: UniformGrid, by options: UnmaskOptions, into outputs: RevealOutputs,
        parallelism: Parallelism = Parallelism()
    ) throws(ArgumentError) {
        let (batch, pixels) = (uniforms.batch, uniforms.pixels)
        try outputs.checkShape(Shape(batch, pixels))
        let decision = try RevealDecision(
            self, sample: sample, known: known, uniforms: uniforms, options: options, batch: batch,
            pixels: pixels)
        let (expected, actual) = (
            Shape(classes, decision.needed.count), Shape(columns.classes, columns.pixels)
        )
        guard actual == expected && columns.batch == 1 else {
            throw ArgumentError(columns.name, .shape(expected: expected, actual: actual))
        }
        do throws(ArgumentError) {
            try complete(decision, from: columns, gathered: true, options, outputs, parallelism)
        } catch {
            throw error.ofColumns(columns.name)
        }
    }

    /// - Parameter gathered: whether `p` holds only the needed columns, in one batch row.
    @inline(never)  // once, not in each of the three that call it
    private func complete(
        _ decision: borrowing RevealDecision, from p: LogProbabilities, gathered: Bool,
        _ options: UnmaskOptions, _ outputs: RevealOutputs, _ parallelism: Parallelism
    ) throws(ArgumentError) {
        if p.elementType == .float64 {
            try complete(Double.self, decision, p, gathered, options, outputs, parallelism)
        } else {
            try complete(Float.self, decision, p, gathered, options, outputs, parallelism)
        }
    }

    private func complete<Real: RealScalar>(
        _: Real.Type, _ decision: borrowing RevealDecision, _ p: LogProbabilities, _ gathered: Bool,
        _ options: UnmaskOptions, _ outputs: RevealOutputs, _ parallelism: Parallelism
    ) throws(ArgumentError) {
        let scores = try RevealScores<Real>(decision, p, gathered: gathered, options, parallelism)
        if options.choosesFirst {
            outputs.write(decision, chosen: decision.needed, scores)
            return
        }
        let chosen = try scores.chosen(of: decision, options)
        try scores.draw(chosen, of: decision, p, gathered: gathered, options, parallelism)
        outputs.write(decision, chosen: chosen, scores)
    }
}
