import CVQDiffusion

/// Sums of exponentials over blocks of classes, for a set of columns (pixels of one batch row).
///
/// One class of each column can be left out: the posterior needs the mass of all classes but the
/// observed one, and subtracting it from the whole would lose everything where it dominates. The
/// blocks serve the inversion of the cumulative distribution, which then rescans a single block.
///
/// Accuracy: an exponential is good to 2 ulp, eight are added to each other and a block adds
/// blockRows/8 of those: some 5e-7 relative at 64 rows, with the blocks themselves added in double
/// precision.
struct BlockSums<Real: RealScalar>: ~Copyable {
    /// Classes whose sums of exponentials are added to each other before they enter that of a
    /// block.
    static var rowsAtOnce: Int { 8 }
    /// Classes in a block.
    let blockRows: Int
    let blocks: Int
    /// Columns, rounded up to whole lane groups.
    let width: Int
    /// The sums, `sums[block * width + column]`.
    let sums: Scratch<Real>

    /// Near the square root of the number of classes, where sums and rescans cost alike; a multiple
    /// of 16 for the vectors along classes.
    static func blockRows(classes: Int) -> Int {
        max(64, Int(Double(classes).squareRoot() / 16) * 16)
    }

    /// - Parameters:
    ///   - columns: the pixels whose columns to sum.
    ///   - excluded: for each column the class to leave out (an index ≥ K leaves out none),
    ///     readable up to the next multiple of 16.
    static func of(
        _ p: LogProbabilities, row: Int, columns: PixelList, excluded: UnsafePointer<Int32>
    ) throws(ArgumentError) -> BlockSums {
        let result = try BlockSums(classes: p.classes, columns: columns.count)
        let parts = BlockSumsOfColumns(
            p: p, row: row, columns: columns, excluded: excluded, blockRows: result.blockRows,
            blocks: result.blocks, width: result.width,
            sums: UnsafeMutableRawPointer(result.sums.pointer))
        let isWidened = MemoryLayout<Real>.size == 8
        switch p.elementType {
        case .float16 where isWidened: try parts.add(Widened<HalfElement>.self)
        case .float16: try parts.add(HalfElement.self)
        case .bfloat16 where isWidened: try parts.add(Widened<BrainElement>.self)
        case .bfloat16: try parts.add(BrainElement.self)
        case .float32 where isWidened: try parts.add(Widened<Float>.self)
        case .float32: try parts.add(Float.self)
        case .float64: try parts.add(Double.self)
        }
        return result
    }

    private init(classes: Int, columns: Int) throws(ArgumentError) {
        let blockRows = Self.blockRows(classes: classes)
        let blocks = (classes + blockRows - 1) / blockRows
        let width = (columns + 15) / 16 * 16
        sums = try Scratch(blocks * width)
        self.blockRows = blockRows
        self.blocks = blocks
        self.width = width
    }

    /// The mass of a column, the left-out class not counted.
    func total(column: Int) -> Double {
        var total = 0.0
        for block in 0..<blocks { total += sums[block &* width &+ column].asDouble }
        return total
    }
}

/// The columns that `BlockSums` adds up, and where their sums go.
private struct BlockSumsOfColumns {
    let p: LogProbabilities
    let row: Int
    let columns: PixelList
    let excluded: UnsafePointer<Int32>
    let blockRows, blocks, width: Int
    let sums: UnsafeMutableRawPointer

    func add<E: FloatingElement>(_: E.Type) throws(ArgumentError) {
        let sums = sums.assumingMemoryBound(to: E.Real.self)
        // A column whose classes are neighbours in memory is read along the classes, unless whole
        // rows of pixels are dense too.
        if p.classStride == E.size && p.pixelStride != E.size {
            alongClasses(E.self, sums)
        } else {
            try alongPixels(E.self, sums)
        }
    }

    /// One vector is one class of sixteen pixels. Whole rows are walked eight at a time: column by
    /// column, class rows 4096 bytes apart would share one set of the cache, and each would need
    /// its own page. Last block first, so that the next pass, from the first class on, hits the
    /// cache.
    @_optimize(speed)
    private func alongPixels<E: FloatingElement>(
        _: E.Type, _ sums: UnsafeMutablePointer<E.Real>
    ) throws(ArgumentError) {
        let groups = width / 16
        let lanes = try columns.laneGroups(pixelStride: p.pixelStride, elementSize: E.size)
        let base = p.pointer(row: row)
        for block in (0..<blocks).reversed() {
            let total = sums + block &* width
            total.update(repeating: 0, count: width)
            let end = min(p.classes, (block + 1) * blockRows)
            var k = block * blockRows
            while k < end {
                let next = min(k &+ BlockSums<E.Real>.rowsAtOnce, end)
                for g in 0..<groups {
                    let target = UnsafeMutableRawPointer(total + g &* 16)
                    let leftOut = UnsafeRawPointer(excluded + g &* 16).loadUnaligned(
                        as: SIMD16<Int32>.self)
                    let sum = lanes.pointer[g].sumExp(
                        E.self, row: base, classStride: p.classStride, classes: k..<next,
                        excluded: leftOut)
                    (E.Real.Vector.loadUnaligned(target) + sum).storeUnaligned(target)
                }
                k = next
            }
        }
    }

    /// One vector is sixteen classes of one pixel.
    @_optimize(speed)
    private func alongClasses<E: FloatingElement>(
        _: E.Type, _ sums: UnsafeMutablePointer<E.Real>
    ) {
        typealias V = E.Real.Vector
        let page = 4096 / E.size
        for column in 0..<columns.count {
            let base = p.pointer(row: row, pixel: columns[column])
            let next = p.pointer(row: row, pixel: columns[min(column &+ 1, columns.count &- 1)])
            let nothing = V(repeating: -E.Real.infinity)
            for block in 0..<blocks {
                let end = min(p.classes, (block + 1) * blockRows)
                var k = block * blockRows
                var sum = V(repeating: 0)
                while k &+ 16 <= end {
                    // The hardware does not look beyond a page: the next one of this column is
                    // asked for, or the first of the next column.
                    let ahead = (k &+ page) &* E.size
                    vqd_prefetch(
                        k &+ page < p.classes
                            ? base + ahead : next + (ahead &- p.classes &* E.size))
                    let x = E.loadVector(base + k &* E.size)
                    let leftOut = excluded[column] &- Int32(truncatingIfNeeded: k)
                    sum = sum + .exp(x.replacing(with: nothing, where: iota16, equals: leftOut))
                    k &+= 16
                }
                if k < end {
                    var x = nothing
                    for lane in 0..<(end - k)
                    where Int32(truncatingIfNeeded: k &+ lane) != excluded[column] {
                        x[lane] = E.load(base + (k &+ lane) &* E.size)
                    }
                    sum = sum + .exp(x)
                }
                sums[block &* width &+ column] = sum.sumOfLanes
            }
        }
    }
}

private let iota16 = SIMD16<Int32>(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
