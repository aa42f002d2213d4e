import CVQDiffusion

/// Reads classes of batch rows: adds the columns up and lists the classes that can win. A thread has one.
struct ShortlistReader<E: FloatingElement>: ~Copyable where E.Real == Float {
    private typealias V = FloatVector

    private let p: LogProbabilities
    private let lanes: UnsafePointer<LaneGroup>
    /// Pixels rounded up to whole vectors.
    private let width: Int
    /// Classes that are read together, and the pixels of a class row that are read at a time.
    private let together, block: Int
    private let noiseWidth: Int
    private let noise: Scratch<Float>
    /// Sixteen classes of sixteen pixels, transposed.
    private let copy: Scratch<Float>
    /// The bounds of each pixel of the batch row.
    private let signal, level: Scratch<Float>

    /// - Parameter lanes: the groups of the pixels of a batch row.
    init(_ p: LogProbabilities, lanes: UnsafePointer<LaneGroup>) throws(ArgumentError) {
        let width = (p.pixels + 15) / 16 * 16
        // Where pixels are neighbours, four class rows of up to 4096 uniforms stay in the first-level cache, less than a class row of more. Where the classes
        // of a pixel are, several lines of it are read in turn.
        let together = p.pixelStride == E.size ? (width <= 4096 ? 4 : 1) : max(1, min(4, 65536 / width / 16)) * blockOfClasses
        let block = together > 1 ? width : 4096
        let noise = try Scratch<Float>(together * block + 16)
        let copy = try Scratch<Float>(16 * blockOfClasses)
        let signal = try Scratch<Float>(width)
        let level = try Scratch<Float>(width)
        self.p = p
        self.lanes = lanes
        self.width = width
        self.together = together
        self.block = block
        noiseWidth = block
        self.noise = noise
        self.copy = copy
        self.signal = signal
        self.level = level
    }

