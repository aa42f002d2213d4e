import CVQDiffusion

/// Reads pieces of the stream: draws their uniforms, brackets the sums of the columns and lists the
/// classes that can win. A thread has one.
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
        // Where pixels are neighbours, four class rows of up to 1024 uniforms stay in the
        // first-level cache, of up to 4096 in the second; of more, a part. Where the classes of a
        // pixel are, several lines of it are read in turn.
        let together =
            p.pixelStride == E.size
            ? (width <= 4096 ? 4 : 1) : max(1, min(4, 65536 / width / 16)) * blockOfClasses
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
    ///   - classRows: the classes to read; beyond the last there is the row of the mask, which has
    ///     uniforms alone.
    ///   - observed: the classes that the row's pixels show.
    ///   - engine: at the first of their uniforms; it is left behind the last.
    mutating func read(
        row: Int, _ classRows: Range<Int>, observed: UnsafePointer<Int32>, _ kinds: PixelKinds,
        _ engine: inout MersenneTwister, into part: inout ShortlistPart
    ) throws(ArgumentError) {
        scan.begin(observed: observed, kinds)
        part.begin(width: width)
        let end = min(classRows.upperBound, p.classes)
        let showing = try PixelsByClass(
            observed, count: p.pixels, among: classRows.lowerBound..<end)
        var k = classRows.lowerBound
        while k < end {
            let classes = k..<min(k &+ together, end)
            for first in stride(from: 0, to: p.pixels, by: block) {
                let pixels = first..<min(first &+ block, p.pixels)
                for i in 0..<classes.count {
                    let ahead = lines(row: row, k &+ i, pixels)
                    engine.fill(
                        noise.pointer + i &* block, count: pixels.count, complements: true,
                        ahead: ahead)
                }
                read(row: row, classes, pixels, observed: observed, into: &part)
                for i in 0..<classes.count {
                    let next = showing.first.pointer + (k &+ i &- classRows.lowerBound)
                    listShown(
                        row: row, k &+ i, pixels, &next.pointee, showing,
                        noise.pointer + i &* block, into: &part)
                }
            }
            k = classes.upperBound
        }
        if classRows.upperBound > p.classes {
            engine.fill(part.maskComplements, count: p.pixels, complements: true)
        }
    }

    /// The lines of a class row that `read` is going to need, asked for while its uniforms are
    /// drawn: memory and arithmetic then take their time together (one thread: 2.1 instead of 2.5
    /// ms). Not where the classes of a pixel are neighbours: lines in as many pages as there are
    /// pixels, it takes longer.
    @inline(__always)
    private func lines(row: Int, _ k: Int, _ pixels: Range<Int>) -> LinesAhead? {
        guard p.pixelStride == E.size else { return nil }
        return LinesAhead(
            first: p.pointer(row: row, class: k, pixel: pixels.lowerBound), step: 16 &* E.size)
    }

    /// Reads some classes of some pixels, of which the first begins a group.
    @inline(__always)
    private func read(
        row: Int, _ classes: Range<Int>, _ pixels: Range<Int>, observed: UnsafePointer<Int32>,
        into part: inout ShortlistPart
    ) {
        let groups = pixels.lowerBound / 16..<(pixels.upperBound &+ 15) / 16
        let dense =
            groups
            .lowerBound..<(p.pixelStride == E.size ? pixels.upperBound / 16 : groups.lowerBound)
        if !dense.isEmpty {
            let x = p.pointer(row: row, class: classes.lowerBound, pixel: pixels.lowerBound)
            scan.read(
                E.self, x, p.classStride, noise.pointer, classes, groups: dense, observed: observed,
                into: &part)
        }
        for group in dense.upperBound..<groups.upperBound {
            var (k, v) = (classes.lowerBound, noise.pointer + (group &* 16 &- pixels.lowerBound))
            while k < classes.upperBound {
                let count = min(blockOfClasses, classes.upperBound &- k)
                lanes[group].load(
                    E.self, row: p.pointer(row: row), classStride: p.classStride, first: k,
                    count: count, into: copy.pointer)
                scan.read(
                    Float.self, copy.pointer, 16 &* Float.size, v, k..<k &+ count,
                    groups: group..<group &+ 1, observed: observed, into: &part)
                k &+= count
                v += count &* block
            }
        }
    }

    /// Lists a class at those of some pixels that show it.
    ///
    /// - Parameters:
    ///   - next: the first of them; left at the first behind them.
    ///   - v: of the first of the pixels.
    @inline(__always)
    private func listShown(
        row: Int, _ k: Int, _ pixels: Range<Int>, _ next: inout Int32,
        _ showing: borrowing PixelsByClass, _ v: UnsafePointer<Float>,
        into part: inout ShortlistPart
    ) {
        while next >= 0 && Int(next) < pixels.upperBound {
            let pixel = Int(next)
            let x = E.load(p.pointer(row: row, class: k, pixel: pixel))
            scan.add(
                Int32(truncatingIfNeeded: k), pixel, x, v[pixel &- pixels.lowerBound], to: &part)
            next = showing.next[pixel]
        }
    }
}
