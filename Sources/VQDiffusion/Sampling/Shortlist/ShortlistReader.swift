import CVQDiffusion

/// Reads classes of batch rows: adds the columns up and lists the classes that can win. A thread has one.
struct ShortlistReader<E: FloatingElement>: ~Copyable where E.Real == Float {
    private let p: LogProbabilities
    private let lanes: UnsafePointer<LaneGroup>
    /// Pixels rounded up to whole vectors.
    private let width: Int
    /// Classes that are read together, and the pixels of a class row that are read at a time.
    private let together, block: Int
    private let noise: Scratch<Float>
    /// Sixteen classes of sixteen pixels, transposed.
    private let copy: Scratch<Float>
    private let scan: ShortlistScan

    /// - Parameter lanes: the groups of the pixels of a batch row.
    init(_ p: LogProbabilities, lanes: UnsafePointer<LaneGroup>) throws(ArgumentError) {
        let width = (p.pixels + 15) / 16 * 16
        // Where pixels are neighbours, four class rows of up to 4096 uniforms stay in the first-level cache, less than a class row of more. Where the classes
        // of a pixel are, several lines of it are read in turn.
        let together = p.pixelStride == E.size ? (width <= 4096 ? 4 : 1) : max(1, min(4, 65536 / width / 16)) * blockOfClasses
        let block = together > 1 ? width : 4096
        let noise = try Scratch<Float>(together * block + 16)
        let copy = try Scratch<Float>(16 * blockOfClasses)
        let scan = try ShortlistScan(pixels: p.pixels, width: width, noiseWidth: block)
        self.p = p
        self.lanes = lanes
        self.width = width
        self.together = together
        self.block = block
        self.noise = noise
        self.copy = copy
        self.scan = scan
    }

    /// - Parameters:
    ///   - classRows: the classes to read; beyond the last there is the row of the mask, which has uniforms alone.
    ///   - shown: the classes that the row's pixels show.
    ///   - engine: at the first of their uniforms; it is left behind the last.
    mutating func read(
        row: Int, _ classRows: Range<Int>, shown: UnsafePointer<Int32>, bounds: (masked: ScoreBounds, unmasked: ScoreBounds),
        _ engine: inout MersenneTwister, into part: inout ShortlistPart
    ) throws(ArgumentError) {
        scan.begin(shown: shown, maskClass: Int32(truncatingIfNeeded: p.classes), bounds)
        part.begin(width: width)
        let showing = try PixelsByClass(shown, count: p.pixels, maskClass: p.classes)
        let end = min(classRows.upperBound, p.classes)
        var k = classRows.lowerBound
        while k < end {
            let classes = k..<min(k &+ together, end)
            for first in stride(from: 0, to: p.pixels, by: block) {
                let pixels = first..<min(first &+ block, p.pixels)
                for i in 0..<classes.count { engine.fill(noise.pointer + i &* block, count: pixels.count, complements: true) }
                for group in first / 16..<(pixels.upperBound &+ 15) / 16 {
                    read(row: row, classes, group: group, noise.pointer + (group &* 16 &- first), shown: shown, into: &part)
                }
                for i in 0..<classes.count {
                    listShown(row: row, classes.lowerBound &+ i, pixels, showing, noise.pointer + (i &* block &- first), into: &part)
                }
            }
            k = classes.upperBound
        }
        if classRows.upperBound > p.classes { engine.fill(part.maskComplements, count: p.pixels, complements: true) }
    }

    /// Reads some classes of sixteen pixels.
    @inline(__always)
    private func read(
        row: Int, _ classes: Range<Int>, group: Int, _ v: UnsafePointer<Float>, shown: UnsafePointer<Int32>, into part: inout ShortlistPart
    ) {
        if lanes[group].isDense {
            let x = p.pointer(row: row, class: classes.lowerBound) + lanes[group].offsets[0]
            return scan.read(E.self, x, p.classStride, v, classes, group: group, shown: shown, into: &part)
        }
        var (k, v) = (classes.lowerBound, v)
        while k < classes.upperBound {
            let count = min(blockOfClasses, classes.upperBound &- k)
            lanes[group].load(E.self, row: p.pointer(row: row), classStride: p.classStride, first: k, count: count, into: copy.pointer)
            scan.read(Float.self, copy.pointer, 16 &* Float.size, v, k..<k &+ count, group: group, shown: shown, into: &part)
            k &+= count
            v += count &* block
        }
    }

    /// Lists a class at the pixels that show it.
    @inline(__always)
    private func listShown(
        row: Int, _ k: Int, _ pixels: Range<Int>, _ showing: borrowing PixelsByClass, _ v: UnsafePointer<Float>, into part: inout ShortlistPart
    ) {
        var n = showing.first[k]
        while n >= 0 {
            let pixel = Int(n)
            if pixels.contains(pixel) {
                scan.add(Int32(truncatingIfNeeded: k), pixel, E.load(p.pointer(row: row, class: k, pixel: pixel)), v[pixel], to: &part)
            }
            n = showing.next[pixel]
        }
    }
}
