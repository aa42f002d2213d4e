extension Scheduler {
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
    /// - Throws: `ArgumentError` for a timestep, a class or `remask` out of range. A generator
    ///   that is a value is then as it was.
    public func plan(
        at t: Int, to s: Int? = nil, from sample: ClassGrid, known: ClassGrid? = nil,
        remask: Double = 0, using generator: inout some RandomNumberGenerator
    ) throws(ArgumentError) -> StepPlan {
        var drawing = generator
        let uniforms = Uniforms(batch: sample.batch, pixels: sample.pixels, using: &drawing)
        let plan = try plan(at: t, to: s, from: sample, known, remask, uniforms)
        generator = drawing
        return plan
    }

    /// Plans a step by the keys of the rows.
    ///
    /// - Parameters: as those of `step`, which with the same keys draws the same sample.
    /// - Throws: as with a generator; also when there is another number of keys.
    public func plan(
        at t: Int, to s: Int? = nil, from sample: ClassGrid, known: ClassGrid? = nil,
        remask: Double = 0, using keys: RowKeys
    ) throws(ArgumentError) -> StepPlan {
        let uniforms = try uniforms(for: sample, using: keys, at: t)
        return try plan(at: t, to: s, from: sample, known, remask, uniforms)
    }

    private func plan(
        at t: Int, to s: Int?, from sample: ClassGrid, _ known: ClassGrid?, _ remask: Double,
        _ uniforms: Uniforms
    ) throws(ArgumentError) -> StepPlan {
        var needed = [UInt8](repeating: 0, count: sample.indices.count)
        let shape = Shape(sample.batch, sample.pixels)
        try withViews(at: t, to: s ?? t &- 1, sample, known, uniforms) {
            (step, sample, known, uniforms) throws(ArgumentError) in
            let step = try step.remasking(remask)
            try needed.withUnsafeMutableBufferPointer { (buffer) throws(ArgumentError) in
                try step.planInverseCDF(
                    given: sample, known: known, uniforms: uniforms,
                    into: OutputTensor(buffer, shape))
            }
        }
        return StepPlan(
            timestep: t, earlier: s ?? t &- 1, sample: sample, known: known, remask: remask,
            needed: needed.map { $0 != 0 }, uniforms: uniforms)
    }
}
