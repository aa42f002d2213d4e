/// Reads all of some log-probabilities and refuses what cannot be drawn from, for those who want
/// that also where a step would not look.
///
/// - Throws: `ArgumentError` at the first NaN or +∞, in the order of rows, classes and pixels;
///   where there is none, at the first column that is -∞ throughout, in the order of rows and
///   pixels.
@export(interface)
public func checkColumns(_ p: LogProbabilities, parallelism: Parallelism = Parallelism())
    throws(ArgumentError)
{
    switch p.elementType {
    case .float16: try checkColumns(HalfElement.self, p, parallelism)
    case .bfloat16: try checkColumns(BrainElement.self, p, parallelism)
    case .float32: try checkColumns(Float.self, p, parallelism)
    case .float64: try checkColumns(Double.self, p, parallelism)
    }
}

private func checkColumns<E: FloatingElement>(
    _: E.Type, _ p: LogProbabilities, _ parallelism: Parallelism
) throws(ArgumentError) {
    try checkElements(of: p, parallelism: parallelism)
    try forEachChunk(of: p, parallelism) { (row, chunk) throws(ArgumentError) in
        for pixel in chunk {
            // Nearly always the first class has some probability.
            var k = 0
            while k < p.classes && E.load(p.pointer(row: row, class: k, pixel: pixel)) == -.infinity
            { k += 1 }
            guard k < p.classes else {
                throw ArgumentError(p.name, .noMass(row: row, pixel: pixel))
            }
        }
    }
}
