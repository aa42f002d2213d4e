// As SIMD16+Float.swift, in double precision. The magic constant is 1.5·2⁵².

import CVQDiffusion

extension SIMD16<Double> {
    /// e^x within 2 ulp for x in [-708.39, 709.08]; arguments outside count as the nearer end, NaN
    /// gives NaN.
    @inline(__always)
    static func exp(_ x: Self) -> Self { expBounded(vqd_lesser_double(x, Self(repeating: 709.08))) }

    /// The same where x is at most 709.08, or NaN: an instruction less.
    @inline(__always)
    static func expBounded(_ x: Self) -> Self {
        let clamped = vqd_greater_double(x, Self(repeating: -708.39))
        let magic = Self(repeating: 6_755_399_441_055_744)
        let shifted = clamped.times(Self(repeating: 1.442_695_040_888_963_4), plus: magic)
        let n = shifted - magic
        // log 2 in two parts; the first has 21 trailing zero bits, so n times it is exact.
        let r = n.times(
            Self(repeating: -1.908_214_929_270_587_7e-10),
            plus: n.times(Self(repeating: -0.693_147_180_369_123_816_49), plus: clamped))
        // e^r = 1 + r + r² q(r) for |r| ≤ ½ log 2 (6e-20)
        let q = r.times(2.082_562_678_257_318_5e-9, plus: 2.511_322_749_372_995_4e-8)
            .times(r, plus: 2.755_759_241_361_678e-7)
            .times(r, plus: 2.755_723_147_835_310_4e-6)
            .times(r, plus: 2.480_158_690_378_860_5e-5)
            .times(r, plus: 1.984_126_989_973_126_4e-4)
            .times(r, plus: 0.001_388_888_888_913_423_1)
            .times(r, plus: 0.008_333_333_333_315_701)
            .times(r, plus: 0.041_666_666_666_666_03)
            .times(r, plus: 0.166_666_666_666_666_85)
            .times(r, plus: 0.5)
        let e = (r * r).times(q, plus: r) + 1
        let power = Self(
            bits: (shifted.bits &<< 52) &+ SIMD16<UInt64>(repeating: 0x3ff0_0000_0000_0000))
        return e * power
    }

    /// log x within 2 ulp, for x that is normal and finite.
    @inline(__always)
    static func log(_ x: Self) -> Self {
        let offset = x.signedBits &- SIMD16<Int64>(repeating: 0x3fe6_a09e_667f_3bcd)
        let k = offset &>> 52
        let m = Self(signedBits: x.signedBits &- (k &<< 52))
        let f = m - 1
        // log m = 2 artanh s with s = f/(2 + f), |s| < 0.172: its series to s²³.
        let s = f / (f + 2)
        let z = s * s
        let series = z.times(2.0 / 23, plus: 2.0 / 21)
            .times(z, plus: 2.0 / 19)
            .times(z, plus: 2.0 / 17)
            .times(z, plus: 2.0 / 15)
            .times(z, plus: 2.0 / 13)
            .times(z, plus: 2.0 / 11)
            .times(z, plus: 2.0 / 9)
            .times(z, plus: 2.0 / 7)
            .times(z, plus: 2.0 / 5)
            .times(z, plus: 2.0 / 3)
        // 2s = f - s f, whose first term is exact.
        let tail = s * (z * series - f)
        let kDouble =
            Self(signedBits: k &+ SIMD16<Int64>(repeating: 0x4338_0000_0000_0000))
            - 6_755_399_441_055_744
        return kDouble.times(
            Self(repeating: 0.693_147_180_369_123_816_49),
            plus: f + kDouble.times(Self(repeating: 1.908_214_929_270_587_7e-10), plus: tail))
    }

    @inline(__always)
    static func logAddExpTail(_ x: Self) -> Self {
        log(expBounded(Self(bits: x.bits | SIMD16<UInt64>(repeating: 0x8000_0000_0000_0000))) + 1)
    }

    @inline(__always)
    var bits: SIMD16<UInt64> { unsafeBitCast(self, to: SIMD16<UInt64>.self) }

    @inline(__always)
    init(bits: SIMD16<UInt64>) { self = unsafeBitCast(bits, to: Self.self) }

    @inline(__always)
    var signedBits: SIMD16<Int64> { unsafeBitCast(self, to: SIMD16<Int64>.self) }

    @inline(__always)
    init(signedBits: SIMD16<Int64>) { self = unsafeBitCast(signedBits, to: Self.self) }
}
