import Foundation
import Testing

@testable import VQDiffusion

/// Tables of one kind, with exact sums where β̄ is to be 0.
struct TablesCase: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let alpha, gamma: [Double]

    static let all = [
        TablesCase(
            testDescription: "linear", alpha: (0..<16).map { 0.99 - 0.06 * Double($0) },
            gamma: (0..<16).map { 0.005 + 0.06 * Double($0) }),
        TablesCase(
            testDescription: "absorbing", alpha: (1...16).map { 1 - Double($0) / 16 },
            gamma: (1...16).map { Double($0) / 16 }),
        TablesCase(
            testDescription: "uniform", alpha: (1...16).map { 1 - Double($0) / 17 },
            gamma: Array(repeating: 0, count: 16)),
        TablesCase(
            testDescription: "mixed", alpha: (1...16).map { pow(0.8, Double($0)) },
            gamma: (1...16).map { 0.4 * (1 - pow(0.8, Double($0))) }),
    ]
}

@Suite("Posterior over all pairs of timesteps")
struct PosteriorPairsTests {
    /// Eq. 11 against Bayes on explicit matrices, for every s < t and every class that a pixel may
    /// show, in float64 within 1e-9 and in float32 within 1e-5.
    @Test(arguments: TablesCase.all, [1, 2, 7]) func agreesWithBayes(
        tables: TablesCase, classes: Int
    ) throws {
        let chain = ExplicitChain(
            classes: classes, alphaCumulative: tables.alpha, gammaCumulative: tables.gamma)
        let scheduler = try Scheduler(
            classes: classes, alphaCumulative: tables.alpha, gammaCumulative: tables.gamma)
        let shown = Array(tables.gamma[15] > 0 ? 0...classes : 0...classes - 1)
        let sample = ClassGrid(batch: 1, pixels: shown.count, indices: shown)
        let p = randomLogProbabilities(
            batch: 1, classes: classes, pixels: shown.count, sharpness: 5, seed: UInt64(classes))
        for t in 0..<16 {
            for s in -1..<t {
                let single = try scheduler.logPosterior(of: p, at: t, to: s, given: sample)
                var double: [Double] = []
                try scheduler.withStep(at: t, to: s) { (step) throws(ArgumentError) in
                    double = try step.logPosterior(
                        of: p.values.map { Double($0) }, given: sample)
                }
                var (worst, worstSingle) = (0.0, 0.0)
                for (pixel, observed) in shown.enumerated() {
                    let truth = chain.posterior(
                        (0..<classes).map { exp(Double(p[0, $0, pixel])) }, observed: observed,
                        from: t, to: s)
                    for k in 0...classes {
                        let at = k * shown.count + pixel
                        if truth[k] == 0 {
                            #expect(double[at] < -60 && single.values[at] < -60)
                            continue
                        }
                        worst = max(worst, abs(double[at] - log(truth[k])))
                        worstSingle = max(
                            worstSingle, abs(Double(single.values[at]) - log(truth[k])))
                    }
                }
                #expect(worst < 1e-9 && worstSingle < 1e-5, "t = \(t), s = \(s)")
            }
        }
    }
}
