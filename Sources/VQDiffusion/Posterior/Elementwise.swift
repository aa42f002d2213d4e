/// Evaluates a function of every element of a (batch, rows, pixels) tensor, sixteen pixels at a time, into contiguous memory.
///
/// - Parameters:
///   - outputRows: the rows of the output, at least those of the input; rows beyond are left alone.
///   - body: maps the elements of row k of a batch row, whose first pixel is given, to results.
/// - Throws: `ArgumentError` when an element is NaN or +∞; nothing has been written then.
func mapElements<E: FloatingElement>(
    _: E.Type, _ x: LogProbabilities, into output: OutputTensor, outputRows: Int, parallelism: Parallelism,
    _ body: (E.Real.Vector, _ row: Int, _ k: Int, _ firstPixel: Int) -> E.Real.Vector
) throws(ArgumentError) {
    guard x.batch > 0 && x.pixels > 0 && x.classes > 0 else { return }
    let groups = try PixelList.run(0..<x.pixels).laneGroups(pixelStride: x.pixelStride, elementSize: E.size)
    let threads = parallelism.threads(forWork: x.batch * x.classes * x.pixels)
    try checkElements(E.self, x, parallelism: parallelism)
    try mapRows(E.self, x, into: output.elements(E.Real.self), outputRows: outputRows, groups: groups.pointer, threads: threads, body)
}

/// As `mapElements`, for elements that are known to be good.
func mapRows<E: FloatingElement>(
    _: E.Type, _ x: LogProbabilities, into output: UnsafeMutableRawPointer, outputRows: Int? = nil,
    groups: UnsafePointer<LaneGroup>, threads: Int,
    _ body: (E.Real.Vector, _ row: Int, _ k: Int, _ firstPixel: Int) -> E.Real.Vector
) throws(ArgumentError) {
    let size = MemoryLayout<E.Real>.size
    let rows = x.batch * x.classes
    let run = 64
    try parallelByShares(items: (rows + run - 1) / run, threads: threads) { (item) throws(ArgumentError) in
        for at in item * run..<min((item + 1) * run, rows) {
            let (row, k) = (at / x.classes, at % x.classes)
            let source = x.pointer(row: row, class: k)
            let target = output + (row * (outputRows ?? x.classes) + k) * x.pixels * size
            for first in stride(from: 0, to: x.pixels, by: 16) {
                body(groups[first / 16].load(E.self, row: source), row, k, first)
                    .store(to: target + first * size, count: min(16, x.pixels - first))
            }
        }
    }
}

/// Calls `body` for every vector of elements of a tensor, with its batch row, its class and its first pixel, spread over threads.
private func forEachVector<E: FloatingElement>(
    _: E.Type, of x: LogProbabilities, _ parallelism: Parallelism,
    _ body: (E.Real.Vector, _ row: Int, _ k: Int, _ firstPixel: Int) throws(ArgumentError) -> Void
) throws(ArgumentError) {
    guard x.batch > 0 && x.pixels > 0 && x.classes > 0 else { return }
    let groups = try PixelList.run(0..<x.pixels).laneGroups(pixelStride: x.pixelStride, elementSize: E.size)
    let rows = x.batch * x.classes
    let run = 64
    try parallel(
        tasks: (rows + run - 1) / run, threads: parallelism.threads(forWork: rows * x.pixels)
    ) { (task) throws(ArgumentError) in
        for at in task * run..<min((task + 1) * run, rows) {
            let (row, k) = (at / x.classes, at % x.classes)
            let source = x.pointer(row: row, class: k)
            for first in stride(from: 0, to: x.pixels, by: 16) {
                try body(groups.pointer[first / 16].load(E.self, row: source), row, k, first)
            }
        }
    }
}

/// - Throws: `ArgumentError` when an element is NaN or +∞.
func checkElements<E: FloatingElement>(_: E.Type, _ x: LogProbabilities, parallelism: Parallelism) throws(ArgumentError) {
    let largest = E.Real.Vector(repeating: E.Real.greatestFiniteMagnitude)
    try forEachVector(E.self, of: x, parallelism) { (values, row, k, first) throws(ArgumentError) in
        guard values.allAtMost(largest) else {
            var lane = 0
            while values[lane] <= E.Real.greatestFiniteMagnitude { lane += 1 }
            throw ArgumentError(x.name, .notFinite(row: row, class: k, pixel: first + lane))
        }
    }
}

/// - Throws: `ArgumentError` unless every uniform is in [0, 1]. (1 is what float32 rounds the largest doubles to; its noise is finite.)
func checkUniforms<E: FloatingElement>(_: E.Type, _ u: LogProbabilities, parallelism: Parallelism) throws(ArgumentError) {
    let (zero, one) = (E.Real.Vector(repeating: 0), E.Real.Vector(repeating: 1))
    try forEachVector(E.self, of: u, parallelism) { (values, _, _, _) throws(ArgumentError) in
        guard zero.allAtMost(values) && values.allAtMost(one) else {
            var lane = 0
            while values[lane] >= 0 && values[lane] <= 1 { lane += 1 }
            throw ArgumentError(u.name, .notUniform(values[lane].asDouble))
        }
    }
}

/// log(e^(x + a) + e^b) for constants a and b, either of which may be -∞.
@inline(__always)
func logAddExp<V: RealVector>(_ x: V, plus a: Double, _ b: Double) -> V {
    let signal = x + V(repeating: V.Scalar(a))
    guard b > -.infinity else { return signal }
    return .greater(signal, V(repeating: V.Scalar(b))) + .logAddExpTail(x + V(repeating: V.Scalar(a - b)))
}
