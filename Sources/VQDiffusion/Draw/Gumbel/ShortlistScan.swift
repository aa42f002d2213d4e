import CVQDiffusion

/// What a scan finds in a piece of the stream: sums that bracket those of the columns, and the
/// classes that can win. In memory of another owner.
struct ShortlistPart {
    /// A class that can win at a pixel: its log-probability and the complement 1 - u of its
    /// uniform.
    struct Entry {
        var index, pixel: Int32
        var x, complement: Float
    }

    /// For each pixel the sum of its floats; see `ScoreBounds`.
    let sums: UnsafeMutablePointer<Float>
    /// The complements of the uniforms of the mask, when the piece ends with the row of the mask.
    let maskComplements: UnsafeMutablePointer<Float>
    private let entries: UnsafeMutablePointer<Entry>
    private let capacity: Int
    private(set) var count = 0

    /// Entries per pixel to have room for. Of a whole batch row some 17 classes are listed at
    /// t = 0, where all of a column's mass takes part, one or two in the middle of the chain. A
    /// piece has room for its share of 24, for one more by chance and for the observed class. Where
    /// all classes of the piece can be listed there is room for one too many, because a full list
    /// proves nothing.
    static func roomPerPixel(in pieces: borrowing StreamPieces) -> Int {
        min(pieces.longest + 1, 2 + (24 * pieces.longest + pieces.classRows - 1) / pieces.classRows)
    }

    /// Bytes for `width` pixels.
    static func bytes(width: Int, roomPerPixel: Int) -> Int {
        4 * width + 4 * (width + 16) + roomPerPixel * width * MemoryLayout<Entry>.stride
    }

    /// - Parameter width: pixels of a batch row, rounded up to whole vectors.
    init(in memory: UnsafeMutableRawPointer, width: Int, roomPerPixel: Int) {
        sums = memory.bindMemory(to: Float.self, capacity: width)
        maskComplements = (memory + 4 * width).bindMemory(to: Float.self, capacity: width + 16)
        capacity = roomPerPixel * width
        entries = (memory + 4 * width + 4 * (width + 16)).bindMemory(
            to: Entry.self, capacity: capacity)
    }

    mutating func begin(width: Int) {
        sums.update(repeating: 0, count: width)
        count = 0
    }

    /// The list is full: entries may be missing.
    var isFull: Bool { count == capacity }

    @inline(__always)
    subscript(index: Int) -> Entry { entries[index] }

    @inline(__always)
    mutating func add(_ entry: Entry) {
        guard !isFull else { return }
        entries[count] = entry
        count &+= 1
    }
}

/// Reads pieces of the stream: draws their uniforms, brackets the sums of the columns and lists the
/// classes that can win. Each thread has its own.
struct ShortlistReader: ~Copyable {
    /// Not of float64.
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

    private var elements: Elements<Float> { Elements(type: p.elementType) }

