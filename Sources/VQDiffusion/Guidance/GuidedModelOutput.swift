import CVQDiffusion

/// A model's output with and without its condition, and how to prepare it for a step: by guidance
/// (see `guide`), then truncation (see `truncate`).
public struct GuidedModelOutput {
    /// Log-probabilities of x_0 without the condition, (batch, K, pixels); nil where there is no
    /// guidance.
    public var unconditional: LogProbabilities?
    /// Log-probabilities with the condition, the same shape and element type.
    public var conditional: LogProbabilities
    /// The scale of guidance; ignored where there is none.
    public var guidanceScale: Double
    public var truncationRate: Double
    /// Lower log-probabilities are raised to this.
    public var floor: Double
    /// The most classes of a pixel to keep; nil for any number. The rate is then a share of their
    /// mass.
    public var topK: Int?
    /// What log-probabilities are divided by after guidance, and normalised again, before classes
    /// are dropped; at 1 nothing happens.
    public var temperature: Double

    public init(
        unconditional: LogProbabilities?, conditional: LogProbabilities, guidanceScale: Double,
        truncationRate: Double, floor: Double = -70, topK: Int? = nil, temperature: Double = 1
    ) {
        self.unconditional = unconditional
        self.conditional = conditional
        self.guidanceScale = guidanceScale
        self.truncationRate = truncationRate
        self.floor = floor
        self.topK = topK
        self.temperature = temperature
    }

    /// Whether the columns are those of the conditional output as they are.
    var isPlain: Bool { unconditional == nil && temperature == 1 }

    /// - Throws: `ArgumentError` for shapes or element types that disagree, and as `guide` and
    ///   `truncate` for the numbers.
    func check(classes: Int) throws(ArgumentError) {
        try conditional.checkShape(Shape(-1, classes, -1))
        if let unconditional {
            try checkGuidance(
                unconditional, conditional, scale: guidanceScale, name: "guidance_scale")
        }
        try checkTruncation(
            rate: truncationRate, name: "truncation_rate", floor: floor, topK: topK,
            temperature: temperature)
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

    /// The guided and truncated log-probabilities of some pixels, (1, K, count).
    func prepared(for selection: borrowing PixelSelection, parallelism: Parallelism)
        throws(ArgumentError) -> PreparedModelOutput
    {
        let rows = try selection.rows()
        return try prepared(
            batch: 1, columns: selection.count,
            selection: (UnsafePointer(rows.pointer), UnsafePointer(selection.list.pointer)),
            parallelism)
    }

    /// Writes the guided and truncated log-probabilities of all pixels, (batch, K, pixels).
    func write(into output: OutputTensor, parallelism: Parallelism) throws(ArgumentError) {
        let result = try prepared(parallelism: parallelism)
        output.base.copyMemory(from: result.view.base, byteCount: result.byteCount)
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
        if conditional.elementType == .float64 {
            try preparation.run(Double.self, into: result.memory.pointer)
        } else {
            try preparation.run(Float.self, into: result.memory.pointer)
        }
        return result
    }
}

/// Guided and truncated log-probabilities, and their memory.
struct PreparedModelOutput: ~Copyable {
    fileprivate let memory: Scratch<UInt8>
    /// Valid only as long as the memory.
    let view: LogProbabilities

    var byteCount: Int { view.batch * view.batchStride }

    /// - Parameter p: the conditional model output, which errors name.
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

/// One preparation of a `GuidedModelOutput`: of all pixels, or of a selection.
struct Preparation {
    let output: GuidedModelOutput
    let batch, columns: Int
    let selection: (rows: UnsafePointer<Int32>, pixels: UnsafePointer<Int32>)?
    let parallelism: Parallelism

