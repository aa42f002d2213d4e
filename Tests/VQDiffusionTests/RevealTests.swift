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

    /// What `scheduler.step(p, t, x, keys, unmask=Unmask(by, temperature=1)).prev_sample` gives in
    /// Python, with the scheduler, p and keys of `KeyedRowsTests`.
    @Test(arguments: [
        (
            UnmaskOptions.Order.random, 19, 14,
            [
                3, 5, 4, 5, 5, 5, 5, 5, 5, 0, 5, 5, 5, 2, 5, 5, 5, 5, 5, 1, 5, 5, 0, 5, 5, 5, 5, 2,
                5, 5, 5, 5, 5, 1, 5, 3,
            ]
        ),
        (
            .margin, 19, 14,
            [
                3, 5, 4, 5, 5, 5, 5, 5, 5, 5, 5, 0, 5, 2, 5, 5, 5, 5, 5, 1, 5, 5, 0, 5, 5, 5, 5, 2,
                5, 5, 5, 5, 5, 1, 5, 3,
            ]
        ),
    ])
    func rowsWithKeysAreThoseOfPython(
        order: UnmaskOptions.Order, t: Int, s: Int, expected: [Int]
    ) throws {
        let scheduler = try Scheduler(
            classes: 5, timesteps: 20, alpha: (0.9, 0.1), gamma: (0.02, 0.6))
        let keys = RowKeys(seed: 1 << 63 + 11, ids: [3, .max, 12_345_678_901_234_567_890])
        let sample = scheduler.fullyMasked(batch: 3, pixels: 12)
        let options = UnmaskOptions(order: order, temperature: 1)
        let step = try scheduler.reveal(
            fixedLogProbabilities, at: t, to: s, from: sample, by: options, using: keys)
        #expect(step.sample.indices == expected)
        let last = try scheduler.reveal(
            LogProbabilityTensor(
                batch: 1, classes: 5, pixels: 12,
                values: Array(fixedLogProbabilities.values[120...])),
            at: t, to: s, from: scheduler.fullyMasked(batch: 1, pixels: 12), by: options,
            using: keys[2..<3])
        #expect(last.sample.indices == Array(expected[24...]))
        #expect(last.isRevealed == Array(step.isRevealed[24...]))
        #expect(throws: ArgumentError.self) {
            try scheduler.reveal(
                fixedLogProbabilities, at: t, to: s, from: sample, by: options, using: keys[0..<2])
        }
        let none = try scheduler.reveal(
            LogProbabilityTensor(repeating: 0, batch: 0, classes: 5, pixels: 12), at: t, to: s,
            from: scheduler.fullyMasked(batch: 0, pixels: 12), by: options, using: keys[0..<0])
        #expect(none.isRevealed.isEmpty)
    }
}
