/// Linear cumulative schedules, computed step for step like those that published models were
/// trained with, so that tables agree to the bit.
public enum LinearSchedule {
    /// Entry `index` of `count` values going linearly from `start` to `end`.
    @inline(__always)
    private static func value(_ index: Int, of count: Int, from start: Double, to end: Double)
        -> Double
    {
        Double(index) / Double(count - 1) * (end - start) + start
    }

    /// Fills `cumulative` with values going linearly from `start` to `end`.
    ///
    /// - Throws: `ArgumentError` when there are fewer than two timesteps or an end is not a
    ///   probability.
    public static func fill(
        _ cumulative: UnsafeMutableBufferPointer<Double>, from start: Double, to end: Double,
        names: (start: StaticString, end: StaticString)
    ) throws(ArgumentError) {
        guard cumulative.count >= 2 else {
            throw ArgumentError("num_timesteps", .tooSmall(cumulative.count, lower: 2))
        }
        guard 0...1 ~= start else { throw ArgumentError(names.start, .notProbability(start)) }
        guard 0...1 ~= end else { throw ArgumentError(names.end, .notProbability(end)) }
        for t in cumulative.indices {
            cumulative[t] = value(t, of: cumulative.count, from: start, to: end)
        }
    }

    /// The values going linearly from `start` to `end`, as `fill` makes them.
    static func cumulative(
        _ count: Int, from start: Double, to end: Double,
        names: (start: StaticString, end: StaticString)
    ) throws(ArgumentError) -> [Double] {
        var result = [Double](repeating: 0, count: count)
        try result.withUnsafeMutableBufferPointer { (buffer) throws(ArgumentError) in
            try fill(buffer, from: start, to: end, names: names)
        }
        return result
    }

    /// α_t = ᾱ_t / ᾱ_{t-1}, with ᾱ_{-1} = 1.
    public static func singleStepAlpha(_ cumulative: UnsafeMutableBufferPointer<Double>, at t: Int)
        -> Double
    {
        cumulative[t] / (t > 0 ? cumulative[t - 1] : 1)
    }

    /// γ_t = 1 - (1 - γ̄_t)/(1 - γ̄_{t-1}), with γ̄_{-1} = 0.
    public static func singleStepGamma(_ cumulative: UnsafeMutableBufferPointer<Double>, at t: Int)
        -> Double
    {
        1 - (1 - cumulative[t]) / (1 - (t > 0 ? cumulative[t - 1] : 0))
    }
}
