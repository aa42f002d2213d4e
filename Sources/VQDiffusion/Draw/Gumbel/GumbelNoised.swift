/// Adds Gumbel noise: logits - log(-log(u + 1e-30) + 1e-30).
///
/// - Parameters:
///   - logits: (batch, rows, pixels), finite or -∞.
///   - uniforms: the same shape, float32 or float64, in [0, 1).
///   - output: the same shape; `Double` when either input is float64, else `Float`. Untouched when
///     an error is thrown.
/// - Throws: `ArgumentError` for shapes that disagree, NaN or +∞.
@export(interface)
public func gumbelNoised(
    _ logits: LogProbabilities, uniforms: LogProbabilities, into output: OutputTensor,
    parallelism: Parallelism = Parallelism()
) throws(ArgumentError) {
    try uniforms.checkShape(logits.shape)
    try output.checkShape(logits.shape)
    guard !logits.isEmpty && logits.classes > 0 else { return }
    switch (logits.elementType, uniforms.elementType) {
    case (.float64, .float32):
        try add(WidenedFloatNoise.self, logits, uniforms, output, parallelism)
    case (_, .float32): try add(FloatNoise.self, logits, uniforms, output, parallelism)
    case (_, .float64): try add(DoubleNoise.self, logits, uniforms, output, parallelism)
    case (_, .float16), (_, .bfloat16):
        throw ArgumentError(
            uniforms.name, .elementType(expected: "float32 or float64", actual: "a 16-bit float"))
    }
}

private func add<Noise: GumbelNoise>(
    _: Noise.Type, _ logits: LogProbabilities, _ uniforms: LogProbabilities,
    _ output: OutputTensor, _ parallelism: Parallelism
) throws(ArgumentError) {
    try checkUniforms(Noise.Uniform.self, uniforms, parallelism: parallelism)
    let groups = try PixelList.run(0..<uniforms.pixels).laneGroups(
        pixelStride: uniforms.pixelStride, elementSize: Noise.Uniform.size)
    defer { withExtendedLifetime(groups) {} }  // of which the function has only the address
    let noised = NoisedFunction<Noise>(uniforms: uniforms, groups: groups.pointer)
    try mapElements(
        of: logits, into: output, outputRows: logits.classes, parallelism: parallelism, noised)
}

/// Adds the noise of the uniforms at the same places.
private struct NoisedFunction<Noise: GumbelNoise>: ElementFunction {
    typealias Real = Noise.Real

    let uniforms: LogProbabilities
    let groups: UnsafeMutablePointer<LaneGroup>

    @inline(__always)
    func callAsFunction(_ x: Noise.Real.Vector, row: Int, k: Int, firstPixel: Int)
        -> Noise.Real.Vector
    {
        x
            + Noise.noise(
                groups[firstPixel / 16].load(
                    Noise.Uniform.self, row: uniforms.pointer(row: row, class: k)))
    }
}
