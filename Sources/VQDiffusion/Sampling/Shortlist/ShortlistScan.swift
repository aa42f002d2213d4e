import CVQDiffusion

/// Looks at classes of sixteen pixels: adds up the floats that bracket their columns, and lists those that can win. See `ScoreBounds`.
struct ShortlistScan: ~Copyable {
    private typealias V = FloatVector

    private let pixels: Int
    /// Pixels rounded up to whole vectors.
    private let width: Int
    /// Uniforms from one class to the next.
    private let noiseWidth: Int
    /// The bounds of each pixel of the batch row.
    private let signal, level: Scratch<Float>

    init(pixels: Int, width: Int, noiseWidth: Int) throws(ArgumentError) {
        let signal = try Scratch<Float>(width)
        let level = try Scratch<Float>(width)
        (self.pixels, self.width, self.noiseWidth) = (pixels, width, noiseWidth)
        self.signal = signal
        self.level = level
    }

    /// Begins a batch row, whose pixels show some classes.
    func begin(shown: UnsafePointer<Int32>, _ kinds: PixelKinds) {
        for n in 0..<width {
            let bounds = kinds[shown[min(n, pixels &- 1)]].bounds
            signal[n] = bounds.signal
            level[n] = bounds.level
        }
    }

    /// Looks at some classes of groups of neighbours, which `x` and `v` point to the first of.
    @inline(never)
    func read<Element: FloatingElement>(
        _: Element.Type, _ x: UnsafeRawPointer, _ classStride: Int, _ v: UnsafePointer<Float>, _ classes: Range<Int>, groups: Range<Int>,
        shown: UnsafePointer<Int32>, into part: inout ShortlistPart
    ) where Element.Real == Float {
        var (x, v) = (x, v)
        for group in groups {
            read(Element.self, x, classStride, v, classes, group: group, shown: shown, into: &part)
            x += 16 &* Element.size
            v += 16
        }
    }

    /// Four classes are looked at with one branch: hardly any can win.
    @inline(__always)
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
        return vqd_to_31_bits(vqd_greater(pattern, level))
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
            guard at &+ lane < pixels else { return }
            let index = Int32(truncatingIfNeeded: k)
            // The class that a pixel shows has a formula of its own and is listed at any rate.
            guard shown[at &+ lane] != index else { continue }
            add(index, at &+ lane, Element.load(x + lane &* Element.size), (v + lane &* Float.size).load(as: Float.self), to: &part)
        }
    }

    @inline(__always)
    func add(_ k: Int32, _ pixel: Int, _ x: Float, _ complement: Float, to part: inout ShortlistPart) {
        part.add(ShortlistPart.Entry(index: k, pixel: Int32(truncatingIfNeeded: pixel), x: x, complement: complement))
        guard part.isFull else { return }
        // The list proves nothing any more; let it take no more time.
        for n in 0..<width {
            signal[n] = -1e30
            level[n] = 0
        }
    }
}
