/// A function of the elements of a (batch, rows, pixels) tensor. A type and not a closure: of a
/// closure, every vector becomes a call and takes twice as long.
protocol ElementFunction {
    associatedtype Real: RealScalar

    /// The results for sixteen elements of row k of a batch row, from a pixel on.
    func callAsFunction(_ x: Real.Vector, row: Int, k: Int, firstPixel: Int) -> Real.Vector
}

/// Evaluates a function of every element of a (batch, rows, pixels) tensor, sixteen pixels at a
/// time, into contiguous memory.
///
/// - Parameters:
///   - x: of an element type that the precision of the function holds.
///   - outputRows: the rows of the output, at least those of the input; rows beyond are left alone.
/// - Throws: `ArgumentError` when an element is NaN or +∞; nothing has been written then.
func mapElements<Function: ElementFunction>(
    of x: LogProbabilities, into output: OutputTensor, outputRows: Int, parallelism: Parallelism,
    _ function: Function
) throws(ArgumentError) {
    guard x.batch > 0 && x.pixels > 0 && x.classes > 0 else { return }
    try checkElements(of: x, parallelism: parallelism)
    try mapGoodElements(
        of: x, into: output, outputRows: outputRows, parallelism: parallelism, function)
}

/// As `mapElements`, for a tensor that is not empty and of which every element is known to be good.
func mapGoodElements<Function: ElementFunction>(
    of x: LogProbabilities, into output: OutputTensor, outputRows: Int, parallelism: Parallelism,
    _ function: Function
) throws(ArgumentError) {
    typealias Real = Function.Real
    let whole = x.pixelsInVectors(elementSize: x.elementSize)
    let others = try PixelList.run(whole..<x.pixels).laneGroups(
        pixelStride: x.pixelStride, elementSize: x.elementSize)
    let result = output.elements(Real.self)
    let threads = parallelism.threads(forWork: x.batch * x.classes * x.pixels)
    try forEachRun(Real.self, of: x, threads: threads) { row, classes, buffer in
        let target = result + row * outputRows * x.pixels
        if whole > 0 {
            mapRows(
                x, row: row, classes: classes, pixels: whole, buffer: buffer.0, to: target,
                function)
        }
        mapBlocks(
            x, row: row, classes: classes, pixels: whole..<x.pixels, groups: others,
            buffer: buffer.0, to: target, function)
    }
}

/// The first pixels of a batch row, whole vectors of neighbours in memory.
private func mapRows<Function: ElementFunction>(
    _ x: LogProbabilities, row: Int, classes: Range<Int>, pixels: Int,
    buffer: UnsafeMutablePointer<Function.Real>, to target: UnsafeMutablePointer<Function.Real>,
    _ function: Function
) {
    typealias Real = Function.Real
    let elements = Elements<Real>(type: x.elementType)
    let most = elements.areReal ? pixels : 16 &* blockOfClasses
    for k in classes {
        let (source, target) = (x.pointer(row: row, class: k), target + k &* x.pixels)
        var first = 0
        while first < pixels {
            let count = min(most, pixels &- first)
            let numbers = elements.neighbours(
                at: source + first &* x.elementSize, vectors: count / 16, buffer: buffer)
            for i in stride(from: 0, to: count, by: 16) {
                function(Real.Vector(at: numbers + i), row: row, k: k, firstPixel: first &+ i)
                    .store(at: target + (first &+ i))
            }
            first &+= count
        }
    }
}

/// The other pixels of a batch row, by blocks of classes.
@inline(never)  // or it takes on the optimisation of its caller
@_optimize(speed)
private func mapBlocks<Function: ElementFunction>(
    _ x: LogProbabilities, row: Int, classes: Range<Int>, pixels: Range<Int>,
    groups: borrowing Scratch<LaneGroup>, buffer: UnsafeMutablePointer<Function.Real>,
    to target: UnsafeMutablePointer<Function.Real>, _ function: Function
) {
    typealias Real = Function.Real
    let elements = Elements<Real>(type: x.elementType)
    let (source, lanes) = (x.pointer(row: row), groups.pointer)
    forEachBlock(classes: classes, groups: 0..<(pixels.count + 15) / 16, alongPixels: false) {
        first, count, group in
        elements.load(
            lanes[group], row: source, classStride: x.classStride, first: first, count: count,
            into: buffer)
        let pixel = pixels.lowerBound &+ group &* 16
        for i in 0..<count {
            function(
                Real.Vector(at: buffer + i &* 16), row: row, k: first &+ i, firstPixel: pixel
            )
            .store(
                to: target + ((first &+ i) &* x.pixels &+ pixel),
                count: min(16, pixels.upperBound &- pixel))
        }
    }
}

