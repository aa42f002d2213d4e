import CVQDiffusion

/// Pixels of one batch row that are worked on together: a run of neighbours, or a selection.
struct PixelList {
    /// The pixels of a selection, or nil for a run.
    private let selection: UnsafePointer<Int32>?
    /// The first pixel of a run.
    private let first: Int
    let count: Int

    var isRun: Bool { selection == nil }

    static func run(_ pixels: Range<Int>) -> PixelList {
        PixelList(selection: nil, first: pixels.lowerBound, count: pixels.count)
    }

    static func selection(_ pixels: UnsafePointer<Int32>, count: Int) -> PixelList {
        PixelList(selection: pixels, first: 0, count: count)
    }

    @inline(__always)
    subscript(index: Int) -> Int { selection.map { Int($0[index]) } ?? first &+ index }

    /// The pixels in groups of sixteen; the last group's spare lanes repeat the last pixel.
    func laneGroups(pixelStride: Int, elementSize: Int) throws(ArgumentError) -> Scratch<LaneGroup>
    {
        let groups = (count + 15) / 16
        let lanes = try Scratch<LaneGroup>(groups)
        for g in 0..<groups {
            lanes[g] = LaneGroup(
                self, from: g * 16, pixelStride: pixelStride, elementSize: elementSize)
        }
        return lanes
    }
}

/// Sixteen pixels of one batch row that are worked on together, one to a lane.
///
/// Pixels that are neighbours in memory are loaded at once; any others (another layout, the ragged
/// end of a row, a selection of columns) are gathered one by one.
struct LaneGroup {
    private(set) var isDense: Bool
    /// Bytes from the start of the batch row to the pixel of each lane.
    private(set) var offsets: SIMD16<Int>

    init(_ pixels: PixelList, from start: Int, pixelStride: Int, elementSize: Int) {
        if pixels.isRun && start &+ 16 <= pixels.count {
            // Of a small step the general way takes a twentieth.
            let offsets =
                (iota &+ SIMD16(repeating: pixels[start])) &* SIMD16(repeating: pixelStride)
            self.init(offsets: offsets, isDense: pixelStride == elementSize)
            return
        }
        var offsets = SIMD16<Int>()
        for lane in 0..<16 {
            offsets[lane] = pixels[min(start + lane, pixels.count - 1)] &* pixelStride
        }
        self.init(offsets: offsets, elementSize: elementSize)
    }

    private init(offsets: SIMD16<Int>, isDense: Bool) {
        self.isDense = isDense
        self.offsets = offsets
    }

    /// - Parameter offsets: bytes from a place of the caller's choice to the pixel of each lane.
    init(offsets: SIMD16<Int>, elementSize: Int) {
        var dense = true
        for lane in 0..<16 { dense = dense && offsets[lane] == offsets[0] &+ lane &* elementSize }
        self.isDense = dense
        self.offsets = offsets
    }

    /// The pixels' elements in the class row at `row`.
    @inline(__always)
    func load<E: FloatingElement>(_: E.Type, row: UnsafeRawPointer) -> E.Real.Vector {
        isDense ? E.loadVector(row + offsets[0]) : E.gather(row, offsets)
    }

    /// The sum of the exponentials of some class rows, lanes at their own class in `excluded` left
    /// out.
    ///
    /// A plain loop: with closures, or a tree of sums, the vectors are passed about in 128-bit
    /// pieces and it takes twice as long.
    @inline(__always)
    func sumExp<E: FloatingElement>(
        _: E.Type, row: UnsafeRawPointer, classStride: Int, classes: Range<Int>,
        excluded: SIMD16<Int32>
    ) -> E.Real.Vector {
        typealias V = E.Real.Vector
        let nothing = V(repeating: -E.Real.infinity)
        var sum = V(repeating: 0)
        var k = classes.lowerBound
        if isDense {
            var p = row + (offsets[0] &+ k &* classStride)
            while k < classes.upperBound {
                let x = E.loadVector(p).replacing(
                    with: nothing, where: excluded, equals: Int32(truncatingIfNeeded: k))
                // Every class row lies in pages of its own, where the hardware does not look ahead.
                vqd_prefetch(p + 8 &* classStride)
                sum = sum + V.exp(x)
                p += classStride
                k &+= 1
            }
        } else {
            while k < classes.upperBound {
                // Of the eight rows that are read next. Lines that lanes share are asked for more
                // than once: telling them apart takes longer.
                for lane in 0..<16 {
                    vqd_prefetch(row + ((k &+ 8) &* classStride &+ offsets[lane]))
                }
                let x = E.gather(row + k &* classStride, offsets)
                sum =
                    sum
                    + V.exp(
                        x.replacing(
                            with: nothing, where: excluded, equals: Int32(truncatingIfNeeded: k)))
                k &+= 1
            }
        }
        return sum
    }
}

private let iota = SIMD16<Int>(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
