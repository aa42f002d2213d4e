/// A view of the keys of batch rows, whose uniforms depend on nothing but (seed, id of the row,
/// timestep, draw): however rows are distributed over calls, each gets the same numbers. `RowKeys`
/// owns its ids.
///
/// The uniforms of a row are those of NumPy's
/// `Generator(Philox(key=[seed, id], counter=[0, timestep, draw, 0])).random(count)`.
public struct RowKeyView {
    public var seed: UInt64
    /// Of each batch row.
    public var ids: RowIDs
    /// Tells apart several draws at one timestep.
    public var draw: UInt64

    public init(seed: UInt64, ids: RowIDs, draw: UInt64 = 0) {
        (self.seed, self.ids, self.draw) = (seed, ids, draw)
    }

    /// Fills each batch row with its uniforms on [0, 1), in the order of memory.
    ///
    /// - Parameters:
    ///   - timesteps: one for each batch row, none negative.
    ///   - output: batch rows first; `Double` or `Float`, of 53 or 24 random bits. Untouched when
    ///     an error is thrown.
    ///   - isDouble: whether the output is `Double`.
    /// - Throws: `ArgumentError` for shapes that disagree, a negative id or timestep.
    @export(interface)
    public func fillUniforms(
        at timesteps: TimestepList, into output: OutputTensor, isDouble: Bool,
        parallelism: Parallelism = Parallelism()
    ) throws(ArgumentError) {
        guard timesteps.count == ids.count else {
            throw ArgumentError(
                timesteps.name, .shape(expected: Shape(ids.count), actual: Shape(timesteps.count)))
        }
        var expected = output.shape
        expected.lengths = SIMD4(ids.count, -1, -1, -1)
        try output.checkShape(expected)
        guard output.shape.count > 0 else { return }  // of however many rows
        for row in 0..<ids.count {
            if ids.isSigned && ids[row] >> 63 == 1 {
                throw ArgumentError(
                    ids.name, .tooSmall(Int(truncatingIfNeeded: ids[row]), lower: 0))
            }
            if timesteps[row] < 0 {
                throw ArgumentError(timesteps.name, .tooSmall(timesteps[row], lower: 0))
            }
        }
        if isDouble {
            try fill(output.elements(Double.self), output.shape.count, timesteps, parallelism)
        } else {
            try fill(output.elements(Float.self), output.shape.count, timesteps, parallelism)
        }
    }

    /// Fills `count` uniforms, as many for each row.
    private func fill<Uniform: PhiloxUniform>(
        _ uniforms: UnsafeMutablePointer<Uniform>, _ count: Int, _ timesteps: TimestepList,
        _ parallelism: Parallelism
    ) throws(ArgumentError) {
        let perRow = count / ids.count
        let blocksPerRow = (perRow - 1) / Uniform.perBlock + 1
        let blocks = ids.count * blocksPerRow
        // 32768 blocks, 0.4 ms, are worth a thread.
        let threads = parallelism.threads(forWork: 4 * blocks)
        // More tasks than threads, as some threads start late.
        let tasks = threads > 1 ? min(4 * threads, blocks) : 1
        try parallel(tasks: tasks, threads: threads) { (task) throws(ArgumentError) in
            var block = task * blocks / tasks
            let end = (task + 1) * blocks / tasks
            while block < end {
                let (row, first) = (block / blocksPerRow, block % blocksPerRow)
                let last = min(blocksPerRow, first + end - block)
                fill(
                    uniforms + row * perRow, perRow, blocks: first..<last, id: ids[row],
                    timestep: timesteps[row])
                block += last - first
            }
        }
    }

    /// Fills those of a row's `count` uniforms that come from some of its blocks.
    @inline(__always)
    private func fill<Uniform: PhiloxUniform>(
        _ uniforms: UnsafeMutablePointer<Uniform>, _ count: Int, blocks: Range<Int>, id: UInt64,
        timestep: Int
    ) {
        let philox = Philox(key: (seed, id))
        let t = UInt64(truncatingIfNeeded: timestep)
        let whole = min(blocks.upperBound, count / Uniform.perBlock)
        var block = blocks.lowerBound
        while block < whole {
            // NumPy counts on before it draws, so that the first counter is 1.
            let words = philox.block((UInt64(truncatingIfNeeded: block &+ 1), t, draw, 0))
            Uniform.write(words, to: uniforms + block &* Uniform.perBlock)
            block &+= 1
        }
        guard block < blocks.upperBound else { return }
        // The last block, of which the row takes a part.
        let words = philox.block((UInt64(truncatingIfNeeded: block &+ 1), t, draw, 0))
        withUnsafeTemporaryAllocation(of: Uniform.self, capacity: Uniform.perBlock) { buffer in
            Uniform.write(words, to: buffer.baseAddress!)
            let first = block &* Uniform.perBlock
            for i in first..<count { uniforms[i] = buffer[i - first] }
        }
    }
}

/// A view of one id for every batch row, in memory that someone else owns.
public struct RowIDs {
    /// The name errors give this argument.
    public var name: StaticString
    /// The first element, an `Int64` or a `UInt64`.
    public var base: UnsafeRawPointer
    public var isSigned: Bool
    public var count: Int
    /// Bytes from one element to the next.
    public var stride: Int

    public init(
        name: StaticString = "ids", base: UnsafeRawPointer, isSigned: Bool, count: Int,
        stride: Int = 8
    ) {
        (self.name, self.base, self.isSigned) = (name, base, isSigned)
        (self.count, self.stride) = (count, stride)
    }

    /// The id of a row, a negative one by its bits.
    @inline(__always)
    subscript(row: Int) -> UInt64 { (base + row &* stride).loadUnaligned(as: UInt64.self) }
}
