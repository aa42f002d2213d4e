import CVQDiffusion

extension ReverseStep {
    /// Draws x_s by inverting the cumulative distribution of the posterior at one uniform per
    /// pixel.
    ///
    /// Most pixels are decided by the uniform alone, and known ones at once. Their columns are not
    /// read, and a NaN there goes unseen. At s = -1 the model output itself is drawn from, and the
    /// mask never is; where β̄_t = 0 the pixels that show a class keep it.
    ///
    /// - Parameters:
    ///   - p: log-probabilities of x_0, (batch, K, pixels).
    ///   - sample: x_t, (batch, pixels), classes 0 … K; not read at s = -1 and may be nil there,
    ///     unless β̄_t = 0.
    ///   - known: (batch, pixels), classes 0 … K - 1 that pixels are given, or -1; nil where
    ///     nothing is known.
    ///   - uniforms: one for each pixel, in [0, 1), of 53 bits: the smallest probabilities of a
    ///     default schedule are 1e-10.
    ///   - output: x_s, (batch, pixels) `Int64`. Untouched when an error is thrown.
    /// - Throws: `ArgumentError` for shapes that disagree, a class out of range, and in a column
    ///   that is read NaN, +∞ or no mass.
    @export(interface)
    public func sampleInverseCDF(
        from p: LogProbabilities, given sample: ClassIndices?, known: ClassIndices? = nil,
        uniforms: UniformGrid, into output: OutputTensor,
        parallelism: Parallelism = Parallelism()
    ) throws(ArgumentError) {
        try p.checkShape(Shape(-1, classes, -1))
        try output.checkShape(Shape(p.batch, p.pixels))
        let decision = try StepDecision(
            self, sample: sample, known: known, uniforms: uniforms, batch: p.batch,
            pixels: p.pixels)
        try complete(decision, from: p, gathered: false, into: output, parallelism)
    }

    /// Tells which columns `sampleInverseCDF` will read with these uniforms, so that a model need
    /// not compute the others.
    ///
    /// - Parameters:
    ///   - sample: as in `sampleInverseCDF`.
    ///   - known: (batch, pixels), classes 0 … K - 1 that pixels are given, or -1; nil where
    ///     nothing is known.
    ///   - uniforms: one for each pixel, in [0, 1); their shape is that of the grid.
    ///   - needed: (batch, pixels), a byte each: 1 where the column is needed, else 0. Untouched
    ///     when an error is thrown.
    /// - Throws: `ArgumentError` for shapes that disagree, a class or a uniform out of range.
    @export(interface)
    public func planInverseCDF(
        given sample: ClassIndices?, known: ClassIndices? = nil, uniforms: UniformGrid,
        into needed: OutputTensor
    ) throws(ArgumentError) {
        let (batch, pixels) = (uniforms.batch, uniforms.pixels)
        try needed.checkShape(Shape(batch, pixels))
        let decision = try StepDecision(
            self, sample: sample, known: known, uniforms: uniforms, batch: batch, pixels: pixels)
        guard pixels > 0 else { return }
        let flags = needed.base.assumingMemoryBound(to: UInt8.self)
        flags.update(repeating: 0, count: batch * pixels)
        for row in 0..<batch {
            for index in decision.starts[row]..<decision.starts[row + 1] {
                flags[row * pixels + Int(decision.needed[index])] = 1
            }
        }
    }

    /// The same draw as `sampleInverseCDF`, given only the columns that `planInverseCDF` says are
    /// needed.
    ///
    /// - Parameters:
    ///   - columns: log-probabilities of x_0 for the M needed pixels, row after row, as a tensor
    ///     (1, K, M). All are read.
    ///   - sample, known, uniforms: those of the plan; the shape of the uniforms is that of the
    ///     grid.
    ///   - output: x_s, (batch, pixels) `Int64`. Untouched when an error is thrown.
    /// - Throws: `ArgumentError` for shapes that disagree, another number of columns than are
    ///   needed, a class out of range, and NaN, +∞ or no mass in a column.
    @export(interface)
    public func completeInverseCDF(
        from columns: LogProbabilities, given sample: ClassIndices?, known: ClassIndices? = nil,
        uniforms: UniformGrid, into output: OutputTensor,
        parallelism: Parallelism = Parallelism()
    ) throws(ArgumentError) {
        let (batch, pixels) = (uniforms.batch, uniforms.pixels)
        try output.checkShape(Shape(batch, pixels))
        let decision = try StepDecision(
            self, sample: sample, known: known, uniforms: uniforms, batch: batch, pixels: pixels)
        let (expected, actual) = (
            Shape(classes, decision.count), Shape(columns.classes, columns.pixels)
        )
        guard actual == expected && columns.batch == 1 else {
            throw ArgumentError(columns.name, .shape(expected: expected, actual: actual))
        }
        do throws(ArgumentError) {
            try complete(decision, from: columns, gathered: true, into: output, parallelism)
        } catch {
            throw error.ofColumns(columns.name)
        }
    }

