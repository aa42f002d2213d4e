import CVQDiffusion

/// The columns of a few groups of sixteen pixels, next to each other so that they stay in the second-level cache while they are gone over again and again.
struct TruncationTile<E: FloatingElement>: ~Copyable {
    typealias V = E.Real.Vector

    let classes: Int
    /// The log-probabilities, K vectors for each group.
    let elements: Scratch<E.Real>
    /// The exponentials of those of one group.
    private let masses: Scratch<E.Real>
    private let search: TruncationSearch<E>
    /// What `findThresholds` has found, for `truncate`.
    private let thresholds: Scratch<E.Real>
    private let lasts: Scratch<Int32>

    /// How many groups are best worked on together: whole cache lines and pages of rows favour many, the cache few.
    static func groups(classes: Int) -> Int {
        max(1, min(4, (1 << 20) / max(classes * 16 * MemoryLayout<E.Real>.size, 1)))
    }

    init(classes: Int, groups: Int, rate: Double) throws(ArgumentError) {
        let elements = try Scratch<E.Real>(groups * classes * 16)
        let masses = try Scratch<E.Real>(classes * 16)
        let search = try TruncationSearch<E>(classes: classes, rate: rate)
        let thresholds = try Scratch<E.Real>(16)
        let lasts = try Scratch<Int32>(16)
        self.classes = classes
        self.elements = elements
        self.masses = masses
        self.search = search
        self.thresholds = thresholds
        self.lasts = lasts
    }

    /// Copies the columns of some groups.
    func load(_ p: LogProbabilities, row: Int, lanes: UnsafePointer<LaneGroup>, groups: Range<Int>) {
        let base = p.pointer(row: row)
        forEachBlock(classes: 0..<classes, groups: groups, alongPixels: p.pixelStride == E.size) { first, count, group in
            lanes[group].load(
                E.self, row: base, classStride: p.classStride, first: first, count: count,
                into: elements.pointer + ((group &- groups.lowerBound) &* classes &+ first) &* 16)
        }
    }

    /// Finds where to truncate the columns of a group of the tile, counted from 0, after taking `normaliser` off their log-probabilities.
    ///
    /// - Returns: false when a column has NaN or +∞, or no mass. Nothing has been found then.
    func findThresholds(
        group: Int, less normaliser: V, thresholds: UnsafeMutablePointer<E.Real>, lasts: UnsafeMutablePointer<Int32>
    ) -> Bool {
        let elements = elements.pointer + group * classes * 16
        var largest = V(repeating: -.infinity)
        var total = DoubleVector(repeating: 0)
        var at = 0
        while at < classes &* 16 {
            let end = min(at &+ blockOfClasses &* 16, classes &* 16)
            var part = V(repeating: 0)
            while at < end {
                let x = V(at: elements + at) - normaliser
                let mass = V.exp(x)
                x.store(at: elements + at)
                mass.store(at: masses.pointer + at)
                largest = .greater(largest, x)
                part = part + mass
                at &+= 16
            }
            total = total + part.widened
        }
        for lane in 0..<16 where !(largest[lane].isFinite && total[lane] >= 0) { return false }
        search.run(
            elements: elements, masses: masses.pointer, largest: largest, total: total, thresholds: thresholds, lasts: lasts)
        return true
    }

    /// Truncates the columns of a group of the tile after taking `normaliser` off, and writes the rows of their classes.
    ///
    /// - Parameters:
    ///   - floor: what is below is raised to this.
    ///   - rowStride: elements from one class to the next in the output.
    ///   - count: pixels to write.
    /// - Returns: as `findThresholds`. Nothing has been written then.
    func truncate(
        group: Int, less normaliser: V, floor: V, into output: UnsafeMutablePointer<E.Real>, rowStride: Int, count: Int
    ) -> Bool {
        guard findThresholds(group: group, less: normaliser, thresholds: thresholds.pointer, lasts: lasts.pointer) else { return false }
        let elements = elements.pointer + group * classes * 16
        let threshold = V(at: thresholds.pointer)
        let last = UnsafeRawPointer(lasts.pointer).loadUnaligned(as: SIMD16<Int32>.self)
        var target = output
        var k = 0
        while k < classes {
            let x = V(at: elements + k &* 16).truncated(at: threshold, index: k, last: last)
            V.greater(x, floor).store(to: target, count: count)
            target += rowStride
            k &+= 1
        }
        return true
    }
}

/// Calls `body` for tiles of groups of sixteen pixels of every batch row, with a tile for each thread to work in.
func forEachTile<E: FloatingElement>(
    _: E.Type, batch: Int, classes: Int, pixels: Int, rate: Double, threads: Int,
    _ body: (_ row: Int, _ groups: Range<Int>, _ tile: borrowing TruncationTile<E>) throws(ArgumentError) -> Void
) throws(ArgumentError) {
    let groups = (pixels + 15) / 16
    // At least a tile for each thread.
    let perTile = min(TruncationTile<E>.groups(classes: classes), max(1, batch * groups / threads))
    let perRow = (groups + perTile - 1) / perTile
    let workers = min(threads, batch * perRow)
    try parallel(tasks: workers, threads: threads) { (worker) throws(ArgumentError) in
        let tile = try TruncationTile<E>(classes: classes, groups: perTile, rate: rate)
        for at in stride(from: worker, to: batch * perRow, by: workers) {
            let first = at % perRow * perTile
            try body(at / perRow, first..<min(first + perTile, groups), tile)
        }
    }
}