/// - Throws: `ArgumentError` at the first NaN or +∞, in the order of batch rows, classes and
///   pixels.
func checkElements(of x: LogProbabilities, parallelism: Parallelism) throws(ArgumentError) {
    switch x.elementType {
    case .float16: try checkElements(HalfElement.self, x, parallelism)
    case .bfloat16: try checkElements(BrainElement.self, x, parallelism)
    case .float32: try checkElements(Float.self, x, parallelism)
    case .float64: try checkElements(Double.self, x, parallelism)
    }
}

private func checkElements<E: FloatingElement>(
    _: E.Type, _ x: LogProbabilities, _ parallelism: Parallelism
) throws(ArgumentError) {
    let largest = E.Real.Vector(repeating: E.Real.greatestFiniteMagnitude)
    try checkVectors(E.self, of: x, parallelism) { (values, row, k, first) throws(ArgumentError) in
        guard values.allAtMost(largest) else {
            var lane = 0
            while values[lane] <= E.Real.greatestFiniteMagnitude { lane += 1 }
            throw ArgumentError(x.name, .notFinite(row: row, class: k, pixel: first + lane))
        }
    }
}

/// - Throws: `ArgumentError` unless every uniform is in [0, 1]. (1 is what float32 rounds the
///   largest doubles to; its noise is finite.)
func checkUniforms<E: FloatingElement>(_: E.Type, _ u: LogProbabilities, parallelism: Parallelism)
    throws(ArgumentError)
{
    let (zero, one) = (E.Real.Vector(repeating: 0), E.Real.Vector(repeating: 1))
    try checkVectors(E.self, of: u, parallelism) { (values, _, _, _) throws(ArgumentError) in
        guard zero.allAtMost(values) && values.allAtMost(one) else {
            var lane = 0
            while values[lane] >= 0 && values[lane] <= 1 { lane += 1 }
            throw ArgumentError(u.name, .notUniform(values[lane].asDouble))
        }
    }
}

/// Calls `check` for every vector of elements of a tensor, with its batch row, its class and its
/// first pixel, spread over threads.
///
/// - Throws: what `check` throws of the first, in the order of batch rows, classes and pixels.
private func checkVectors<E: FloatingElement>(
    _: E.Type, of x: LogProbabilities, _ parallelism: Parallelism,
    _ check: (E.Real.Vector, _ row: Int, _ k: Int, _ firstPixel: Int) throws(ArgumentError) -> Void
) throws(ArgumentError) {
    // Any order will do as long as there is nothing to report, so memory is read along its
    // neighbours.
    if x.classStride == E.size && x.classes >= 16 {
        do throws(ArgumentError) {
            return try checkVectorsInOrder(E.self, of: x.transposed, parallelism, check)
        } catch {}  // the ordered pass below reports it
    }
    try checkVectorsInOrder(E.self, of: x, parallelism, check)
}

/// As `checkVectors`, in the order of memory of an array that is contiguous, whatever the strides.
private func checkVectorsInOrder<E: FloatingElement>(
    _: E.Type, of x: LogProbabilities, _ parallelism: Parallelism,
    _ check: (E.Real.Vector, _ row: Int, _ k: Int, _ firstPixel: Int) throws(ArgumentError) -> Void
) throws(ArgumentError) {
    guard x.batch > 0 && x.pixels > 0 && x.classes > 0 else { return }
    let groups = try PixelList.run(0..<x.pixels).laneGroups(
        pixelStride: x.pixelStride, elementSize: E.size)
    let rows = x.batch * x.classes
    let run = 64
    try parallel(
        tasks: (rows + run - 1) / run, threads: parallelism.threads(forWork: rows * x.pixels)
    ) { (task) throws(ArgumentError) in
        for at in task * run..<min((task + 1) * run, rows) {
            let (row, k) = (at / x.classes, at % x.classes)
            let source = x.pointer(row: row, class: k)
            for first in stride(from: 0, to: x.pixels, by: 16) {
                try check(groups.pointer[first / 16].load(E.self, row: source), row, k, first)
            }
        }
    }
}

/// log(e^(x + a) + e^b) for constants a and b, either of which may be -∞.
@inline(__always)
func logAddExp<V: RealVector>(_ x: V, plus a: Double, _ b: Double) -> V {
    let signal = x + V(repeating: V.Scalar(a))
    guard b > -.infinity else { return signal }
    return .greater(signal, V(repeating: V.Scalar(b)))
        + .logAddExpTail(x + V(repeating: V.Scalar(a - b)))
}
