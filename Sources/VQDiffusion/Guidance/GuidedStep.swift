extension ReverseStep {
    /// Guides and truncates a model's output and draws x_s from it by Gumbel-max: the same tokens
    /// as `guide`, `truncate` and `sampleGumbelMax` in turn, except where the kept mass meets the
    /// rate to within the rounding of its sum: the two ways may add it up in another order and keep
    /// one class more or less.
    ///
    /// - Parameters:
    ///   - modelOutput: (batch, K, pixels).
    ///   - sample, uniforms, output: as in `sampleGumbelMax(from:given:uniforms:into:parallelism:)`
    ///     without guidance.
    /// - Throws: `ArgumentError` for what any of the three refuses.
    @export(interface)
    public func sampleGumbelMax(
        from modelOutput: GuidedModelOutput, given sample: ClassIndices?, uniforms: UniformSource,
        into output: OutputTensor,
        parallelism: Parallelism = Parallelism()
    ) throws(ArgumentError) {
        try modelOutput.check(classes: classes)
        let p = modelOutput.conditional
        let winners = try Scratch<Int32>(p.batch * p.pixels)
        let isDone =
            if p.elementType == .float64 {
                try race(
                    WidenedFloatNoise.self, modelOutput, sample, uniforms, output, winners.pointer,
                    parallelism)
            } else {
                try race(
                    FloatNoise.self, modelOutput, sample, uniforms, output, winners.pointer,
                    parallelism)
            }
        if isDone { return output.write(winners.pointer, count: p.batch * p.pixels) }
        let prepared = try modelOutput.prepared(parallelism: parallelism)
        try sampleGumbelMax(
            from: prepared.view, given: sample, uniforms: uniforms, into: output,
            parallelism: parallelism)
    }

    /// Draws without storing the columns.
    ///
    /// - Returns: false, with nothing drawn, in rare cases: uniforms in double precision, or
    ///   columns beyond the plain exponentials of the element type.
    private func race<Noise: GumbelNoise>(
        _: Noise.Type, _ modelOutput: GuidedModelOutput, _ sample: ClassIndices?,
        _ uniforms: UniformSource, _ output: OutputTensor,
        _ winners: UnsafeMutablePointer<Int32>, _ parallelism: Parallelism
    ) throws(ArgumentError) -> Bool where Noise.Uniform == Float {
        let p = modelOutput.conditional
        if case .given(let given) = uniforms, given.elementType == .float64 { return false }
        let observed = try checkedClasses(p, given: sample, uniforms: uniforms, output: output)
        guard p.batch > 0 && p.pixels > 0 else { return true }
        if case .given(let given) = uniforms {
            try checkUniforms(Float.self, given, parallelism: parallelism)
        }
        let plan = try PosteriorCoefficients<Noise.Real>(
            self, batch: p.batch, pixels: p.pixels, sample: observed)
        guard
            let columns = try TruncatedColumns<Noise.Real>.of(
                modelOutput, self, enteredInto: plan, parallelism: parallelism)
        else { return false }
        try race(Noise.self, columns, plan, of: p, uniforms, winners, parallelism)
        return true
    }

    /// Guides and truncates a model's output and draws x_s from it by inverting the cumulative
    /// distribution: the same tokens as `guide`, `truncate` and `sampleInverseCDF` in turn, up to
    /// the rounding described at `sampleGumbelMax`. Only the columns that the uniforms make
    /// necessary are read, guided and truncated.
    ///
    /// - Parameters:
    ///   - modelOutput: (batch, K, pixels).
    ///   - sample, known, uniforms, output: as in
    ///     `sampleInverseCDF(from:given:known:uniforms:into:parallelism:)` without guidance.
    /// - Throws: `ArgumentError` for what any of the three refuses, as far as columns are read.
    @export(interface)
    public func sampleInverseCDF(
        from modelOutput: GuidedModelOutput, given sample: ClassIndices?,
        known: ClassIndices? = nil, uniforms: UniformGrid, into output: OutputTensor,
        parallelism: Parallelism = Parallelism()
    ) throws(ArgumentError) {
        try modelOutput.check(classes: classes)
        let p = modelOutput.conditional
        try output.checkShape(Shape(p.batch, p.pixels))
        let decision = try StepDecision(
            self, sample: sample, known: known, uniforms: uniforms, batch: p.batch,
            pixels: p.pixels)
        let prepared = try modelOutput.prepared(for: decision, parallelism: parallelism)
        try complete(decision, from: prepared.view, gathered: true, into: output, parallelism)
    }
}
