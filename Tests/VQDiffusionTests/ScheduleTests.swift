import Testing

@testable import VQDiffusion

/// Calls `body` with the schedule of a chain.
func withSchedule<Result>(of chain: ExplicitChain, _ body: (NoiseSchedule) throws -> Result) throws
    -> Result
{
    try chain.alphaCumulative.withUnsafeBufferPointer { alpha in
        try chain.gammaCumulative.withUnsafeBufferPointer { gamma in
            try body(
                NoiseSchedule(
                    classes: chain.classes, alphaCumulative: alpha, gammaCumulative: gamma))
        }
    }
}

@Suite("Noise schedule")
struct ScheduleTests {
    /// Chapman–Kolmogorov: going 0 → s → t is going 0 → t, for every pair. The product of explicit
    /// matrices is the truth.
    @Test(arguments: [1, 2, 5]) func transitionsCompose(classes: Int) throws {
        let chain = ExplicitChain(classes: classes, timesteps: 20)
        try withSchedule(of: chain) { schedule in
            for t in 0..<20 {
                for s in -1..<t {
                    let step = try schedule.reverseStep(from: t, to: s).transition
                    let (toS, toT) = (chain.cumulative(s), chain.cumulative(t))
                    let single = (0...classes).map { from in
                        (0...classes).map { to -> Double in
                            if from == classes { return to == classes ? 1 : 0 }
                            return to == classes
                                ? step.gamma : from == to ? step.alpha + step.beta : step.beta
                        }
                    }
                    for from in 0...classes {
                        for to in 0...classes {
                            let product = (0...classes).reduce(0) {
                                $0 + toS[from][$1] * single[$1][to]
                            }
                            #expect(abs(product - toT[from][to]) < 1e-14)
                        }
                    }
                }
            }
        }
    }

    @Test func betaKeepsItsDigits() throws {
        // K β̄ is 1e-6 at every t of the published schedule, so β_{t|s} has a closed form in which
        // nothing cancels.
        try withSchedule(of: ExplicitChain(classes: 4096)) { schedule in
            for t in 1..<100 {
                let (now, earlier) = (
                    try schedule.marginal(at: t), try schedule.marginal(at: t - 1)
                )
                let step = try schedule.reverseStep(from: t, to: t - 1).transition
                let truth =
                    earlier.beta * (earlier.alpha - now.alpha) / earlier.alpha / (1 - earlier.gamma)
                // β̄ itself, 1 - ᾱ - γ̄, is known to 1e-10 here.
                #expect(abs(step.beta - truth) < 1e-7 * truth)
            }
        }
    }

    @Test func cleanDataIsTimestepMinusOne() throws {
        try withSchedule(of: ExplicitChain(classes: 3)) { schedule in
            #expect(try schedule.marginal(at: -1) == Marginal(alpha: 1, beta: 0, gamma: 0))
            let logs = try schedule.logCumulative(at: -1)
            #expect(logs.alpha == 0 && logs.beta == -.infinity && logs.gamma == -.infinity)
        }
    }

    @Test func roundingErrorsAreNoProbabilities() throws {
        // ᾱ = 1 - γ̄ leaves 1 - ᾱ - γ̄ at ± 1e-16, and the textbook β too.
        let gamma = (0..<1000).map { (Double($0) + 0.37) / 1001 }
        let chain = ExplicitChain(
            classes: 7, alphaCumulative: gamma.map { 1 - $0 }, gammaCumulative: gamma)
        try withSchedule(of: chain) { schedule in
            try schedule.checkChain()
            for t in 0..<1000 {
                #expect(try schedule.marginal(at: t).beta == 0)
                #expect(try schedule.logSingleStep(at: t).beta == -.infinity)
                #expect(try schedule.reverseStep(from: t, to: t - 1).transition.beta == 0)
            }
        }
    }

    @Test(arguments: [
        ([0.9, 0.5], [0.05, 0.04]),  // γ̄ falls
        ([0.5, 0.6], [0.1, 0.2]),  // ᾱ/(1 - γ̄) rises
        ([0.9, 0.5], [0.2, 0.3]),  // more than one in all
        ([0.5, 1e-20, 1e-13], [0.1, 0.5, 0.6]),  // rises, though it is small
        ([1.2, 0.5], [0.0, 0.3]), ([0.9, .nan], [0.0, 0.3]), ([0.9, 0.5], [-0.1, 0.3]),
    ]) func whatIsNoChainIsRefused(alpha: [Double], gamma: [Double]) {
        #expect(throws: ArgumentError.self) {
            try Scheduler(classes: 4, alphaCumulative: alpha, gammaCumulative: gamma)
        }
    }

    @Test func timestepsOutsideAreRefused() throws {
        try withSchedule(of: ExplicitChain(classes: 3)) { schedule in
            for (t, s) in [(100, 99), (-1, -2), (5, 5), (5, 6), (5, -2)] {
                #expect(throws: ArgumentError.self) { try schedule.reverseStep(from: t, to: s) }
            }
        }
    }
}
