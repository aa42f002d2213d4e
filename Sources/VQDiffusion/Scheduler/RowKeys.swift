/// Random numbers for batch rows that depend on (seed, id of the row, timestep, draw) alone:
/// however a job is divided into batches, resumed or tried again, a row gets the same ones.
///
/// Methods of `Scheduler` take keys in place of a generator, the same at every step of a chain:
///
/// ```swift
/// let keys = RowKeys(seed: 7, ids: 0..<1_000_000)
/// for part in parts {  // ranges or arrays of row numbers, in any order, on any machine
///     var sample = try scheduler.samplePrior(pixels: 64, using: keys[part])
///     for (t, s) in try scheduler.strides(25) {
///         sample = try scheduler.step(
///             model(sample, t), at: t, to: s, from: sample, using: keys[part])
///     }
/// }
/// ```
///
/// The tokens do not depend on the division if the model's output for a row does not.
///
/// The uniforms of row i at timestep t are those of NumPy's
/// `Generator(Philox(key=[seed, ids[i]], counter=[0, t, draw, 0])).random(pixels)`, bit for bit, so
/// that the Python classes draw the same tokens from the same keys and log-probabilities.
///
/// Two draws at one timestep need two values of `draw`: after `addNoise(to: data, at: [t, …],
/// using: keys)` a step from t with the same keys repeats the uniforms that x_t was drawn with, and
/// is no step of the chain.
public struct RowKeys: Equatable, Sendable {
    public var seed: UInt64
    /// What names each batch row in the whole job. Equal ids get equal numbers.
    public var ids: [UInt64]
    /// Tells apart several draws at one timestep.
    public var draw: UInt64

    public init(seed: UInt64, ids: some Sequence<UInt64>, draw: UInt64 = 0) {
        (self.seed, self.ids, self.draw) = (seed, Array(ids), draw)
    }

    /// The number of rows.
    public var count: Int { ids.count }

    /// The keys of some rows, by their numbers: a range, or any others in any order.
    ///
    /// - Precondition: they are in 0 ..< count.
    public subscript(rows: some Sequence<Int>) -> RowKeys {
        RowKeys(seed: seed, ids: rows.map { ids[$0] }, draw: draw)
    }
}
