/// The VQ-Diffusion scheduler for Swift arrays.
///
/// A model predicts, for every pixel, log-probabilities of the clean classes; the scheduler draws
/// the sample at an earlier timestep:
///
/// ```swift
/// let scheduler = try Scheduler(classes: 17)
/// var noise = SystemRandomNumberGenerator()
/// var sample = scheduler.fullyMasked(batch: 1, pixels: 64)
/// for (t, s) in try scheduler.strides(25) {
///     sample = try scheduler.step(
///         model(sample, t), at: t, to: s, from: sample, using: &noise)
/// }
/// ```
///
/// Without `to:` a step leads to the timestep before, and the chain is that of
/// `timesteps.reversed()`.
///
/// Kernels that work on memory of another owner, of any layout and precision, are methods of
/// `ReverseStep` and `NoiseSchedule`.
public struct Scheduler: Sendable {
    /// K, the number of classes without the mask. The mask class has index K.
    public let classes: Int
    /// ᾱ_t and γ̄_t for t = 0 … T - 1.
    public let alphaCumulative, gammaCumulative: [Double]

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
        try self.init(
            classes: classes,
            schedule: .linear(timesteps: timesteps, alpha: alpha, gamma: gamma))
    }

    /// One of the schedules of the field's papers, such as
    /// `Scheduler(classes: 27, schedule: .cosine(timesteps: 1000))`.
    ///
    /// - Throws: `ArgumentError` when the number of classes is out of range.
    public init(classes: Int, schedule: ScheduleTables) throws(ArgumentError) {
        try self.init(
            classes: classes, alphaCumulative: schedule.alphaCumulative,
            gammaCumulative: schedule.gammaCumulative)
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

    /// The sample that the reverse chain starts from where γ̄_{T-1} is 1, or nearly; see
    /// `samplePrior` for other schedules.
    public func fullyMasked(batch: Int, pixels: Int) -> ClassGrid {
        ClassGrid(repeating: maskClass, batch: batch, pixels: pixels)
    }

    /// Calls `body` with the step from t to s.
    func withStep(at t: Int, to s: Int, _ body: (ReverseStep) throws(ArgumentError) -> Void)
        throws(ArgumentError)
    {
        try withSchedule { (schedule) throws(ArgumentError) in
            try body(schedule.reverseStep(from: t, to: s, names: ("t", "s")))
        }
    }

    /// Calls `body` with the schedule for kernels.
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
