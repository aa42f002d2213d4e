import CVQDiffusion

/// A model's output with and without its condition, and what is done to it before a step: guidance
/// (see `guide`), then truncation (see `truncate`).
public struct GuidedModelOutput {
    /// Log-probabilities of x_0 without the condition, (batch, K, pixels); nil where there is no
    /// guidance.
    public var unconditional: LogProbabilities?
    /// Log-probabilities with the condition, the same shape and element type.
    public var conditional: LogProbabilities
    /// How far guidance goes; not looked at without.
    public var guidanceScale: Double
    public var truncationRate: Double
    /// What log-probabilities below are raised to.
    public var floor: Double

    public init(
        unconditional: LogProbabilities?, conditional: LogProbabilities, guidanceScale: Double,
        truncationRate: Double, floor: Double = -70
    ) {
        self.unconditional = unconditional
        self.conditional = conditional
        self.guidanceScale = guidanceScale
        self.truncationRate = truncationRate
        self.floor = floor
    }

    /// - Throws: `ArgumentError` for shapes or element types that disagree, and as `guide` and
    ///   `truncate` for the numbers.
    func check(classes: Int) throws(ArgumentError) {
        try conditional.checkShape(Shape(-1, classes, -1))
        if let unconditional {
            try checkGuidance(
                unconditional, conditional, scale: guidanceScale, name: "guidance_scale")
        }
        try checkTruncation(rate: truncationRate, name: "truncation_rate", floor: floor)
    }

    /// The guided and truncated log-probabilities of all pixels, (batch, K, pixels).
    func prepared(parallelism: Parallelism) throws(ArgumentError) -> PreparedModelOutput {
        try prepared(
            batch: conditional.batch, columns: conditional.pixels, selection: nil, parallelism)
    }

    /// The guided and truncated log-probabilities of the pixels whose columns a step needs, (1, K,
    /// count).
    func prepared(for decision: borrowing StepDecision, parallelism: Parallelism)
        throws(ArgumentError) -> PreparedModelOutput
    {
        let rows = try Scratch<Int32>(decision.count)
        for row in 0..<(decision.pixels > 0 ? decision.batch : 0) {
            for at in decision.starts[row]..<decision.starts[row + 1] {
                rows[at] = Int32(truncatingIfNeeded: row)
            }
        }
        return try prepared(
            batch: 1, columns: decision.count,
            selection: (UnsafePointer(rows.pointer), UnsafePointer(decision.needed.pointer)),
            parallelism)
    }

    /// - Parameter selection: row and pixel of each column; nil when the columns are the pixels of
    ///   every batch row.
    private func prepared(
        batch: Int, columns: Int,
        selection: (rows: UnsafePointer<Int32>, pixels: UnsafePointer<Int32>)?,
        _ parallelism: Parallelism
    ) throws(ArgumentError) -> PreparedModelOutput {
        let result = try PreparedModelOutput(conditional, batch: batch, columns: columns)
        guard batch > 0 && columns > 0 else { return result }
        let preparation = Preparation(
            output: self, batch: batch, columns: columns, selection: selection,
            parallelism: parallelism)
        switch conditional.elementType {
        case .float16: try preparation.run(HalfElement.self, into: result.memory.pointer)
        case .bfloat16: try preparation.run(BrainElement.self, into: result.memory.pointer)
        case .float32: try preparation.run(Float.self, into: result.memory.pointer)
        case .float64: try preparation.run(Double.self, into: result.memory.pointer)
        }
        return result
    }
}

/// Log-probabilities that are ready for a step, and their memory.
struct PreparedModelOutput: ~Copyable {
    fileprivate let memory: Scratch<UInt8>
    /// Not to be used after the memory is gone.
    let view: LogProbabilities

    /// - Parameter p: what they are made from; errors will name it.
    fileprivate init(_ p: LogProbabilities, batch: Int, columns: Int) throws(ArgumentError) {
        let isDouble = p.elementType == .float64
        let size = isDouble ? 8 : 4
        memory = try Scratch(batch * p.classes * columns * size)
        vqd_expect_writes(memory.pointer, batch * p.classes * columns * size)
        view = LogProbabilities(
            name: p.name, base: UnsafeRawPointer(memory.pointer),
            elementType: isDouble ? .float64 : .float32,
            shape: (batch, p.classes, columns),
            strides: (p.classes * columns * size, columns * size, size))
    }
}

/// One preparation of a `GuidedModelOutput`, whatever its element type.
struct Preparation {
    let output: GuidedModelOutput
    let batch, columns: Int
    let selection: (rows: UnsafePointer<Int32>, pixels: UnsafePointer<Int32>)?
    let parallelism: Parallelism

    func run<E: FloatingElement>(_: E.Type, into memory: UnsafeMutableRawPointer)
        throws(ArgumentError)
    {
        let result = memory.assumingMemoryBound(to: E.Real.self)
        let (classes, floor) = (
            output.conditional.classes, E.Real.Vector(repeating: E.Real(output.floor))
        )
        try forEachGroup(E.self, try guidedColumns(E.self)) { row, group, tile, at, _ in
            tile.truncate(
                group: at, floor: floor, into: result + (row * classes * columns + group * 16),
                rowStride: columns,
                count: min(16, columns - group * 16))
        }
    }

    /// The columns as guidance combines them; without guidance the conditional ones as they are.
    func guidedColumns<E: FloatingElement>(_: E.Type) throws(ArgumentError) -> GuidedColumns<E> {
        let unconditional = output.unconditional ?? output.conditional
        return GuidedColumns<E>(
            unconditional, output.conditional,
            scale: output.unconditional == nil ? 1 : output.guidanceScale,
            lanesOfUnconditional: try laneGroups(E.self, unconditional),
            lanesOfConditional: try laneGroups(E.self, output.conditional))
    }