    /// - Parameter lanes: the groups of the pixels of a batch row.
    init(_ p: LogProbabilities, lanes: UnsafePointer<LaneGroup>) throws(ArgumentError) {
        let width = (p.pixels + 15) / 16 * 16
        // Along pixels: four class rows of up to 1024 uniforms fit the first-level cache, of up to
        // 4096 the second; longer rows are read in blocks. Along classes: up to 64 classes of a
        // pixel, several lines of memory, are read in turn.
        let together =
            p.pixelStride == p.elementSize
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
    ///   - classRows: the classes to read; the one beyond the last class is the mask, which has
    ///     uniforms alone.
    ///   - observed: the observed classes of the batch row's pixels.
    ///   - engine: at the first of their uniforms; left behind the last.
    mutating func read(
        row: Int, _ classRows: Range<Int>, observed: UnsafePointer<Int32>, _ kinds: PixelKinds,
        _ engine: inout MersenneTwister, into part: inout ShortlistPart
    ) throws(ArgumentError) {
        scan.begin(observed: observed, kinds)
        part.begin(width: width)
        let end = min(classRows.upperBound, p.classes)
        let observing = try PixelsByClass(
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
                    let next = observing.first.pointer + (k &+ i &- classRows.lowerBound)
                    listObserved(
                        row: row, k &+ i, pixels, &next.pointee, observing,
                        noise.pointer + i &* block, into: &part)
                }
            }
            k = classes.upperBound
        }
        if classRows.upperBound > p.classes {
            engine.fill(part.maskComplements, count: p.pixels, complements: true)
        }
    }

    /// The lines of a class row that `read` needs next, to prefetch while its uniforms are drawn:
    /// one thread takes 2.1 instead of 2.5 ms. Nil where the classes of a pixel are neighbours:
    /// with as many pages as pixels, prefetching takes longer.
    @inline(__always)
    private func lines(row: Int, _ k: Int, _ pixels: Range<Int>) -> LinesAhead? {
        guard p.pixelStride == p.elementSize else { return nil }
        return LinesAhead(
            first: p.pointer(row: row, class: k, pixel: pixels.lowerBound),
            step: 16 &* p.elementSize)
    }

    /// Reads some classes of some pixels, the first of which begins a group.
    @inline(__always)
    private func read(
        row: Int, _ classes: Range<Int>, _ pixels: Range<Int>, observed: UnsafePointer<Int32>,
        into part: inout ShortlistPart
    ) {
        let groups = pixels.lowerBound / 16..<(pixels.upperBound &+ 15) / 16
        let endOfDense = p.pixelStride == p.elementSize ? pixels.upperBound / 16 : groups.lowerBound
        if endOfDense > groups.lowerBound {
            let x = p.pointer(row: row, class: classes.lowerBound, pixel: pixels.lowerBound)
            let dense = groups.lowerBound..<endOfDense
            func read<E: FloatingElement>(_: E.Type) where E.Real == Float {
                scan.read(
                    E.self, x, p.classStride, noise.pointer, classes, groups: dense,
                    observed: observed, into: &part)
            }
            switch p.elementType {
            case .float16: read(HalfElement.self)
            case .bfloat16: read(BrainElement.self)
            case .float32, .float64: read(Float.self)
            }
        }
        for group in endOfDense..<groups.upperBound {
            var (k, v) = (classes.lowerBound, noise.pointer + (group &* 16 &- pixels.lowerBound))
            while k < classes.upperBound {
                let count = min(blockOfClasses, classes.upperBound &- k)
                elements.load(
                    lanes[group], row: p.pointer(row: row), classStride: p.classStride, first: k,
                    count: count, into: copy.pointer)
                scan.read(
                    Float.self, copy.pointer, 16 &* Float.size, v, k..<k &+ count,
                    groups: group..<group &+ 1, observed: observed, into: &part)
                k &+= count
                v += count &* block
            }
        }
    }

    /// Lists a class at those of some pixels where it is observed.
    ///
    /// - Parameters:
    ///   - next: the first of them; left at the first behind them.
    ///   - v: the complement of the first of the pixels.
    @inline(__always)
    private func listObserved(
        row: Int, _ k: Int, _ pixels: Range<Int>, _ next: inout Int32,
        _ observing: borrowing PixelsByClass, _ v: UnsafePointer<Float>,
        into part: inout ShortlistPart
    ) {
        while next >= 0 && Int(next) < pixels.upperBound {
            let pixel = Int(next)
            let x = elements.load(p.pointer(row: row, class: k, pixel: pixel))
            scan.add(
                Int32(truncatingIfNeeded: k), pixel, x, v[pixel &- pixels.lowerBound], to: &part)
            next = observing.next[pixel]
        }
    }
}

/// Scans classes of sixteen pixels: adds up the floats that bracket their columns, and lists the
/// classes that can win. See `ScoreBounds`.
struct ShortlistScan: ~Copyable {
    private typealias V = FloatVector

    private let pixels: Int
    /// Pixels rounded up to whole vectors.
    private let width: Int
    /// Complements of uniforms from one class to the next.
    private let noiseWidth: Int
    /// The terms of the bound at each pixel of the batch row.
    private let signal, level: Scratch<Float>

    init(pixels: Int, width: Int, noiseWidth: Int) throws(ArgumentError) {
        let signal = try Scratch<Float>(width)
        let level = try Scratch<Float>(width)
        (self.pixels, self.width, self.noiseWidth) = (pixels, width, noiseWidth)
        self.signal = signal
        self.level = level
    }

    /// Begins a batch row.
    func begin(observed: UnsafePointer<Int32>, _ kinds: PixelKinds) {
        for n in 0..<width {
            let bounds = kinds[observed[min(n, pixels &- 1)]].bounds
            signal[n] = bounds.signal
            level[n] = bounds.level
        }
    }

