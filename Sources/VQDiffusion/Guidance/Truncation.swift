/// Truncates distributions: of every pixel's classes in the order of falling probability, keeps
/// those before which less than `rate` of probability lies, and sets the others to -∞. The most
/// probable class is always kept; classes of equal probability count in the order of their indices.
/// Not renormalised.
///
/// - Parameters:
///   - logProbabilities: (batch, classes, pixels), finite or -∞. Their exponentials are meant as
///     they are, not relative to their sum.
///   - rate: not NaN. At 1 and above classes are still dropped once 1 is reached.
///   - floor: what is below is raised to this (-∞: nothing is).
///   - topK: at most so many classes are kept, counted in the same order. The rate is then a share
///     of the mass of these. nil for any number.
///   - temperature: other than 1, columns are divided by it and normalised before classes are
///     dropped.
///   - output: (batch, classes, pixels) `Float`, or `Double` when the log-probabilities are.
///     Untouched when an error is thrown.
/// - Throws: `ArgumentError` for NaN or +∞, a column without mass, a rate that is NaN or a floor
///   that is NaN or +∞, a `topK` below 1, or a temperature outside 1e-6 ... 1e6.
@export(interface)
public func truncate(
    _ logProbabilities: LogProbabilities, rate: Double, floor: Double = -.infinity,
    topK: Int? = nil, temperature: Double = 1, into output: OutputTensor,
    parallelism: Parallelism = Parallelism()
) throws(ArgumentError) {
    let p = logProbabilities
    try checkTruncation(rate: rate, floor: floor, topK: topK, temperature: temperature)
    try output.checkShape(p.shape)
    guard !p.isEmpty else { return }
    try p.checkHasClasses()
    let truncation = GuidedModelOutput(
        unconditional: nil, conditional: p, guidanceScale: 1, truncationRate: rate, floor: floor,
        topK: topK, temperature: temperature)
    do throws(ArgumentError) {
        if !truncation.isPlain {
            try truncation.write(into: output, parallelism: parallelism)
        } else if p.elementType == .float64 {
            try truncatePlain(Double.self, truncation, output, parallelism)
        } else {
            try truncatePlain(Float.self, truncation, output, parallelism)
        }
    } catch {
        // As `guide` does, this names the first bad element in the order of the batch row, class
        // and pixel.
        try checkElements(of: p, parallelism: parallelism)
        throw error
    }
}

/// - Throws: `ArgumentError` for a rate that is NaN, a floor that is NaN or +∞, a `topK` below 1,
///   or a temperature outside 1e-6 ... 1e6.
func checkTruncation(
    rate: Double, name: StaticString = "rate", floor: Double, topK: Int?, temperature: Double
) throws(ArgumentError) {
    guard !rate.isNaN else { throw ArgumentError(name, .notANumber) }
    guard floor < .infinity else { throw ArgumentError("floor", .notANumber) }
    if let topK, topK < 1 { throw ArgumentError("top_k", .tooSmall(topK, lower: 1)) }
    // Times a scale of 2⁶⁴ its inverse is still within float32.
    guard temperature >= 1e-6 && temperature <= 1e6 else {
        throw ArgumentError("temperature", .outsideNumbers(temperature, lower: 1e-6, upper: 1e6))
    }
}

private func truncatePlain<Real: RealScalar>(
    _: Real.Type, _ truncation: GuidedModelOutput, _ output: OutputTensor,
    _ parallelism: Parallelism
) throws(ArgumentError) {
    let p = truncation.conditional
    let groups = (p.pixels + 15) / 16
    // The value down to which a pixel's classes are kept, and the last kept index of that value.
    let thresholds = try Scratch<Real>(p.batch * groups * 16)
    let lasts = try Scratch<Int32>(p.batch * groups * 16)
    let preparation = Preparation(
        output: truncation, batch: p.batch, columns: p.pixels, selection: nil,
        parallelism: parallelism)
    try preparation.forEachGroup(Real.self, try preparation.guidedColumns(Real.self)) {
        row, group, tile, at, _ in
        let start = (row * groups + group) * 16
        _ = tile.findThresholds(
            group: at, thresholds: thresholds.pointer + start, lasts: lasts.pointer + start)
    }
    defer {  // `truncated` holds only the addresses
        withExtendedLifetime(thresholds) {}
        withExtendedLifetime(lasts) {}
    }
    let truncated = TruncatedFunction(
        width: groups * 16, thresholds: thresholds.pointer, lasts: lasts.pointer,
        least: Real.Vector(repeating: Real(truncation.floor)))
    try mapGoodElements(
        of: p, into: output, outputRows: p.classes, parallelism: parallelism, truncated)
}

/// Each class where it is kept, and at least the floor.
private struct TruncatedFunction<Real: RealScalar>: ElementFunction {
    /// Pixels of a batch row, rounded up to whole vectors.
    let width: Int
    let thresholds: UnsafeMutablePointer<Real>
    let lasts: UnsafeMutablePointer<Int32>
    let least: Real.Vector

    @inline(__always)
    func callAsFunction(_ x: Real.Vector, row: Int, k: Int, firstPixel: Int) -> Real.Vector {
        let at = row &* width &+ firstPixel
        let last = UnsafeRawPointer(lasts + at).loadUnaligned(as: SIMD16<Int32>.self)
        return .greater(
            x.truncated(at: Real.Vector(at: thresholds + at), index: k, last: last), least)
    }
}

extension RealVector {
    /// The lanes in which these log-probabilities of a class are kept and above the floor, as bits:
    /// none with NaN or +∞.
    @inline(__always)
    func lanesKept(above threshold: Self, index: Int32, last: SIMD16<Int32>, floor: Self) -> UInt16
    {
        lanesKept(above: threshold, index: index, last: last)
            & lanes(above: floor, upTo: Self(repeating: .greatestFiniteMagnitude))
    }

    /// These log-probabilities of a class, with -∞ where they are below the threshold of their
    /// column or equal to it after the last index kept.
    @inline(__always)
    func truncated(at threshold: Self, index: Int, last: SIMD16<Int32>) -> Self {
        kept(
            above: threshold, index: Int32(truncatingIfNeeded: index), last: last,
            else: Self(repeating: -Scalar.infinity))
    }
}
