import CVQDiffusion

extension ReverseStep {
    /// Draws x_s by inverting the cumulative distribution of the posterior at one uniform per pixel.
    ///
    /// The uniform is looked at first: most pixels it decides without their column, and those columns are not read (a NaN there goes unseen). At
    /// t = 0 the model output itself is drawn from, and the mask never is.
    ///
    /// - Parameters:
    ///   - p: log-probabilities of x_0, (batch, K, pixels).
    ///   - sample: x_t, (batch, pixels), classes 0 … K; not read at t = 0 and may be nil there.
    ///   - uniforms: one for each pixel, in [0, 1), of 53 bits: the smallest probabilities of a default schedule are 1e-10.
    ///   - output: x_s, (batch, pixels) `Int64`. Untouched when an error is thrown.
    /// - Throws: `ArgumentError` for shapes that disagree, a class out of range, and in a column that is read NaN, +∞ or no mass.
    @export(interface)
    public func sampleInverseCDF(
        from p: LogProbabilities, given sample: ClassIndices?, uniforms: UniformGrid, into output: OutputTensor,
        parallelism: Parallelism = Parallelism()
    ) throws(ArgumentError) {
        try p.checkShape(Shape(-1, classes, -1))
        let uniforms = try uniforms.checked(batch: p.batch, pixels: p.pixels)
        try output.checkShape(Shape(p.batch, p.pixels))
        let shown = try shownClasses(sample, p)
        let name = sample?.name ?? "sample"
        let tokens = output.base.assumingMemoryBound(to: Int64.self)
        switch p.elementType {
        case .float16: try invert(HalfElement.self, p, shown, name, uniforms, tokens, parallelism)
        case .bfloat16: try invert(BrainElement.self, p, shown, name, uniforms, tokens, parallelism)
        case .float32: try invert(Float.self, p, shown, name, uniforms, tokens, parallelism)
        case .float64: try invert(Double.self, p, shown, name, uniforms, tokens, parallelism)
        }
    }

    private func invert<E: FloatingElement>(
        _: E.Type, _ p: LogProbabilities, _ shown: borrowing Scratch<Int32>, _ sampleName: StaticString,
        _ uniforms: borrowing Scratch<Double>, _ output: UnsafeMutablePointer<Int64>, _ parallelism: Parallelism
    ) throws(ArgumentError) {
        let count = p.batch * p.pixels
        guard count > 0 else { return }
        let tokens = try Scratch<Int32>(count)
        // The pixels whose column is needed, row after row; row r's begin at starts[r].
        let needed = try Scratch<Int32>(count)
        let starts = try Scratch<Int>(p.batch + 1)
        var found = 0
        for row in 0..<p.batch {
            starts[row] = found
            for pixel in 0..<p.pixels {
                let at = row &* p.pixels &+ pixel
                if shown[at] == maskClass && now.gamma == 0 && !drawsModelOutput {
                    throw ArgumentError(sampleName, .maskUnreachable(timestep: timestep, row: row, pixel: pixel))
                }
                switch draw(uniforms[at], shown: shown[at]) {
                case .settled(let token):
                    tokens[at] = token
                case .needsColumn:
                    needed[found] = Int32(truncatingIfNeeded: pixel)
                    found &+= 1
                }
            }
        }
        starts[p.batch] = found
        try invertColumns(
            E.self, p, shown.pointer, uniforms.pointer, needed: needed.pointer, starts: starts.pointer, tokens: tokens.pointer, parallelism)
        for at in 0..<count { output[at] = Int64(tokens[at]) }
    }

    /// Draws the needed pixels from their columns.
    private func invertColumns<E: FloatingElement>(
        _: E.Type, _ p: LogProbabilities, _ shown: UnsafePointer<Int32>, _ uniforms: UnsafePointer<Double>,
        needed: UnsafePointer<Int32>, starts: UnsafePointer<Int>, tokens: UnsafeMutablePointer<Int32>, _ parallelism: Parallelism
    ) throws(ArgumentError) {
        let found = starts[p.batch]
        let threads = parallelism.threads(forWork: found * p.classes)
        // Chunks of needed columns; a chunk must not cross batch rows.
        let chunk = min(1024, max(16, ((found + threads - 1) / threads + 15) / 16 * 16))
        let perRow = (p.pixels + chunk - 1) / chunk
        try parallel(tasks: found == 0 ? 0 : p.batch * perRow, threads: threads) { (task) throws(ArgumentError) in
            let row = task / perRow
            let first = starts[row] + task % perRow * chunk
            let columns = min(starts[row + 1] - first, chunk)
            guard columns > 0 else { return }
            try invertChunk(
                E.self, p, row: row, shown: shown + row * p.pixels, uniforms: uniforms + row * p.pixels, needed: needed + first,
                columns: columns, tokens: tokens + row * p.pixels)
        }
    }

    private func invertChunk<E: FloatingElement>(
        _: E.Type, _ p: LogProbabilities, row: Int, shown: UnsafePointer<Int32>, uniforms: UnsafePointer<Double>,
        needed: UnsafePointer<Int32>, columns: Int, tokens: UnsafeMutablePointer<Int32>
    ) throws(ArgumentError) {
        let own = try Scratch<Int32>((columns + 15) / 16 * 16)
        for c in 0..<(columns + 15) / 16 * 16 { own[c] = shown[Int(needed[min(c, columns - 1)])] }
        let sums = try BlockSums<E>.of(p, row: row, columns: .selection(needed, count: columns), excluded: own.pointer)
        for c in 0..<columns {
            let pixel = Int(needed[c])
            let others = sums.total(column: c)
            var ownMass = 0.0
            if own[c] < maskClass {
                ownMass = vqd_exp(E.load(p.pointer(row: row, class: Int(own[c]), pixel: pixel)).asDouble)
            }
            let weights = mass(of: own[c])
            if weights.isReliable(weights.of(own: ownMass, others: others), E.self, classes: p.classes) {
                let column = BlockedColumn<E>(
                    p: p, row: row, pixel: pixel, shown: own[c], sums: sums.sums.pointer + c, stride: sums.width,
                    blocks: sums.blocks, blockRows: sums.blockRows, own: ownMass, others: others)
                tokens[pixel] = draw(uniforms[pixel], shown: own[c], from: column)
            } else {
                let column = try RescaledColumn(E.self, p, row: row, pixel: pixel, shown: own[c])
                tokens[pixel] = draw(uniforms[pixel], shown: own[c], from: column)
            }
        }
    }
}