    /// - Parameters:
    ///   - classRows: the classes to read; beyond the last there is the row of the mask, which has uniforms alone.
    ///   - shown: the classes that the row's pixels show.
    ///   - engine: at the first of their uniforms; it is left behind the last.
    mutating func read(
        row: Int, _ classRows: Range<Int>, shown: UnsafePointer<Int32>, bounds: (masked: ScoreBounds, unmasked: ScoreBounds),
        _ engine: inout MersenneTwister, into part: inout ShortlistPart
    ) throws(ArgumentError) {
        let maskClass = Int32(truncatingIfNeeded: p.classes)
        for n in 0..<width {
            let kind = shown[min(n, p.pixels &- 1)] == maskClass ? bounds.masked : bounds.unmasked
            signal[n] = kind.signal
            level[n] = kind.level
        }
        part.begin(width: width)
        let showing = try PixelsByClass(shown, count: p.pixels, maskClass: p.classes)
        let end = min(classRows.upperBound, p.classes)
        var k = classRows.lowerBound
        while k < end {
            let classes = k..<min(k &+ together, end)
            for first in stride(from: 0, to: p.pixels, by: block) {
                let pixels = first..<min(first &+ block, p.pixels)
                for i in 0..<classes.count { engine.fill(noise.pointer + i &* noiseWidth, count: pixels.count, complements: true) }
                for group in first / 16..<(pixels.upperBound &+ 15) / 16 {
                    read(row: row, classes, group: group, noise.pointer + (group &* 16 &- first), shown: shown, into: &part)
                }
                for i in 0..<classes.count {
                    listShown(row: row, classes.lowerBound &+ i, pixels, showing, noise.pointer + (i &* noiseWidth &- first), into: &part)
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
            return read(E.self, x, p.classStride, v, classes, group: group, shown: shown, into: &part)
        }
        var (k, v) = (classes.lowerBound, v)
        while k < classes.upperBound {
            let count = min(blockOfClasses, classes.upperBound &- k)
            lanes[group].load(E.self, row: p.pointer(row: row), classStride: p.classStride, first: k, count: count, into: copy.pointer)
            read(Float.self, copy.pointer, 16 &* Float.size, v, k..<k &+ count, group: group, shown: shown, into: &part)
            k &+= count
            v += count &* noiseWidth
        }
    }

    /// Four classes are looked at with one branch: hardly any can win.
    @inline(never)
    private func read<Element: FloatingElement>(
        _: Element.Type, _ x: UnsafeRawPointer, _ classStride: Int, _ v: UnsafePointer<Float>, _ classes: Range<Int>, group: Int,
        shown: UnsafePointer<Int32>, into part: inout ShortlistPart
    ) where Element.Real == Float {
        let at = group &* 16
        let signal = V(at: signal.pointer + at).lanes
        let level = V(at: level.pointer + at).lanes
        var sum = V(at: part.sums + at).lanes
        var (x, v) = (x, UnsafeRawPointer(v))
        let step = noiseWidth &* Float.size
        var k = classes.lowerBound
        while k &+ 4 <= classes.upperBound {
            let a = bound(Element.self, x, signal, level)
            let b = bound(Element.self, x + classStride, signal, level)
            let c = bound(Element.self, x + 2 &* classStride, signal, level)
            let d = bound(Element.self, x + 3 &* classStride, signal, level)
            for i in 4..<8 { vqd_prefetch(x + i &* classStride) }
            sum = vqd_sum_of_patterns(sum, a, b, c, d)
            let any = vqd_any_exceeds(
                a, load(v), b, load(v + step), c, load(v + 2 &* step), d, load(v + 3 &* step))
            if any != 0 {
                for i in 0..<4 { list(Element.self, k &+ i, at: at, x + i &* classStride, v + i &* step, shown: shown, into: &part) }
            }
            x += 4 &* classStride
            v += 4 &* step
            k &+= 4
        }
        while k < classes.upperBound {
            sum += SIMD16<Float>(bits: bound(Element.self, x, signal, level))
            list(Element.self, k, at: at, x, v, shown: shown, into: &part)
            x += classStride
            v += step
            k &+= 1
        }
        V(sum).store(at: part.sums + at)
    }

    @inline(__always)
    private func load(_ p: UnsafeRawPointer) -> SIMD16<UInt32> { p.loadUnaligned(as: SIMD16<UInt32>.self) }

    /// The bit patterns of the bounds of sixteen scores; see `ScoreBounds`.
    @inline(__always)
    private func bound<Element: FloatingElement>(
        _: Element.Type, _ x: UnsafeRawPointer, _ signal: SIMD16<Float>, _ level: SIMD16<Float>
    ) -> SIMD16<UInt32> where Element.Real == Float {
        let pattern = Element.loadVector(x).lanes.times(SIMD16(repeating: ScoreBounds.scale), plus: signal)
        return vqd_rounded_up_to_31_bits(vqd_greater(pattern, level))
    }

    /// Lists the pixels of a group at which a class can win: its bound exceeds the complement of its uniform. So does that of NaN and +∞.
    @inline(never)
    private func list<Element: FloatingElement>(
        _: Element.Type, _ k: Int, at: Int, _ x: UnsafeRawPointer, _ v: UnsafeRawPointer, shown: UnsafePointer<Int32>, into part: inout ShortlistPart
    ) where Element.Real == Float {
        var bits = vqd_exceeds(bound(Element.self, x, V(at: signal.pointer + at).lanes, V(at: level.pointer + at).lanes), load(v))
        while bits != 0 {
            let lane = bits.trailingZeroBitCount
            bits &= bits &- 1
            guard at &+ lane < p.pixels else { return }
            let index = Int32(truncatingIfNeeded: k)
            // The class that a pixel shows has a formula of its own and is listed at any rate.
            guard shown[at &+ lane] != index else { continue }
            add(index, at &+ lane, Element.load(x + lane &* Element.size), (v + lane &* Float.size).load(as: Float.self), to: &part)
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
                add(Int32(truncatingIfNeeded: k), pixel, E.load(p.pointer(row: row, class: k, pixel: pixel)), v[pixel], to: &part)
            }
            n = showing.next[pixel]
        }
    }

    @inline(__always)
    private func add(_ k: Int32, _ pixel: Int, _ x: Float, _ complement: Float, to part: inout ShortlistPart) {
        part.add(ShortlistPart.Entry(index: k, pixel: Int32(truncatingIfNeeded: pixel), x: x, complement: complement))
        guard part.isFull else { return }
        // The list proves nothing any more; let it take no more time.
        for n in 0..<width {
            signal[n] = -1e30
            level[n] = 0
        }
    }
}