    /// Calls `body` for every group of sixteen columns, with a tile that has been weighed for it.
    ///
    /// - Parameter body: gets the batch row, the group, the tile, where in it the group is, and the
    ///   sixteen logarithms that guidance has taken off.
    /// - Throws: `ArgumentError` for a column with NaN or +∞, or without mass.
    func forEachGroup<E: FloatingElement>(
        _: E.Type, _ guided: borrowing GuidedColumns<E>,
        _ body: (
            _ row: Int, _ group: Int, _ tile: borrowing TruncationTile<E>, _ at: Int,
            _ normalisers: UnsafePointer<E.Real>
        ) -> Void
    ) throws(ArgumentError) {
        let p = output.conditional
        let groups = (columns + 15) / 16
        let bad = try Scratch<Bool>(batch * groups, filledWith: false)
        let threads = parallelism.threads(forWork: batch * p.classes * columns)
        try forEachTile(
            E.self, batch: batch, classes: p.classes, pixels: columns, rate: output.truncationRate,
            threads: threads
        ) { (row, range, tile) throws(ArgumentError) in
            let normalisers = try Scratch<E.Real>(range.count * 16, filledWith: 0)
            let block = try Scratch<E.Real>(blockOfClasses * 16)
            let buffer = try Scratch<E.Real>(blockOfClasses * 16)
            var isGood = true
            if output.unconditional == nil {
                forEachBlock(
                    classes: 0..<p.classes, groups: range, alongPixels: p.pixelStride == E.size
                ) { first, count, group in
                    guided.loadConditional(
                        row: row, group: group, first: first, count: count, into: block.pointer)
                    tile.enter(
                        block.pointer, first: first, count: count, group: group &- range.lowerBound)
                }
            } else {
                isGood = try guided.normalise(row: row, groups: range, into: normalisers.pointer) {
                    at, block, first, count, largest in
                    tile.enter(block, first: first, count: count, group: at, largest: largest)
                }
            }
            // Groups of which not enough has been listed yet.
            let left = try Scratch<Bool>(range.count, filledWith: true)
            var isAnyLeft: Bool
            repeat {
                isAnyLeft = false
                for group in range where left[group - range.lowerBound] {
                    let at = group - range.lowerBound
                    let weighed =
                        isGood
                        ? tile.weigh(
                            group: at, less: E.Real.Vector(at: normalisers.pointer + at * 16))
                        : .bad
                    bad[row * groups + group] = weighed != .good
                    left[at] = weighed == .short
                    isAnyLeft = isAnyLeft || weighed == .short
                    if weighed == .good {
                        body(row, group, tile, at, normalisers.pointer + at * 16)
                    }
                }
                guard isAnyLeft else { continue }
                forEachBlock(classes: 0..<p.classes, groups: range, alongPixels: guided.alongPixels)
                { first, count, group in
                    guard left[group &- range.lowerBound] else { return }
                    if output.unconditional == nil {
                        guided.loadConditional(
                            row: row, group: group, first: first, count: count, into: block.pointer)
                    } else {
                        guided.combine(
                            row: row, group: group, first: first, count: count, exact: true,
                            into: block.pointer, buffer: buffer.pointer)
                    }
                    tile.enter(
                        block.pointer, first: first, count: count, group: group &- range.lowerBound,
                        all: true)
                }
            } while isAnyLeft
        }
        try forEachBad(bad, groups) { (row, pixel) throws(ArgumentError) in
            if output.unconditional == nil {
                _ = try largestElement(E.self, p, row: row, pixel: pixel)
            } else {
                try guided.checkColumn(row: row, pixel: pixel)
            }
        }
    }

    /// Where the columns are in a batch row, or, when they are a selection, in the whole tensor.
    private func laneGroups<E: FloatingElement>(_: E.Type, _ p: LogProbabilities)
        throws(ArgumentError) -> Scratch<LaneGroup>
    {
        guard let selection else {
            return try PixelList.run(0..<columns).laneGroups(
                pixelStride: p.pixelStride, elementSize: E.size)
        }
        let groups = (columns + 15) / 16
        let lanes = try Scratch<LaneGroup>(groups)
        for group in 0..<groups {
            var offsets = SIMD16<Int>()
            for lane in 0..<16 {
                let column = min(group * 16 + lane, columns - 1)
                offsets[lane] =
                    Int(selection.rows[column]) * p.batchStride + Int(selection.pixels[column])
                    * p.pixelStride
            }
            lanes[group] = LaneGroup(offsets: offsets, elementSize: E.size)
        }
        return lanes
    }

    /// Calls `check`, which finds out what is wrong with a column, for those of groups where
    /// something may be.
    private func forEachBad(
        _ bad: borrowing Scratch<Bool>, _ groups: Int,
        _ check: (_ row: Int, _ pixel: Int) throws(ArgumentError) -> Void
    ) throws(ArgumentError) {
        var isAnyBad = false
        for at in 0..<batch * groups where bad[at] {
            isAnyBad = true
            let first = at % groups * 16
            for column in first..<min(first + 16, columns) {
                if let selection {
                    try check(Int(selection.rows[column]), Int(selection.pixels[column]))
                } else {
                    try check(at / groups, column)
                }
            }
        }
        // Each of them has a column that `check` refuses.
        if isAnyBad { throw ArgumentError(output.conditional.name, .notANumber) }
    }
}
