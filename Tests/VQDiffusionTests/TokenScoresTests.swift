import Foundation
import Testing

@testable import VQDiffusion

@Suite("Tokens and their scores")
struct TokenScoresTests {
    static func logits(classes: Int, pixels: Int = 19, seed: UInt64 = 1) -> LogProbabilityTensor {
        var state = seed
        return LogProbabilityTensor(
            batch: 2, classes: classes, pixels: pixels,
            values: (0..<2 * classes * pixels).map { _ in
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                return Float(Double(state >> 40) / 0x1p24 * 14 - 4)
            })
    }

    /// p of every class of a pixel.
    static func softmax(_ x: LogProbabilityTensor, _ row: Int, _ pixel: Int) -> [Double] {
        let e = (0..<x.classes).map { exp(Double(x[row, $0, pixel])) }
        let total = e.reduce(0, +)
        return e.map { $0 / total }
    }

    static func near(_ a: Float, _ b: Double) -> Bool { abs(Double(a) - b) <= 1e-6 }

    @Test(arguments: [1, 2, 17, 300, 1100])
    func scoresFollowFromTheirDefinitions(classes: Int) throws {
        let x = TokenScoresTests.logits(classes: classes)
        let uniforms = (0..<38).map { (Double($0) + 0.25) / 38 }
        let (greedy, drawn) = (try x.tokenScores(), try x.tokenScores(uniforms: uniforms))
        for row in 0..<2 {
            for pixel in 0..<19 {
                let (p, at) = (TokenScoresTests.softmax(x, row, pixel), row * 19 + pixel)
                let falling = p.sorted(by: >)
                let entropy = -p.map { $0 * log($0) }.reduce(0, +)
                #expect(p[greedy.tokens[row, pixel]] == falling[0])
                for scores in (classes > 1 ? [greedy, drawn] : [greedy]) {
                    let token = scores.tokens[row, pixel]
                    #expect(TokenScoresTests.near(scores.probability[at], p[token]))
                    #expect(TokenScoresTests.near(scores.entropy[at], entropy))
                    let second = classes > 1 ? falling[1] : 0
                    #expect(TokenScoresTests.near(scores.margin[at], falling[0] - second))
                }
                let token = drawn.tokens[row, pixel]
                let before = p[..<token].reduce(0, +)
                #expect(before - 1e-6 <= uniforms[at] && uniforms[at] <= before + p[token] + 1e-6)
            }
        }
    }

    /// Streams of neighbouring classes, as those of sixteen pixels.
    @Test func bothWaysToReadAgree() throws {
        let x = TokenScoresTests.logits(classes: 2000, pixels: 16)
        let inner = (0..<2 * 16 * 2000).map { x[$0 / 32000, $0 % 2000, $0 / 2000 % 16] }
        let uniforms = (0..<32).map { (Double($0) + 0.4) / 32 }
        let expected = try x.tokenScores(uniforms: uniforms, temperature: 0.7)
        var numbers = [Float](repeating: 0, count: 128)
        var tokens = [Int64](repeating: 0, count: 32)
        try numbers.withUnsafeMutableBytes { numbers in
            try tokens.withUnsafeMutableBytes { tokens in
                let outputs = (0..<4).map {
                    OutputTensor(
                        name: "out", base: numbers.baseAddress! + $0 * 128, shape: Shape(2, 16))
                }
                let to = TokenScoreOutputs(
                    token: OutputTensor(
                        name: "token", base: tokens.baseAddress!, shape: Shape(2, 16)),
                    probability: outputs[0], entropy: outputs[1], margin: outputs[2],
                    logSumExp: outputs[3])
                try inner.withUnsafeBytes { inner in
                    try uniforms.withUnsafeBufferPointer { uniforms in
                        let logits = LogProbabilities(
                            name: "logits", base: inner.baseAddress!, elementType: .float32,
                            shape: (2, 2000, 16), strides: (128_000, 4, 8000))
                        try scoreTokens(
                            logits,
                            uniforms: UniformGrid(uniforms.baseAddress!, batch: 2, pixels: 16),
                            temperature: 0.7, into: to)
                    }
                }
            }
        }
        #expect(tokens.map { Int($0) } == expected.tokens.indices)
        for at in 0..<32 {
            #expect(TokenScoresTests.near(numbers[at], Double(expected.probability[at])))
            #expect(TokenScoresTests.near(numbers[32 + at], Double(expected.entropy[at])))
            #expect(TokenScoresTests.near(numbers[64 + at], Double(expected.margin[at])))
        }
    }

    @Test func refusals() {
        var x = TokenScoresTests.logits(classes: 5)
        func message(_ uniforms: [Double]? = nil, _ temperature: Double = 1) -> String {
            do {
                _ = try x.tokenScores(uniforms: uniforms, temperature: temperature)
                return ""
            } catch { return error.description }
        }
        #expect(message(nil, -2) == "temperature must be a finite number from 0 on, not -2")
        #expect(message([0.5]) == "uniforms must have shape (38,), not (1,)")
        #expect(message([Double](repeating: 1, count: 38)) == "uniforms must be in [0, 1), not 1")
        x[1, 2, 3] = .nan
        #expect(message().hasSuffix("not NaN or +inf as at [1, 2, 3]"))
    }
}
