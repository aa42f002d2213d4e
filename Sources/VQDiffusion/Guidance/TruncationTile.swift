import CVQDiffusion

/// The columns of a few groups of sixteen pixels, next to each other so that they stay about the second-level cache while they are gone over again and again.
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

    /// How many groups are best worked on together: reading long pieces of rows favours many, the second-level cache few. Two MB were faster than one or four.
    static func groups(classes: Int) -> Int {
        max(1, min(8, (1 << 21) / max(classes * 16 * MemoryLayout<E.Real>.size, 1)))
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

    /// Truncates the columns of a group of the tile after taking `normaliser` off, and writes down no more than what a draw from them needs.
    ///
    /// - Parameters:
    ///   - floor: what is below is raised to this.
    ///   - apart: for each column the class whose mass is not among the others', K for none.
    ///   - kept: for each class which of the sixteen columns hold more than the floor, as bits.
    ///   - others: the mass of each column but for the class apart, in the bits that `BlockSums` finds for the truncated columns.
    ///   - own: the log-probability of the class apart, truncated too; -∞ for none.
    /// - Returns: as `findThresholds`. Nothing has been written then.
    func keep(
        group: Int, less normaliser: V, floor: V, apart: UnsafePointer<Int32>, kept: UnsafeMutablePointer<UInt16>,
        others: UnsafeMutablePointer<Double>, own: UnsafeMutablePointer<E.Real>
    ) -> Bool {
        guard findThresholds(group: group, less: normaliser, thresholds: thresholds.pointer, lasts: lasts.pointer) else { return false }
        let elements = elements.pointer + group * classes * 16
        let threshold = V(at: thresholds.pointer)
        let last = UnsafeRawPointer(lasts.pointer).loadUnaligned(as: SIMD16<Int32>.self)
        let excluded = UnsafeRawPointer(apart).loadUnaligned(as: SIMD16<Int32>.self)
        let massOfFloor = V.exp(floor)
        let massOfNothing = V.exp(V(repeating: -.infinity))
        let most = V(repeating: .greatestFiniteMagnitude)
        // Added up as `BlockSums` does: eight classes, then those sums over a block, then the blocks in double precision.
        let blockRows = BlockSums<E>.blockRows(classes: classes)
        var total = DoubleVector(repeating: 0)
        var k = 0
        while k < classes {
            let endOfBlock = min(k &+ blockRows, classes)
            var block = V(repeating: 0)
            while k < endOfBlock {
                let end = min(k &+ 8, endOfBlock)
                var sum = V(repeating: 0)
                while k < end {
                    let x = V(at: elements + k &* 16)
                    let index = Int32(truncatingIfNeeded: k)
                    let bits = x.lanesKept(above: threshold, index: index, last: last) & x.lanes(above: floor, upTo: most)
                    kept[k] = bits
                    let mass = V(at: masses.pointer + k &* 16).kept(where: bits, else: massOfFloor)
                    sum = sum + mass.replacing(with: massOfNothing, where: excluded, equals: index)
                    k &+= 1
                }
                block = block + sum
            }
            total = total + block.widened
        }
        total.store(at: others)
        for lane in 0..<16 {
            let k = Int(apart[lane])
            let isKept = k < classes && kept[k] & (1 << UInt16(lane)) != 0
            own[lane] = isKept ? elements[k * 16 + lane] : k < classes ? floor[lane] : -.infinity
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
    let tiles = batch * perRow
    let done = try Scratch<Int64>(1, filledWith: 0)
    try parallel(tasks: min(threads, tiles), threads: threads) { (_) throws(ArgumentError) in
        let tile = try TruncationTile<E>(classes: classes, groups: perTile, rate: rate)
        // Whoever is free takes the next.
        var at = Int(vqd_next(done.pointer))
        while at < tiles {
            let first = at % perRow * perTile
            try body(at / perRow, first..<min(first + perTile, groups), tile)
            at = Int(vqd_next(done.pointer))
        }
    }
}
