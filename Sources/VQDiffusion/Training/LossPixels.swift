import CVQDiffusion

/// The pixels of a training batch, checked, and where their gradient goes.
struct LossPixels {
    let logits: LogProbabilities
    /// x_0 and x_t, contiguous.
    let clean, observed: UnsafePointer<Int32>
    let rows: UnsafePointer<RowLoss>
    let weights: WeightGrid?
    let gradient: GradientTensor?

    /// The losses of all rows. Writes the gradient when everything that can fail is done.
    func sums(_ parallelism: Parallelism) throws(ArgumentError) -> LossSums {
        let (batch, pixels) = (logits.batch, logits.pixels)
        let result = LossSums(
            losses: try Scratch<Double>(batch, filledWith: 0),
            auxiliary: try Scratch<Double>(batch, filledWith: 0))
        guard !logits.isEmpty else { return result }
        let threads = parallelism.threads(forWork: batch * logits.classes * pixels)
        let maxima = try columnMaxima(of: logits, parallelism: parallelism)
        var isWide = false
        for row in 0..<batch { isWide = isWide || rows[row].needsDouble }

        // Exponentials fill half a MiB, a quarter to half of a second-level cache, where they can.
        let size = logits.elementType == .float64 ? 8 : 4
        let most = (1 << 19) / (logits.classes * 16 * size) * 16
        let tile = max(16, min(most, (pixels + 15) / 16 * 16))
        let tiles = (pixels + tile - 1) / tile
        let bytes = tile * logits.classes * (isWide ? 8 : size)
        let memory = try Scratch<UInt8>(threads * bytes)
        let groups = try Scratch<LossGroup>(threads * tile / 16)
        let sums = try Scratch<(loss: Double, auxiliary: Double)>(batch * tiles)
        let (largest, firstGroup, firstByte) = (maxima.pointer, groups.pointer, memory.pointer)
        let target = sums.pointer
        if let gradient { gradient.expectWrites(elementSize: size) }
        try parallelByShares(items: batch * tiles, threads: threads) {
            (item, thread) throws(ArgumentError) in
            let (row, start) = (item / tiles, item % tiles * tile)
            let part = LossTile(
                pixels: self, row: row, run: start..<min(start + tile, pixels),
                maxima: largest + row * pixels, groups: firstGroup + thread * (tile / 16),
                memory: UnsafeMutableRawPointer(firstByte + thread * bytes))
            target[item] =
                size == 8 || rows[row].needsDouble
                ? part.sums(Double.self) : part.sums(Float.self)
        }
        // In a fixed order, whatever the threads.
        for item in 0..<batch * tiles {
            result.losses[item / tiles] += sums[item].loss
            result.auxiliary[item / tiles] += sums[item].auxiliary
        }
        return result
    }
}

/// The losses of a batch, row by row.
struct LossSums: ~Copyable {
    let losses, auxiliary: Scratch<Double>
}
