import CVQDiffusion

extension ReverseStep {
    /// Draws x_s by Gumbel-max: the argmax over classes of log p(x_s | x_t) plus Gumbel noise, the
    /// lowest index winning ties.
    ///
    /// At s = -1 the model output itself is drawn from, and the mask never is; where β̄_t = 0 the
    /// pixels that show a class keep it.
    ///
    /// - Parameters:
    ///   - p: log-probabilities of x_0, (batch, K, pixels).
    ///   - sample: x_t, (batch, pixels), classes 0 … K; not read at s = -1 and may be nil there,
    ///     unless β̄_t = 0.
    ///   - uniforms: for (batch, K + 1, pixels), at s = -1 (batch, K, pixels), in [0, 1). Scores
    ///     are float64 when these or the log-probabilities are, else float32.
    ///   - output: x_s, (batch, pixels) `Int64`. Untouched when an error is thrown.
    /// - Throws: `ArgumentError` for shapes that disagree, a class out of range, NaN or +∞, a
    ///   column without mass.
    @export(interface)
    public func sampleGumbelMax(
        from p: LogProbabilities, given sample: ClassIndices?, uniforms: UniformSource,
        into output: OutputTensor,
        parallelism: Parallelism = Parallelism()
    ) throws(ArgumentError) {
        let observed = try checkedClasses(p, given: sample, uniforms: uniforms, output: output)
        guard p.batch > 0 && p.pixels > 0 else { return }
        let winners = try Scratch<Int32>(p.batch * p.pixels)
        // Scores are computed in the wider of the precisions of the two.
        if case .given(let uniforms) = uniforms, uniforms.elementType == .float64 {
            try raceInDouble(p, observed, uniforms, winners.pointer, parallelism)
        } else {
            try race(p, observed, uniforms, winners.pointer, parallelism)
        }
        output.write(winners.pointer, count: p.batch * p.pixels)
    }

    /// Checks the shapes of the arguments of a draw with Gumbel noise, and checks and returns the
    /// observed classes of the pixels.
    func checkedClasses(
        _ p: LogProbabilities, given sample: ClassIndices?, uniforms: UniformSource,
        output: OutputTensor
    ) throws(ArgumentError) -> Scratch<Int32> {
        try p.checkShape(Shape(-1, classes, -1))
        if case .given(let uniforms) = uniforms {
            try uniforms.checkShape(Shape(p.batch, classesWithNoise, p.pixels))
        }
        try output.checkShape(Shape(p.batch, p.pixels))
        return try observedClasses(sample, batch: p.batch, pixels: p.pixels)
    }

    /// The classes that have noise: all that can be drawn, perhaps the mask.
    var classesWithNoise: Int { drawsModelOutput ? classes : classes + 1 }

    /// Scores in double precision, uniforms too.
    private func raceInDouble(
        _ p: LogProbabilities, _ observed: borrowing Scratch<Int32>, _ uniforms: LogProbabilities,
        _ winners: UnsafeMutablePointer<Int32>, _ parallelism: Parallelism
    ) throws(ArgumentError) {
        try checkUniforms(Double.self, uniforms, parallelism: parallelism)
        let plan = try PosteriorCoefficients<Double>.of(
            self, p, sample: observed, parallelism: parallelism)
        let columns = try CopiedColumns<Double>(p)
        try forEachChunk(of: p, parallelism) { (row, chunk) throws(ArgumentError) in
            var noise = try UniformRows<Double>(uniforms, row: row, chunk: chunk)
            try race(
                DoubleNoise.self, columns, plan, row: row, chunk: chunk, pixels: p.pixels, &noise,
                winners)
        }
    }

    /// Uniforms in single precision, and scores but for log-probabilities in float64. With an
    /// engine's uniforms the model output is mostly read once, by `drawFromShortlists`.
    private func race(
        _ p: LogProbabilities, _ observed: borrowing Scratch<Int32>, _ uniforms: UniformSource,
        _ winners: UnsafeMutablePointer<Int32>, _ parallelism: Parallelism
    ) throws(ArgumentError) {
        let isDouble = p.elementType == .float64
        if case .mersenneTwister(let state) = uniforms, shortlistsPay, !isDouble {
            do throws(ArgumentError) {
                if try drawFromShortlists(
                    p, observed: observed.pointer, engine: state, winners, parallelism)
                {
                    return
                }
            } catch {
                // The race needs less memory.
                guard case .outOfMemory = error.problem else { throw error }
            }
        }
        if case .given(let uniforms) = uniforms {
            try checkUniforms(Float.self, uniforms, parallelism: parallelism)
        }
        if isDouble {
            try race(
                WidenedFloatNoise.self, try CopiedColumns(p), p, observed, uniforms, winners,
                parallelism)
        } else if StoredColumns.suit(p) {
            try race(
                FloatNoise.self, try StoredColumns(p), p, observed, uniforms, winners, parallelism)
        } else {
            try race(
                FloatNoise.self, try CopiedColumns(p), p, observed, uniforms, winners, parallelism)
        }
    }

