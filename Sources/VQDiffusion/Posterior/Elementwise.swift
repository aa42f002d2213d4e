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
    try checkElements(E.self, x, parallelism: parallelism)
    let groups = try PixelList.run(0..<x.pixels).laneGroups(pixelStride: x.pixelStride, elementSize: E.size)
    let result = output.elements(E.Real.self)
    let threads = parallelism.threads(forWork: x.batch * x.classes * x.pixels)
    try forEachRun(of: x, threads: threads) { (row, classes) throws(ArgumentError) in
        let block = try Scratch<E.Real>(blockOfClasses * 16)
        let source = x.pointer(row: row)
        let target = result + row * outputRows * x.pixels
        forEachBlock(classes: classes, groups: 0..<(x.pixels + 15) / 16, alongPixels: x.pixelStride == E.size) { first, count, group in
            groups.pointer[group].load(E.self, row: source, classStride: x.classStride, first: first, count: count, into: block.pointer)
            let pixels = min(16, x.pixels &- group &* 16)
            for i in 0..<count {
                body(E.Real.Vector(at: block.pointer + i &* 16), row, first &+ i, group &* 16)
                    .store(to: target + ((first &+ i) &* x.pixels &+ group &* 16), count: pixels)
            }
        }
    }
}

/// Calls `body` for every vector of elements of a tensor, with its batch row, its class and its first pixel, spread over threads.
private func forEachVectorInOrder<E: FloatingElement>(
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

/// - Throws: `ArgumentError` at the first NaN or +∞, in the order of batch rows, classes and pixels.
func checkElements<E: FloatingElement>(_: E.Type, _ x: LogProbabilities, parallelism: Parallelism) throws(ArgumentError) {
    do throws(ArgumentError) {
        // Any order will do as long as there is nothing to report, so memory is read along its neighbours.
        try checkElementsInOrder(E.self, x.classStride == E.size ? x.transposed : x, parallelism)
    } catch {
        try checkElementsInOrder(E.self, x, parallelism)
        throw error
    }
}

private func checkElementsInOrder<E: FloatingElement>(_: E.Type, _ x: LogProbabilities, _ parallelism: Parallelism) throws(ArgumentError) {
    let largest = E.Real.Vector(repeating: E.Real.greatestFiniteMagnitude)
    try forEachVectorInOrder(E.self, of: x, parallelism) { (values, row, k, first) throws(ArgumentError) in
        guard values.allAtMost(largest) else {
            var lane = 0
            while values[lane] <= E.Real.greatestFiniteMagnitude { lane += 1 }
            throw ArgumentError(x.name, .notFinite(row: row, class: k, pixel: first + lane))
        }
    }
}

/// - Throws: `ArgumentError` unless every uniform is in [0, 1]. (1 is what float32 rounds the largest doubles to; its noise is finite.)
func checkUniforms<E: FloatingElement>(_: E.Type, _ u: LogProbabilities, parallelism: Parallelism) throws(ArgumentError) {
    let u = u.classStride == E.size ? u.transposed : u
    let (zero, one) = (E.Real.Vector(repeating: 0), E.Real.Vector(repeating: 1))
    try forEachVectorInOrder(E.self, of: u, parallelism) { (values, _, _, _) throws(ArgumentError) in
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
