/// The VQ-Diffusion scheduler for Swift arrays.
///
/// A model predicts, for every pixel, log-probabilities of the clean classes; the scheduler draws
/// the sample one timestep earlier:
///
/// ```swift
/// let scheduler = try Scheduler(classes: 17)
/// var noise = SystemRandomNumberGenerator()
/// var sample = scheduler.fullyMasked(batch: 1, pixels: 64)
/// for t in scheduler.timesteps.reversed() {
///     sample = try scheduler.step(model(sample, t), at: t, from: sample, using: &noise)
/// }
/// ```
///
/// Kernels that work on memory of another owner, of any layout and precision, are methods of
/// `ReverseStep` and `NoiseSchedule`.
public struct Scheduler: Sendable {
    /// K, the number of classes without the mask. The mask class has index K.
    public let classes: Int
    private let alphaCumulative, gammaCumulative: [Double]

    /// The published schedule: ᾱ and γ̄ linear over the timesteps.
    ///
    /// - Parameters:
    ///   - classes: K, the classes without the mask.
    ///   - timesteps: T, at least 2.
    ///   - alpha: ᾱ at the first and at the last timestep.
    ///   - gamma: γ̄ at the first and at the last timestep.
    /// - Throws: `ArgumentError` when that is no Markov chain.
    public init(
        classes: Int, timesteps: Int = 100,
        alpha: (first: Double, last: Double) = (0.99999, 0.000009),
        gamma: (first: Double, last: Double) = (0.000009, 0.99999)
    ) throws(ArgumentError) {
        guard timesteps >= 2 else {
            throw ArgumentError("timesteps", .tooSmall(timesteps, lower: 2))
        }
        try self.init(
            classes: classes,
            alphaCumulative: LinearSchedule.cumulative(
                timesteps, from: alpha.first, to: alpha.last, names: ("alpha.first", "alpha.last")),
            gammaCumulative: LinearSchedule.cumulative(
                timesteps, from: gamma.first, to: gamma.last, names: ("gamma.first", "gamma.last")))
    }

    /// Any schedule, by its tables of ᾱ_t and γ̄_t for t = 0 … T - 1.
    ///
    /// - Throws: `ArgumentError` when the tables differ in length or are no Markov chain.
    public init(classes: Int, alphaCumulative: [Double], gammaCumulative: [Double])
        throws(ArgumentError)
    {
        self.classes = classes
        self.alphaCumulative = alphaCumulative
        self.gammaCumulative = gammaCumulative
        try withSchedule { (schedule) throws(ArgumentError) in try schedule.checkChain() }
    }

    /// The index of the mask class.
    public var maskClass: Int { classes }

    /// 0 ..< T.
    public var timesteps: Range<Int> { 0..<alphaCumulative.count }

    /// The sample that the reverse chain starts from.
    public func fullyMasked(batch: Int, pixels: Int) -> ClassGrid {
        ClassGrid(repeating: maskClass, batch: batch, pixels: pixels)
    }

    /// Draws x_s from p(x_s | x_t), eq. 11 of Gu et al. 2021, by inverting its cumulative
    /// distribution at one uniform per pixel. At s = -1 draws from the model output itself; the
    /// mask is never drawn then, and where β̄_t = 0 the pixels that show a class keep it.
    ///
    /// - Parameters:
    ///   - modelOutput: log-probabilities of x_0, (batch, K, pixels).
    ///   - t: the timestep of the sample.
    ///   - s: the timestep to go to, t - 1 unless given.
    ///   - sample: x_t.
    ///   - known: the classes of the pixels that are to stay, such as the given part of a picture,
    ///     and -1 for the others; nil where nothing is known. Known pixels show their class in the
    ///     result, and their columns are not read.
    /// - Throws: `ArgumentError` for shapes that disagree, a timestep or a class out of range, NaN
    ///   or +∞ or a column without mass in what is read. A generator that is a value is then as it
    ///   was.
    public func step(
        _ modelOutput: LogProbabilityTensor, at t: Int, to s: Int? = nil, from sample: ClassGrid,
        known: ClassGrid? = nil, using generator: inout some RandomNumberGenerator
    ) throws(ArgumentError) -> ClassGrid {
        var drawing = generator
        let uniforms = Uniforms(batch: sample.batch, pixels: sample.pixels, using: &drawing)
        let result = try draw(at: t, to: s ?? t &- 1, from: sample, known, uniforms) {
            (step, sample, known, uniforms, output) throws(ArgumentError) in
            try modelOutput.withView(name: "modelOutput") { (p) throws(ArgumentError) in
                try step.sampleInverseCDF(
                    from: p, given: sample, known: known, uniforms: uniforms, into: output)
            }
        }
        generator = drawing
        return result
    }

