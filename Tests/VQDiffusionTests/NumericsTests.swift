import Foundation
import Testing

@testable import VQDiffusion

/// The distance of a result from the true value, in units of the last place of the true value.
private func ulps(_ value: Float, from truth: Double) -> Double {
    abs(Double(value) - truth) / Double(Float(truth).ulp)
}

@Suite("Vector exp and log")
struct NumericsTests {
    @Test func expOfFloatsIsWithinTwoUlps() {
        var worst = 0.0
        for i in 0..<200_000 {
            let x = Float(-87.3 + 175.6 * Double(i) / 200_000)
            worst = max(
                worst,
                ulps(
                    SIMD16<Float>.exp(SIMD16(repeating: x))[i % 16], from: Foundation.exp(Double(x))
                ))
        }
        #expect(worst < 2)
    }

    @Test func expOfDoublesIsWithinTwoUlps() {
        var worst = 0.0
        for i in 0..<50_000 {
            let x = -708.0 + 1416.9 * Double(i) / 50_000
            let truth = Foundation.exp(x)
            worst = max(
                worst, abs(SIMD16<Double>.exp(SIMD16(repeating: x))[i % 16] - truth) / truth.ulp)
        }
        #expect(worst < 2)
    }

    /// Beyond its range exp goes on with the end of it; NaN, whatever its payload, must come
    /// through, as it is found by the sum it spoils.
    @Test func expBeyondItsRange() {
        let x = SIMD16<Float>(
            -.infinity, -1000, -87.34, 0, 88.4, .infinity, .nan,
            Float(nan: 12345, signaling: false), 1, 1, 1, 1, 1, 1, 1, 1)
        let y = SIMD16<Float>.exp(x)
        for lane in 0..<3 { #expect(y[lane] > .leastNormalMagnitude && y[lane] < 0x1p-125) }
        #expect(
            y[3] == 1 && y[4] > 2.3e38 && y[5] == y[4] && y[5].isFinite && y[6].isNaN && y[7].isNaN)
        let z = SIMD16<Double>.exp(
            SIMD16(-.infinity, -709, 0, 709.7, .infinity, .nan, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1))
        #expect(
            z[0] > 0 && z[0] < 0x1p-1021 && z[1] == z[0] && z[2] == 1 && z[3] == z[4]
                && z[4].isFinite && z[5].isNaN)
    }

    @Test func logOfFloatsIsWithinTwoUlps() {
        var worst = 0.0
        // Every power of two is met, and the neighbourhood of one, where the logarithm vanishes, is
        // dense.
        for i in 1..<200_000 {
            let x = Float(Foundation.exp(-87.0 + 175.0 * Double(i) / 200_000))
            let near = 1 + Float(i - 100_000) * 0x1p-23
            for value in [x, near] where value != 1 {
                worst = max(
                    worst,
                    ulps(
                        SIMD16<Float>.log(SIMD16(repeating: value))[0],
                        from: Foundation.log(Double(value))))
            }
        }
        #expect(worst < 2)
        #expect(SIMD16<Float>.log(SIMD16(repeating: 1))[0] == 0)
    }

    @Test func logOfDoublesIsWithinTwoUlps() {
        var worst = 0.0
        for i in 1..<50_000 {
            for value in [
                Foundation.exp(-700.0 + 1400.0 * Double(i) / 50_000),
                1 + Double(i - 25_000) * 0x1p-52,
            ] where value != 1 {
                let truth = Foundation.log(value)
                worst = max(
                    worst, abs(SIMD16<Double>.log(SIMD16(repeating: value))[0] - truth) / truth.ulp)
            }
        }
        #expect(worst < 2)
    }

    @Test func logAddExpTailIsAccurate() {
        for i in 0..<100_000 {
            let x = Float(-90 + 180.0 * Double(i) / 100_000)
            let truth = Foundation.log1p(Foundation.exp(-abs(Double(x))))
            #expect(
                abs(Double(SIMD16<Float>.logAddExpTail(SIMD16(repeating: x))[0]) - truth) < 1.3e-7)
            #expect(
                abs(SIMD16<Double>.logAddExpTail(SIMD16(repeating: Double(x)))[0] - truth) < 4e-16)
        }
        #expect(SIMD16<Float>.logAddExpTail(SIMD16(repeating: -.infinity))[0] < 1.2e-38)
    }

    @Test func everyHalfIsDecoded() {
        for pattern in UInt16.min...UInt16.max {
            let truth = Float(Float16(bitPattern: pattern))
            let value = withUnsafeBytes(of: pattern) { HalfElement.load($0.baseAddress!) }
            #expect(value == truth || value.isNaN && truth.isNaN)
        }
    }

    @Test func everyBrainFloatIsDecoded() {
        for pattern in UInt16.min...UInt16.max {
            let truth = Float(bitPattern: UInt32(pattern) << 16)
            let value = withUnsafeBytes(of: pattern) { BrainElement.load($0.baseAddress!) }
            #expect(value == truth || value.isNaN && truth.isNaN)
        }
    }

    /// The bound must hold for every uniform there is, or the sampler would lose draws; it should
    /// also be tight, or nothing would be skipped.
    @Test func noiseBoundHoldsForEveryUniform() {
        var (loosest, tightest) = (Float(0), Float.infinity)
        for first in stride(from: UInt32(0), to: 1 << 24, by: 16 * 7) {
            var u = SIMD16<Float>()
            for lane in 0..<16 { u[lane] = Float(min(first + UInt32(lane), 1 << 24 - 1)) * 0x1p-24 }
            let slack =
                FloatNoise.bound(FloatVector(u)).lanes - FloatNoise.noise(FloatVector(u)).lanes
            tightest = min(tightest, slack.min())
            // Small uniforms never win; there the bound may be loose.
            if u[0] > 0.99 { loosest = max(loosest, slack.max()) }
        }
        #expect(tightest > 0.0005)
        #expect(loosest < 0.07)
    }

    /// Values of the documented formula in double precision at the ends of the range.
    @Test func noiseAtTheEnds() {
        let u = SIMD16<Float>(0, 1 - 0x1p-24, 0.5, 0x1p-24, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
        let noise = FloatNoise.noise(FloatVector(u))
        #expect(abs(noise[0] - -4.235_230) < 1e-5)
        #expect(abs(noise[1] - 16.635_532) < 1e-5)
        #expect(abs(noise[2] - 0.366_512_9) < 1e-6)
    }
}
