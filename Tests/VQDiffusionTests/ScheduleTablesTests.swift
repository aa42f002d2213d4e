import Foundation
import Testing

@testable import VQDiffusion

/// Tables made here, and those of Python.
struct PaperCase: Sendable {
    let made: @Sendable () throws -> ScheduleTables
    let alpha, gamma: [Double]

    init(
        _ made: @escaping @Sendable () throws -> ScheduleTables, _ alpha: [Double],
        _ gamma: [Double]
    ) {
        (self.made, self.alpha, self.gamma) = (made, alpha, gamma)
    }

    /// `print(*(table.tolist() for table in vqdiffusion.schedules.CALL))` in Python, the call of
    /// each above it.
    static let all = [
        // log_linear(5)
        PaperCase(
            { try .logLinear(timesteps: 5) },
            [0.8002, 0.6004, 0.40060000000000007, 0.20079999999999998, 0.0010000000000000009],
            [0.1998, 0.3996, 0.5993999999999999, 0.7992, 0.999]),
        // log_linear(5, eps=0.25, mask_share=0.3)
        PaperCase(
            {
                try .logLinear(timesteps: 5, epsilon: 0.25, maskShare: 0.3)
            },
            [0.8500000000000001, 0.7, 0.55, 0.4, 0.25],
            [
                0.045000000000000005, 0.09000000000000001, 0.13499999999999998, 0.18000000000000002,
                0.22499999999999998,
            ]),
        // cosine(5)
        PaperCase(
            { try .cosine(timesteps: 5) },
            [
                0.9511054597788584, 0.8092079773805725, 0.5881974670401807, 0.30970797738057254,
                0.001000000000000223,
            ],
            [
                0.04889454022114158, 0.1907920226194275, 0.4118025329598193, 0.6902920226194275,
                0.9989999999999998,
            ]),
        // cosine(5, variant='maskgit', mask_share=0.7)
        PaperCase(
            {
                try .cosine(timesteps: 5, variant: .maskGIT, maskShare: 0.7)
            },
            [
                0.6909830056250525, 0.4122147477075268, 0.19098300562505255, 0.04894348370484643,
                0.0,
            ],
            [0.21631189606246318, 0.4114496766047312, 0.5663118960624631, 0.6657395614066074, 0.7]),
        // cosine(5, variant='maskgit')
        PaperCase(
            { try .cosine(timesteps: 5, variant: .maskGIT) },
            [
                0.6909830056250525, 0.41221474770752686, 0.19098300562505255, 0.04894348370484647,
                0.0,
            ],
            [0.3090169943749474, 0.5877852522924731, 0.8090169943749475, 0.9510565162951535, 1.0]),
        // cosine(5, variant='d3pm')
        PaperCase(
            { try .cosine(timesteps: 5, variant: .d3pm) },
            [
                0.9480010129738832, 0.8046603079228549, 0.5837890370324917, 0.30666857138717984,
                0.0003066685713871798,
            ],
            [0.0, 0.0, 0.0, 0.0, 0.0]),
        // cosine(5, variant='d3pm', mask_share=1)
        PaperCase(
            { try .cosine(timesteps: 5, variant: .d3pm, maskShare: 1) },
            [
                0.9480010129738833, 0.804660307922855, 0.5837890370324916, 0.30666857138717984,
                0.00030666857138716974,
            ],
            [
                0.051998987026116696, 0.19533969207714497, 0.4162109629675083, 0.6933314286128202,
                0.9996933314286128,
            ]),
        // polynomial(5)
        PaperCase(
            { try .polynomial(timesteps: 5) },
            [0.96, 0.84, 0.64, 0.3599999999999999, 0.0],
            [0.04000000000000001, 0.16000000000000003, 0.36, 0.6400000000000001, 1.0]),
        // polynomial(5, exponent=0.5, mask_share=0.4)
        PaperCase(
            {
                try .polynomial(timesteps: 5, exponent: 0.5, maskShare: 0.4)
            },
            [0.5527864045000421, 0.3675444679663241, 0.2254033307585166, 0.10557280900008414, 0.0],
            [
                0.17888543819998318, 0.2529822128134704, 0.3098386676965934, 0.35777087639996635,
                0.4,
            ]),
        // geometric(5)
        PaperCase(
            { try .geometric(timesteps: 5) },
            [
                0.9988519611464115, 0.9868915943089202, 0.8593563014720029, 0.1753272368048178,
                2.061153622438558e-09,
            ],
            [0.0, 0.0, 0.0, 0.0, 0.0]),
        // geometric(5, sigma_min=0.01, sigma_max=3, mask_share=0.5)
        PaperCase(
            {
                try .geometric(timesteps: 5, sigmaMin: 0.01, sigmaMax: 3, maskShare: 0.5)
            },
            [
                0.9691931609558679, 0.9067261206750976, 0.7361004369766466, 0.38337888783844626,
                0.049787068367863944,
            ],
            [
                0.015403419522066007, 0.046636939662451166, 0.13194978151167672, 0.3083105560807769,
                0.475106465816068,
            ]),
        // hybrid(5)
        PaperCase(
            { try .hybrid(timesteps: 5) },
            [0.7346938775510203, 0.5410932303296893, 0.3607288202197929, 0.18367346938775508, 0.0],
            [0.18367346938775508, 0.3607288202197929, 0.5410932303296893, 0.7346938775510203, 1.0]),
        // hybrid(5, p_uniform=0.6)
        PaperCase(
            { try .hybrid(timesteps: 5, uniformShare: 0.6) },
            [
                0.36363636363636365, 0.24294509258788285, 0.1619633950585886, 0.09090909090909091,
                0.0,
            ],
            [
                0.09090909090909091, 0.1619633950585886, 0.24294509258788285, 0.36363636363636365,
                1.0,
            ]),
        // linear(5, alpha_cum_start=0.9, alpha_cum_end=0.1, gamma_cum_start=0.05,
        // gamma_cum_end=0.8)
        PaperCase(
            {
                try .linear(timesteps: 5, alpha: (0.9, 0.1), gamma: (0.05, 0.8))
            },
            [0.9, 0.7, 0.5, 0.29999999999999993, 0.09999999999999998],
            [0.05, 0.2375, 0.425, 0.6125, 0.8]),
    ]
}