    /// Races over the columns of p, with uniforms in single precision.
    private func race<Columns: RaceColumns & ~Copyable, Noise: GumbelNoise>(
        _: Noise.Type, _ columns: borrowing Columns, _ p: LogProbabilities,
        _ observed: borrowing Scratch<Int32>, _ uniforms: UniformSource,
        _ winners: UnsafeMutablePointer<Int32>, _ parallelism: Parallelism
    ) throws(ArgumentError) where Noise.Real == Columns.Real, Noise.Uniform == Float {
        // This refuses a bad model output before any uniform is drawn.
        let plan = try PosteriorCoefficients<Noise.Real>.of(
            self, p, sample: observed, parallelism: parallelism)
        try race(Noise.self, columns, plan, of: p, uniforms, winners, parallelism)
    }

    /// Races over the columns that a plan was made of, with uniforms in single precision.
    ///
    /// - Parameter p: of the shape of the columns.
    func race<Columns: RaceColumns & ~Copyable, Noise: GumbelNoise>(
        _: Noise.Type, _ columns: borrowing Columns,
        _ plan: borrowing PosteriorCoefficients<Columns.Real>, of p: LogProbabilities,
        _ uniforms: UniformSource, _ winners: UnsafeMutablePointer<Int32>,
        _ parallelism: Parallelism
    ) throws(ArgumentError) where Noise.Real == Columns.Real, Noise.Uniform == Float {
        switch uniforms {
        case .given(let uniforms):
            try forEachChunk(of: p, parallelism) { (row, chunk) throws(ArgumentError) in
                var noise = try UniformRows<Float>(uniforms, row: row, chunk: chunk)
                try race(
                    Noise.self, columns, plan, row: row, chunk: chunk, pixels: p.pixels, &noise,
                    winners)
            }
        case .mersenneTwister(let state):
            try forEachDrawnChunk(of: p, from: state, parallelism) {
                (row, chunk, engine) throws(ArgumentError) in
                var noise = try UniformRows(engine, pixels: chunk.count)
                try race(
                    Noise.self, columns, plan, row: row, chunk: chunk, pixels: p.pixels, &noise,
                    winners)
                return noise.engine!
            }
        case .function(let fill, let context):
            for row in 0..<p.batch {
                var noise = try UniformRows(fill, context: context, pixels: p.pixels)
                try race(
                    Noise.self, columns, plan, row: row, chunk: 0..<p.pixels, pixels: p.pixels,
                    &noise, winners)
            }
        }
    }

    private func race<Columns: RaceColumns & ~Copyable, Noise: GumbelNoise>(
        _: Noise.Type, _ columns: borrowing Columns,
        _ plan: borrowing PosteriorCoefficients<Columns.Real>, row: Int, chunk: Range<Int>,
        pixels: Int,
        _ uniforms: inout UniformRows<Noise.Uniform>, _ winners: UnsafeMutablePointer<Int32>
    ) throws(ArgumentError) where Noise.Real == Columns.Real {
        let start = row * plan.width + chunk.lowerBound
        var race = try ArgmaxRace<Noise>(
            row: row, chunk: chunk, observed: plan.classes.pointer + start, maskClass: classes)
        let coefficients = RaceCoefficients<Noise.Real>(
            signal: plan.signal.pointer + start, level: plan.level.pointer + start,
            logRatio: plan.logRatio.pointer + start,
            observed: plan.own.pointer + start,
            mask: drawsModelOutput ? nil : UnsafePointer(plan.mask.pointer + start),
            isLinear: isLinear)
        try race.run(columns, &uniforms, coefficients)
        for n in 0..<chunk.count { winners[row * pixels + chunk.lowerBound + n] = race.winner(n) }
    }

    /// Whether lists take less time than the race among all classes: from 64 classes in the middle
    /// of the chain, where one or two are listed for a pixel; from 1024 at s = -1, where some 17
    /// are.
    var shortlistsPay: Bool { classes >= (drawsModelOutput ? 1024 : 64) }

