/// Where the results of `scoreTokens` go, each (batch, pixels): `Int64` tokens, and numbers that
/// are `Double` when the logits are, else `Float`.
public struct TokenScoreOutputs {
    public var token, probability, entropy, margin, logSumExp: OutputTensor

    public init(
        token: OutputTensor, probability: OutputTensor, entropy: OutputTensor,
        margin: OutputTensor, logSumExp: OutputTensor
    ) {
        (self.token, self.probability, self.entropy) = (token, probability, entropy)
        (self.margin, self.logSumExp) = (margin, logSumExp)
    }

    var numbers: InlineArray<4, OutputTensor> { [probability, entropy, margin, logSumExp] }
}

/// Draws a token for every pixel and tells how sure the model is, in one read of its logits.
///
/// With p = softmax(logits) over the classes: the token, its p, the entropy -Σ p log p in nats, the
/// margin p₁ - p₂ between the two largest p, and log Σ e^logit. The temperature sharpens the draw
/// alone. Entropy and margin are right to 1e-6, of `Double` logits to 1e-12.
///
/// - Parameters:
///   - logits: (batch, classes, pixels), finite or -∞; any constant may be added to a column.
///   - uniforms: one for each pixel, in [0, 1): inverts the cumulative distribution of softmax(
///     logits / temperature), so that each token is an exact draw. nil for the argmax, the first
///     one of equals.
///   - temperature: finite, at least 0; at 0 the argmax is taken whatever the uniforms.
///   - outputs: untouched when an error is thrown.
/// - Throws: `ArgumentError` for shapes that disagree, NaN or +∞, a column of nothing but -∞, a
///   uniform or a temperature out of range.
@export(interface)
public func scoreTokens(
    _ logits: LogProbabilities, uniforms: UniformGrid? = nil, temperature: Double = 1,
    into outputs: TokenScoreOutputs, parallelism: Parallelism = Parallelism()
) throws(ArgumentError) {
    guard temperature >= 0 && temperature < .infinity else {
        throw ArgumentError("temperature", .negative(temperature))
    }
    let shape = Shape(logits.batch, logits.pixels)
    try outputs.token.checkShape(shape)
    for i in 0..<4 { try outputs.numbers[i].checkShape(shape) }
    guard let uniforms else { return try score(logits, nil, temperature, outputs, parallelism) }
    let checked = try uniforms.checked(batch: logits.batch, pixels: logits.pixels)
    try score(
        logits, temperature > 0 ? checked.pointer : nil, temperature, outputs, parallelism)
    withExtendedLifetime(checked) {}
}

/// - Parameter uniforms: nil when nothing is drawn.
private func score(
    _ logits: LogProbabilities, _ uniforms: UnsafePointer<Double>?, _ temperature: Double,
    _ outputs: TokenScoreOutputs, _ parallelism: Parallelism
) throws(ArgumentError) {
    guard !logits.isEmpty else { return }
    try logits.checkHasClasses()
    if logits.elementType == .float64 {
        try score(Double.self, logits, uniforms, temperature, outputs, parallelism)
    } else {
        try score(Float.self, logits, uniforms, temperature, outputs, parallelism)
    }
}

private func score<Real: RealScalar>(
    _: Real.Type, _ p: LogProbabilities, _ uniforms: UnsafePointer<Double>?, _ temperature: Double,
    _ outputs: TokenScoreOutputs, _ parallelism: Parallelism
) throws(ArgumentError) {
    let scores = try ScoredTokens<Real>(p, uniforms: uniforms, temperature: temperature)
    try scores.read(parallelism)
    guard scores.areFinite else {
        try checkColumns(p, parallelism: parallelism)
        return
    }
    let count = p.batch * p.pixels
    outputs.token.write(scores.tokens.pointer, count: count)
    for i in 0..<4 {
        outputs.numbers[i].elements(Real.self).update(
            from: scores.numbers.pointer + i * count, count: count)
    }
}
