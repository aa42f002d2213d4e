/// One uniform in [0, 1) of 53 bits for every pixel.
struct Uniforms: Equatable, Sendable {
    let batch, pixels: Int
    let values: [Double]

    init(batch: Int, pixels: Int, using generator: inout some RandomNumberGenerator) {
        (self.batch, self.pixels) = (batch, pixels)
        values = (0..<batch * pixels).map { _ in Double(generator.next() >> 11) * 0x1p-53 }
    }

    /// Those of each row's key, at a timestep for each.
    ///
    /// - Parameter name: what errors call the timesteps.
    /// - Throws: `ArgumentError` unless there is a key and a timestep for every row, none negative.
    init(
        batch: Int, pixels: Int, using keys: RowKeys, at timesteps: [Int], name: StaticString
    ) throws(ArgumentError) {
        guard keys.ids.count == batch else {
            throw ArgumentError(
                "keys", .shape(expected: Shape(batch), actual: Shape(keys.ids.count)))
        }
        // One more than there are, so that there is memory also for none.
        var values = [Double](repeating: 0, count: batch * pixels + 1)
        let (ids, wide) = (keys.ids + [0], timesteps.map { Int64($0) } + [0])
        try values.withUnsafeMutableBufferPointer { (buffer) throws(ArgumentError) in
            try ids.withUnsafeBufferPointer { (ids) throws(ArgumentError) in
                try wide.withUnsafeBufferPointer { (wide) throws(ArgumentError) in
                    let view = RowKeyView(
                        seed: keys.seed,
                        ids: RowIDs(base: ids.baseAddress!, isSigned: false, count: batch),
                        draw: keys.draw)
                    try view.fillUniforms(
                        at: TimestepList(
                            name: name, base: wide.baseAddress!, count: timesteps.count),
                        into: OutputTensor(buffer, Shape(batch, pixels)), isDouble: true)
                }
            }
        }
        values.removeLast()
        (self.batch, self.pixels, self.values) = (batch, pixels, values)
    }

    /// The first (0) or the second (1) half of every row.
    func half(_ index: Int) -> Uniforms {
        let count = pixels / 2
        let half = (0..<batch).flatMap { values[($0 * pixels + index * count)...].prefix(count) }
        return Uniforms(batch: batch, pixels: count, values: half)
    }

    private init(batch: Int, pixels: Int, values: [Double]) {
        (self.batch, self.pixels, self.values) = (batch, pixels, values)
    }

    func withView(_ body: (UniformGrid) throws(ArgumentError) -> Void) throws(ArgumentError) {
        // One more than there are, so that there is memory also for an empty grid.
        try (values + [0]).withUnsafeBufferPointer { (buffer) throws(ArgumentError) in
            try body(UniformGrid(buffer.baseAddress!, batch: batch, pixels: pixels))
        }
    }
}
