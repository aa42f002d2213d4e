extension Scheduler {
    /// How a chain of few steps spreads them over the timesteps.
    public enum Spacing: Sendable {
        /// In equal strides from the noisy end, T - 1, down to one stride above clean data.
        case trailing
        /// From T - 1 to 0, evenly.
        case linspace
        /// In whole strides down to 0. They begin below the noisy end, where some pixels still show
        /// their class, so that these do not fit a fully masked start.
        case leading
        /// The last timesteps of the chain, one by one, as diffusers' scheduler takes them. They do
        /// not fit a fully masked start either.
        case reference
    }

    /// The steps of a chain in their order, each a pair of timesteps: where it begins and where it
    /// leads, which for the last one is -1, clean data.
    public struct Strides: RandomAccessCollection, Equatable, Sendable {
        /// The visited timesteps, falling.
        public let timesteps: [Int]

        init(visiting timesteps: [Int]) { self.timesteps = timesteps }

        public var startIndex: Int { 0 }
        public var endIndex: Int { timesteps.count }

        public subscript(index: Int) -> (from: Int, to: Int) {
            let next = index + 1
            return (timesteps[index], next < timesteps.count ? timesteps[next] : -1)
        }
    }

    /// The steps of a chain that calls the model `count` times.
    ///
    /// ```swift
    /// for (t, s) in try scheduler.strides(25) {
    ///     sample = try scheduler.step(
    ///         model(sample, t), at: t, to: s, from: sample, using: &noise)
    /// }
    /// ```
    ///
    /// Of 100 timesteps 10 are, trailing, 99, 89 … 9; linspace, 99, 88 … 0; leading, 90, 80 … 0;
    /// reference, 9, 8 … 0.
    ///
    /// - Parameters:
    ///   - count: the number of steps, 1 … T.
    ///   - spacing: where they are.
    /// - Throws: `ArgumentError` when the count is out of range.
    public func strides(_ count: Int, spacing: Spacing = .trailing) throws(ArgumentError) -> Strides
    {
        let all = timesteps.count
        guard 1...all ~= count else {
            throw ArgumentError("count", .outside(count, lower: 1, upper: all))
        }
        // By the steps that are left, the next one among them. Quotients are rounded half up.
        return Strides(
            visiting: (1...count).reversed().map { left in
                switch spacing {
                case .trailing: (2 * all * left + count) / (2 * count) - 1
                case .linspace where count == 1: all - 1
                case .linspace: (2 * (all - 1) * (left - 1) + count - 1) / (2 * (count - 1))
                case .leading: (left - 1) * (all / count)
                case .reference: left - 1
                }
            })
    }

    /// The steps from each of some timesteps to the next, and from the last one to clean data.
    ///
    /// - Parameter timesteps: strictly falling, 0 … T - 1, at least one.
    /// - Throws: `ArgumentError` when they are not.
    public func strides(visiting timesteps: [Int]) throws(ArgumentError) -> Strides {
        guard !timesteps.isEmpty else {
            throw ArgumentError("timesteps", .shape(expected: Shape(-1), actual: Shape(0)))
        }
        for t in timesteps where !self.timesteps.contains(t) {
            throw ArgumentError(
                "timesteps", .outside(t, lower: 0, upper: self.timesteps.count - 1))
        }
        for (t, next) in zip(timesteps, timesteps.dropFirst()) where next >= t {
            throw ArgumentError("timesteps", .notFalling(t, next: next))
        }
        return Strides(visiting: timesteps)
    }
}
