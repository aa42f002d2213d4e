extension Transition {
    /// Draws x_t given x_s = j from q(x_t | x_s): the mask with γ, each class with β, and j with α
    /// on top.
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
    /// The forward process: draws x_t from q(x_t | x_s), from clean data (s = -1) eq. 8 of Gu et
    /// al. 2021.
    ///
    /// - Parameters:
    ///   - s: the timestep of the sample, -1 … T - 1.
    ///   - sample: x_s, (batch, pixels), classes 0 … K. A masked pixel stays masked.
    ///   - timesteps: a timestep t, s … T - 1, for each batch row; at s nothing changes.
    ///   - uniforms: one for each pixel, in [0, 1).
    ///   - output: x_t, (batch, pixels) `Int64`. Untouched when an error is thrown.
    ///   - name: what errors call s.
    /// - Throws: `ArgumentError` for shapes that disagree, a class or a timestep out of range.
    @export(interface)
    public func addNoise(
        from s: Int, to sample: ClassIndices, timesteps: TimestepList, uniforms: UniformGrid,
        into output: OutputTensor, name: StaticString = "from_timestep"
    ) throws(ArgumentError) {
        let (batch, pixels) = (sample.batch, sample.pixels)
        let earlier = try marginal(at: s, name: name)
        guard timesteps.count == batch else {
            throw ArgumentError(
                timesteps.name, .shape(expected: Shape(batch), actual: Shape(timesteps.count)))
        }
        let uniforms = try uniforms.checked(batch: batch, pixels: pixels)
        try output.checkShape(Shape(batch, pixels))
        guard pixels > 0 else { return }
        let shown = try sample.checked(batch: batch, pixels: pixels, upper: classes)
        for row in 0..<batch {
            _ = try marginal(at: timesteps[row], lower: max(s, 0), name: timesteps.name)
        }
        let tokens = output.base.assumingMemoryBound(to: Int64.self)
        for row in 0..<batch {
            let t = timesteps[row]
            // Nothing happens between a timestep and itself, also where ᾱ is 0.
            let law =
                t == s ? .identity : Transition(from: earlier, to: try marginal(at: t, lower: 0))
            for at in row * pixels..<(row + 1) * pixels {
                tokens[at] = Int64(law.draw(uniforms[at], from: shown[at], classes: classes))
            }
        }
    }
}
