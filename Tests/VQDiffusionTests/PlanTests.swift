import Testing

@testable import VQDiffusion

@Suite("Plans")
struct PlanTests {
    /// A planned step is the step: the same sample from the same generator, from the needed columns
    /// alone.
    @Test(arguments: [(1, 1, 1), (2, 5, 33), (1, 130, 200)]) func plannedStepIsTheStep(
        batch: Int, classes: Int, pixels: Int
    ) throws {
        let scheduler = try Scheduler(
            classes: classes, timesteps: 20, alpha: (0.9, 0.1), gamma: (0.02, 0.6))
        for (t, s) in [(19, 18), (7, 6), (12, 3), (1, 0), (0, -1)] {
            let p = randomLogProbabilities(
                batch: batch, classes: classes, pixels: pixels, sharpness: 4, seed: UInt64(t))
            let sample = randomGrid(
                batch: batch, pixels: pixels, upTo: classes, seed: UInt64(t + 1))
            var (one, other) = (TestGenerator(seed: 3), TestGenerator(seed: 3))
            let expected = try scheduler.step(p, at: t, to: s, from: sample, using: &one)
            let plan = try scheduler.plan(at: t, to: s, from: sample, using: &other)
            #expect(one.state == other.state)
            let needed = plan.neededPixels
            #expect(
                needed.count == plan.needed.count { $0 }
                    && (t > 0 || needed.count == batch * pixels))
            var columns = LogProbabilityTensor(
                repeating: 0, batch: 1, classes: classes, pixels: needed.count)
            for (column, place) in needed.enumerated() {
                for k in 0..<classes { columns[0, k, column] = p[place.row, k, place.pixel] }
            }
            for _ in 0..<2 { #expect(try scheduler.step(columns, completing: plan) == expected) }
        }
    }

