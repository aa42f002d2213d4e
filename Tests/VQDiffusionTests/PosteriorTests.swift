import Foundation
import Testing

@testable import VQDiffusion

/// Random log-probabilities of some sharpness, normalised.
func randomLogProbabilities(
    batch: Int, classes: Int, pixels: Int, sharpness: Double, seed: UInt64
) -> LogProbabilityTensor {
    var random = TestGenerator(seed: seed)
    var result = LogProbabilityTensor(repeating: 0, batch: batch, classes: classes, pixels: pixels)
    for row in 0..<batch {
        for pixel in 0..<pixels {
            let logits = (0..<classes).map { _ in
                sharpness * Double.random(in: -1...1, using: &random)
            }
            let total = Foundation.log(logits.reduce(0) { $0 + Foundation.exp($1) })
            for k in 0..<classes { result[row, k, pixel] = Float(logits[k] - total) }
        }
    }
    return result
}

func randomGrid(batch: Int, pixels: Int, upTo upper: Int, seed: UInt64) -> ClassGrid {
    var random = TestGenerator(seed: seed)
    return ClassGrid(
        batch: batch, pixels: pixels,
        indices: (0..<batch * pixels).map { _ in Int.random(in: 0...upper, using: &random) })
}

@Suite("Posterior")
struct PosteriorTests {
    /// Eq. 11 against Bayes on explicit matrices, at single steps and at long strides.
    @Test(arguments: [1, 2, 17, 33]) func agreesWithBayes(classes: Int) throws {
        let chain = ExplicitChain(classes: classes)
        let scheduler = try Scheduler(classes: classes)
        for (t, s) in [(99, 98), (50, 49), (7, 6), (1, 0), (0, -1), (99, 49), (60, 3), (30, -1)] {
            let p = randomLogProbabilities(
                batch: 2, classes: classes, pixels: 19, sharpness: 8,
                seed: UInt64(t * 100 + classes))
            let sample = randomGrid(batch: 2, pixels: 19, upTo: classes, seed: UInt64(t))
            let result = try scheduler.logPosterior(of: p, at: t, to: s, given: sample)
            for row in 0..<2 {
                for pixel in 0..<19 {
                    let observed = sample[row, pixel]
                    let truth = chain.posterior(
                        (0..<classes).map { Foundation.exp(Double(p[row, $0, pixel])) },
                        observed: observed, from: t, to: s)
                    for k in 0...classes where !(k == classes && observed != classes) {
                        let (value, log) = (Double(result[row, k, pixel]), Foundation.log(truth[k]))
                        // A rounding of the result, and 1e-6 for those of the sum over the column.
                        #expect(abs(value - log) < 1e-6 + 0x1p-23 * abs(log) || value == log)
                    }
                }
            }
        }
    }

    @Test func isHomogeneous() throws {
        let scheduler = try Scheduler(classes: 12)
        let sample = randomGrid(batch: 1, pixels: 40, upTo: 12, seed: 1)
        let p = randomLogProbabilities(batch: 1, classes: 12, pixels: 40, sharpness: 5, seed: 2)
        let plain = try scheduler.logPosterior(of: p, at: 40, given: sample)
        // Far enough to overflow and to vanish as plain exponentials.
        for shift in [-300, -90, 100, 500] as [Float] {
            var shifted = p
            for i in shifted.values.indices { shifted.values[i] += shift }
            let result = try scheduler.logPosterior(of: shifted, at: 40, given: sample)
            for (a, b) in zip(result.values, plain.values) {
                #expect(abs(a - shift - b) < 8e-5 || a == b)
            }
        }
    }

