extension Scheduler {
    /// Draws a sample of the noisy end, which a reverse chain begins with: the mask with
    /// probability γ̄_{T-1}, else one of the K classes, all alike.
    ///
    /// With γ̄_{T-1} = 1 that is `fullyMasked`.
    public func samplePrior(
        batch: Int, pixels: Int, using generator: inout some RandomNumberGenerator
    ) -> ClassGrid {
        prior(Uniforms(batch: batch, pixels: pixels, using: &generator))
    }

    /// Draws a sample of the noisy end by the keys of its rows, at the timestep T, which no step
    /// has: (keys.count, pixels).
    ///
    /// - Throws: `ArgumentError` when memory runs out.
    public func samplePrior(pixels: Int, using keys: RowKeys) throws(ArgumentError) -> ClassGrid {
        let end = Array(repeating: timesteps.count, count: keys.count)
        return prior(
            try Uniforms(
                batch: keys.count, pixels: pixels, using: keys, at: end, name: "timesteps"))
    }

    private func prior(_ uniforms: Uniforms) -> ClassGrid {
        let gamma = gammaCumulative[timesteps.count - 1]
        let scale = Double(classes) / (1 - gamma)
        return ClassGrid(
            batch: uniforms.batch, pixels: uniforms.pixels,
            // The quotient rounds up to K where u is nearly 1.
            indices: uniforms.values.map { u in
                u < gamma ? maskClass : min(Int((u - gamma) * scale), classes - 1)
            })
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
        let result = try addNoise(to: sample, at: timesteps, from: s, uniforms)
        generator = drawing
        return result
    }

    /// Draws x_t from the forward process by the keys of the rows.
    ///
    /// - Parameters:
    ///   - keys: one for each batch row, each of which draws at its t. Steps from there need
    ///     another `draw`.
    ///   - sample, timesteps, s: as with a generator.
    /// - Throws: as with a generator; also when there is another number of keys.
    public func addNoise(
        to sample: ClassGrid, at timesteps: [Int], from s: Int = -1, using keys: RowKeys
    ) throws(ArgumentError) -> ClassGrid {
        let uniforms = try Uniforms(
            batch: sample.batch, pixels: sample.pixels, using: keys, at: timesteps,
            name: "timesteps")
        return try addNoise(to: sample, at: timesteps, from: s, uniforms)
    }

    private func addNoise(
        to sample: ClassGrid, at timesteps: [Int], from s: Int, _ uniforms: Uniforms
    ) throws(ArgumentError) -> ClassGrid {
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
        return result
    }
}
