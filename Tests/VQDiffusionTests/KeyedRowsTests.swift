import Testing

@testable import VQDiffusion

@Suite("Steps by the keys of rows")
struct KeyedRowsTests {
    private let scheduler: Scheduler
    private let keys = RowKeys(seed: 1 << 63 + 11, ids: [3, .max, 12_345_678_901_234_567_890])
    private let p: LogProbabilityTensor
    private let data = ClassGrid(batch: 3, pixels: 12, indices: (0..<36).map { $0 % 5 })

    /// In Python, with the same numbers:
    ///
    ///     p = [[[-((k * 7 + n * 3 + b * 5) % 11) / 4 for n in range(12)] for k in range(5)]
    ///          for b in range(3)]
    ///     scheduler = VQDiffusionScheduler(
    ///         6, 20, 0.9, 0.1, 0.02, 0.6, timestep_spacing="trailing")
    ///     scheduler.set_timesteps(4)
    ///     keys = RowKeys(2**63 + 11, [3, 2**64 - 1, 12345678901234567890])
    ///     data = numpy.arange(36).reshape(3, 12) % 5
    init() throws {
        scheduler = try Scheduler(
            classes: 5, timesteps: 20, alpha: (0.9, 0.1), gamma: (0.02, 0.6))
        p = fixedLogProbabilities
    }

    /// `[u.hex() for id in (3, 2**64 - 1) for u in Generator(Philox(key=numpy.array([7, id],
    /// numpy.uint64), counter=[0, 50, 1, 0])).random(3)]` with NumPy.
    @Test func uniformsAreThoseOfNumPy() throws {
        let uniforms = try Uniforms(
            batch: 2, pixels: 3, using: RowKeys(seed: 7, ids: [3, .max], draw: 1), at: [50, 50],
            name: "t")
        #expect(
            uniforms.values == [
                0x1.35f8442f35bf4p-3, 0x1.3d4c6df138010p-2, 0x1.35c4d83b12ea8p-3,
                0x1.44be058204d54p-1, 0x1.b1651b89918e0p-4, 0x1.fb8aec614da4ap-1,
            ])
    }

    /// `scheduler.sample_prior((3, 12), keys)`, then `scheduler.step(p, t, x, keys).prev_sample`
    /// for each of the timesteps.
    @Test(arguments: [false, true]) func chainsAreThoseOfPython(isPlanned: Bool) throws {
        let expected = [
            [
                2, 5, 1, 5, 5, 0, 0, 5, 5, 5, 4, 5, 5, 2, 5, 5, 5, 3, 5, 5, 5, 2, 5, 5, 5, 5, 5, 1,
                2, 5, 5, 2, 5, 4, 5, 5,
            ],
            [
                0, 5, 2, 5, 5, 0, 0, 5, 5, 5, 0, 5, 5, 1, 5, 5, 5, 0, 5, 5, 5, 2, 5, 5, 5, 4, 0, 0,
                2, 5, 5, 4, 2, 4, 5, 5,
            ],
            [
                0, 5, 2, 2, 2, 3, 0, 5, 4, 5, 0, 5, 4, 1, 5, 5, 5, 0, 3, 5, 5, 4, 4, 5, 5, 0, 0, 4,
                2, 5, 5, 4, 3, 4, 5, 5,
            ],
            [
                2, 3, 2, 2, 2, 2, 0, 2, 0, 0, 0, 0, 4, 0, 5, 5, 5, 2, 2, 5, 4, 4, 4, 4, 2, 0, 1, 2,
                2, 5, 5, 4, 4, 1, 5, 5,
            ],
            [
                0, 2, 1, 2, 2, 0, 2, 3, 4, 1, 0, 1, 4, 2, 0, 0, 3, 2, 2, 1, 4, 4, 3, 1, 1, 0, 4, 4,
                2, 1, 1, 0, 4, 1, 4, 1,
            ],
        ]
        var sample = try scheduler.samplePrior(pixels: 12, using: keys)
        #expect(sample.indices == expected[0])
        for ((t, s), next) in zip(try scheduler.strides(4), expected.dropFirst()) {
            if isPlanned {
                let plan = try scheduler.plan(at: t, to: s, from: sample, using: keys)
                sample = try scheduler.step(columns(of: p, neededBy: plan), completing: plan)
            } else {
                sample = try scheduler.step(p, at: t, to: s, from: sample, using: keys)
            }
            #expect(sample.indices == next)
        }
    }

    /// `scheduler.add_noise(data, [4, 19, 9], RowKeys(2**63 + 11, keys.ids, draw=1))`.
    @Test func noiseIsThatOfPython() throws {
        var other = keys
        other.draw = 1
        #expect(
            try scheduler.addNoise(to: data, at: [4, 19, 9], using: other).indices == [
                0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 5, 1, 2, 5, 5, 5, 5, 5, 5, 5, 5, 0, 2, 5, 4, 0, 2, 2,
                3, 4, 5, 5, 5, 5, 5, 0,
            ])
    }

    /// Rows alone, together, or in another order draw the same.
    @Test func divisionChangesNoToken() throws {
        let (rows, pixels) = (40, 33)
        let keys = RowKeys(seed: 5, ids: 100..<140)
        #expect(
            keys.count == rows && keys[5..<7].ids == [105, 106] && keys[[9, 0]].ids == [109, 100])
        let p = randomLogProbabilities(
            batch: rows, classes: 5, pixels: pixels, sharpness: 4, seed: 1)
        let times = (0..<rows).map { $0 % 20 }
        let prior = try scheduler.samplePrior(pixels: pixels, using: keys)
        let stepped = try scheduler.step(p, at: 12, to: 5, from: prior, using: keys)
        let noised = try scheduler.addNoise(
            to: stepped, at: times.map { max($0, 5) }, from: 5, using: keys)
        for part in [Array(0..<1), Array(3..<20), [39, 0, 17, 17]] {
            let some = keys[part]
            #expect(try scheduler.samplePrior(pixels: pixels, using: some) == prior.rows(part))
            let q = LogProbabilityTensor(
                batch: part.count, classes: 5, pixels: pixels,
                values: part.flatMap { p.values[$0 * 5 * pixels..<($0 + 1) * 5 * pixels] })
            #expect(
                try scheduler.step(q, at: 12, to: 5, from: prior.rows(part), using: some)
                    == stepped.rows(part))
            #expect(
                try scheduler.addNoise(
                    to: stepped.rows(part), at: part.map { max(times[$0], 5) }, from: 5, using: some
                )
                    == noised.rows(part))
        }
    }

    @Test func wrongKeysAreRefused() throws {
        let two = keys[0..<2]
        let expected = "keys must have shape (3,), not (2,)"
        #expect(
            message {
                try scheduler.step(p, at: 5, from: data, using: two)
            } == expected)
        #expect(
            message {
                try scheduler.plan(at: 5, from: data, using: two)
            } == expected)
        #expect(
            message {
                try scheduler.addNoise(to: data, at: [1, 2, 3], using: two)
            } == expected)
        #expect(
            message {
                try scheduler.addNoise(to: data, at: [1, 2], using: keys)
            } == "timesteps must have shape (3,), not (2,)")
        for t in [-1, .min] {
            #expect(
                message {
                    try scheduler.step(p, at: t, from: data, using: keys)
                } == "t must be at least 0, not \(t)")
        }
        #expect(
            message {
                try scheduler.plan(at: 20, from: data, using: keys)
            } == "t must be in 0 ... 19, not 20")
    }

    @Test func emptyIsEmpty() throws {
        let none = keys[0..<0]
        #expect(try scheduler.samplePrior(pixels: 4, using: none).indices.isEmpty)
        #expect(try scheduler.samplePrior(pixels: 0, using: keys).indices.isEmpty)
        let q = LogProbabilityTensor(repeating: 0, batch: 0, classes: 5, pixels: 4)
        let grid = ClassGrid(repeating: 0, batch: 0, pixels: 4)
        #expect(try scheduler.step(q, at: 3, from: grid, using: none) == grid)
        #expect(try scheduler.addNoise(to: grid, at: [], using: none) == grid)
    }
}