    @Test func impossibleClassesStayFinite() throws {
        let scheduler = try Scheduler(classes: 3)
        var p = LogProbabilityTensor(repeating: -.infinity, batch: 1, classes: 3, pixels: 2)
        p[0, 1, 0] = 0
        p[0, 1, 1] = 0
        let sample = ClassGrid(batch: 1, pixels: 2, indices: [0, 3])
        let result = try scheduler.logPosterior(of: p, at: 50, given: sample)
        let truth = ExplicitChain(classes: 3).posterior([0, 1, 0], observed: 0, from: 50, to: 49)
        for k in 0..<3 { #expect(abs(Double(result[0, k, 0]) - Foundation.log(truth[k])) < 2e-6) }
        // The mask of an unmasked pixel: log 1e-30 in place of log 0.
        #expect(result[0, 3, 0] < -50 && result[0, 3, 0].isFinite)
    }

    @Test func absorbingDiffusionCarriesOver() throws {
        let gamma = (1...10).map { Double($0) / 10 }
        let scheduler = try Scheduler(
            classes: 4, alphaCumulative: gamma.map { 1 - $0 }, gammaCumulative: gamma)
        let p = randomLogProbabilities(batch: 1, classes: 4, pixels: 2, sharpness: 3, seed: 5)
        let result = try scheduler.logPosterior(
            of: p, at: 5, given: ClassGrid(batch: 1, pixels: 2, indices: [2, 4]))
        for k in 0...4 {
            if k == 2 {
                #expect(abs(result[0, k, 0]) < 1e-6)
            } else {
                #expect(result[0, k, 0] == -.infinity)
            }
        }
        // MDLM: p_k (γ̄_t - γ̄_s)/γ̄_t.
        for k in 0..<4 {
            #expect(abs(result[0, k, 1] - (p[0, k, 1] + Float(Foundation.log(0.1 / 0.6)))) < 1e-6)
        }
    }

    @Test func badColumnsAreFound() throws {
        let scheduler = try Scheduler(classes: 5)
        let sample = ClassGrid(repeating: 2, batch: 1, pixels: 20)
        for bad in [Float.nan, .infinity] {
            for k in 0..<5 {
                var p = LogProbabilityTensor(repeating: -1, batch: 1, classes: 5, pixels: 20)
                p[0, k, 17] = bad
                do {
                    _ = try scheduler.logPosterior(of: p, at: 3, given: sample)
                    Issue.record("accepted \(bad) at class \(k)")
                } catch {
                    #expect(
                        error.description
                            == "modelOutput must hold finite numbers or -inf, "
                            + "not NaN or +inf as at [0, \(k), 17]"
                    )
                }
            }
        }
        var p = LogProbabilityTensor(repeating: -1, batch: 1, classes: 5, pixels: 20)
        for k in 0..<5 { p[0, k, 4] = -.infinity }
        #expect(throws: ArgumentError.self) {
            try scheduler.logPosterior(of: p, at: 3, given: sample)
        }
    }

    @Test func disagreeingShapesAreRefused() throws {
        let scheduler = try Scheduler(classes: 5)
        let sample = ClassGrid(repeating: 2, batch: 1, pixels: 20)
        for (batch, classes, pixels) in [(1, 6, 20), (1, 4, 20), (2, 5, 20), (1, 5, 19)] {
            let p = LogProbabilityTensor(
                repeating: -1, batch: batch, classes: classes, pixels: pixels)
            #expect(throws: ArgumentError.self) {
                try scheduler.logPosterior(of: p, at: 3, given: sample)
            }
        }
        let p = LogProbabilityTensor(repeating: -1, batch: 1, classes: 5, pixels: 20)
        for index in [-1, 6] {
            let outside = ClassGrid(repeating: index, batch: 1, pixels: 20)
            #expect(throws: ArgumentError.self) {
                try scheduler.logPosterior(of: p, at: 3, given: outside)
            }
        }
    }

    @Test func emptyIsEmpty() throws {
        let scheduler = try Scheduler(classes: 5)
        for (batch, pixels) in [(0, 7), (3, 0)] {
            let p = LogProbabilityTensor(repeating: 0, batch: batch, classes: 5, pixels: pixels)
            let sample = ClassGrid(repeating: 0, batch: batch, pixels: pixels)
            #expect(try scheduler.logPosterior(of: p, at: 3, given: sample).values.isEmpty)
            var random = TestGenerator(seed: 0)
            #expect(try scheduler.step(p, at: 3, from: sample, using: &random).indices.isEmpty)
        }
    }
}
