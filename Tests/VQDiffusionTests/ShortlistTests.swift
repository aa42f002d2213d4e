import CVQDiffusion
import Foundation
import Testing

@testable import VQDiffusion

@Suite("Bounds of scores")
struct ShortlistTests {
    private static let floor = -2.75

    /// Pixels of every kind, with and without a uniform part, and those of the last step.
    private static let kinds = [1, 8, 64].flatMap {
        classes -> [(factors: PosteriorFactors, mass: ColumnMass, classes: Int)] in
        [(0.75, 0.25), (0.6, 0.25), (1e-5, 0.9)].flatMap { (alpha, gamma) in
            let step = ReverseStep(
                timestep: 1, previousTimestep: 0, classes: classes,
                now: Marginal(alpha: alpha / 2, gamma: gamma + 0.02, classes: classes),
                earlier: Marginal(alpha: alpha, gamma: gamma, classes: classes))
            return [step.maskClass, 0].map { (step.factors(of: $0), step.mass(of: $0), classes) }
        } + [(.direct, .plain, classes)]
    }

    /// The bound of a class, as `ShortlistScan` has it.
    private func bound(_ bounds: ScoreBounds, _ x: Float) -> Float {
        let (signal, level) = (SIMD16(repeating: bounds.signal), SIMD16(repeating: bounds.level))
        let pattern = vqd_bound(SIMD16(repeating: x), ScoreBounds.scale, signal, level)
        return Float(bitPattern: pattern[0])
    }

    /// Columns of equal classes, all over the range and where floats are next to a power of two:
    /// there a float is as large as the exponential that it stands for, and the roundings decide.
    @Test func sumsBracketTheMass() {
        var taken = 0
        for (factors, mass, classes) in Self.kinds {
            let bounds = ScoreBounds(factors, mass, classes: classes, floor: Self.floor)
            var columns = (0..<1000).map { Float(-Double($0) / 250) }
            for exponent in 110..<135 {
                let x = Float(exponent << 23) - bounds.signal
                for ulps in -30...30 {
                    columns.append(x / ScoreBounds.scale * (1 + Float(ulps) * 0x1p-23))
                }
            }
            for x in columns {
                var sum = Float(0)
                for _ in 0..<classes { sum += bound(bounds, x) }
                guard let bracket = bounds.mass(sum: Double(sum)) else { continue }
                taken += 1
                let truth = Double(classes) * Foundation.exp(Double(x))
                #expect(bracket.low <= truth && truth <= bracket.high)
            }
        }
        #expect(taken > 10_000)
    }

    /// The bound of a class exceeds the complement of its uniform wherever the score of the plain
    /// formula exceeds the floor: at complements around the greatest one with such a score.
    @Test func scoresAboveTheFloorAreListed() {
        let steps = SIMD16<Float>((0..<16).map { Float($0 * 4 - 52) })
        for (factors, mass, classes) in Self.kinds {
            let bounds = ScoreBounds(factors, mass, classes: classes, floor: Self.floor)
            var above = 0
            for i in 0..<1000 {
                let x = Float(-Double(i) / 100)
                let level = factors.level * mass.of(own: 0, others: 1)
                let posterior = factors.signal * Foundation.exp(Double(x)) + level
                let log = Float(Foundation.log(posterior))
                let greatest = -expm1(-posterior * Foundation.exp(-Self.floor)) * 0x1p24
                let complements = SIMD16(repeating: Float(greatest.rounded())) + steps
                let noise = FloatNoise.noise(FloatVector(1 - complements * 0x1p-24))
                let bound = bound(bounds, x)
                for lane in 0..<16 where 1...0x1p24 ~= complements[lane] {
                    guard log + noise[lane] > Float(Self.floor) else { continue }
                    above += 1
                    #expect(bound > complements[lane] * 0x1p-24)
                }
            }
            #expect(above > 1000)
        }
    }
}
