import CVQDiffusion

/// Classifier-free guidance in logarithms: ℓ = u + scale (c - u), then ℓ - log Σ_k e^ℓ, so that every column is a distribution again.
///
/// - Parameters:
///   - unconditional: u, (batch, classes, pixels), finite or -∞. A class that is -∞ in either input is -∞ in the result.
///   - conditional: c, the same shape and element type.
///   - scale: finite; 1 gives the conditional distribution, more exaggerates what sets it apart.
///   - output: the same shape, `Float`, or `Double` when the inputs are. Untouched when an error is thrown.
/// - Throws: `ArgumentError` for shapes or element types that disagree, NaN or +∞, a column without mass, or a scale that is NaN or beyond ±2⁶⁴.
@export(interface)
public func guide(
    unconditional: LogProbabilities, conditional: LogProbabilities, scale: Double, into output: OutputTensor,
    parallelism: Parallelism = Parallelism()
) throws(ArgumentError) {
    // Within float32, so that nothing overflows in any precision.
    guard scale.magnitude <= 0x1p64 else { throw ArgumentError("scale", .notANumber) }
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

/// u + scale (c - u), and -∞ where either is -∞.
@inline(__always)
private func guided<V: RealVector>(_ u: V, _ c: V, _ scale: V) -> V {
    let nothing = V(repeating: -V.Scalar.infinity)
    // What a difference of infinities has come to does not matter: it is replaced here.
    return (u + scale * (c - u)).kept(where: u, above: nothing, else: nothing).kept(where: c, above: nothing, else: nothing)
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
    try checkElements(E.self, u, parallelism: parallelism)
    try checkElements(E.self, c, parallelism: parallelism)
    try forEachChunk(of: u, parallelism) { (row, chunk) throws(ArgumentError) in
        let count = (chunk.count + 15) / 16
        let first = chunk.lowerBound / 16
        let largest = try Scratch<E.Real>(count * 16, filledWith: -.infinity)
        for k in 0..<u.classes {
            let (rowU, rowC) = (u.pointer(row: row, class: k), c.pointer(row: row, class: k))
            for g in 0..<count {
                let (x, y) = (groups.pointer[first + g].load(E.self, row: rowU), others.pointer[first + g].load(E.self, row: rowC))
                let top = V.loadUnaligned(largest.pointer + g * 16)
                V.greater(top, guided(x, y, factor)).storeUnaligned(largest.pointer + g * 16)
            }
        }
        for n in 0..<chunk.count where largest[n] == -.infinity {
            throw ArgumentError(c.name, .noMass(row: row, pixel: chunk.lowerBound + n))
        }
        // Sixteen classes are added in the precision of the elements and those sums in double precision.
        let sums = try Scratch<Double>(count * 16, filledWith: 0)
        for start in stride(from: 0, to: u.classes, by: 16) {
            for g in 0..<count {
                let top = V.loadUnaligned(largest.pointer + g * 16)
                var part = V(repeating: 0)
                for k in start..<min(start + 16, u.classes) {
                    let x = groups.pointer[first + g].load(E.self, row: u.pointer(row: row, class: k))
                    let y = others.pointer[first + g].load(E.self, row: c.pointer(row: row, class: k))
                    part = part + V.exp(guided(x, y, factor) - top)
                }
                let sum = DoubleVector.loadUnaligned(UnsafeRawPointer(sums.pointer + g * 16)) + part.widened
                sum.storeUnaligned(UnsafeMutableRawPointer(sums.pointer + g * 16))
            }
        }
        for n in 0..<count * 16 {
            normalisers[row * width + chunk.lowerBound + n] = largest[n] + E.Real(vqd_log(sums[n]))
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
