import Foundation
import Testing

@testable import VQDiffusion

@Suite("Bound of the likelihood")
struct BoundTests {
    private let keys = RowKeys(seed: 1 << 63 + 11, ids: [3, .max, 12_345_678_901_234_567_890])
    private let data = ClassGrid(batch: 3, pixels: 12, indices: (0..<36).map { $0 % 5 })
    private let mixed: Scheduler

    init() throws {
        mixed = try Scheduler(classes: 5, timesteps: 20, alpha: (0.9, 0.1), gamma: (0.02, 0.6))
    }

    private static let absorbing = (1...8).map { Double($0) / 8 }

    /// `scheduler.likelihood_bound(lambda x_t, t: p, data, keys)` in Python, of the numbers that
    /// `KeyedRowsTests` states, by 4 and by 20 steps; then with `gammas = numpy.arange(1, 9) / 8`,
    /// `alphas = 1 - gammas`, by 3.
    @Test func boundsAreThoseOfPython() throws {
        let absorbing = try Scheduler(
            classes: 5, alphaCumulative: BoundTests.absorbing.map { 1 - $0 },
            gammaCumulative: BoundTests.absorbing)
        let expected: [(Scheduler, Int, [Double])] = [
            (mixed, 4, [37.22851641736689, 37.00360132208132, 37.57659281068119]),
            (mixed, 20, [47.30716784361134, 45.378000370188424, 45.87645694975749]),
            (absorbing, 3, [24.285276112344402, 19.17831130768753, 19.532868204690622]),
        ]
        for (scheduler, count, truth) in expected {
            // All steps unless given.
            let strides = count == 20 ? nil : try scheduler.strides(count)
            let nats = try scheduler.likelihoodBound(of: data, along: strides, using: keys) {
                _, _ in
                fixedLogProbabilities
            }
            #expect(nats.count == 3)
            for row in 0..<3 { #expect(abs(nats[row] - truth[row]) < 1e-9) }
        }
    }

    /// Each term by explicit matrices: log ratios weighted by Bayes' posterior given x_0.
    @Test func termsAreThoseOfExplicitMatrices() throws {
        let chain = ExplicitChain(
            classes: 5, alphaCumulative: mixed.alphaCumulative,
            gammaCumulative: mixed.gammaCumulative)
        let p = randomLogProbabilities(batch: 3, classes: 5, pixels: 12, sharpness: 3, seed: 7)
        let strides = try mixed.strides(visiting: [17, 9, 8, 1])
        var expected = [Double](repeating: 0, count: 3)
        func divergence(_ q: [Double], _ p: [Double]) -> Double {
            zip(q, p).reduce(0) { $1.0 > 0 ? $0 + $1.0 * log($1.0 / $1.1) : $0 }
        }
        let prior = Array(repeating: (1 - 0.6) / 5, count: 5) + [0.6]
        for (t, s) in strides {
            let sample = try mixed.addNoise(to: data, at: [t, t, t], using: keys)
            for row in 0..<3 {
                for pixel in 0..<12 {
                    let clean = (0..<5).map { $0 == data[row, pixel] ? 1.0 : 0 }
                    let column = (0..<5).map { exp(Double(p[row, $0, pixel])) }
                    let guess = column.map { $0 / column.reduce(0, +) }
                    if t == 17 {
                        expected[row] += divergence(chain.cumulative(t)[data[row, pixel]], prior)
                    }
                    let observed = sample[row, pixel]
                    expected[row] += divergence(
                        chain.posterior(clean, observed: observed, from: t, to: s),
                        chain.posterior(guess, observed: observed, from: t, to: s))
                }
            }
        }
        var called: [Int] = []
        let nats = try mixed.likelihoodBound(of: data, along: strides, using: keys) { sample, t in
            called.append(t)
            return p
        }
        #expect(called == strides.timesteps)
        for row in 0..<3 { #expect(abs(nats[row] - expected[row]) < 1e-9 * expected[row]) }
    }

    /// The prior term of the default schedule is 7.16e-5 nats for each pixel, and a sure model adds
    /// nothing. What the model returns need not be normalised.
    @Test func aSureModelLeavesThePriorTerm() throws {
        let (classes, pixels) = (4096, 2)
        let scheduler = try Scheduler(classes: classes)
        var sure = LogProbabilityTensor(
            repeating: -.infinity, batch: 1, classes: classes, pixels: pixels)
        for pixel in 0..<pixels { sure[0, 7, pixel] = 3 }
        var random = TestGenerator(seed: 1)
        let nats = try scheduler.likelihoodBound(
            of: ClassGrid(repeating: 7, batch: 1, pixels: pixels), along: scheduler.strides(1),
            using: &random
        ) { _, _ in sure }
        #expect(abs(nats[0] / Double(pixels) - 7.16e-5) < 5e-8)
        // One that excludes the truth is infinitely wrong.
        let wrong = try scheduler.likelihoodBound(
            of: ClassGrid(repeating: 8, batch: 1, pixels: pixels), along: scheduler.strides(2),
            using: &random
        ) { _, _ in sure }
        #expect(wrong == [.infinity])
    }

    /// Of a perfect model the mean is the entropy at any number of steps. The bound is five
    /// standard errors of a pixel's mean, which are below 0.03 here.
    @Test(arguments: [25, 3]) func thePerfectModelIsAtItsEntropy(count: Int) throws {
        let scheduler = try Scheduler(classes: 3)
        let (law, rows, pixels) = ([0.7, 0.25, 0.05], 100, 15)
        var random = TestGenerator(seed: 2)
        let data = ClassGrid(
            batch: rows, pixels: pixels,
            indices: (0..<rows * pixels).map { _ in
                let u = Double.random(in: 0..<1, using: &random)
                return u < 0.7 ? 0 : u < 0.95 ? 1 : 2
            })
        let explicit = ExplicitChain(classes: 3)
        let nats = try scheduler.likelihoodBound(
            of: data, along: scheduler.strides(count), using: &random
        ) { sample, t in
            let likelihood = explicit.cumulative(t)
            var p = LogProbabilityTensor(repeating: 0, batch: rows, classes: 3, pixels: pixels)
            for (place, shown) in sample.indices.enumerated() {
                for k in 0..<3 {
                    p[place / pixels, k, place % pixels] = Float(log(law[k] * likelihood[k][shown]))
                }
            }
            return p
        }
        let excess = nats.enumerated().map { row, bound in
            let entropy = data.indices[row * pixels..<(row + 1) * pixels].map { log(law[$0]) }
            return (bound + entropy.reduce(0, +)) / Double(pixels)
        }
        let mean = excess.reduce(0, +) / Double(rows)
        let variance = excess.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(rows)
        let error = (variance / Double(rows)).squareRoot()
        #expect(error < 0.03 && abs(mean) < 5 * error + 1e-4)
    }

    /// A masked start needs a timestep at which all is masked.
    @Test func infiniteBoundsAreErrors() throws {
        let gamma = [0.25, 0.5, 1]
        let scheduler = try Scheduler(
            classes: 5, alphaCumulative: gamma.map { 1 - $0 }, gammaCumulative: gamma)
        var random = TestGenerator(seed: 1)
        let error = message {
            try scheduler.likelihoodBound(
                of: data, along: scheduler.strides(2, spacing: .leading), using: &random
            ) { _, _ in fixedLogProbabilities }
        }
        #expect(
            error
                == "strides must not begin at timestep 1, where only 0.5 of the pixels are "
                + "masked: the chain starts from masks alone, and the bound is infinite")
        #expect(throws: Never.self) {
            try scheduler.likelihoodBound(of: data, using: &random) { _, _ in
                fixedLogProbabilities
            }
        }
    }