    /// - Parameter gathered: whether `p` holds only the needed columns, in one batch row.
    func complete(
        _ decision: borrowing StepDecision, from p: LogProbabilities, gathered: Bool,
        into output: OutputTensor,
        _ parallelism: Parallelism
    ) throws(ArgumentError) {
        if p.elementType == .float64 {
            try invertColumns(Double.self, p, gathered, decision, parallelism)
        } else {
            try invertColumns(Float.self, p, gathered, decision, parallelism)
        }
        guard decision.pixels > 0 else { return }
        output.write(decision.tokens.pointer, count: decision.batch * decision.pixels)
    }

    /// Draws the needed pixels from their columns.
    private func invertColumns<Real: RealScalar>(
        _: Real.Type, _ p: LogProbabilities, _ gathered: Bool, _ decision: borrowing StepDecision,
        _ parallelism: Parallelism
    ) throws(ArgumentError) {
        let (found, pixels) = (decision.count, decision.pixels)
        guard found > 0 else { return }
        let (observed, uniforms, tokens) = (
            decision.observed.pointer, decision.uniforms.pointer, decision.tokens.pointer
        )
        let (needed, starts) = (decision.needed.pointer, decision.starts.pointer)
        // A thread takes 0.1 ms to start, on a busy host a millisecond: the time of some hundred
        // columns of 4096 neighbouring classes, or of tens where each class is in a cache line of
        // its own. Gathered columns are neighbours too.
        let work = found * p.classes
        let isDense = p.classStride == p.elementSize || gathered
        let threads = parallelism.threads(forWork: isDense ? work / 8 : work / 2)
        // Chunks of needed columns; a chunk must not cross batch rows.
        let chunk = min(1024, max(4, (found + threads - 1) / threads))
        let perRow = (pixels + chunk - 1) / chunk
        try parallel(tasks: decision.batch * perRow, threads: threads) {
            (task) throws(ArgumentError) in
            let row = task / perRow
            let first = starts[row] + task % perRow * chunk
            let count = min(starts[row + 1] - first, chunk)
            guard count > 0 else { return }
            let columns =
                gathered
                ? PixelList.run(first..<first + count) : .selection(needed + first, count: count)
            try invertChunk(
                Real.self, p, row: gathered ? 0 : row, columns: columns, needed: needed + first,
                observed: observed + row * pixels,
                uniforms: uniforms + row * pixels, tokens: tokens + row * pixels)
        }
    }

    /// - Parameters:
    ///   - row: the row of `p` that the columns are in.
    ///   - columns: where they are in it.
    ///   - needed: the pixels that they belong to, in the row of the grid that `observed`,
    ///     `uniforms` and `tokens` point to.
    private func invertChunk<Real: RealScalar>(
        _: Real.Type, _ p: LogProbabilities, row: Int, columns: PixelList,
        needed: UnsafePointer<Int32>, observed: UnsafePointer<Int32>,
        uniforms: UnsafePointer<Double>, tokens: UnsafeMutablePointer<Int32>
    ) throws(ArgumentError) {
        let width = (columns.count + 15) / 16 * 16
        let observedClasses = try Scratch<Int32>(width)
        for c in 0..<width {
            observedClasses[c] = observed[Int(needed[min(c, columns.count - 1)])]
        }
        let sums = try BlockSums<Real>.of(
            p, row: row, columns: columns, excluded: observedClasses.pointer)
        for c in 0..<columns.count {
            let (source, pixel) = (columns[c], Int(needed[c]))
            let (observed, others) = (observedClasses[c], sums.total(column: c))
            var observedMass = 0.0
            if observed < maskClass {
                observedMass = vqd_exp(p.element(row: row, class: Int(observed), pixel: source))
            }
            let weights = mass(of: observed)
            if weights.isReliable(
                weights.of(own: observedMass, others: others), Real.self, classes: p.classes)
            {
                let column = BlockedColumn<Real>(
                    p: p, row: row, pixel: source, observed: observed, sums: sums.sums.pointer + c,
                    stride: sums.width,
                    blocks: sums.blocks, blockRows: sums.blockRows, observedMass: observedMass,
                    others: others)
                tokens[pixel] = draw(uniforms[pixel], observed: observed, from: column)
            } else {
                let column = try RescaledColumn(
                    p, row: row, pixel: source, observed: observed)
                tokens[pixel] = draw(uniforms[pixel], observed: observed, from: column)
            }
        }
    }
}
