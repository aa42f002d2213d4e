import CVQDiffusion

/// Sixteen doubles.
struct DoubleVector: RealVector {
    var lanes: SIMD16<Double>

    @inline(__always)
    init(_ lanes: SIMD16<Double>) { self.lanes = lanes }

    @inline(__always)
    init(repeating value: Double) { lanes = SIMD16(repeating: value) }

    @inline(__always)
    init(_ wide: DoubleVector) { self = wide }

    @inline(__always)
    subscript(lane: Int) -> Double {
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
    static func greater(_ a: Self, _ b: Self) -> Self { Self(vqd_greater_double(a.lanes, b.lanes)) }

    @inline(__always)
    static func lesser(_ a: Self, _ b: Self) -> Self { Self(vqd_lesser_double(a.lanes, b.lanes)) }

    @inline(__always)
    var widened: DoubleVector { self }

    @inline(__always)
    var sumOfLanes: Double {
        let eight = lanes.lowHalf + lanes.highHalf
        let four = eight.lowHalf + eight.highHalf
        let two = four.lowHalf + four.highHalf
        return two[0] + two[1]
    }

    @inline(__always)
    func replacing(with value: Self, where classes: SIMD16<Int32>, equals index: Int32) -> Self {
        Self(vqd_where_equal_double(classes, index, value.lanes, lanes))
    }

    @inline(__always)
    mutating func takeGreater(_ score: Self, index: Int32, into indices: inout SIMD16<Int32>) {
        indices = vqd_where_greater_double(score.lanes, lanes, index, indices)
        lanes = vqd_greater_double(lanes, score.lanes)
    }

    @inline(__always)
    func kept(where x: Self, above threshold: Self, else other: Self) -> Self {
        Self(vqd_where_above_double(lanes, x.lanes, threshold.lanes, other.lanes))
    }

    @inline(__always)
    func lanes(above lower: Self, upTo upper: Self) -> UInt16 {
        vqd_within_double(lanes, lower.lanes, upper.lanes)
    }

    @inline(__always)
    static func transpose(_ rows: UnsafeMutablePointer<Double>) { vqd_transpose_double(rows) }

    @inline(__always)
    func kept(above threshold: Self, index: Int32, last: SIMD16<Int32>, else other: Self) -> Self {
        Self(vqd_where_kept_double(lanes, threshold.lanes, index, last, other.lanes))
    }

    @inline(__always)
    func lanesKept(above threshold: Self, index: Int32, last: SIMD16<Int32>) -> UInt16 {
        vqd_kept_double(lanes, threshold.lanes, index, last)
    }

    @inline(__always)
    func kept(where bits: UInt16, else other: Self) -> Self {
        Self(vqd_where_bit_double(bits, lanes, other.lanes))
    }

    @inline(__always)
    func lanes(above other: Self) -> UInt16 { vqd_above_double(lanes, other.lanes) }

    @inline(__always)
    func allAtMost(_ other: Self) -> Bool { vqd_any_beyond_double(lanes, other.lanes) == 0 }

    @inline(__always)
    static func loadUnaligned(_ p: UnsafeRawPointer) -> Self {
        Self(p.loadUnaligned(as: SIMD16<Double>.self))
    }

    @inline(__always)
    func storeUnaligned(_ p: UnsafeMutableRawPointer) {
        p.storeBytes(of: lanes, as: SIMD16<Double>.self)
    }

    @inline(__always)
    func stream(_ p: UnsafeMutableRawPointer) { vqd_stream_double(lanes, p) }
}
