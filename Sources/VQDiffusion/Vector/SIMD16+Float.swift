// Polynomials are minimax fits of relative error (Lawson iteration in 60 digits); the bound beside
// each is the fit's own error, to which float32 arithmetic adds about one ulp.
//
// What Swift compiles to vector instructions, found by reading the assembly: arithmetic, shifts,
// bit operations and bit casts. What it does not: `.rounded()`, initialisers that convert lanes,
// and masks. So rounding and conversion go through the magic constant 1.5·2²³, special cases
// through clamping, and for the rest there is vectors.h.

import CVQDiffusion

extension SIMD16<Float> {
    /// e^x within 2 ulp for x in [-87.33, 88.37]; arguments outside count as the nearer end, NaN
    /// gives NaN.
    ///
    /// So e^-∞ is 1.2e-38 rather than 0: whoever adds up exponentials must ask for a sum large
    /// enough that this is nothing (`ColumnMass.isReliable`).
    @inline(__always)
    static func exp(_ x: Self) -> Self { expBounded(vqd_lesser(x, Self(repeating: 88.37))) }

    /// The same where x is at most 88.37, or NaN: an instruction less.
    @inline(__always)
    static func expBounded(_ x: Self) -> Self {
        let clamped = vqd_greater(x, Self(repeating: -87.33))
        let magic = Self(repeating: 12_582_912)
        let shifted = clamped.times(Self(repeating: 1.442_695_04), plus: magic)
        let n = shifted - magic
        // x - n log 2 in two parts: the first has 9 trailing zero bits, so n times it is exact.
        let r = n.times(
            Self(repeating: 2.121_944_4e-4),
            plus: n.times(Self(repeating: -0.693_359_375), plus: clamped))
        // e^r for |r| ≤ ½ log 2 (3.3e-9)
        let q = r.times(0.001_381_313_2, plus: 0.008_369_42)
            .times(r, plus: 0.041_668_456)
            .times(r, plus: 0.166_665_15)
            .times(r, plus: 0.499_999_94)
        let e = (r * r).times(q, plus: r) + 1
        // 2ⁿ: n in the low bits of `shifted` becomes the exponent. A product, not an addition of
        // exponents, so that NaN stays NaN.
        let power = Self(bits: (shifted.bits &<< 23) &+ SIMD16<UInt32>(repeating: 0x3f80_0000))
        return e * power
    }

    /// log x within 2 ulp, for x that is normal and finite.
    @inline(__always)
    static func log(_ x: Self) -> Self {
        // x = 2ᵏ m with m in [√½, √2): subtracting the bits of √½ makes the split one shift.
        let offset = x.signedBits &- SIMD16<Int32>(repeating: 0x3f35_04f3)
        let k = offset &>> 23
        let m = Self(signedBits: x.signedBits &- (k &<< 23))
        let f = m - 1
        // log(1 + f) = f - f²/2 + f³ q(f) (5.8e-9)
        let q = f.times(-0.076_341_08, plus: 0.127_614_2)
            .times(f, plus: -0.131_602_56)
            .times(f, plus: 0.142_017_84)
            .times(f, plus: -0.166_233_52)
            .times(f, plus: 0.200_012_25)
            .times(f, plus: -0.250_008_23)
            .times(f, plus: 0.333_333_31)
        let f2 = f * f
        let tail = (f2 * f).times(q, plus: f2 * -0.5)
        // k as a float: 1.5·2²³ + k has k in its low bits.
        let kFloat = Self(signedBits: k &+ SIMD16<Int32>(repeating: 0x4b40_0000)) - 12_582_912
        return kFloat.times(
            Self(repeating: 0.693_359_375),
            plus: f + kFloat.times(Self(repeating: -2.121_944_4e-4), plus: tail))
    }

    /// log(1 + e^-|x|), for x that is not NaN: what log(e^a + e^b) exceeds max(a, b) by, at x = a -
    /// b.
    @inline(__always)
    static func logAddExpTail(_ x: Self) -> Self {
        let y = expBounded(Self(bits: x.bits | SIMD16<UInt32>(repeating: 0x8000_0000)))
        // log(1 + y) = y q(y) for y in [0, 1] (3.0e-8)
        let q = y.times(0.005_232_298_7, plus: -0.029_503_655)
            .times(y, plus: 0.078_223_37)
            .times(y, plus: -0.136_630_27)
            .times(y, plus: 0.191_059_04)
            .times(y, plus: -0.248_429_55)
            .times(y, plus: 0.333_190_95)
            .times(y, plus: -0.499_994_93)
            .times(y, plus: 0.999_999_94)
        return y * q
    }

    @inline(__always)
    var bits: SIMD16<UInt32> { unsafeBitCast(self, to: SIMD16<UInt32>.self) }

    @inline(__always)
    init(bits: SIMD16<UInt32>) { self = unsafeBitCast(bits, to: Self.self) }

    @inline(__always)
    var signedBits: SIMD16<Int32> { unsafeBitCast(self, to: SIMD16<Int32>.self) }

    @inline(__always)
    init(signedBits: SIMD16<Int32>) { self = unsafeBitCast(signedBits, to: Self.self) }
}
