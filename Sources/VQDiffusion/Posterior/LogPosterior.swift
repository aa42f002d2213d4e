extension ReverseStep {
    /// log Σ_{x_0} q(x_s | x_t, x_0) p(x_0) for every class and the mask, eq. 11 of Gu et al. 2021, restated for any s < t.
    ///
    /// Not normalised: the result sums to Σ p, so q(lp + c) = q(lp) + c. The mask row of an unmasked pixel holds what follows from log 0 := log 1e-30.
    /// Where β̄_t = 0 an unmasked pixel is carried over: its class gets log Σ p, every other row -∞.
    ///
    /// - Parameters:
    ///   - p: log-probabilities of x_0, (batch, K, pixels); finite or -∞, not necessarily normalised.
    ///   - sample: x_t, (batch, pixels), classes 0 … K.
    ///   - output: (batch, K + 1, pixels) `Float`, or `Double` when the log-probabilities are. Untouched when an error is thrown.
    /// - Throws: `ArgumentError` for shapes that disagree, a class out of range, NaN or +∞, a column without mass.
    @export(interface)
    public func logPosterior(
        of p: LogProbabilities, given sample: ClassIndices, into output: OutputTensor, parallelism: Parallelism = Parallelism()
    ) throws(ArgumentError) {
        try p.checkShape(Shape(-1, classes, -1))
        try output.checkShape(Shape(p.batch, classes + 1, p.pixels))
        let shown = try checkedClasses(sample, batch: p.batch, pixels: p.pixels)
        switch p.elementType {
        case .float16: try write(HalfElement.self, p, shown, output, parallelism)
        case .bfloat16: try write(BrainElement.self, p, shown, output, parallelism)
        case .float32: try write(Float.self, p, shown, output, parallelism)
        case .float64: try write(Double.self, p, shown, output, parallelism)
        }
    }

    private func write<E: FloatingElement>(
        _: E.Type, _ p: LogProbabilities, _ shown: borrowing Scratch<Int32>, _ output: OutputTensor, _ parallelism: Parallelism
    ) throws(ArgumentError) {
        guard p.batch > 0 && p.pixels > 0 else { return }
        let plan = try PosteriorPlan.of(E.self, self, p, sample: shown, parallelism: parallelism)
        let width = plan.width
        let whole = p.pixelsInVectors(elementSize: E.size)
        let others = try PixelList.run(whole..<p.pixels).laneGroups(pixelStride: p.pixelStride, elementSize: E.size)
        let linear = isLinear
        let result = output.elements(E.Real.self)
        let threads = parallelism.threads(forWork: 2 * p.batch * p.classes * p.pixels)
        try forEachRun(E.Real.self, of: p, threads: threads) { row, run, room in
            let target = result + row * (p.classes + 1) * p.pixels
            if whole > 0 {
                for k in run { plan.writeClass(E.self, of: p, k, row: row, pixels: whole, linear: linear, to: target + k * p.pixels) }
            }
            forEachBlock(classes: run, groups: whole / 16..<width / 16, alongPixels: false) { k, count, group in
                others.pointer[group &- whole / 16].load(
                    E.self, row: p.pointer(row: row), classStride: p.classStride, first: k, count: count, into: room.0)
                plan.writeBlock(
                    room.0, count: count, coefficients: row &* width &+ group &* 16, linear: linear,
                    to: target + (k &* p.pixels &+ group &* 16), stride: p.pixels, lanes: min(16, p.pixels &- group &* 16))
            }
        }
        for row in 0..<p.batch {
            (result + (row * (p.classes + 1) + p.classes) * p.pixels).update(from: plan.mask.pointer + row * width, count: p.pixels)
        }
        // The one class of a pixel that follows a formula of its own.
        for row in 0..<p.batch {
            for n in 0..<p.pixels where plan.classes[row * width + n] < maskClass {
                result[(row * (classes + 1) + Int(plan.classes[row * width + n])) * p.pixels + n] = plan.own[row * width + n]
            }
        }
    }
}

extension PosteriorPlan {
    /// Writes the logarithm of the posterior of one class at the first pixels of a batch row, whole vectors of neighbours in memory, that do not show it.
    fileprivate func writeClass<E: FloatingElement>(
        _: E.Type, of p: LogProbabilities, _ k: Int, row: Int, pixels: Int, linear: Bool, to target: UnsafeMutablePointer<Real>
    ) where E.Real == Real {
        let source = p.pointer(row: row, class: k)
        let start = row * width
        let (signal, level, slope) = (signal.pointer + start, level.pointer + start, slope.pointer + start)
        var first = 0
        while first < pixels {
            Real.Vector.logPosterior(
                E.loadVector(source + first &* E.size), signal: Real.Vector(at: signal + first), level: Real.Vector(at: level + first),
                slope: Real.Vector(at: slope + first), linear: linear
            ).store(at: target + first)
            first &+= 16
        }
    }

    /// Writes that of a block of classes at sixteen pixels.
    ///
    /// - Parameters:
    ///   - coefficients: where those of the pixels are.
    ///   - stride: elements from one class to the next at the target.
    ///   - lanes: how many of the sixteen there are.
    fileprivate func writeBlock(
        _ block: UnsafePointer<Real>, count: Int, coefficients at: Int, linear: Bool, to target: UnsafeMutablePointer<Real>, stride: Int, lanes: Int
    ) {
        typealias V = Real.Vector
        let (signal, level, slope) = (V(at: signal.pointer + at), V(at: level.pointer + at), V(at: slope.pointer + at))
        var i = 0
        while i < count {
            V.logPosterior(V(at: block + i &* 16), signal: signal, level: level, slope: slope, linear: linear)
                .store(to: target + i &* stride, count: lanes)
            i &+= 1
        }
    }
}