    func run<Real: RealScalar>(_: Real.Type, into memory: UnsafeMutableRawPointer)
        throws(ArgumentError)
    {
        let result = memory.assumingMemoryBound(to: Real.self)
        let (classes, floor) = (
            output.conditional.classes, Real.Vector(repeating: Real(output.floor))
        )
        try forEachGroup(Real.self, try guidedColumns(Real.self)) { row, group, tile, at, _ in
            tile.truncate(
                group: at, floor: floor, into: result + (row * classes * columns + group * 16),
                classStride: columns,
                count: min(16, columns - group * 16))
        }
    }

    /// The columns that guidance combines. Without guidance both are the conditional ones, c, of
    /// which c + 1 (c - c) is c itself.
    func guidedColumns<Real: RealScalar>(_: Real.Type) throws(ArgumentError) -> GuidedColumns<Real>
    {
        let unconditional = output.unconditional ?? output.conditional
        return GuidedColumns<Real>(
            unconditional, output.conditional,
            scale: output.unconditional == nil ? 1 : output.guidanceScale,
            temperature: output.temperature,
            lanesOfUnconditional: try laneGroups(unconditional),
            lanesOfConditional: try laneGroups(output.conditional))
    }

    /// Calls `body` for every group of sixteen columns, with a tile that has been weighed for it.
    ///
    /// - Parameter body: gets the batch row, the group, the tile, the index of the group in the
    ///   tile, and the logarithms of the masses of its guided columns, which are subtracted.
    /// - Throws: `ArgumentError` for a column with NaN or +∞, or without mass.
    func forEachGroup<Real: RealScalar>(
        _: Real.Type, _ guided: borrowing GuidedColumns<Real>,
        _ body: (
            _ row: Int, _ group: Int, _ tile: borrowing TruncationTile<Real>, _ at: Int,
            _ normalisers: UnsafePointer<Real>
        ) -> Void
    ) throws(ArgumentError) {
        let p = output.conditional
        let groups = (columns + 15) / 16
        let bad = try Scratch<Bool>(batch * groups, filledWith: false)
        let threads = parallelism.threads(forWork: batch * p.classes * columns)
        try forEachTile(
            Real.self, batch: batch, classes: p.classes, pixels: columns,
            rate: output.truncationRate,
            topK: output.topK, threads: threads
        ) { (row, range, tile) throws(ArgumentError) in
            let normalisers = try Scratch<Real>(range.count * 16, filledWith: 0)
            let block = try Scratch<Real>(blockOfClasses * 16)
            let buffer = try Scratch<Real>(blockOfClasses * 16)
            var isGood = true
            if output.isPlain {
                forEachBlock(
                    classes: 0..<p.classes, groups: range,
                    alongPixels: p.pixelStride == p.elementSize
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
            // Groups whose lists may be too short.
            let left = try Scratch<Bool>(range.count, filledWith: true)
            var isAnyLeft: Bool
            repeat {
                isAnyLeft = false
                for group in range where left[group - range.lowerBound] {
                    let at = group - range.lowerBound
                    let weighed =
                        isGood
                        ? tile.weigh(
                            group: at, less: Real.Vector(at: normalisers.pointer + at * 16))
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
                    if output.isPlain {
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
            if output.isPlain {
                _ = try largestElement(p, row: row, pixel: pixel)
            } else {
                try guided.checkColumn(row: row, pixel: pixel)
            }
        }
    }

    /// The offsets of the columns in a batch row, or, when they are a selection, in the whole
    /// tensor.
    private func laneGroups(_ p: LogProbabilities) throws(ArgumentError) -> Scratch<LaneGroup> {
        guard let selection else {
            return try PixelList.run(0..<columns).laneGroups(
                pixelStride: p.pixelStride, elementSize: p.elementSize)
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
            lanes[group] = LaneGroup(offsets: offsets, elementSize: p.elementSize)
        }
        return lanes
    }

    /// Calls `check`, which throws for a bad column, for all columns of bad groups.
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
        // Not reached: each bad group has a column that `check` refuses.
        if isAnyBad { throw ArgumentError(output.conditional.name, .notANumber) }
    }
}
