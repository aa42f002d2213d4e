import Foundation
import Testing

@testable import VQDiffusion

/// One step of one pixel at an even grid of uniforms: the share of the grid that leads to each
/// class.
private func sharesOfUniforms(
    _ p: [Float], observed: Int, chain: ExplicitChain, from t: Int, to s: Int, points: Int
) throws -> [Double] {
    let classes = chain.classes
    let uniforms = (0..<points).map { (Double($0) + 0.5) / Double(points) }
    let tensor = LogProbabilityTensor(
        batch: 1, classes: classes, pixels: points,
        values: p.flatMap { Array(repeating: $0, count: points) })
    let sample = ClassGrid(repeating: observed, batch: 1, pixels: points)
    var tokens = [Int64](repeating: -1, count: points)
    try withSchedule(of: chain) { schedule in
        let step = try schedule.reverseStep(from: t, to: s)
        try tensor.withView(name: "p") { (p) throws(ArgumentError) in
            try sample.withView(name: "sample") { (sample) throws(ArgumentError) in
                try uniforms.withUnsafeBufferPointer { (uniforms) throws(ArgumentError) in
                    try tokens.withUnsafeMutableBufferPointer { (tokens) throws(ArgumentError) in
                        try step.sampleInverseCDF(
                            from: p, given: sample,
                            uniforms: UniformGrid(uniforms.baseAddress!, batch: 1, pixels: points),
                            into: OutputTensor(
                                name: "tokens", base: UnsafeMutableRawPointer(tokens.baseAddress!),
                                shape: Shape(1, points)))
                    }
                }
            }
        }
    }
    var shares = [Double](repeating: 0, count: classes + 1)
    for token in tokens { shares[Int(token)] += 1 / Double(points) }
    return shares
}

@Suite("Sampling")
struct SamplingTests {
    /// The tests of lists in Python are of so many classes.
    @Test(arguments: [(50, 64), (1, 64), (0, 1024)]) func listsPayFromSomeClassesOn(
        t: Int, classes: Int
    ) {
        for (classes, pays) in [(classes, true), (classes - 1, false)] {
            let now = Marginal(alpha: 0.5, gamma: 0.25, classes: classes)
            let step = ReverseStep(
                timestep: t, previousTimestep: t - 1, classes: classes, now: now, earlier: .clean)
            #expect(step.shortlistsPay == pays)
        }
    }