    /// Also one that masks pixels again, with the same probability; another one is refused.
    @Test func aPlanRemasksAsItsStep() throws {
        let scheduler = try Scheduler(
            classes: 7, timesteps: 20, alpha: (0.9, 0.1), gamma: (0.02, 0.6))
        let p = randomLogProbabilities(batch: 2, classes: 7, pixels: 300, sharpness: 4, seed: 4)
        let sample = randomGrid(batch: 2, pixels: 300, upTo: 7, seed: 5)
        let keys = RowKeys(seed: 1, ids: [8, 9])
        let largest = scheduler.gammaCumulative[6] / (1 - scheduler.gammaCumulative[12])
        func columns(_ plan: StepPlan) -> LogProbabilityTensor {
            let needed = plan.neededPixels
            return LogProbabilityTensor(
                batch: 1, classes: 7, pixels: needed.count,
                values: (0..<7).flatMap { k in needed.map { p[$0.row, k, $0.pixel] } })
        }
        for share in [0, 0.5, 1] {
            let sigma = share * largest
            var (one, other) = (TestGenerator(seed: 3), TestGenerator(seed: 3))
            let expected = try scheduler.step(
                p, at: 12, to: 6, from: sample, remask: sigma, using: &one)
            let plan = try scheduler.plan(
                at: 12, to: 6, from: sample, remask: sigma, using: &other)
            #expect(plan.remask == sigma && one.state == other.state)
            #expect(try scheduler.step(columns(plan), completing: plan) == expected)
            let keyed = try scheduler.plan(
                at: 12, to: 6, from: sample, remask: sigma, using: keys)
            #expect(
                try scheduler.step(columns(keyed), completing: keyed)
                    == scheduler.step(
                        p, at: 12, to: 6, from: sample, remask: sigma, using: keys))
        }
        var random = TestGenerator(seed: 3)
        for sigma in [largest.nextUp, -0.1, .nan] {
            #expect(throws: ArgumentError.self) {
                try scheduler.plan(at: 12, to: 6, from: sample, remask: sigma, using: &random)
            }
        }
        #expect(random.state == TestGenerator(seed: 3).state)
    }

    @Test func wrongColumnsAreRefused() throws {
        let scheduler = try Scheduler(classes: 3)
        var random = TestGenerator(seed: 1)
        let plan = try scheduler.plan(
            at: 0, from: scheduler.fullyMasked(batch: 2, pixels: 4), using: &random)
        let good = LogProbabilityTensor(repeating: -1, batch: 1, classes: 3, pixels: 8)
        #expect(throws: Never.self) { try scheduler.step(good, completing: plan) }
        let wrong = [(1, 3, 7), (1, 3, 9), (1, 3, 16), (1, 2, 8), (1, 4, 8), (2, 3, 8), (2, 3, 4)]
        for (batch, classes, pixels) in wrong {
            #expect(throws: ArgumentError.self) {
                try scheduler.step(
                    LogProbabilityTensor(
                        repeating: -1, batch: batch, classes: classes, pixels: pixels),
                    completing: plan)
            }
        }
        var bad = good
        bad[0, 2, 5] = .nan
        #expect { try scheduler.step(bad, completing: plan) } throws: { error in
            (error as? ArgumentError)?.description
                == "columns must hold finite numbers or -inf, not NaN or +inf as at [2, 5]"
        }
    }

    /// On an error a generator is as it was.
    @Test func failedCallsDrawNothing() throws {
        let scheduler = try Scheduler(classes: 3)
        var random = TestGenerator(seed: 1)
        let sample = scheduler.fullyMasked(batch: 1, pixels: 4)
        let p = LogProbabilityTensor(repeating: .nan, batch: 1, classes: 3, pixels: 4)
        let wrong = ClassGrid(repeating: 4, batch: 1, pixels: 4)
        let before = random.state
        #expect(throws: ArgumentError.self) {
            try scheduler.step(p, at: 0, from: sample, using: &random)
        }
        #expect(throws: ArgumentError.self) {
            try scheduler.step(p, at: 100, from: sample, using: &random)
        }
        #expect(throws: ArgumentError.self) {
            try scheduler.plan(at: 100, from: sample, using: &random)
        }
        #expect(throws: ArgumentError.self) {
            try scheduler.plan(at: 5, from: wrong, using: &random)
        }
        #expect(throws: ArgumentError.self) {
            try scheduler.addNoise(to: wrong, at: [5], using: &random)
        }
        for (t, s) in [(100, -1), (5, 6), (5, -2)] {
            #expect(throws: ArgumentError.self) {
                try scheduler.addNoise(to: sample, at: [t], from: s, using: &random)
            }
        }
        #expect(random.state == before)
    }

    /// The whole model output is checked, in any layout, and the lowest bad place is named.
    @Test func badColumnsAreNamed() throws {
        var p = LogProbabilityTensor(repeating: -1, batch: 2, classes: 70, pixels: 33)
        func message(_ p: LogProbabilityTensor, turned: Bool = false) -> String? {
            // Turned: the same memory seen as (batch, 33, 70), with the classes as neighbours.
            do throws(ArgumentError) {
                try p.withView(name: "p") { (view) throws(ArgumentError) in
                    var view = view
                    if turned {
                        (view.classes, view.pixels) = (view.pixels, view.classes)
                        (view.classStride, view.pixelStride) = (view.pixelStride, view.classStride)
                    }
                    try checkColumns(view)
                }
            } catch { return error.description }
            return nil
        }
        #expect(message(p) == nil && message(p, turned: true) == nil)
        for k in 0..<70 { p[1, k, 20] = -.infinity }
        for n in 0..<33 { p[1, 50, n] = -.infinity }
        #expect(
            message(p)
                == "p must give every pixel a class of nonzero probability; "
                + "all are -inf at row 1, pixel 20"
        )
        #expect(
            message(p, turned: true)
                == "p must give every pixel a class of nonzero probability; "
                + "all are -inf at row 1, pixel 50"
        )
        (p[1, 69, 3], p[1, 40, 9]) = (.infinity, .nan)
        #expect(message(p)?.hasSuffix("at [1, 40, 9]") == true)
        #expect(message(p, turned: true)?.hasSuffix("at [1, 3, 69]") == true)
    }
}
