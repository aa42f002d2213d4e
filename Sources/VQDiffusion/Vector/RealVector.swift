/// Sixteen numbers in the precision a kernel computes in: `FloatVector` or `DoubleVector`.
///
/// Kernels are written once, generically, over this protocol. Everything that must compile to
/// vector instructions is a requirement here with a concrete implementation, because generic SIMD
/// code beyond that falls to scalar loops.
protocol RealVector {
    associatedtype Scalar: RealScalar

    init(repeating value: Scalar)
    /// The same numbers, rounded.
    init(_ wide: DoubleVector)
    subscript(lane: Int) -> Scalar { get set }

    static func + (a: Self, b: Self) -> Self
    static func - (a: Self, b: Self) -> Self
    static func * (a: Self, b: Self) -> Self
    static func / (a: Self, b: Self) -> Self

    /// e^x within 2 ulp, arguments clamped to where the result is normal and finite; NaN gives NaN.
    static func exp(_ x: Self) -> Self
    /// The same for x that is at most 0, or NaN, in less time.
    static func expOfNegative(_ x: Self) -> Self
    /// log x within 2 ulp, for x that is normal and finite.
    static func log(_ x: Self) -> Self
    /// log(1 + e^-|x|), for x that is not NaN: what log(e^a + e^b) exceeds max(a, b) by, at x = a -
    /// b.
    static func logAddExpTail(_ x: Self) -> Self
    /// Lane by lane, the greater of two vectors without NaN.
    static func greater(_ a: Self, _ b: Self) -> Self
    /// Lane by lane, the lesser of two vectors, and `a` where `b` is NaN.
    static func lesser(_ a: Self, _ b: Self) -> Self

    var widened: DoubleVector { get }
    /// The sum of the sixteen lanes.
    var sumOfLanes: Scalar { get }
    /// This vector with `value` in the lanes where `classes` equals `index`.
    func replacing(with value: Self, where classes: SIMD16<Int32>, equals index: Int32) -> Self
    /// Takes over the lanes of `score` (no NaN) that are greater, and writes `index` into the same
    /// lanes of `indices`.
    mutating func takeGreater(_ score: Self, index: Int32, into indices: inout SIMD16<Int32>)
    /// Lane by lane, this vector where `x` is greater than `threshold`, else `other`.
    func kept(where x: Self, above threshold: Self, else other: Self) -> Self
    /// The lanes in which this vector is greater than `lower` and at most `upper`, as bits.
    func lanes(above lower: Self, upTo upper: Self) -> UInt16
    /// Transposes sixteen vectors in memory.
    static func transpose(_ rows: UnsafeMutablePointer<Scalar>)
    /// Lane by lane, this vector where it is greater than `threshold`, or equal to it at an index
    /// up to `last`; elsewhere `other`.
    func kept(above threshold: Self, index: Int32, last: SIMD16<Int32>, else other: Self) -> Self
    /// The lanes that `kept(above:index:last:else:)` keeps, as bits.
    func lanesKept(above threshold: Self, index: Int32, last: SIMD16<Int32>) -> UInt16
    /// Lane by lane, this vector where the bit is set, else `other`.
    func kept(where bits: UInt16, else other: Self) -> Self
    /// The lanes that are greater than the same lane of `other`, as bits.
    func lanes(above other: Self) -> UInt16
    /// True when no lane is greater than the same lane of `other`, nor NaN.
    func allAtMost(_ other: Self) -> Bool

    static func loadUnaligned(_ p: UnsafeRawPointer) -> Self
    func storeUnaligned(_ p: UnsafeMutableRawPointer)
    /// Stores past the caches, to a multiple of this vector's size; see `vqd_streamed`.
    func stream(_ p: UnsafeMutableRawPointer)
}

extension RealVector {
    /// The sixteen numbers at `p`.
    @inline(__always)
    init(at p: UnsafePointer<Scalar>) { self = .loadUnaligned(UnsafeRawPointer(p)) }

    @inline(__always)
    func store(at p: UnsafeMutablePointer<Scalar>) { storeUnaligned(UnsafeMutableRawPointer(p)) }

    /// True when every lane is less than the same lane of `other`.
    @inline(__always)
    func isBelow(_ other: Self) -> Bool { other.lanes(above: self) == .max }

    /// Where there is no NaN.
    var largestLane: Scalar {
        var largest = self[0]
        for lane in 1..<16 { largest = max(largest, self[lane]) }
        return largest
    }

    /// Stores the first `count` lanes.
    @inline(__always)
    func store(to p: UnsafeMutableRawPointer, count: Int) {
        if count == 16 { return storeUnaligned(p) }
        for lane in 0..<count {
            p.storeBytes(
                of: self[lane], toByteOffset: lane &* MemoryLayout<Scalar>.size, as: Scalar.self)
        }
    }
}

/// A precision a kernel computes in.
protocol RealScalar: BinaryFloatingPoint {
    /// An integer that is ordered like the numbers (NaN aside) and one apart where they are
    /// neighbours; both zeros are 0.
    var orderedBits: Int64 { get }
    init(orderedBits: Int64)
    associatedtype Vector: RealVector where Vector.Scalar == Self
    init(_ value: Double)
    var asDouble: Double { get }
    /// No exponential differs from the true one by more than this but for rounding, whatever lies
    /// below the range of `exp`.
    static var flushedMass: Double { get }
    /// Where the range of `exp` begins.
    static var smallestExponent: Self { get }
}

extension Float: RealScalar {
    typealias Vector = FloatVector
    @inline(__always) var asDouble: Double { Double(self) }

    var orderedBits: Int64 {
        let magnitude = Int64(self.magnitude.bitPattern)
        return sign == .minus ? -magnitude : magnitude
    }

    init(orderedBits: Int64) {
        let magnitude = Float(bitPattern: UInt32(truncatingIfNeeded: orderedBits.magnitude))
        self = orderedBits < 0 ? -magnitude : magnitude
    }

    static var flushedMass: Double { 0x1p-125 }
    static var smallestExponent: Float { -87.33 }
}

extension Double: RealScalar {
    typealias Vector = DoubleVector
    @inline(__always) var asDouble: Double { self }

    var orderedBits: Int64 {
        let magnitude = Int64(self.magnitude.bitPattern)
        return sign == .minus ? -magnitude : magnitude
    }

    init(orderedBits: Int64) {
        let magnitude = Double(bitPattern: orderedBits.magnitude)
        self = orderedBits < 0 ? -magnitude : magnitude
    }

    static var flushedMass: Double { 0x1p-1021 }
    static var smallestExponent: Double { -708.39 }
}
