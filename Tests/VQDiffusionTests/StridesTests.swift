import Testing

@testable import VQDiffusion

@Suite("Strides")
struct StridesTests {
    private func scheduler(timesteps: Int) throws -> Scheduler {
        try Scheduler(classes: 3, schedule: .logLinear(timesteps: timesteps))
    }

    @Test func spacingsAreThoseOfTheirNames() throws {
        let visited: [(Int, Int, Scheduler.Spacing, [Int])] = [
            (100, 10, .trailing, [99, 89, 79, 69, 59, 49, 39, 29, 19, 9]),
            (100, 10, .linspace, [99, 88, 77, 66, 55, 44, 33, 22, 11, 0]),
            (100, 10, .leading, [90, 80, 70, 60, 50, 40, 30, 20, 10, 0]),
            (100, 10, .reference, [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]),
            (8, 3, .trailing, [7, 4, 2]), (8, 3, .linspace, [7, 4, 0]),
            (8, 3, .leading, [4, 2, 0]), (8, 1, .linspace, [7]), (8, 1, .trailing, [7]),
        ]
        for (all, count, spacing, timesteps) in visited {
            let strides = try scheduler(timesteps: all).strides(count, spacing: spacing)
            #expect(strides.timesteps == timesteps)
        }
        #expect(
            try scheduler(timesteps: 100).strides(10).timesteps == visited[0].3,
            "trailing unless given")
    }

    /// All counts of all lengths, digested as `h = (h * 31 + t + 1) % (2**31 - 1)` over the t of
    /// Python's `visited(name, count, length)` for length in range(2, 61), count in range(1, length
    /// + 1).
    @Test func timestepsEqualThoseOfPython() throws {
        let digests: [(Scheduler.Spacing, Int)] = [
            (.trailing, 1_097_589_565), (.linspace, 118_751_309), (.leading, 518_465_963),
            (.reference, 1_606_516_137),
        ]
        for (spacing, expected) in digests {
            var digest = 0
            for all in 2...60 {
                let scheduler = try scheduler(timesteps: all)
                for count in 1...all {
                    for (t, _) in try scheduler.strides(count, spacing: spacing) {
                        digest = (digest * 31 + t + 1) % (1 << 31 - 1)
                    }
                }
            }
            #expect(digest == expected)
        }
    }

    @Test func eachLeadsToTheNextAndTheLastToCleanData() throws {
        let scheduler = try scheduler(timesteps: 100)
        for strides in [
            try scheduler.strides(4), try scheduler.strides(visiting: [99, 74, 49, 24]),
        ] {
            #expect(strides.count == 4)
            #expect(strides.map(\.from) == [99, 74, 49, 24])
            #expect(strides.map(\.to) == [74, 49, 24, -1])
        }
        #expect(try scheduler.strides(100).timesteps == scheduler.timesteps.reversed())
    }

    @Test func whatIsNoChainIsRefused() throws {
        let scheduler = try scheduler(timesteps: 10)
        for count in [0, 11, -3, .min, .max] {
            #expect(
                message { try scheduler.strides(count) }
                    == "count must be in 1 ... 10, not \(count)")
        }
        for (timesteps, expected) in [
            ([], "timesteps must have shape (any,), not (0,)"),
            ([10, 3], "timesteps must be in 0 ... 9, not 10"),
            ([3, -1], "timesteps must be in 0 ... 9, not -1"),
            ([9, 5, 5], "timesteps must fall strictly, but 5 is followed by 5"),
            ([2, 4], "timesteps must fall strictly, but 2 is followed by 4"),
        ] as [([Int], String)] {
            #expect(
                message { try scheduler.strides(visiting: timesteps) }
                    == expected)
        }
    }
}
