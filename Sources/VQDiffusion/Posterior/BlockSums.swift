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
        // A column whose classes are neighbours in memory is read along the classes, unless whole
        // rows of pixels are dense too.
        if p.classStride == p.elementSize && p.pixelStride != p.elementSize {
            try parts.alongClasses(Real.self)
            return result
        }
        switch p.elementType {
        case .float64: try parts.alongPixels(Double.self)
        case .float32 where Real.self == Float.self: try parts.alongPixels(Float.self)
        case .float16, .bfloat16, .float32: try parts.alongPixelsOfCopies(Real.self)
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

    /// One vector is one class of sixteen pixels, of elements in the precision of the sums. Whole
    /// rows are walked eight at a time: column by column, class rows 4096 bytes apart would share
    /// one set of the cache, and each would need its own page. Last block first, so that the next
    /// pass, from the first class on, hits the cache.
    @_optimize(speed)
    func alongPixels<E: FloatingElement>(_: E.Type) throws(ArgumentError) {
        let sums = sums.assumingMemoryBound(to: E.Real.self)
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

    /// As `alongPixels`, of elements that are copied in the precision of the sums.
    func alongPixelsOfCopies<Real: RealScalar>(_: Real.Type) throws(ArgumentError) {
        typealias V = Real.Vector
        let sums = sums.assumingMemoryBound(to: Real.self)
        let elements = Elements<Real>(type: p.elementType)
        let lanes = try columns.laneGroups(pixelStride: p.pixelStride, elementSize: p.elementSize)
        let copy = try Scratch<Real>(16 * blockOfClasses)
        let (base, nothing) = (p.pointer(row: row), V(repeating: -Real.infinity))
        for block in (0..<blocks).reversed() {
            let total = sums + block &* width
            total.update(repeating: 0, count: width)
            let end = min(p.classes, (block + 1) * blockRows)
            for first in stride(from: block * blockRows, to: end, by: blockOfClasses) {
                let count = min(blockOfClasses, end &- first)
                for g in 0..<width / 16 {
                    let leftOut = UnsafeRawPointer(excluded + g &* 16).loadUnaligned(
                        as: SIMD16<Int32>.self)
                    elements.load(
                        lanes.pointer[g], row: base, classStride: p.classStride, first: first,
                        count: count, into: copy.pointer)
                    var sum = V(at: total + g &* 16)
                    for start in stride(from: 0, to: count, by: BlockSums<Real>.rowsAtOnce) {
                        var eight = V(repeating: 0)
                        for i in start..<min(start &+ BlockSums<Real>.rowsAtOnce, count) {
                            let x = V(at: copy.pointer + i &* 16).replacing(
                                with: nothing, where: leftOut,
                                equals: Int32(truncatingIfNeeded: first &+ i))
                            eight = eight + .exp(x)
                        }
                        sum = sum + eight
                    }
                    sum.store(at: total + g &* 16)
                }
            }
        }
    }

    /// One vector is sixteen classes of one pixel.
    @_optimize(speed)
    func alongClasses<Real: RealScalar>(_: Real.Type) throws(ArgumentError) {
        typealias V = Real.Vector
        let sums = sums.assumingMemoryBound(to: Real.self)
        let elements = Elements<Real>(type: p.elementType)
        let (size, page) = (p.elementSize, 4096 / p.elementSize)
        let copy = try Scratch<Real>(blockRows)
        let nothing = V(repeating: -Real.infinity)
        for column in 0..<columns.count {
            let base = p.pointer(row: row, pixel: columns[column])
            let next = p.pointer(row: row, pixel: columns[min(column &+ 1, columns.count &- 1)])
            for block in 0..<blocks {
                var k = block * blockRows
                let end = min(p.classes, k + blockRows)
                var sum = V(repeating: 0)
                var numbers = elements.neighbours(
                    at: base + k &* size, vectors: (end &- k) / 16, buffer: copy.pointer)
                while k &+ 16 <= end {
                    // The hardware does not look beyond a page: the next one of this column is
                    // asked for, or the first of the next column.
                    let ahead = (k &+ page) &* size
                    vqd_prefetch(
                        k &+ page < p.classes ? base + ahead : next + (ahead &- p.classes &* size))
                    let leftOut = excluded[column] &- Int32(truncatingIfNeeded: k)
                    let x = V(at: numbers).replacing(with: nothing, where: iota16, equals: leftOut)
                    sum = sum + .exp(x)
                    numbers += 16
                    k &+= 16
                }
                if k < end {
                    var x = nothing
                    for lane in 0..<(end - k)
                    where Int32(truncatingIfNeeded: k &+ lane) != excluded[column] {
                        x[lane] = elements.load(base + (k &+ lane) &* size)
                    }
                    sum = sum + .exp(x)
                }
                sums[block &* width &+ column] = sum.sumOfLanes
            }
        }
    }
}

private let iota16 = SIMD16<Int32>(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
