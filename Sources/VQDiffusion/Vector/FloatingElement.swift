import CVQDiffusion

/// An element type that log-probabilities may be stored in, and how sixteen of them become the
/// vector a kernel computes with.
protocol FloatingElement {
    /// The precision that kernels compute in for this element type.
    associatedtype Real: RealScalar

    /// Bytes of an element.
    static var size: Int { get }
    static func load(_ p: UnsafeRawPointer) -> Real
    /// Sixteen neighbours in memory.
    static func loadVector(_ p: UnsafeRawPointer) -> Real.Vector
    /// Sixteen elements at byte offsets from `p`.
    static func gather(_ p: UnsafeRawPointer, _ offsets: SIMD16<Int>) -> Real.Vector
}

extension FloatingElement {
    @inline(__always)
    static func gather(_ p: UnsafeRawPointer, _ offsets: SIMD16<Int>) -> Real.Vector {
        var result = Real.Vector(repeating: 0)
        for lane in 0..<16 { result[lane] = load(p + offsets[lane]) }
        return result
    }
}

extension Float: FloatingElement {
    static var size: Int { 4 }

    @inline(__always)
    static func load(_ p: UnsafeRawPointer) -> Float { p.loadUnaligned(as: Float.self) }

    @inline(__always)
    static func loadVector(_ p: UnsafeRawPointer) -> FloatVector { .loadUnaligned(p) }
}

extension Double: FloatingElement {
    static var size: Int { 8 }

    @inline(__always)
    static func load(_ p: UnsafeRawPointer) -> Double { p.loadUnaligned(as: Double.self) }

    @inline(__always)
    static func loadVector(_ p: UnsafeRawPointer) -> DoubleVector { .loadUnaligned(p) }
}

/// IEEE half precision. Decoded by bits: `Float16` would call a library function per lane where the
/// CPU level has no conversion.
enum HalfElement: FloatingElement {
    static var size: Int { 2 }

    @inline(__always)
    static func load(_ p: UnsafeRawPointer) -> Float {
        decode(SIMD16<UInt32>(repeating: UInt32(p.loadUnaligned(as: UInt16.self))))[0]
    }

    @inline(__always)
    static func loadVector(_ p: UnsafeRawPointer) -> FloatVector {
        FloatVector(decode(vqd_widened_short(p.loadUnaligned(as: SIMD16<UInt16>.self))))
    }

    /// Decoded together: one by one each would take as long as all.
    @inline(__always)
    static func gather(_ p: UnsafeRawPointer, _ offsets: SIMD16<Int>) -> FloatVector {
        var bits = SIMD16<UInt16>()
        for lane in 0..<16 { bits[lane] = (p + offsets[lane]).loadUnaligned(as: UInt16.self) }
        return FloatVector(decode(vqd_widened_short(bits)))
    }

    /// Moving the exponent and fraction 13 bits up and multiplying by 2¹¹² re-biases the exponent,
    /// subnormals included; only infinity and NaN need their exponent filled.
    @inline(__always)
    private static func decode(_ half: SIMD16<UInt32>) -> SIMD16<Float> {
        let magnitude = (half & SIMD16(repeating: 0x7fff)) &<< 13
        let scaled = (SIMD16<Float>(bits: magnitude) * 0x1p112).bits
        // The sign of 0x0f7fffff - magnitude tells where: all ones from the exponent of infinity
        // on.
        let overflow =
            unsafeBitCast(
                SIMD16<UInt32>(repeating: 0x0f7f_ffff) &- magnitude, to: SIMD16<Int32>.self) &>> 31
        let special =
            unsafeBitCast(overflow, to: SIMD16<UInt32>.self) & SIMD16(repeating: 0x7f80_0000)
        return SIMD16<Float>(bits: scaled | special | ((half & SIMD16(repeating: 0x8000)) &<< 16))
    }
}

/// The upper half of a float32.
enum BrainElement: FloatingElement {
    static var size: Int { 2 }

    @inline(__always)
    static func load(_ p: UnsafeRawPointer) -> Float {
        Float(bitPattern: UInt32(p.loadUnaligned(as: UInt16.self)) << 16)
    }

    @inline(__always)
    static func loadVector(_ p: UnsafeRawPointer) -> FloatVector {
        FloatVector(
            SIMD16<Float>(bits: vqd_widened_short(p.loadUnaligned(as: SIMD16<UInt16>.self)) &<< 16))
    }
}
