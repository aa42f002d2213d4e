/// The posterior coefficients of every pixel of a batch, in the precision of the kernels: all that has to be known of the model output before the
/// posterior of any one class can be written down or drawn from.
///
/// Making it reads the model output once and checks it: whoever holds a plan can no longer fail.
struct PosteriorPlan<E: FloatingElement>: ~Copyable {
    /// Pixels of a batch row, rounded up to whole vectors; the padding repeats the last pixel.
    let width: Int
    let signal, level, slope, own, mask: Scratch<E.Real>
    /// The class of every pixel at t, with the same padding.
    let classes: Scratch<Int32>

    /// - Parameter direct: draw from the model output itself rather than from the posterior.
    /// - Throws: `ArgumentError` when a column has a NaN or +∞ or no mass, or a pixel is masked where the schedule masks nothing.
    init(
        _ step: ReverseStep, _ p: LogProbabilities, sample: borrowing Scratch<Int32>, name: StaticString,
        direct: Bool = false, parallelism: Parallelism
    ) throws(ArgumentError) {
        let (batch, pixels) = (p.batch, p.pixels)
        let width = (pixels + 15) / 16 * 16
        self.width = width
        let signal = try Scratch<E.Real>(batch * width)
        let level = try Scratch<E.Real>(batch * width)
        let slope = try Scratch<E.Real>(batch * width)
        let own = try Scratch<E.Real>(batch * width)
        let mask = try Scratch<E.Real>(batch * width)
        let classes = try Scratch<Int32>(batch * width)
        for row in 0..<batch {
            for n in 0..<width where pixels > 0 { classes[row * width + n] = sample[row * pixels + min(n, pixels - 1)] }
        }

        let carriesOver = step.carriesOver
        let shown = classes.pointer
        try forEachChunk(of: p, parallelism) { (row, chunk) throws(ArgumentError) in
            let start = row * width + chunk.lowerBound
            // A pixel that is carried over keeps its class whatever the rest: only the whole mass matters.
            let nothing = try Scratch<Int32>(carriesOver ? chunk.count + 16 : 0, filledWith: step.maskClass)
            let sums = try BlockSums<E>.of(
                p, row: row, columns: .run(chunk), excluded: UnsafePointer(carriesOver ? nothing.pointer : shown + start))
            for n in 0..<(chunk.count + 15) / 16 * 16 {
                let column = min(n, chunk.count - 1)
                let pixel = chunk.lowerBound + column
                let shownClass = shown[row * width + pixel]
                let isMasked = shownClass == step.maskClass
                if isMasked && step.now.gamma == 0 && !direct {
                    throw ArgumentError(name, .maskUnreachable(timestep: step.timestep, row: row, pixel: pixel))
                }
                let counted = carriesOver ? step.maskClass : shownClass
                let logMass = try step.mass(of: shownClass).log(
                    E.self, p, row: row, pixel: pixel, own: counted, others: sums.total(column: column))
                let coefficients: PixelCoefficients
                if direct {
                    coefficients = .direct
                } else if isMasked {
                    coefficients = step.masked(logMass: logMass)
                } else {
                    let x = E.load(p.pointer(row: row, class: Int(shownClass), pixel: pixel)).asDouble
                    coefficients = step.unmasked(own: x, logMass: logMass)
                }
                signal[start + n] = E.Real(coefficients.signal)
                level[start + n] = E.Real(coefficients.level)
                slope[start + n] = E.Real(coefficients.slope)
                own[start + n] = E.Real(coefficients.own)
                mask[start + n] = E.Real(coefficients.mask)
            }
        }
        self.signal = signal
        self.level = level
        self.slope = slope
        self.own = own
        self.mask = mask
        self.classes = classes
    }
}

/// Calls `body` for every batch row and every chunk of its pixels, chunks starting at multiples of 16, spread over threads.
func forEachChunk(
    of p: LogProbabilities, _ parallelism: Parallelism, widest: Int = 1024, _ body: (Int, Range<Int>) throws(ArgumentError) -> Void
) throws(ArgumentError) {
    guard p.batch > 0 && p.pixels > 0 else { return }
    let threads = parallelism.threads(forWork: p.batch * p.classes * p.pixels)
    // Wide chunks walk memory best; there must be one for every thread, and the sums of a chunk should stay in the second-level cache.
    let perRow = max(1, threads / p.batch)
    let chunk = min(max(widest, 64), max(64, ((p.pixels + perRow - 1) / perRow + 15) / 16 * 16))
    let chunks = (p.pixels + chunk - 1) / chunk
    try parallel(tasks: p.batch * chunks, threads: threads) { (task) throws(ArgumentError) in
        let start = task % chunks * chunk
        try body(task / chunks, start..<min(start + chunk, p.pixels))
    }
}
