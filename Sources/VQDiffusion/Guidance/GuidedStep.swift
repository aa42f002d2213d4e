extension ReverseStep {
    /// Guides and truncates a model's output and draws x_s from it by Gumbel-max: the same tokens as `guide`, `truncate` and `sampleGumbelMax` in turn.
    ///
    /// - Parameters:
    ///   - modelOutput: (batch, K, pixels).
    ///   - sample, uniforms, output: as in `sampleGumbelMax(from:given:uniforms:into:parallelism:)` without guidance.
    /// - Throws: `ArgumentError` for what any of the three refuses.
    @export(interface)
    public func sampleGumbelMax(
        from modelOutput: GuidedModelOutput, given sample: ClassIndices?, uniforms: UniformSource, into output: OutputTensor,
        parallelism: Parallelism = Parallelism()
    ) throws(ArgumentError) {
        try modelOutput.check(classes: classes)
        let prepared = try modelOutput.prepared(parallelism: parallelism)
        try sampleGumbelMax(from: prepared.view, given: sample, uniforms: uniforms, into: output, parallelism: parallelism)
    }

    /// Guides and truncates a model's output and draws x_s from it by inverting the cumulative distribution: the same tokens as `guide`, `truncate` and
    /// `sampleInverseCDF` in turn. Only the columns that the uniforms make necessary are read, guided and truncated.
    ///
    /// - Parameters:
    ///   - modelOutput: (batch, K, pixels).
    ///   - sample, uniforms, output: as in `sampleInverseCDF(from:given:uniforms:into:parallelism:)` without guidance.
    /// - Throws: `ArgumentError` for what any of the three refuses, as far as columns are read.
    @export(interface)
    public func sampleInverseCDF(
        from modelOutput: GuidedModelOutput, given sample: ClassIndices?, uniforms: UniformGrid, into output: OutputTensor,
        parallelism: Parallelism = Parallelism()
    ) throws(ArgumentError) {
        try modelOutput.check(classes: classes)
        let p = modelOutput.conditional
        try output.checkShape(Shape(p.batch, p.pixels))
        let decision = try StepDecision(self, sample: sample, uniforms: uniforms, batch: p.batch, pixels: p.pixels)
        let prepared = try modelOutput.prepared(for: decision, parallelism: parallelism)
        try complete(decision, from: prepared.view, gathered: true, into: output, parallelism)
    }
}