    /// The set of uniforms that lead to a class is a few intervals of its probability's total
    /// length, so an even grid of uniforms measures the probability to a few points: no statistics,
    /// and no false alarms.
    @Test(arguments: [0, 2, 5, 6]) func inverseCDFDrawsFromThePosterior(observed: Int) throws {
        // Much uniform noise, so that every branch has mass.
        let steps = 12
        let gamma = (0..<steps).map { 0.02 + 0.07 * Double($0) }
        let alpha = gamma.enumerated().map { (1 - $1) * (1 - 0.08 * Double($0 + 1)) }
        let chain = ExplicitChain(classes: 6, alphaCumulative: alpha, gammaCumulative: gamma)
        let p = [0.5, 0.001, 0.2, 0.0, 0.25, 0.049]
        for scale in [1.0, 1e-30, 1e-45, 1e30] {
            for (t, s) in [(11, 10), (6, 5), (1, 0), (11, 3), (8, -1)] {
                let points = 20_000
                let shares = try sharesOfUniforms(
                    p.map { Float(Foundation.log($0) + Foundation.log(scale)) }, observed: observed,
                    chain: chain, from: t, to: s, points: points)
                let truth = chain.posterior(p, observed: observed, from: t, to: s)
                for k in 0...6 {
                    #expect(
                        abs(shares[k] - truth[k]) < 6 / Double(points),
                        "class \(k) at t = \(t), s = \(s)")
                }
            }
        }
    }

    @Test func lastStepDrawsTheModelOutput() throws {
        let chain = ExplicitChain(classes: 3)
        let p = [0.25, 0.7, 0.05]
        for observed in [0, 3] {
            let shares = try sharesOfUniforms(
                p.map { Float(Foundation.log($0)) }, observed: observed, chain: chain, from: 0,
                to: -1, points: 10_000)
            for k in 0..<3 { #expect(abs(shares[k] - p[k]) < 3e-4) }
            #expect(shares[3] == 0)
        }
    }

    /// Columns are summed in blocks and scanned: every class of a long column must come up at its
    /// place.
    @Test func longColumnsAreInvertedExactly() throws {
        let classes = 300
        let chain = ExplicitChain(classes: classes)
        let weights = (0..<classes).map { Double(($0 * 7919) % 13 + 1) }
        let total = weights.reduce(0, +)
        let points = 8_000
        let shares = try sharesOfUniforms(
            weights.map { Float(Foundation.log($0 / total)) }, observed: 0, chain: chain, from: 0,
            to: -1, points: points)
        for k in 0..<classes { #expect(abs(shares[k] - weights[k] / total) < 2 / Double(points)) }
    }

    /// The race with its bound must have the winners of the plain formula: the argmax of posterior
    /// plus noise.
    @Test(arguments: [(3, 5), (40, 33), (300, 70)]) func gumbelRaceHasTheWinnersOfThePlainFormula(
        classes: Int, pixels: Int
    ) throws {
        let chain = ExplicitChain(classes: classes)
        let scheduler = try Scheduler(classes: classes)
        for t in [99, 60, 5, 1, 0] {
            let p = randomLogProbabilities(
                batch: 2, classes: classes, pixels: pixels, sharpness: 6, seed: UInt64(t))
            let sample = randomGrid(batch: 2, pixels: pixels, upTo: classes, seed: UInt64(t + 1))
            let rows = t == 0 ? classes : classes + 1
            var random = TestGenerator(seed: UInt64(classes + t))
            let uniforms = LogProbabilityTensor(
                batch: 2, classes: rows, pixels: pixels,
                values: (0..<2 * rows * pixels).map { _ in Float(random.next() >> 40) * 0x1p-24 })
            let posterior = t == 0 ? p : try scheduler.logPosterior(of: p, at: t, given: sample)
            var noised = posterior
            var tokens = [Int64](repeating: -1, count: 2 * pixels)
            try withSchedule(of: chain) { schedule in
                let step = try schedule.reverseStep(from: t, to: t - 1)
                try uniforms.withView(name: "uniforms") { (uniforms) throws(ArgumentError) in
                    try posterior.withView(name: "posterior") { (posterior) throws(ArgumentError) in
                        try noised.values.withUnsafeMutableBufferPointer {
                            (out) throws(ArgumentError) in
                            try gumbelNoised(
                                posterior, uniforms: uniforms,
                                into: OutputTensor(
                                    name: "out", base: UnsafeMutableRawPointer(out.baseAddress!),
                                    shape: Shape(2, rows, pixels)))
                        }
                    }
                    try p.withView(name: "p") { (p) throws(ArgumentError) in
                        try sample.withView(name: "sample") { (sample) throws(ArgumentError) in
                            try tokens.withUnsafeMutableBufferPointer {
                                (out) throws(ArgumentError) in
                                try step.sampleGumbelMax(
                                    from: p, given: sample, uniforms: .given(uniforms),
                                    into: OutputTensor(
                                        name: "out",
                                        base: UnsafeMutableRawPointer(out.baseAddress!),
                                        shape: Shape(2, pixels)))
                            }
                        }
                    }
                }
            }
            for row in 0..<2 {
                for pixel in 0..<pixels {
                    let scores = (0..<rows).map { noised[row, $0, pixel] }
                    #expect(
                        tokens[row * pixels + pixel] == Int64(scores.firstIndex(of: scores.max()!)!)
                    )
                }
            }
        }
    }

    @Test func forwardProcessFollowsItsLaw() {
        let law = Transition(from: .clean, to: Marginal(alpha: 0.4, beta: 0.05, gamma: 0.4))
        let points = 10_000
        for j in 0...4 {
            var shares = [Double](repeating: 0, count: 5)
            for i in 0..<points {
                let u = (Double(i) + 0.5) / Double(points)
                let drawn = Int(law.draw(u, from: Int32(j), classes: 4))
                shares[drawn] += 1 / Double(points)
            }
            for k in 0...4 {
                let truth = j == 4 ? (k == 4 ? 1 : 0) : k == 4 ? 0.4 : k == j ? 0.45 : 0.05
                #expect(abs(shares[k] - truth) < 4e-4)
            }
        }
    }

    @Test func whatIsNotReadGoesUnseen() throws {
        // γ̄_s/γ̄_t is 0.99 at t = 99: at this uniform the pixel stays masked whatever its column
        // holds.
        let p = [Float](repeating: .nan, count: 3)
        let shares = try sharesOfUniforms(
            p, observed: 3, chain: ExplicitChain(classes: 3), from: 99, to: 98, points: 1)
        #expect(shares[3] == 1)
    }

    /// The whole chain with a perfect model ends in the data distribution. 20 000 draws of 3
    /// classes; the bound is 5 standard deviations.
    @Test func wholeChainEndsInTheData() throws {
        let scheduler = try Scheduler(classes: 3, timesteps: 30)
        var random = TestGenerator(seed: 11)
        let (pixels, truth) = (20_000, [0.7, 0.25, 0.05])
        let p = LogProbabilityTensor(
            batch: 1, classes: 3, pixels: pixels,
            values: truth.flatMap { Array(repeating: Float(Foundation.log($0)), count: pixels) })
        var sample = scheduler.fullyMasked(batch: 1, pixels: pixels)
        for t in scheduler.timesteps.reversed() {
            sample = try scheduler.step(p, at: t, from: sample, using: &random)
        }
        for k in 0..<3 {
            let share = Double(sample.indices.count { $0 == k }) / Double(pixels)
            #expect(
                abs(share - truth[k]) < 5
                    * (truth[k] * (1 - truth[k]) / Double(pixels)).squareRoot())
        }
    }
}