/// Log-probabilities of 3 rows, 5 classes and 12 pixels that need no generator.
let fixedLogProbabilities = {
    var result = LogProbabilityTensor(repeating: 0, batch: 3, classes: 5, pixels: 12)
    for b in 0..<3 {
        for k in 0..<5 {
            for n in 0..<12 { result[b, k, n] = -Float((k * 7 + n * 3 + b * 5) % 11) / 4 }
        }
    }
    return result
}()

/// The columns that a plan needs.
private func columns(of p: LogProbabilityTensor, neededBy plan: StepPlan) -> LogProbabilityTensor {
    let needed = plan.neededPixels
    return LogProbabilityTensor(
        batch: 1, classes: p.classes, pixels: needed.count,
        values: (0..<p.classes).flatMap { k in needed.map { p[$0.row, k, $0.pixel] } })
}

extension ClassGrid {
    fileprivate func rows(_ chosen: [Int]) -> ClassGrid {
        ClassGrid(
            batch: chosen.count, pixels: pixels,
            indices: chosen.flatMap { indices[$0 * pixels..<($0 + 1) * pixels] })
    }
}

@Suite("The noisy end")
struct PriorTests {
    /// The mask with γ̄_{T-1}, else every class alike; 200 000 draws, five standard deviations.
    @Test(arguments: [0, 0.6, 1]) func masksAndClassesHaveTheirShares(masked: Double) throws {
        let (classes, draws) = (4, 200_000)
        let scheduler = try Scheduler(
            classes: classes, alphaCumulative: [0.5, 0], gammaCumulative: [masked / 2, masked])
        var random = TestGenerator(seed: 8)
        let sample = scheduler.samplePrior(batch: 2, pixels: draws / 2, using: &random)
        for k in 0...classes {
            let truth = k == classes ? masked : (1 - masked) / Double(classes)
            let share = Double(sample.indices.count { $0 == k }) / Double(draws)
            #expect(abs(share - truth) <= 5 * (truth * (1 - truth) / Double(draws)).squareRoot())
        }
        if masked == 1 { #expect(sample == scheduler.fullyMasked(batch: 2, pixels: draws / 2)) }
    }

    /// The largest uniform below 1 leads to the last class.
    @Test func theLargestUniformIsOfTheLastClass() throws {
        struct Ones: RandomNumberGenerator {
            var drawn = 0  // without a size it has no address, which ThreadSanitizer looks at

            mutating func next() -> UInt64 {
                drawn += 1
                return .max
            }
        }
        for classes in [1, 3, 4097] {
            for masked in [0, 0.1, 0.7] {
                let scheduler = try Scheduler(
                    classes: classes, alphaCumulative: [0], gammaCumulative: [masked])
                var ones = Ones()
                #expect(
                    scheduler.samplePrior(batch: 1, pixels: 1, using: &ones).indices
                        == [classes - 1])
            }
        }
    }
}
