/// The uniforms that an engine draws for a chunk of pixels of one batch row, class row after class
/// row.
///
/// All chunks of a batch row draw from one stream. Each passes over the uniforms of the others: it
/// repeats their twists, but not the work on single uniforms.
struct EngineRows {
    private var engine: MersenneTwister
    private let pixels: Int
    /// Uniforms before the first of the chunk, between one class row of the chunk and the next, and
    /// behind the last.
    private let before, between: Int
    private var hasBegun = false

    /// - Parameters:
    ///   - engine: in its state at the start of the batch row.
    ///   - pixels: how many the whole batch row has.
    init(_ engine: MersenneTwister, chunk: Range<Int>, pixels: Int) {
        self.engine = engine
        self.pixels = chunk.count
        before = chunk.lowerBound
        between = pixels - chunk.count
    }

    /// Writes the next class row's uniforms. May write fifteen more behind them.
    mutating func next(into uniforms: UnsafeMutablePointer<Float>) {
        engine.skip(hasBegun ? between : before)
        hasBegun = true
        engine.fill(uniforms, count: pixels)
    }

    /// Saves the engine in its state at the end of the batch row. All class rows must have been
    /// drawn.
    mutating func save(to state: UnsafeMutablePointer<UInt32>) {
        engine.skip(between - before)
        engine.save(to: state)
    }
}

extension ReverseStep {
    /// Calls `body` for every batch row and every chunk of its pixels with the uniforms that an
    /// engine draws for the chunk; it returns them as it has left them. When all have succeeded,
    /// the engine is advanced to the end of the last batch row.
    ///
    /// No more chunks than threads: each goes through the whole stream of its batch row.
    func forEachDrawnChunk(
        of p: LogProbabilities, from state: UnsafeMutablePointer<UInt32>,
        _ parallelism: Parallelism,
        _ body: (_ row: Int, _ chunk: Range<Int>, _ engine: EngineRows) throws(ArgumentError)
            -> EngineRows
    ) throws(ArgumentError) {
        let states = try engineStates(state, p)
        let end = states.pointer + p.batch * MersenneTwister.stateSize
        try forEachChunk(of: p, parallelism, widest: p.pixels) {
            (row, chunk) throws(ArgumentError) in
            let memory = try Scratch<UInt32>(MersenneTwister.workingSize)
            let engine = try MersenneTwister(
                state: states.pointer + row * MersenneTwister.stateSize, in: memory.pointer)
            var rows = try body(row, chunk, EngineRows(engine, chunk: chunk, pixels: p.pixels))
            if row == p.batch - 1 && chunk.lowerBound == 0 { rows.save(to: end) }
        }
        state.update(from: end, count: MersenneTwister.stateSize)
    }

    /// The states of an engine at the start of every batch row, and room for one more.
    private func engineStates(_ state: UnsafePointer<UInt32>, _ p: LogProbabilities)
        throws(ArgumentError) -> Scratch<UInt32>
    {
        let states = try Scratch<UInt32>((p.batch + 1) * MersenneTwister.stateSize)
        let memory = try Scratch<UInt32>(MersenneTwister.workingSize)
        var engine = try MersenneTwister(state: state, in: memory.pointer)
        for row in 0..<p.batch {
            if row > 0 { engine.skip(classesWithNoise * p.pixels) }
            engine.save(to: states.pointer + row * MersenneTwister.stateSize)
        }
        return states
    }
}
