import CVQDiffusion

/// Sixteen floats.
struct FloatVector: RealVector {
    var lanes: SIMD16<Float>

    @inline(__always)
    init(_ lanes: SIMD16<Float>) { self.lanes = lanes }

    @inline(__always)
    init(repeating value: Float) { lanes = SIMD16(repeating: value) }

    @inline(__always)
    init(_ wide: DoubleVector) { lanes = vqd_narrowed_double(wide.lanes) }

    @inline(__always)
    subscript(lane: Int) -> Float {
        get { lanes[lane] }
        set { lanes[lane] = newValue }
    }

    @inline(__always)
    static func + (a: Self, b: Self) -> Self { Self(a.lanes + b.lanes) }

    @inline(__always)
    static func - (a: Self, b: Self) -> Self { Self(a.lanes - b.lanes) }

    @inline(__always)
    static func * (a: Self, b: Self) -> Self { Self(a.lanes * b.lanes) }

    @inline(__always)
    static func / (a: Self, b: Self) -> Self { Self(a.lanes / b.lanes) }

    @inline(__always)
    static func greater(_ a: Self, _ b: Self) -> Self { Self(vqd_greater(a.lanes, b.lanes)) }

    @inline(__always)
    static func lesser(_ a: Self, _ b: Self) -> Self { Self(vqd_lesser(a.lanes, b.lanes)) }

    @inline(__always)
    var widened: DoubleVector { DoubleVector(vqd_widened_float(lanes)) }

    @inline(__always)
    var sumOfLanes: Float {
        let eight = lanes.lowHalf + lanes.highHalf
        let four = eight.lowHalf + eight.highHalf
        let two = four.lowHalf + four.highHalf
        return two[0] + two[1]
    }

    @inline(__always)
    func replacing(with value: Self, where classes: SIMD16<Int32>, equals index: Int32) -> Self {
        Self(vqd_where_equal(classes, index, value.lanes, lanes))
    }

    @inline(__always)
    mutating func takeGreater(_ score: Self, index: Int32, into indices: inout SIMD16<Int32>) {
        indices = vqd_where_greater(score.lanes, lanes, index, indices)
        lanes = vqd_greater(lanes, score.lanes)
    }

    @inline(__always)
    func kept(where x: Self, above threshold: Self, else other: Self) -> Self {
        Self(vqd_where_above(lanes, x.lanes, threshold.lanes, other.lanes))
    }

    @inline(__always)
    func lanes(above lower: Self, upTo upper: Self) -> UInt16 {
        vqd_within(lanes, lower.lanes, upper.lanes)
    }

    @inline(__always)
    static func transpose(_ rows: UnsafeMutablePointer<Float>) { vqd_transpose(rows) }

    @inline(__always)
    func kept(above threshold: Self, index: Int32, last: SIMD16<Int32>, else other: Self) -> Self {
        Self(vqd_where_kept(lanes, threshold.lanes, index, last, other.lanes))
    }

    @inline(__always)
    func lanesKept(above threshold: Self, index: Int32, last: SIMD16<Int32>) -> UInt16 {
        vqd_kept(lanes, threshold.lanes, index, last)
    }

    @inline(__always)
    func kept(where bits: UInt16, else other: Self) -> Self {
        Self(vqd_where_bit(bits, lanes, other.lanes))
    }

    @inline(__always)
    func lanes(above other: Self) -> UInt16 { vqd_above(lanes, other.lanes) }

    @inline(__always)
    func allAtMost(_ other: Self) -> Bool { vqd_any_beyond(lanes, other.lanes) == 0 }

    @inline(__always)
    static func loadUnaligned(_ p: UnsafeRawPointer) -> Self {
        Self(p.loadUnaligned(as: SIMD16<Float>.self))
    }

    @inline(__always)
    func storeUnaligned(_ p: UnsafeMutableRawPointer) {
        p.storeBytes(of: lanes, as: SIMD16<Float>.self)
    }

    @inline(__always)
    func stream(_ p: UnsafeMutableRawPointer) { vqd_stream_float(lanes, p) }
}