    /// Scans some classes of groups of neighbours; `x` and `v` point to the first.
    @inline(never)
    func read<Element: FloatingElement>(
        _: Element.Type, _ x: UnsafeRawPointer, _ classStride: Int, _ v: UnsafePointer<Float>,
        _ classes: Range<Int>, groups: Range<Int>,
        observed: UnsafePointer<Int32>, into part: inout ShortlistPart
    ) where Element.Real == Float {
        var (x, v) = (x, UnsafeRawPointer(v))
        let step = noiseWidth &* Float.size
        var k = classes.lowerBound
        while k &+ 4 <= classes.upperBound {
            readFour(
                Element.self, x, classStride, v, k, groups: groups, observed: observed, into: &part)
            x += 4 &* classStride
            v += 4 &* step
            k &+= 4
        }
        while k < classes.upperBound {
            for i in 0..<groups.count {
                let at = (groups.lowerBound &+ i) &* 16
                let (x, v) = (x + i &* 16 &* Element.size, v + i &* 16 &* Float.size)
                let sums = part.sums + at
                V(V(at: sums).lanes + SIMD16<Float>(bits: bound(Element.self, x, at: at))).store(
                    at: sums)
                list(Element.self, k, at: at, x, v, observed: observed, into: &part)
            }
            x += classStride
            v += step
            k &+= 1
        }
    }

    /// Scans four classes with one branch: hardly any can win.
    @inline(__always)
    private func readFour<Element: FloatingElement>(
        _: Element.Type, _ x: UnsafeRawPointer, _ classStride: Int, _ v: UnsafeRawPointer, _ k: Int,
        groups: Range<Int>,
        observed: UnsafePointer<Int32>, into part: inout ShortlistPart
    ) where Element.Real == Float {
        let (signal, level, sums, step) = (
            signal.pointer, level.pointer, part.sums, noiseWidth &* Float.size
        )
        var (x, v) = (x, v)
        var at = groups.lowerBound &* 16
        let end = groups.upperBound &* 16
        while at < end {
            let any = vqd_scan_four(
                Element.loadVector(x).lanes, Element.loadVector(x + classStride).lanes,
                Element.loadVector(x + 2 &* classStride).lanes,
                Element.loadVector(x + 3 &* classStride).lanes, ScoreBounds.scale, signal + at,
                level + at, sums + at, v, step)
            if any != 0 {
                listFour(
                    Element.self, k, at: at, x, classStride, v, observed: observed, into: &part)
            }
            x += 16 &* Element.size
            v += 16 &* Float.size
            at &+= 16
        }
    }

    @inline(never)
    private func listFour<Element: FloatingElement>(
        _: Element.Type, _ k: Int, at: Int, _ x: UnsafeRawPointer, _ classStride: Int,
        _ v: UnsafeRawPointer, observed: UnsafePointer<Int32>,
        into part: inout ShortlistPart
    ) where Element.Real == Float {
        for i in 0..<4 {
            list(
                Element.self, k &+ i, at: at, x + i &* classStride,
                v + i &* noiseWidth &* Float.size, observed: observed, into: &part)
        }
    }

    @inline(__always)
    private func load(_ p: UnsafeRawPointer) -> SIMD16<UInt32> {
        p.loadUnaligned(as: SIMD16<UInt32>.self)
    }

    /// The bit patterns of the bounds of sixteen scores; see `ScoreBounds`.
    @inline(__always)
    private func bound<Element: FloatingElement>(_: Element.Type, _ x: UnsafeRawPointer, at: Int)
        -> SIMD16<UInt32> where Element.Real == Float
    {
        vqd_bound(
            Element.loadVector(x).lanes, ScoreBounds.scale, V(at: signal.pointer + at).lanes,
            V(at: level.pointer + at).lanes)
    }

    /// Lists the pixels of a group at which a class can win: its bound exceeds the complement of
    /// its uniform. The bounds of NaN and +∞ always do.
    @inline(never)
    private func list<Element: FloatingElement>(
        _: Element.Type, _ k: Int, at: Int, _ x: UnsafeRawPointer, _ v: UnsafeRawPointer,
        observed: UnsafePointer<Int32>, into part: inout ShortlistPart
    ) where Element.Real == Float {
        var bits = vqd_exceeds(bound(Element.self, x, at: at), load(v))
        while bits != 0 {
            let lane = bits.trailingZeroBitCount
            bits &= bits &- 1
            guard at &+ lane < pixels else { return }
            let index = Int32(truncatingIfNeeded: k)
            // `listObserved` lists the observed class, whose score has another formula.
            guard observed[at &+ lane] != index else { continue }
            add(
                index, at &+ lane, Element.load(x + lane &* Element.size),
                (v + lane &* Float.size).load(as: Float.self), to: &part)
        }
    }

    @inline(__always)
    func add(
        _ k: Int32, _ pixel: Int, _ x: Float, _ complement: Float, to part: inout ShortlistPart
    ) {
        part.add(
            ShortlistPart.Entry(
                index: k, pixel: Int32(truncatingIfNeeded: pixel), x: x, complement: complement))
        guard part.isFull else { return }
        // A full list proves nothing: bounds that list nothing save the rest of the time.
        for n in 0..<width {
            signal[n] = -1e30
            level[n] = 0
        }
    }
}
