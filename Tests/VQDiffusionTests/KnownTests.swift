import Testing

@testable import VQDiffusion

/// What is known at half of the pixels.
private func randomKnown(batch: Int, pixels: Int, classes: Int, seed: UInt64) -> ClassGrid {
    var known = randomGrid(batch: batch, pixels: pixels, upTo: classes - 1, seed: seed)
    for at in known.indices.indices where at % 2 == 0 { known.indices[at] = -1 }
    return known
}

/// The drawn grid with the known classes in place.
private func merged(_ drawn: ClassGrid, _ known: ClassGrid) -> ClassGrid {
    var result = drawn
    for at in known.indices.indices where known.indices[at] >= 0 {
        result.indices[at] = known.indices[at]
    }
    return result
}

@Suite("Known tokens")
struct KnownTests {
    /// Known pixels show their class and need no column; the others are drawn as without.
    @Test(arguments: [(1, 1, 2), (2, 5, 33), (1, 130, 200)]) func othersAreDrawnAsWithout(
        batch: Int, classes: Int, pixels: Int
    ) throws {
        let scheduler = try Scheduler(
            classes: classes, timesteps: 20, alpha: (0.9, 0.1), gamma: (0.02, 0.6))
        for (t, s) in [(19, 18), (12, 3), (1, 0), (0, -1), (9, -1)] {
            let p = randomLogProbabilities(
                batch: batch, classes: classes, pixels: pixels, sharpness: 4, seed: UInt64(t))
            let sample = randomGrid(
                batch: batch, pixels: pixels, upTo: classes, seed: UInt64(t + 1))
            let known = randomKnown(
                batch: batch, pixels: pixels, classes: classes, seed: UInt64(t + 2))
            let nothing = ClassGrid(repeating: -1, batch: batch, pixels: pixels)
            var generators = (0..<4).map { _ in TestGenerator(seed: 3) }
            let plain = try scheduler.step(p, at: t, to: s, from: sample, using: &generators[0])
            let expected = merged(plain, known)
            #expect(
                try scheduler.step(
                    p, at: t, to: s, from: sample, known: nothing, using: &generators[1]) == plain)
            var holes = p
            for row in 0..<batch {
                for pixel in 0..<pixels where known[row, pixel] >= 0 { holes[row, 0, pixel] = .nan }
            }
            #expect(
                try scheduler.step(
                    holes, at: t, to: s, from: sample, known: known, using: &generators[2])
                    == expected)
            let plan = try scheduler.plan(
                at: t, to: s, from: sample, known: known, using: &generators[3])
            #expect(generators.allSatisfy { $0.state == generators[0].state })
            let needed = plan.neededPixels
            #expect(needed.allSatisfy { known[$0.row, $0.pixel] < 0 })
            #expect(s >= 0 || needed.count == known.indices.count { $0 < 0 })
            var columns = LogProbabilityTensor(
                repeating: 0, batch: 1, classes: classes, pixels: needed.count)
            for (column, place) in needed.enumerated() {
                for k in 0..<classes { columns[0, k, column] = p[place.row, k, place.pixel] }
            }
            #expect(try scheduler.step(columns, completing: plan) == expected)
        }
    }

    /// The mask and whatever else is no class of clean data are refused, and nothing is drawn.
    @Test(arguments: [
        (3, "known must hold classes 0 ... 2, or -1 where unknown, not 3 as at [0, 2]"),
        (-2, "known must hold classes 0 ... 2, or -1 where unknown, not -2 as at [0, 2]"),
    ]) func whatIsNoClassIsRefused(value: Int, message: String) throws {
        let scheduler = try Scheduler(classes: 3)
        var random = TestGenerator(seed: 1)
        let before = random.state
        let sample = scheduler.fullyMasked(batch: 1, pixels: 4)
        let p = LogProbabilityTensor(repeating: -1, batch: 1, classes: 3, pixels: 4)
        let bad = ClassGrid(batch: 1, pixels: 4, indices: [0, -1, value, 2])
        let wide = ClassGrid(repeating: -1, batch: 1, pixels: 5)
        for (known, message) in [
            (bad, message), (wide, "known must have shape (1, 4), not (1, 5)"),
        ] {
            do throws(ArgumentError) {
                _ = try scheduler.step(p, at: 5, from: sample, known: known, using: &random)
                Issue.record("not refused")
            } catch { #expect(error.description == message) }
            do throws(ArgumentError) {
                _ = try scheduler.plan(at: 5, from: sample, known: known, using: &random)
                Issue.record("not refused")
            } catch { #expect(error.description == message) }
        }
        #expect(random.state == before)
    }
}

@Suite("Forward process")
struct ForwardProcessTests {
    /// Shares of many draws against eq. 7; from a timestep to itself nothing changes.
    @Test(arguments: [(-1, 60), (20, 60), (98, 99), (40, 40)]) func drawsFromTheTransition(
        s: Int, t: Int
    ) throws {
        let (classes, pixels) = (3, 200_000)
        let chain = ExplicitChain(
            classes: classes,
            alphaCumulative: (1...100).map { 1 - 0.98 * Double($0) / 100 },
            gammaCumulative: (1...100).map { 0.5 * Double($0) / 100 })
        let scheduler = try Scheduler(
            classes: classes, alphaCumulative: chain.alphaCumulative,
            gammaCumulative: chain.gammaCumulative)
        let law = chain.transition(s, t)
        var random = TestGenerator(seed: 5)
        for shown in 0...classes {
            let sample = ClassGrid(repeating: shown, batch: 2, pixels: pixels)
            let noised = try scheduler.addNoise(to: sample, at: [t, t], from: s, using: &random)
            if s == t { #expect(noised == sample) }
            for k in 0...classes {
                let share = Double(noised.indices.count { $0 == k }) / Double(2 * pixels)
                // Five standard deviations.
                let width =
                    5
                    * (law[shown][k] * (1 - law[shown][k]) / Double(2 * pixels))
                    .squareRoot()
                #expect(abs(share - law[shown][k]) <= width + 1e-12)
            }
        }
    }
}
