import CVQDiffusion

/// Looks at classes of sixteen pixels: adds up the floats that bracket their columns, and lists
/// those that can win. See `ScoreBounds`.
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
    func begin(observed: UnsafePointer<Int32>, _ kinds: PixelKinds) {
        for n in 0..<width {
            let bounds = kinds[observed[min(n, pixels &- 1)]].bounds
            signal[n] = bounds.signal
            level[n] = bounds.level
        }
    }

    /// Looks at some classes of groups of neighbours, which `x` and `v` point to the first of.
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

    /// Four classes are looked at with one branch: hardly any can win.
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
    /// its uniform. So does that of NaN and +∞.
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
            // The class that a pixel shows has a formula of its own and is listed at any rate.
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
        // The list proves nothing any more; let it take no more time.
        for n in 0..<width {
            signal[n] = -1e30
            level[n] = 0
        }
    }
}
