extension NoiseSchedule {
    /// The log-probabilities with which each class leads to the observed x_t: rows of the
    /// transition matrix of eq. 7, one column per pixel.
    ///
    /// Cumulative: log q(x_t | x_0 = j) for the K classes j. Not cumulative: log q(x_t | x_{t-1} =
    /// j) for the K classes and, as the last row, the mask.
    ///
    /// - Parameters:
    ///   - sample: x_t, (batch, pixels), classes 0 … K.
    ///   - logOneHot: its one-hot logarithms, (batch, K + 1, pixels).
    ///   - output: (batch, K or K + 1, pixels) `Float`, or `Double` when the logarithms are.
    ///     Untouched when an error is thrown.
    /// - Throws: `ArgumentError` for shapes that disagree, a class or a timestep out of range, NaN
    ///   or +∞.
    @export(interface)
    public func logTransitionRows(
        at t: Int, cumulative: Bool, given sample: ClassIndices, logOneHot: LogProbabilities,
        into output: OutputTensor,
        parallelism: Parallelism = Parallelism()
    ) throws(ArgumentError) {
        _ = try marginal(at: t, lower: 0, name: "t")
        let rates = cumulative ? try logCumulative(at: t) : try logSingleStep(at: t)
        try logOneHot.checkShape(Shape(-1, classes + 1, -1))
        try output.checkShape(
            Shape(logOneHot.batch, cumulative ? classes : classes + 1, logOneHot.pixels))
        let observed = try sample.checked(
            batch: logOneHot.batch, pixels: logOneHot.pixels, upper: classes)
        if logOneHot.elementType == .float64 {
            try write(Double.self, rates, cumulative, observed, logOneHot, output, parallelism)
        } else {
            try write(Float.self, rates, cumulative, observed, logOneHot, output, parallelism)
        }
    }

    private func write<Real: RealScalar>(
        _: Real.Type, _ rates: LogRates, _ cumulative: Bool, _ observed: borrowing Scratch<Int32>,
        _ logOneHot: LogProbabilities,
        _ output: OutputTensor, _ parallelism: Parallelism
    ) throws(ArgumentError) {
        var rows = logOneHot
        if cumulative { rows.classes -= 1 }
        let transitions = TransitionRowsFunction<Real>(
            rates: rates, classes: classes, pixels: logOneHot.pixels, observed: observed.pointer)
        try mapElements(
            of: rows, into: output, outputRows: rows.classes, parallelism: parallelism, transitions)
    }

    /// log(ᾱ_t e^q + β̄_t) for the K classes, and log γ̄_t as the row of the mask: q carried from
    /// x_0 to timestep t.
    ///
    /// - Parameters:
    ///   - t: -1 … T - 1.
    ///   - q: (batch, K, pixels).
    ///   - output: (batch, K + 1, pixels) `Float`, or `Double` when q is. Untouched when an error
    ///     is thrown.
    /// - Throws: `ArgumentError` for shapes that disagree, a timestep out of range, NaN or +∞.
    @export(interface)
    public func applyCumulativeTransitions(
        at t: Int, to q: LogProbabilities, into output: OutputTensor,
        parallelism: Parallelism = Parallelism()
    ) throws(ArgumentError) {
        let rates = try logCumulative(at: t)
        try q.checkShape(Shape(-1, classes, -1))
        try output.checkShape(Shape(q.batch, classes + 1, q.pixels))
        guard !q.isEmpty else { return }
        if q.elementType == .float64 {
            try apply(Double.self, rates, q, output, parallelism)
        } else {
            try apply(Float.self, rates, q, output, parallelism)
        }
    }

    private func apply<Real: RealScalar>(
        _: Real.Type, _ rates: LogRates, _ q: LogProbabilities, _ output: OutputTensor,
        _ parallelism: Parallelism
    ) throws(ArgumentError) {
        try mapElements(
            of: q, into: output, outputRows: classes + 1, parallelism: parallelism,
            CumulativeTransition<Real>(rates: rates))
        let result = output.base.assumingMemoryBound(to: Real.self)
        for row in 0..<q.batch {
            (result + ((row + 1) * (classes + 1) - 1) * q.pixels).update(
                repeating: Real(rates.gamma), count: q.pixels)
        }
    }
}

/// The logarithms of transitions into the classes that pixels show.
private struct TransitionRowsFunction<Real: RealScalar>: ElementFunction {
    let rates: LogRates
    let classes, pixels: Int
    let observed: UnsafeMutablePointer<Int32>

    @inline(__always)
    func callAsFunction(_ x: Real.Vector, row: Int, k: Int, firstPixel: Int) -> Real.Vector {
        if k == classes { return x }
        let toMask = Real.Vector(repeating: Real(rates.gamma))
        let own = UnsafeRawPointer(observed + (row &* pixels &+ firstPixel)).loadUnaligned(
            as: SIMD16<Int32>.self)
        return logAddExp(x, plus: rates.alpha, rates.beta).replacing(
            with: toMask, where: own, equals: Int32(truncatingIfNeeded: classes))
    }
}

/// log(ᾱ_t e^q + β̄_t).
private struct CumulativeTransition<Real: RealScalar>: ElementFunction {
    let rates: LogRates

    @inline(__always)
    func callAsFunction(_ x: Real.Vector, row: Int, k: Int, firstPixel: Int) -> Real.Vector {
        logAddExp(x, plus: rates.alpha, rates.beta)
    }
}
