import CVQDiffusion

/// Classifier-free guidance in logarithms: ℓ = u + scale (c - u), then ℓ - log Σ_k e^ℓ, so that every column is a distribution again.
///
/// - Parameters:
///   - unconditional: u, (batch, classes, pixels), finite or -∞. A class that is -∞ in either input is -∞ in the result.
///   - conditional: c, the same shape and element type.
///   - scale: finite; 1 gives the conditional distribution, more exaggerates what sets it apart.
///   - output: the same shape, `Float`, or `Double` when the inputs are. Untouched when an error is thrown.
/// - Throws: `ArgumentError` for shapes or element types that disagree, NaN or +∞, a column without mass, or a scale that is not finite.
@export(interface)
public func guide(
    unconditional: LogProbabilities, conditional: LogProbabilities, scale: Double, into output: OutputTensor,
    parallelism: Parallelism = Parallelism()
) throws(ArgumentError) {
    guard scale.isFinite else { throw ArgumentError("scale", .notANumber) }
    try conditional.checkShape(unconditional.shape)
    try output.checkShape(unconditional.shape)
    guard conditional.elementType == unconditional.elementType else {
        throw ArgumentError(conditional.name, .elementType(expected: "of the type of the unconditional", actual: "of another"))
    }
    switch unconditional.elementType {
    case .float16: try guide(HalfElement.self, unconditional, conditional, scale, output.base, parallelism)
    case .bfloat16: try guide(BrainElement.self, unconditional, conditional, scale, output.base, parallelism)
    case .float32: try guide(Float.self, unconditional, conditional, scale, output.base, parallelism)
    case .float64: try guide(Double.self, unconditional, conditional, scale, output.base, parallelism)
    }
}

/// u + scale (c - u); where both are -∞ the difference is not a number, and the sum is -∞.
@inline(__always)
private func guided<V: RealVector>(_ u: V, _ c: V, _ scale: V) -> V {
    let least = V(repeating: -V.Scalar.greatestFiniteMagnitude)
    // Finite stand-ins for -∞ keep the difference a number; what they end up as lies beyond every logarithm and becomes -∞ again.
    let difference = V.greater(c, least) - V.greater(u, least)
    let beyond = V(repeating: -V.Scalar.greatestFiniteMagnitude * 0x1p-20)
    return (u + scale * difference).kept(above: beyond, index: 0, last: SIMD16(repeating: -1), else: V(repeating: -.infinity))
}

private func guide<E: FloatingElement>(
    _: E.Type, _ u: LogProbabilities, _ c: LogProbabilities, _ scale: Double, _ output: UnsafeMutableRawPointer, _ parallelism: Parallelism
) throws(ArgumentError) {
    typealias V = E.Real.Vector
    guard u.batch > 0 && u.pixels > 0 else { return }
    let width = (u.pixels + 15) / 16 * 16
    let normalisers = try Scratch<E.Real>(u.batch * width)
    let groups = try PixelList.run(0..<u.pixels).laneGroups(pixelStride: u.pixelStride, elementSize: E.size)
    let others = try PixelList.run(0..<c.pixels).laneGroups(pixelStride: c.pixelStride, elementSize: E.size)
    let factor = V(repeating: E.Real(scale))
    try forEachChunk(of: u, parallelism) { (row, chunk) throws(ArgumentError) in
        let count = (chunk.count + 15) / 16
        let first = chunk.lowerBound / 16
        let largest = try Scratch<E.Real>(count * 16, filledWith: -.infinity)
        let sums = try Scratch<E.Real>(count * 16, filledWith: 0)
        // What is seen of NaN and +∞ in the inputs: x - x is 0 for every finite x, and -∞ is lifted before.
        let poison = try Scratch<E.Real>(count * 16, filledWith: 0)
        let least = V(repeating: -E.Real.greatestFiniteMagnitude)
        for pass in 0..<2 {
            for k in 0..<u.classes {
                let (rowU, rowC) = (u.pointer(row: row, class: k), c.pointer(row: row, class: k))
                for g in 0..<count {
                    let (x, y) = (groups.pointer[first + g].load(E.self, row: rowU), others.pointer[first + g].load(E.self, row: rowC))
                    let value = guided(x, y, factor)
                    let top = V.loadUnaligned(largest.pointer + g * 16)
                    if pass == 0 {
                        V.greater(top, value).storeUnaligned(largest.pointer + g * 16)
                        let (liftedX, liftedY) = (V.greater(x, least), V.greater(y, least))
                        (V.loadUnaligned(poison.pointer + g * 16) + ((liftedX - liftedX) + (liftedY - liftedY)))
                            .storeUnaligned(poison.pointer + g * 16)
                    } else {
                        (V.loadUnaligned(sums.pointer + g * 16) + V.exp(value - top)).storeUnaligned(sums.pointer + g * 16)
                    }
                }
            }
            if pass == 0 {
                for n in 0..<chunk.count where !(poison[n] == 0 && largest[n].isFinite) {
                    _ = try largestElement(E.self, u, row: row, pixel: chunk.lowerBound + n)
                    _ = try largestElement(E.self, c, row: row, pixel: chunk.lowerBound + n)
                    throw ArgumentError(c.name, .noMass(row: row, pixel: chunk.lowerBound + n))
                }
            }
        }
        for n in 0..<count * 16 {
            normalisers[row * width + chunk.lowerBound + n] = largest[n] + E.Real(vqd_log(sums[n].asDouble))
        }
    }
    try mapRows(
        E.self, u, into: output, groups: groups.pointer,
        threads: parallelism.threads(forWork: u.batch * u.classes * u.pixels)
    ) { x, row, k, first in
        let y = others.pointer[first / 16].load(E.self, row: c.pointer(row: row, class: k))
        return guided(x, y, factor) - .loadUnaligned(normalisers.pointer + row * width + first)
    }
}