@Suite("Schedules of papers")
struct ScheduleTablesTests {
    @Test(arguments: PaperCase.all) func tablesEqualThoseOfPython(_ expected: PaperCase) throws {
        let tables = try expected.made()
        for (table, truth) in [
            (tables.alphaCumulative, expected.alpha), (tables.gammaCumulative, expected.gamma),
        ] {
            #expect(table.count == truth.count)
            for (value, truth) in zip(table, truth) { #expect(abs(value - truth) <= 1e-15) }
        }
        #expect(throws: Never.self) { try Scheduler(classes: 4096, schedule: tables) }
    }

    /// Small values have their digits, which 1 - γ̄ or 1 - ᾱ would not.
    @Test func smallValuesHaveTheirDigits() throws {
        func first(_ tables: ScheduleTables, _ truth: Double) {
            let value = tables.gammaCumulative[0]
            #expect(abs(value - truth) <= 1e-12 * truth, "\(value), not \(truth)")
        }
        let x = Double.pi / 4 * 1e-4
        // (1 - ε) 2 sin² x, as a series.
        try first(.cosine(timesteps: 10_000), 0.999 * 2 * x * x * (1 - x * x / 3))
        try first(.polynomial(timesteps: 10_000, exponent: 3), 1e-12)
        let sigma = 1e-9 * pow(10, 6e-4)
        try first(
            .geometric(timesteps: 10_000, sigmaMin: 1e-9, sigmaMax: 1e-3, maskShare: 1),
            sigma * (1 - sigma / 2))
        let last = try ScheduleTables.geometric(timesteps: 1000).alphaCumulative[999]
        #expect(abs(last - 2.061153622438558e-09) < 1e-14 * last)
    }

    /// Every table is a chain, absorbing ones leave nothing for replacement.
    @Test(arguments: [2, 3, 100]) func tablesAreChains(timesteps: Int) throws {
        for share in [0, 1e-300, 0.3, 1 - 0x1p-53, 1] {
            for tables in [
                try ScheduleTables.logLinear(timesteps: timesteps, epsilon: 0, maskShare: share),
                try .cosine(timesteps: timesteps, variant: .mdlm, maskShare: share),
                try .cosine(timesteps: timesteps, variant: .maskGIT, maskShare: share),
                try .cosine(timesteps: timesteps, variant: .d3pm, maskShare: share),
                try .polynomial(timesteps: timesteps, exponent: 0.1, maskShare: share),
                try .geometric(timesteps: timesteps, maskShare: share),
            ] {
                let scheduler = try Scheduler(classes: 7, schedule: tables)
                #expect(
                    scheduler.timesteps.allSatisfy { t in
                        let (alpha, gamma) = (tables.alphaCumulative[t], tables.gammaCumulative[t])
                        return alpha + gamma <= 1 && (share != 0 || gamma == 0)
                            && (share != 1 || alpha == 1 - gamma)
                    })
            }
        }
        #expect(throws: Never.self) {
            try Scheduler(classes: 7, schedule: .hybrid(timesteps: timesteps, uniformShare: 0.999))
        }
    }

    @Test func badArgumentsAreNamed() {
        let calls: [(() throws -> ScheduleTables, String)] = [
            (
                { try .linear(timesteps: 1) },
                "timesteps must be at least 2, not 1"
            ),
            (
                { try .linear(timesteps: 5, alpha: (1.5, 0)) },
                "alpha.first must be a probability in [0, 1], not 1.5"
            ),
            (
                { try .linear(timesteps: 5, gamma: (0.5, 0.1)) },
                "schedule: no valid noise schedule, as cumulative alpha + cumulative gamma is "
                    + "greater than 1 at timestep 0"
            ),
            (
                { try .logLinear(timesteps: -1) },
                "timesteps must be at least 2, not -1"
            ),
            (
                { try .logLinear(timesteps: 5, epsilon: 1) },
                "epsilon must be in [0, 1), not 1"
            ),
            (
                { try .logLinear(timesteps: 5, epsilon: .nan) },
                "epsilon must be in [0, 1), not nan"
            ),
            (
                { try .logLinear(timesteps: 5, maskShare: -0.5) },
                "maskShare must be a probability in [0, 1], not -0.5"
            ),
            (
                { try .cosine(timesteps: 5, maskShare: 2) },
                "maskShare must be a probability in [0, 1], not 2"
            ),
            (
                { try .polynomial(timesteps: 5, exponent: 0) },
                "exponent must be positive and finite, not 0"
            ),
            (
                { try .polynomial(timesteps: 5, exponent: .infinity) },
                "exponent must be positive and finite, not inf"
            ),
            (
                { try .geometric(timesteps: 5, sigmaMin: -1) },
                "sigmaMin must be positive and finite, not -1"
            ),
            (
                {
                    try .geometric(timesteps: 5, sigmaMin: 2, sigmaMax: 2)
                },
                "sigmaMax must be above 2, not 2"
            ),
            (
                { try .hybrid(timesteps: 5, uniformShare: 1) },
                "uniformShare must be in [0, 1), not 1"
            ),
        ]
        for (call, expected) in calls { #expect(message(call) == expected) }
    }
}
