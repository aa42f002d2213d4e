extension Marginal {
    /// Draws x_t given x_0 = j from q(x_t | x_0): the mask with γ̄, each class with β̄, and j with
    /// ᾱ on top.
    @inline(__always)
    func draw(_ u: Double, from j: Int32, classes: Int) -> Int32 {
        let mask = Int32(truncatingIfNeeded: classes)
        // A masked pixel stays masked.
        if j == mask || u < gamma { return mask }
        let v = u - gamma
        if v < Double(classes) * beta { return min(Int32(v / beta), mask - 1) }
        return j
    }
}

extension NoiseSchedule {
    /// The forward process: draws x_t from q(x_t | x_0), eq. 8 of Gu et al. 2021.
    ///
    /// - Parameters:
    ///   - data: x_0, (batch, pixels), classes 0 … K. A masked pixel stays masked.
    ///   - timesteps: a timestep 0 … T - 1 for each batch row.
    ///   - uniforms: one for each pixel, in [0, 1).
    ///   - output: x_t, (batch, pixels) `Int64`. Untouched when an error is thrown.
    /// - Throws: `ArgumentError` for shapes that disagree, a class or a timestep out of range.
    @export(interface)
    public func sampleForward(
        from data: ClassIndices, timesteps: TimestepList, uniforms: UniformGrid,
        into output: OutputTensor
    ) throws(ArgumentError) {
        let (batch, pixels) = (data.batch, data.pixels)
        guard timesteps.count == batch else {
            throw ArgumentError(
                timesteps.name, .shape(expected: Shape(batch), actual: Shape(timesteps.count)))
        }
        let uniforms = try uniforms.checked(batch: batch, pixels: pixels)
        try output.checkShape(Shape(batch, pixels))
        guard pixels > 0 else { return }
        let clean = try data.checked(batch: batch, pixels: pixels, upper: classes)
        for row in 0..<batch {
            _ = try marginal(at: timesteps[row], lower: 0, name: timesteps.name)
        }
        let tokens = output.base.assumingMemoryBound(to: Int64.self)
        for row in 0..<batch {
            let law = try marginal(at: timesteps[row], lower: 0, name: timesteps.name)
            for at in row * pixels..<(row + 1) * pixels {
                tokens[at] = Int64(law.draw(uniforms[at], from: clean[at], classes: classes))
            }
        }
    }
}