    /// Draws the uniforms of a step ahead of the model output and tells which pixels' output the
    /// step will need, so that a model may compute its output layer for those only: 2 to 3 in a
    /// hundred in the middle of a default chain, all at s = -1.
    ///
    /// ```swift
    /// let plan = try scheduler.plan(at: t, from: sample, using: &noise)
    /// sample = try scheduler.step(model(sample, t, only: plan.needed), completing: plan)
    /// ```
    ///
    /// - Parameters: as those of `step`, which with the same generator draws the same sample.
    /// - Throws: `ArgumentError` for a timestep or a class out of range. A generator that is a
    ///   value is then as it was.
    public func plan(
        at t: Int, to s: Int? = nil, from sample: ClassGrid, known: ClassGrid? = nil,
        using generator: inout some RandomNumberGenerator
    ) throws(ArgumentError) -> StepPlan {
        var drawing = generator
        let uniforms = Uniforms(batch: sample.batch, pixels: sample.pixels, using: &drawing)
        var needed = [UInt8](repeating: 0, count: sample.indices.count)
        let shape = Shape(sample.batch, sample.pixels)
        try withViews(at: t, to: s ?? t &- 1, sample, known, uniforms) {
            (step, sample, known, uniforms) throws(ArgumentError) in
            try needed.withUnsafeMutableBufferPointer { (buffer) throws(ArgumentError) in
                try step.planInverseCDF(
                    given: sample, known: known, uniforms: uniforms,
                    into: OutputTensor(buffer, shape))
            }
        }
        generator = drawing
        return StepPlan(
            timestep: t, earlier: s ?? t &- 1, sample: sample, known: known,
            needed: needed.map { $0 != 0 }, uniforms: uniforms)
    }

    /// Completes a planned step from the model output of the needed pixels alone.
    ///
    /// - Parameters:
    ///   - columns: log-probabilities of x_0 for the M needed pixels, row after row: (1, K, M). All
    ///     are read.
    ///   - plan: what `plan` of this scheduler has given; it may be used again.
    /// - Throws: `ArgumentError` for another number of classes or columns, NaN or +∞ or a column
    ///   without mass.
    public func step(_ columns: LogProbabilityTensor, completing plan: StepPlan)
        throws(ArgumentError) -> ClassGrid
    {
        try draw(
            at: plan.timestep, to: plan.earlier, from: plan.sample, plan.known, plan.uniforms
        ) { (step, sample, known, uniforms, output) throws(ArgumentError) in
            try columns.withView(name: "columns") { (p) throws(ArgumentError) in
                try step.completeInverseCDF(
                    from: p, given: sample, known: known, uniforms: uniforms, into: output)
            }
        }
    }

    /// A new grid that `body` has written, from the views that it needs.
    private func draw(
        at t: Int, to s: Int, from sample: ClassGrid, _ known: ClassGrid?, _ uniforms: Uniforms,
        _ body: (ReverseStep, ClassIndices, ClassIndices?, UniformGrid, OutputTensor)
            throws(ArgumentError) -> Void
    ) throws(ArgumentError) -> ClassGrid {
        var result = sample
        try withViews(at: t, to: s, sample, known, uniforms) {
            (step, sample, known, uniforms) throws(ArgumentError) in
            try result.fill { (output) throws(ArgumentError) in
                try body(step, sample, known, uniforms, output)
            }
        }
        return result
    }

    /// Calls `body` with views of what a step takes beside the model output.
    private func withViews(
        at t: Int, to s: Int, _ sample: ClassGrid, _ known: ClassGrid?, _ uniforms: Uniforms,
        _ body: (ReverseStep, ClassIndices, ClassIndices?, UniformGrid) throws(ArgumentError) ->
            Void
    ) throws(ArgumentError) {
        try withStep(at: t, to: s) { (step) throws(ArgumentError) in
            try sample.withView(name: "sample") { (sample) throws(ArgumentError) in
                try uniforms.withView { (uniforms) throws(ArgumentError) in
                    guard let known else { return try body(step, sample, nil, uniforms) }
                    try known.withView(name: "known") { (known) throws(ArgumentError) in
                        try body(step, sample, known, uniforms)
                    }
                }
            }
        }
    }

