import Testing

@testable import VQDiffusion

@Suite("Absorbing chains")
struct AbsorbingTests {
    private let tables: (alpha: [Double], gamma: [Double])

    init() {
        let gamma = (1...16).map { Double($0) / 16 * 0.999 }
        tables = (gamma.map { 1 - $0 }, gamma)
    }

    /// A pixel that shows a class keeps it at every step, the last included; planned and not.
    @Test(arguments: [false, true]) func noTokenChangesOnceRevealed(isPlanned: Bool) throws {
        let (classes, pixels) = (5, 2000)
        let scheduler = try Scheduler(
            classes: classes, alphaCumulative: tables.alpha, gammaCumulative: tables.gamma)
        let p = randomLogProbabilities(
            batch: 2, classes: classes, pixels: pixels, sharpness: 2, seed: 4)
        var random = TestGenerator(seed: 9)
        var sample = scheduler.fullyMasked(batch: 2, pixels: pixels)
        for t in scheduler.timesteps.reversed() {
            var next: ClassGrid
            if isPlanned {
                let plan = try scheduler.plan(at: t, from: sample, using: &random)
                let needed = plan.neededPixels
                var columns = LogProbabilityTensor(
                    repeating: 0, batch: 1, classes: classes, pixels: needed.count)
                for (column, place) in needed.enumerated() {
                    #expect(sample[place.row, place.pixel] == classes)
                    for k in 0..<classes { columns[0, k, column] = p[place.row, k, place.pixel] }
                }
                next = try scheduler.step(columns, completing: plan)
            } else {
                next = try scheduler.step(p, at: t, from: sample, using: &random)
            }
            let observed = sample.indices.indices.filter { sample.indices[$0] < classes }
            #expect(observed.allSatisfy { next.indices[$0] == sample.indices[$0] })
            #expect(next.indices.count { $0 < classes } > observed.count)
            sample = next
        }
        #expect(sample.indices.allSatisfy { $0 < classes })
    }

    /// Whether a step reads the sample is a matter of s = -1 and β̄_t.
    @Test func theLastStepReadsTheSampleToCarryItOver() throws {
        for (beta, reads) in [(0.0, true), (0.01, false)] {
            let gamma = tables.gamma
            let alpha = gamma.map { 1 - $0 - beta }
            try alpha.withUnsafeBufferPointer { (alpha) throws in
                try gamma.withUnsafeBufferPointer { (gamma) throws in
                    let schedule = try NoiseSchedule(
                        classes: 5, alphaCumulative: alpha, gammaCumulative: gamma)
                    #expect(try schedule.reverseStep(from: 0, to: -1).readsSample == reads)
                    #expect(try schedule.reverseStep(from: 5, to: 4).readsSample)
                    #expect(try schedule.reverseStep(from: 5, to: -1).readsSample == reads)
                }
            }
        }
    }
}
