/// The token of every pixel and how sure the model is of it; arrays in the order of the grid.
public struct TokenScores: Equatable, Sendable {
    public var tokens: ClassGrid
    /// With p = softmax(logits): p of the tokens, -Σ p log p in nats, the largest p less the second
    /// largest, and log Σ e^logit.
    public var probability, entropy, margin, logSumExp: [Float]
}

extension LogProbabilityTensor {
    /// Draws a token for every pixel from these logits, in one read of them; see `scoreTokens`.
    ///
    /// - Parameters:
    ///   - uniforms: batch · pixels of them, in [0, 1), row after row; nil for the argmax.
    ///   - temperature: of the draw alone; finite, at least 0. At 0 the argmax is taken.
    /// - Throws: `ArgumentError` for another number of uniforms, one or a temperature out of range,
    ///   NaN or +∞, or a column of nothing but -∞.
    public func tokenScores(uniforms: [Double]? = nil, temperature: Double = 1)
        throws(ArgumentError) -> TokenScores
    {
        let shape = Shape(batch, pixels)
        var tokens = [Int64](repeating: 0, count: batch * pixels)
        var numbers = [Float](repeating: 0, count: 4 * batch * pixels)
        try tokens.withUnsafeMutableBufferPointer { (tokens) throws(ArgumentError) in
            try numbers.withUnsafeMutableBufferPointer { (numbers) throws(ArgumentError) in
                let size = numbers.count
                // Of an empty grid nothing is written.
                let nowhere = UnsafeMutableRawPointer(bitPattern: 64)!
                let to = tokens.baseAddress.map { UnsafeMutableRawPointer($0) } ?? nowhere
                let base = numbers.baseAddress.map { UnsafeMutableRawPointer($0) } ?? nowhere
                let outputs = TokenScoreOutputs(
                    token: OutputTensor(name: "token", base: to, shape: shape),
                    probability: OutputTensor(name: "probability", base: base, shape: shape),
                    entropy: OutputTensor(name: "entropy", base: base + size, shape: shape),
                    margin: OutputTensor(name: "margin", base: base + 2 * size, shape: shape),
                    logSumExp: OutputTensor(name: "logSumExp", base: base + 3 * size, shape: shape))
                try withView(name: "logits") { (logits) throws(ArgumentError) in
                    try score(logits, uniforms, temperature, outputs)
                }
            }
        }
        let (part, grid) = (batch * pixels, tokens.map { Int($0) })
        return TokenScores(
            tokens: ClassGrid(batch: batch, pixels: pixels, indices: grid),
            probability: Array(numbers[..<part]), entropy: Array(numbers[part..<2 * part]),
            margin: Array(numbers[2 * part..<3 * part]), logSumExp: Array(numbers[(3 * part)...]))
    }

    private func score(
        _ logits: LogProbabilities, _ uniforms: [Double]?, _ temperature: Double,
        _ outputs: TokenScoreOutputs
    ) throws(ArgumentError) {
        guard let uniforms else {
            return try scoreTokens(logits, temperature: temperature, into: outputs)
        }
        guard uniforms.count == batch * pixels else {
            throw ArgumentError(
                "uniforms",
                .shape(expected: Shape(batch * pixels), actual: Shape(uniforms.count)))
        }
        try uniforms.withUnsafeBufferPointer { (buffer) throws(ArgumentError) in
            let base = buffer.baseAddress ?? UnsafePointer(bitPattern: 64)!
            try scoreTokens(
                logits, uniforms: UniformGrid(base, batch: batch, pixels: pixels),
                temperature: temperature, into: outputs)
        }
    }
}
