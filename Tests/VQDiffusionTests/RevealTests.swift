import Testing

@testable import VQDiffusion

@Suite struct RevealTests {
    let scheduler = try! Scheduler(classes: 5, timesteps: 10)

    /// Pixel n is sure of class 0 the more, the larger n.
    func modelOutput(_ pixels: Int) -> LogProbabilityTensor {
        var p = LogProbabilityTensor(repeating: 0, batch: 1, classes: 5, pixels: pixels)
        for n in 0..<pixels { p[0, 0, n] = Float(n) }
        return p
    }

    @Test func theSurestPixelsComeFirst() throws {
        var noise = SystemRandomNumberGenerator()
        let sample = scheduler.fullyMasked(batch: 1, pixels: 8)
        for order in [UnmaskOptions.Order.purity, .margin, .entropy] {
            let step = try scheduler.reveal(
                modelOutput(8), at: 9, to: 4, from: sample, by: UnmaskOptions(order: order),
                using: &noise)
            let due = 8 - Int(8 * scheduler.gammaCumulative[4] / scheduler.gammaCumulative[9] + 0.5)
            #expect(step.isRevealed == (0..<8).map { $0 >= 8 - due })
            for n in 0..<8 { #expect((step.sample[0, n] < 5) == step.isRevealed[n]) }
        }
    }

    @Test func chainsRevealAll() throws {
        var noise = SystemRandomNumberGenerator()
        var sample = scheduler.fullyMasked(batch: 1, pixels: 13)
        var count = 0
        for (t, s) in try scheduler.strides(4) {
            let step = try scheduler.reveal(
                modelOutput(13), at: t, to: s, from: sample, by: UnmaskOptions(order: .random),
                using: &noise)
            count += step.isRevealed.count { $0 }
            sample = step.sample
        }
        #expect(count == 13)
        #expect(sample.indices.allSatisfy { $0 < 5 })
    }

    @Test func remaskingKeepsTheMarginals() throws {
        var found: ReverseStep?
        try scheduler.withStep(at: 7, to: 3) { (step) throws(ArgumentError) in found = step }
        let step = try #require(found)
        let factors = try step.remasking(step.largestRemask).coefficients
        let shown = 1 - step.now.gamma
        let masked = factors.remask * shown + factors.masked.mask * step.now.gamma
        #expect(abs(masked - step.earlier.gamma) < 1e-15)
        #expect(throws: ArgumentError.self) { try step.remasking(step.largestRemask.nextUp) }
    }
}
