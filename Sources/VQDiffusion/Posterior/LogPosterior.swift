extension ReverseStep {
    /// log Σ_{x_0} q(x_s | x_t, x_0) p(x_0) for every class and the mask, eq. 11 of Gu et al. 2021,
    /// restated for any s < t.
    ///
    /// Not normalised: the result sums to Σ p, so q(lp + c) = q(lp) + c. The mask row of an
    /// unmasked pixel holds what follows from log 0 := log 1e-30. Where β̄_t = 0 an unmasked pixel
    /// is carried over: its class gets log Σ p, every other row -∞.
    ///
    /// - Parameters:
    ///   - p: log-probabilities of x_0, (batch, K, pixels); finite or -∞, not necessarily
    ///     normalised.
    ///   - sample: x_t, (batch, pixels), classes 0 … K.
    ///   - output: (batch, K + 1, pixels) `Float`, or `Double` when the log-probabilities are.
    ///     Untouched when an error is thrown.
    /// - Throws: `ArgumentError` for shapes that disagree, a class out of range, NaN or +∞, a
    ///   column without mass.
    @export(interface)
    public func logPosterior(
        of p: LogProbabilities, given sample: ClassIndices, into output: OutputTensor,
        parallelism: Parallelism = Parallelism()
    ) throws(ArgumentError) {
        try p.checkShape(Shape(-1, classes, -1))
        try output.checkShape(Shape(p.batch, classes + 1, p.pixels))
        let observed = try checkedClasses(sample, batch: p.batch, pixels: p.pixels)
        if p.elementType == .float64 {
            try write(Double.self, p, observed, output, parallelism)
        } else {
            try write(Float.self, p, observed, output, parallelism)
        }
    }

    private func write<Real: RealScalar>(
        _: Real.Type, _ p: LogProbabilities, _ observed: borrowing Scratch<Int32>,
        _ output: OutputTensor, _ parallelism: Parallelism
    ) throws(ArgumentError) {
        guard p.batch > 0 && p.pixels > 0 else { return }
        let plan = try PosteriorCoefficients<Real>.of(
            self, p, sample: observed, parallelism: parallelism)
        let width = plan.width
        let posterior = LogPosteriorFunction(
            width: width, signal: plan.signal.pointer, level: plan.level.pointer,
            logRatio: plan.logRatio.pointer, isLinear: isLinear)
        try mapGoodElements(
            of: p, into: output, outputRows: classes + 1, parallelism: parallelism, posterior)
        let result = output.base.assumingMemoryBound(to: Real.self)
        for row in 0..<p.batch {
            (result + (row * (classes + 1) + classes) * p.pixels).update(
                from: plan.mask.pointer + row * width, count: p.pixels)
        }
        // The one class of a pixel that follows a formula of its own.
        for row in 0..<p.batch {
            for n in 0..<p.pixels where plan.classes[row * width + n] < maskClass {
                result[(row * (classes + 1) + Int(plan.classes[row * width + n])) * p.pixels + n] =
                    plan.own[row * width + n]
            }
        }
    }
}

/// The logarithm of the posterior of the classes that a pixel does not show, by the coefficients of
/// a `PosteriorCoefficients`.
private struct LogPosteriorFunction<Real: RealScalar>: ElementFunction {
    let width: Int
    let signal, level, logRatio: UnsafeMutablePointer<Real>
    let isLinear: Bool

    @inline(__always)
    func callAsFunction(_ x: Real.Vector, row: Int, k: Int, firstPixel: Int) -> Real.Vector {
        typealias V = Real.Vector
        let at = row &* width &+ firstPixel
        return V.logPosterior(
            x, signal: V(at: signal + at), level: V(at: level + at), logRatio: V(at: logRatio + at),
            linear: isLinear)
    }
}