    /// Errors are those of the model, or name what is wrong; a generator is then as it was.
    @Test func failuresDrawNothing() throws {
        struct ModelError: Error {}
        var random = TestGenerator(seed: 1)
        let before = random.state
        #expect(throws: ModelError.self) {
            try mixed.likelihoodBound(of: data, using: &random) { _, t in
                if t < 5 { throw ModelError() }
                return fixedLogProbabilities
            }
        }
        var masked = data
        masked[1, 2] = 5
        var nan = fixedLogProbabilities
        nan[2, 1, 3] = Float.nan
        let narrow = LogProbabilityTensor(repeating: 0, batch: 3, classes: 4, pixels: 12)
        let foreign = try Scheduler(classes: 5).strides(10)
        for (grid, strides, output, expected) in [
            (masked, nil, nan, "data must hold classes 0 ... 4, not 5 as at [1, 2]"),
            (
                data, nil, nan,
                "what model returns must hold finite numbers or -inf, not NaN or +inf as at "
                    + "[2, 1, 3]"
            ),
            (
                data, nil, narrow,
                "what model returns must have shape (3, 5, 12), not (3, 4, 12)"
            ),
            (data, foreign, narrow, "strides must be in 0 ... 19, not 99"),
        ] as [(ClassGrid, Scheduler.Strides?, LogProbabilityTensor, String)] {
            let error = message {
                try mixed.likelihoodBound(of: grid, along: strides, using: &random) { _, _ in output
                }
            }
            #expect(error == expected)
        }
        // A NaN at the last step is found as well.
        #expect(throws: ArgumentError.self) {
            try mixed.likelihoodBound(of: data, using: &random) { _, t in
                t == 0 ? nan : fixedLogProbabilities
            }
        }
        #expect(random.state == before)
    }

    @Test func emptyIsEmpty() throws {
        var random = TestGenerator(seed: 1)
        for (batch, pixels) in [(0, 4), (2, 0)] {
            let nats = try mixed.likelihoodBound(
                of: ClassGrid(repeating: 0, batch: batch, pixels: pixels), using: &random
            ) { sample, _ in
                LogProbabilityTensor(repeating: 0, batch: batch, classes: 5, pixels: pixels)
            }
            #expect(nats == Array(repeating: 0, count: batch))
        }
    }
}