    /// log p(x_s | x_t), eq. 11, (batch, K + 1, pixels); not normalised (see
    /// `ReverseStep.logPosterior`).
    ///
    /// - Throws: as `step`, for NaN and +∞ anywhere.
    public func logPosterior(
        of modelOutput: LogProbabilityTensor, at t: Int, to s: Int? = nil, given sample: ClassGrid
    ) throws(ArgumentError) -> LogProbabilityTensor {
        var result = LogProbabilityTensor(
            repeating: 0, batch: modelOutput.batch, classes: classes + 1, pixels: modelOutput.pixels
        )
        try withStep(at: t, to: s ?? t &- 1) { (step) throws(ArgumentError) in
            try modelOutput.withView(name: "modelOutput") { (p) throws(ArgumentError) in
                try sample.withView(name: "sample") { (sample) throws(ArgumentError) in
                    try result.fill { (output) throws(ArgumentError) in
                        try step.logPosterior(of: p, given: sample, into: output)
                    }
                }
            }
        }
        return result
    }

    /// Draws x_t from the forward process: q(x_t | x_0), eq. 8, the noising of training, or q(x_t |
    /// x_s).
    ///
    /// - Parameters:
    ///   - sample: x_0, or x_s. A masked pixel stays masked.
    ///   - timesteps: t, at least s, for each batch row.
    ///   - s: the timestep of the sample, -1 for clean data.
    /// - Throws: `ArgumentError` when the number of timesteps is not that of rows, or a class or a
    ///   timestep is out of range. A generator that is a value is then as it was.
    public func addNoise(
        to sample: ClassGrid, at timesteps: [Int], from s: Int = -1,
        using generator: inout some RandomNumberGenerator
    ) throws(ArgumentError) -> ClassGrid {
        var drawing = generator
        let uniforms = Uniforms(batch: sample.batch, pixels: sample.pixels, using: &drawing)
        // One more than there are, so that there is memory also for none.
        let wide = timesteps.map { Int64($0) } + [0]
        var result = sample
        try withSchedule { (schedule) throws(ArgumentError) in
            try sample.withView(name: "sample") { (view) throws(ArgumentError) in
                try wide.withUnsafeBufferPointer { (buffer) throws(ArgumentError) in
                    let wide = UnsafeRawPointer(buffer.baseAddress!)
                    try result.fill { (output) throws(ArgumentError) in
                        try uniforms.withView { (uniforms) throws(ArgumentError) in
                            let rows = TimestepList(
                                name: "timesteps", base: wide, count: timesteps.count)
                            try schedule.addNoise(
                                from: s, to: view, timesteps: rows, uniforms: uniforms,
                                into: output, name: "s")
                        }
                    }
                }
            }
        }
        generator = drawing
        return result
    }

    private func withStep(at t: Int, to s: Int, _ body: (ReverseStep) throws(ArgumentError) -> Void)
        throws(ArgumentError)
    {
        try withSchedule { (schedule) throws(ArgumentError) in
            try body(schedule.reverseStep(from: t, to: s, names: ("t", "s")))
        }
    }

    func withSchedule(
        _ body: (NoiseSchedule) throws(ArgumentError) -> Void
    ) throws(ArgumentError) {
        try alphaCumulative.withUnsafeBufferPointer { (alpha) throws(ArgumentError) in
            try gammaCumulative.withUnsafeBufferPointer { (gamma) throws(ArgumentError) in
                try body(
                    NoiseSchedule(classes: classes, alphaCumulative: alpha, gammaCumulative: gamma))
            }
        }
    }
}

extension ClassGrid {
    /// Has a kernel write the indices.
    fileprivate mutating func fill(_ body: (OutputTensor) throws(ArgumentError) -> Void)
        throws(ArgumentError)
    {
        let shape = Shape(batch, pixels)
        try indices.withUnsafeMutableBufferPointer { (buffer) throws(ArgumentError) in
            try body(OutputTensor(buffer, shape))
        }
    }
}

extension LogProbabilityTensor {
    /// Has a kernel write the values.
    fileprivate mutating func fill(_ body: (OutputTensor) throws(ArgumentError) -> Void)
        throws(ArgumentError)
    {
        let shape = Shape(batch, classes, pixels)
        try values.withUnsafeMutableBufferPointer { (buffer) throws(ArgumentError) in
            try body(OutputTensor(buffer, shape))
        }
    }
}

extension OutputTensor {
    fileprivate init<Element>(_ buffer: UnsafeMutableBufferPointer<Element>, _ shape: Shape) {
        // An empty grid may have no memory; any address serves, as nothing is written.
        let base =
            buffer.baseAddress.map { UnsafeMutableRawPointer($0) } ?? UnsafeMutableRawPointer(
                bitPattern: 64)!
        self.init(name: "result", base: base, shape: shape)
    }
}
