import CVQDiffusion

/// Gumbel noise from uniforms of an element type, and an upper bound of it in two instructions.
protocol GumbelNoise {
    /// How a uniform is stored.
    associatedtype Uniform: FloatingElement
    /// The precision of the scores that the noise is added to.
    associatedtype Real: RealScalar

    /// -log(-log(u + 1e-30) + 1e-30), every operation rounded in the precision of the uniform.
    static func noise(_ u: Uniform.Real.Vector) -> Real.Vector
    /// Not less than `noise(u)`.
    static func bound(_ u: Uniform.Real.Vector) -> Real.Vector
}

enum FloatNoise: GumbelNoise {
    typealias Uniform = Float
    typealias Real = Float

    @inline(__always)
    static func noise(_ u: FloatVector) -> FloatVector {
        FloatVector(-FloatVector.log(arrivalTime(u)).lanes)
    }

    /// e^-noise(u), exponentially distributed. The class with the greatest score is the one with
    /// the greatest ratio of its probability to this.
    @inline(__always)
    static func arrivalTime(_ u: FloatVector) -> FloatVector {
        FloatVector(1e-30 - FloatVector.log(FloatVector(u.lanes + 1e-30)).lanes)
    }

    /// -log(-log u) ≤ -log(1 - u), and 1 - u = v is exact for a u of 24 bits. The bit pattern of v
    /// as an integer is 2²³(127 + log₂ v) but for the curve of the fraction, which lies below: two
    /// instructions bound -log v from above within 0.06. The margin of 0.001 covers the roundings
    /// of the bound and of `noise`.
    @inline(__always)
    static func bound(_ u: FloatVector) -> FloatVector {
        let pattern = vqd_converted((1 - u.lanes).signedBits)
        return FloatVector(
            pattern.times(
                SIMD16(repeating: -0.693_147_2 / 8_388_608),
                plus: SIMD16(repeating: 127 * 0.693_147_2 + 0.001)))
    }
}

/// Noise in float32 for scores in double precision.
enum WidenedFloatNoise: GumbelNoise {
    typealias Uniform = Float
    typealias Real = Double

    @inline(__always)
    static func noise(_ u: FloatVector) -> DoubleVector {
        DoubleVector(vqd_widened_float(FloatNoise.noise(u).lanes))
    }

    @inline(__always)
    static func bound(_ u: FloatVector) -> DoubleVector {
        DoubleVector(vqd_widened_float(FloatNoise.bound(u).lanes))
    }
}

enum DoubleNoise: GumbelNoise {
    typealias Uniform = Double
    typealias Real = Double

    @inline(__always)
    static func noise(_ u: DoubleVector) -> DoubleVector {
        let arrivalTime = 1e-30 - DoubleVector.log(DoubleVector(u.lanes + 1e-30)).lanes
        return DoubleVector(-DoubleVector.log(DoubleVector(arrivalTime)).lanes)
    }

    /// The noise of the largest double below one is 36.74, that of one 69.08.
    @inline(__always)
    static func bound(_ u: DoubleVector) -> DoubleVector { DoubleVector(repeating: 70) }
}
