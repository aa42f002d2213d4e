/// The posterior coefficients of every pixel of a batch, in the precision of the kernels: all that
/// has to be known of the model output before the posterior of any one class can be written down or
/// drawn from.
///
/// `of` reads the model output once and checks it: whoever holds such a plan can no longer be given
/// a bad column.
struct PosteriorCoefficients<Real: RealScalar>: ~Copyable {
    /// Pixels of a batch row, rounded up to whole vectors; the padding repeats the last pixel.
    let width: Int
    let signal, level, logRatio, own, mask: Scratch<Real>
    /// The class of every pixel at t, with the same padding.
    let classes: Scratch<Int32>
    private let masked, unmasked: LogPosteriorFactors

    /// - Throws: `ArgumentError` when a column has a NaN or +∞ or no mass.
    static func of(
        _ step: ReverseStep, _ p: LogProbabilities, sample: borrowing Scratch<Int32>,
        parallelism: Parallelism
    ) throws(ArgumentError) -> PosteriorCoefficients {
        let plan = try PosteriorCoefficients(step, batch: p.batch, pixels: p.pixels, sample: sample)
        let classes = plan.classes.pointer
        try forEachChunk(of: p, parallelism) { (row, chunk) throws(ArgumentError) in
            let start = row * plan.width + chunk.lowerBound
            let excluded = try step.excludedClasses(
                UnsafePointer(classes + start), count: chunk.count)
            let sums = try BlockSums<Real>.of(
                p, row: row, columns: .run(chunk), excluded: UnsafePointer(excluded.pointer))
            try plan.set(step, p, row: row, chunk: chunk, excluded: excluded.pointer) {
                sums.total(column: $0)
            }
        }
        return plan
    }

    /// A plan of which only the classes are set; the coefficients of every pixel have yet to be, by
    /// `set`.
    init(_ step: ReverseStep, batch: Int, pixels: Int, sample: borrowing Scratch<Int32>)
        throws(ArgumentError)
    {
        let width = (pixels + 15) / 16 * 16
        let signal = try Scratch<Real>(batch * width)
        let level = try Scratch<Real>(batch * width)
        let logRatio = try Scratch<Real>(batch * width)
        let own = try Scratch<Real>(batch * width)
        let mask = try Scratch<Real>(batch * width)
        let classes = try Scratch<Int32>(batch * width)
        for row in 0..<batch {
            for n in 0..<width {
                classes[row * width + n] = sample[row * pixels + min(n, pixels - 1)]
            }
        }
        self.width = width
        self.signal = signal
        self.level = level
        self.logRatio = logRatio
        self.own = own
        self.mask = mask
        self.classes = classes
        masked = LogPosteriorFactors(step.factors(of: step.maskClass), isLinear: step.isLinear)
        unmasked = LogPosteriorFactors(step.factors(of: 0), isLinear: step.isLinear)
    }

    /// Sets the coefficients of a chunk of pixels.
    ///
    /// - Parameters:
    ///   - excluded: the class of each column of the chunk that is not in its mass.
    ///   - mass: that of a column of the chunk, in plain exponentials.
    /// - Throws: `ArgumentError` when a column has a NaN or +∞ or no mass.
    func set(
        _ step: ReverseStep, _ p: LogProbabilities, row: Int, chunk: Range<Int>,
        excluded: UnsafePointer<Int32>, mass: (Int) -> Double
    ) throws(ArgumentError) {
        let start = row * width + chunk.lowerBound
        for n in 0..<(chunk.count + 15) / 16 * 16 {
            let column = min(n, chunk.count - 1)
            try set(
                step, p, at: start + n, row: row, pixel: chunk.lowerBound + column,
                own: excluded[n], others: mass(column))
        }
    }

    /// Sets the coefficients at one place by a column.
    ///
    /// - Parameters:
    ///   - own: the class that is not in its mass.
    ///   - others: its mass, in plain exponentials.
    /// - Throws: `ArgumentError` when the column has a NaN or +∞ or no mass.
    func set(
        _ step: ReverseStep, _ p: LogProbabilities, at: Int, row: Int, pixel: Int,
        own: Int32, others: Double
    ) throws(ArgumentError) {
        let observed = classes[at]
        let logMass = try step.mass(of: observed).log(
            Real.self, p, row: row, pixel: pixel, own: own, others: others)
        let x =
            Int(observed) < p.classes
            ? p.element(row: row, class: Int(observed), pixel: pixel) : -.infinity
        set(at, step, own: x, logMass: logMass)
    }

    /// Sets the coefficients of a pixel; see `LogPosteriorFactors.coefficients`.
    func set(_ at: Int, _ step: ReverseStep, own x: Double, logMass: Double) {
        let factors = classes[at] == step.maskClass ? masked : unmasked
        let coefficients = factors.coefficients(own: x, logMass: logMass)
        signal[at] = Real(coefficients.signal)
        level[at] = Real(coefficients.level)
        logRatio[at] = Real(coefficients.logRatio)
        own[at] = Real(coefficients.own)
        mask[at] = Real(coefficients.mask)
    }
}

extension ReverseStep {
    /// The classes that `countedApart` leaves out of the masses of a chunk's columns, for pixels
    /// that are padded to whole vectors.
    func excludedClasses(_ observed: UnsafePointer<Int32>, count: Int) throws(ArgumentError)
        -> Scratch<Int32>
    {
        let width = (count + 15) / 16 * 16
        let excluded = try Scratch<Int32>(width)
        for n in 0..<width { excluded[n] = countedApart(observed[n]) }
        return excluded
    }
}

/// Calls `body` for every batch row and every chunk of its pixels, chunks starting at multiples of
/// 16, spread over threads.
func forEachChunk(
    of p: LogProbabilities, _ parallelism: Parallelism, widest: Int = 1024,
    _ body: (Int, Range<Int>) throws(ArgumentError) -> Void
) throws(ArgumentError) {
    guard p.batch > 0 && p.pixels > 0 else { return }
    let threads = parallelism.threads(forWork: p.batch * p.classes * p.pixels)
    // Wide chunks walk memory best; there must be one for every thread, and the sums of a chunk
    // should stay in the second-level cache.
    let perRow = max(1, threads / p.batch)
    let chunk = min(max(widest, 64), max(64, ((p.pixels + perRow - 1) / perRow + 15) / 16 * 16))
    let chunks = (p.pixels + chunk - 1) / chunk
    try parallel(tasks: p.batch * chunks, threads: threads) { (task) throws(ArgumentError) in
        let start = task % chunks * chunk
        try body(task / chunks, start..<min(start + chunk, p.pixels))
    }
}
