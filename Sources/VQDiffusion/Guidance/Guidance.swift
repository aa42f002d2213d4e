/// Classifier-free guidance in logarithms: ℓ = u + scale (c - u), then ℓ - log Σ_k e^ℓ, so that
/// every column is a distribution again.
///
/// - Parameters:
///   - unconditional: u, (batch, classes, pixels), finite or -∞. A class that is -∞ in
///     either input is -∞ in the result. So is one that has at most -greatest/(4 (1 + |scale|)) in
///     either, where greatest is the largest number of the precision computed in, or the lowest
///     finite float16 in float16: less could overflow.
///   - conditional: c, the same shape and element type.
///   - scale: finite; 1 gives the conditional distribution, more exaggerates what the
///     condition changes.
///   - output: the same shape, `Float`, or `Double` when the inputs are. Untouched when an error is
///     thrown.
/// - Throws: `ArgumentError` for shapes or element types that disagree, NaN or +∞, a column without
///   mass, numbers so large that a column overflows, or a scale that is NaN or beyond ±2⁶⁴.
@export(interface)
public func guide(
    unconditional: LogProbabilities, conditional: LogProbabilities, scale: Double,
    into output: OutputTensor,
    parallelism: Parallelism = Parallelism()
) throws(ArgumentError) {
    try checkGuidance(unconditional, conditional, scale: scale)
    try output.checkShape(unconditional.shape)
    guard !unconditional.isEmpty else { return }
    try unconditional.checkHasClasses()
    if unconditional.elementType == .float64 {
        try guide(Double.self, unconditional, conditional, scale, output, parallelism)
    } else {
        try guide(Float.self, unconditional, conditional, scale, output, parallelism)
    }
}

/// - Throws: `ArgumentError` for shapes or element types that disagree, or a scale that is NaN or
///   beyond ±2⁶⁴.
func checkGuidance(
    _ unconditional: LogProbabilities, _ conditional: LogProbabilities, scale: Double,
    name: StaticString = "scale"
) throws(ArgumentError) {
    // Within float32, so that nothing overflows in any precision.
    guard scale.magnitude <= 0x1p64 else { throw ArgumentError(name, .notANumber) }
    try conditional.checkShape(unconditional.shape)
    guard conditional.elementType == unconditional.elementType else {
        throw ArgumentError(
            conditional.name,
            .elementType(expected: "of the type of the unconditional", actual: "of another"))
    }
}

private func guide<Real: RealScalar>(
    _: Real.Type, _ u: LogProbabilities, _ c: LogProbabilities, _ scale: Double,
    _ output: OutputTensor, _ parallelism: Parallelism
) throws(ArgumentError) {
    typealias V = Real.Vector
    let groups = (u.pixels + 15) / 16
    let normalisers = try Scratch<Real>(u.batch * groups * 16)
    let columns = GuidedColumns<Real>(
        u, c, scale: scale,
        lanesOfUnconditional: try PixelList.run(0..<u.pixels).laneGroups(
            pixelStride: u.pixelStride, elementSize: u.elementSize),
        lanesOfConditional: try PixelList.run(0..<u.pixels).laneGroups(
            pixelStride: c.pixelStride, elementSize: c.elementSize))
    let bad = try Scratch<Bool>(u.batch * groups, filledWith: false)
    try forEachChunk(of: u, parallelism) { (row, chunk) throws(ArgumentError) in
        let first = chunk.lowerBound / 16
        let at = row * groups + first
        let isGood = try columns.normalise(
            row: row, groups: first..<(chunk.upperBound + 15) / 16,
            into: normalisers.pointer + at * 16)
        bad[at] = !isGood
    }
    for at in 0..<u.batch * groups where bad[at] {
        try checkElements(of: u, parallelism: parallelism)
        try checkElements(of: c, parallelism: parallelism)
        for n in 0..<u.batch * u.pixels {
            try columns.checkColumn(row: n / u.pixels, pixel: n % u.pixels)
        }
        break
    }
    let result = output.elements(Real.self)
    let threads = parallelism.threads(forWork: u.batch * u.classes * u.pixels)
    try forEachRun(Real.self, of: u, threads: threads) { row, classes, buffer in
        forEachBlock(classes: classes, groups: 0..<groups, alongPixels: columns.alongPixels) {
            first, count, group in
            columns.combine(
                row: row, group: group, first: first, count: count, exact: true, into: buffer.0,
                buffer: buffer.1)
            writeNormalised(
                buffer.0, less: V(at: normalisers.pointer + (row &* groups &+ group) &* 16),
                to: result + ((row &* u.classes &+ first) &* u.pixels &+ group &* 16),
                classStride: u.pixels, count: count, pixels: min(16, u.pixels &- group &* 16))
        }
    }
}

@inline(never)
@_optimize(speed)
private func writeNormalised<Real: RealScalar>(
    _ block: UnsafePointer<Real>, less normaliser: Real.Vector,
    to target: UnsafeMutablePointer<Real>, classStride: Int, count: Int, pixels: Int
) {
    var target = target
    for i in 0..<count {
        (Real.Vector(at: block + i &* 16) - normaliser).store(to: target, count: pixels)
        target += classStride
    }
}
