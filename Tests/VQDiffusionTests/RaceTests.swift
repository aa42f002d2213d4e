import Testing

@testable import VQDiffusion

@Suite("The race for the best score")
struct RaceTests {
    /// Columns of which some classes hold more than the floor, as truncated ones.
    struct SparseColumns: RaceColumns, ~Copyable {
        typealias Real = Float
        typealias ClassRow = Int

        let classes, groups: Int
        /// A vector for every class and group; nil is the floor.
        let elements: [FloatVector?]

        var roomPerGroup: Int { 0 }
        func classRow(
            _ k: Int, row: Int, groups: Range<Int>, buffer: UnsafeMutablePointer<Float>
        )
            -> Int
        { k }
        func load(_ k: Int, group: Int) -> FloatVector {
            elements[k * groups + group] ?? FloatVector(repeating: -3)
        }
    }

    /// Mostly of few values, so that scores are often equal: the lowest index wins then, whether it
    /// is the pixel's observed class, at the floor, or neither.
    @Test(arguments: [1, 3, 4, 5, 8, 18, 61], [1, 16, 37, 96])
    func theLowestOfTheBestWins(classes: Int, pixels: Int) throws {
        var random = TestGenerator(seed: UInt64(classes * 1000 + pixels))
        let groups = (pixels + 15) / 16
        for round in 0..<24 {
            let (linear, hasMask) = (round % 2 == 0, round % 4 < 2)
            var elements = [FloatVector?](repeating: nil, count: classes * groups)
            for i in elements.indices where random.next() % (round % 3 == 0 ? 3 : 30) == 0 {
                var x = FloatVector(repeating: -3)
                for lane in 0..<16 { x[lane] = Float(Int(random.next() % 4)) - 3 }
                elements[i] = x
            }
            let uniforms = (0..<(classes + 1) * pixels).map { _ in
                round % 3 == 2
                    ? Float(random.next() >> 40) * 0x1p-24
                    : Float([0.25, 0.5, 0.5, 0.75][Int(random.next() % 4)])
            }
            let observed = (0..<groups * 16).map { _ in Int32(random.next() % UInt64(classes + 1)) }
            let (signal, level, logRatio) = (Float(0), Float(-1), Float(1))
            let observedScores = (0..<groups * 16).map { _ in Float(Int(random.next() % 4)) - 3 }
            let mask = (0..<groups * 16).map { _ in Float(Int(random.next() % 4)) - 3 }
            let columns = SparseColumns(classes: classes, groups: groups, elements: elements)

            // Every score, by the formulas that the race uses, sixteen pixels at a time.
            var scores = [[Float]](repeating: [], count: pixels)
            for k in 0..<classes + (hasMask ? 1 : 0) {
                for group in 0..<groups {
                    let others = FloatVector.logPosterior(
                        k == classes ? .init(repeating: 0) : columns.load(k, group: group),
                        signal: .init(repeating: signal), level: .init(repeating: level),
                        logRatio: .init(repeating: logRatio), linear: linear)
                    let first = group * 16
                    var u = FloatVector(repeating: 0.5)
                    for n in first..<min(first + 16, pixels) {
                        u[n - first] = uniforms[k * pixels + n]
                    }
                    let noise = FloatNoise.noise(u)
                    for n in first..<min(first + 16, pixels) {
                        let posterior =
                            switch k {
                            case classes: mask[n]
                            case Int(observed[n]): observedScores[n]
                            default: others[n - first]
                            }
                        scores[n].append(posterior + noise[n - first])
                    }
                }
            }
            let expected = scores.map { Int32($0.firstIndex(of: $0.max()!)!) }

            let width = groups * 16
            var winners: [Int32] = []
            try uniforms.withUnsafeBufferPointer { buffer in
                let view = LogProbabilities(
                    name: "uniforms", base: UnsafeRawPointer(buffer.baseAddress!),
                    elementType: .float32, shape: (1, classes + 1, pixels),
                    strides: (0, pixels * 4, 4))
                var rows = try UniformRows<Float>(view, row: 0, chunk: 0..<pixels)
                let constants = try [signal, level, logRatio].map { value in
                    try Filled(width, value)
                }
                let (observedOfPixels, maskOfPixels) = (
                    try Filled(observedScores), try Filled(mask)
                )
                try observed.withUnsafeBufferPointer { observed in
                    var race = try ArgmaxRace<FloatNoise>(
                        row: 0, chunk: 0..<pixels, observed: observed.baseAddress!,
                        maskClass: classes)
                    let coefficients = RaceCoefficients<Float>(
                        signal: constants[0].pointer, level: constants[1].pointer,
                        logRatio: constants[2].pointer, observed: observedOfPixels.pointer,
                        mask: hasMask ? maskOfPixels.pointer : nil, isLinear: linear)
                    try race.run(columns, &rows, coefficients)
                    winners = (0..<pixels).map { race.winner($0) }
                }
            }
            #expect(winners == expected)
        }
    }
}

/// An array in memory that stays where it is.
private final class Filled {
    private let memory: Scratch<Float>
    var pointer: UnsafePointer<Float> { UnsafePointer(memory.pointer) }

    init(_ values: [Float]) throws {
        memory = try Scratch<Float>(values.count)
        for (i, value) in values.enumerated() { memory[i] = value }
    }

    convenience init(_ count: Int, _ value: Float) throws {
        try self.init([Float](repeating: value, count: count))
    }
}