    /// Draws x_s by Gumbel-max with the uniforms of an engine, in one reading of the model output:
    /// the pass that draws the uniforms also brackets the masses of the columns and lists the
    /// classes that can win, one in a hundred or fewer.
    ///
    /// The greatest score of a pixel is log Σ_k p_k plus Gumbel noise, so that a class whose score
    /// is below a floor hardly ever wins. The log-probability and the uniform alone bound a score
    /// (`ScoreBounds`). Threads share out the stream of the engine (`StreamPieces`) and list the
    /// classes whose bounds exceed the floor (`ShortlistScan`). The thread that completes a batch
    /// row finds its winners (`ShortlistRace`): those of the plain formula.
    ///
    /// - Parameters:
    ///   - p: not of float64.
    ///   - observed: the observed classes of the pixels.
    ///   - state: of the engine; advanced when this returns true.
    /// - Returns: false, with the engine as it was and winners that mean nothing, when the lists of
    ///   a batch row prove nothing, or a column is bad.
    /// - Throws: `ArgumentError` when memory for the lists runs out.
    func drawFromShortlists(
        _ p: LogProbabilities, observed: UnsafePointer<Int32>,
        engine state: UnsafeMutablePointer<UInt32>,
        _ winners: UnsafeMutablePointer<Int32>, _ parallelism: Parallelism
    ) throws(ArgumentError) -> Bool {
        let threads = parallelism.threads(forWork: p.batch * p.classes * p.pixels)
        let pieces = try StreamPieces(batch: p.batch, classRows: classesWithNoise, threads: threads)
        let width = (p.pixels + 15) / 16 * 16
        let lanes = try PixelList.run(0..<p.pixels).laneGroups(
            pixelStride: p.pixelStride, elementSize: p.elementSize)
        let kinds = PixelKinds(self, floor: Double(ShortlistRace.floor))
        let buffer = ShortlistPart.roomPerPixel(in: pieces)
        let bytes = (ShortlistPart.bytes(width: width, roomPerPixel: buffer) + 63) / 64 * 64
        let memory = try Scratch<UInt8>(pieces.places * bytes)
        let parts = try Scratch<ShortlistPart>(pieces.places)
        for place in 0..<pieces.places {
            parts[place] = ShortlistPart(
                in: memory.pointer + place * bytes, width: width, roomPerPixel: buffer)
        }
        let arrived = try Scratch<Int64>(p.batch, filledWith: 0)
        let isProven = try Scratch<Bool>(p.batch, filledWith: false)
        let end = try Scratch<UInt32>(MersenneTwister.stateSize)
        try parallel(tasks: pieces.shares, threads: threads) { (share) throws(ArgumentError) in
            let words = try Scratch<UInt32>(MersenneTwister.workingSize)
            var engine = try MersenneTwister(state: state, in: words.pointer)
            var reader = try ShortlistReader(p, lanes: lanes.pointer)
            // Class rows behind the engine.
            var passed = 0
            while let piece = pieces.take(share: share) {
                engine.skip((pieces.start(of: piece) - passed) * p.pixels)
                passed = pieces.end(of: piece)
                let (row, place) = (pieces.row(of: piece), pieces.place(of: piece, share: share))
                let (classRows, ofRow) = (pieces.classRows(of: piece), pieces.pieces(ofRow: row))
                // A subscript would count as access to the parts of all threads.
                try reader.read(
                    row: row, classRows, observed: observed + row * p.pixels, kinds, &engine,
                    into: &(parts.pointer + place).pointee)
                if piece == pieces.count - 1 { engine.save(to: end.pointer) }
                guard vqd_arrive(arrived.pointer + row) == ofRow.count - 1 else { continue }
                let all = RowParts(
                    first: parts.pointer + pieces.place(of: ofRow.lowerBound, share: share),
                    count: ofRow.count)
                let race = ShortlistRace(
                    self, kinds: kinds, pixels: p.pixels, observed: observed + row * p.pixels, all)
                isProven[row] = try decide(
                    race, all, p, row: row, observed: observed + row * p.pixels,
                    into: winners + row * p.pixels)
            }
        }
        for row in 0..<p.batch where !isProven[row] { return false }
        state.update(from: end.pointer, count: MersenneTwister.stateSize)
        return true
    }

    /// Finds the winners of a batch row; adds up the masses of the few columns where they depend on
    /// them.
    ///
    /// - Returns: false when the lists prove nothing.
    private func decide(
        _ race: ShortlistRace, _ parts: RowParts, _ p: LogProbabilities, row: Int,
        observed: UnsafePointer<Int32>,
        into winners: UnsafeMutablePointer<Int32>
    ) throws(ArgumentError) -> Bool {
        let open = try Scratch<Int32>(p.pixels)
        guard let count = try race.run(into: winners, open: open.pointer) else { return false }
        guard count > 0 else { return true }
        let selection = PixelList.selection(open.pointer, count: count)
        let classes = try Scratch<Int32>(count)
        for c in 0..<count { classes[c] = observed[selection[c]] }
        let plan = try PosteriorCoefficients<Float>(self, batch: 1, pixels: count, sample: classes)
        let excluded = try excludedClasses(plan.classes.pointer, count: count)
        let sums = try BlockSums<Float>.of(
            p, row: row, columns: selection, excluded: excluded.pointer)
        for c in 0..<count {
            try plan.set(
                self, p, at: c, row: row, pixel: selection[c], own: excluded[c],
                others: sums.total(column: c))
        }
        return try CandidateRace(self, selection: selection, pixels: p.pixels).run(
            parts, plan, into: winners)
    }
}
