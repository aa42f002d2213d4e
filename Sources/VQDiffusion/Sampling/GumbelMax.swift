extension ReverseStep {
    /// Draws x_s by Gumbel-max: the argmax over classes of log p(x_s | x_t) plus Gumbel noise, the lowest index winning ties.
    ///
    /// At t = 0 the model output itself is drawn from, and the mask never is.
    ///
    /// - Parameters:
    ///   - p: log-probabilities of x_0, (batch, K, pixels).
    ///   - sample: x_t, (batch, pixels), classes 0 … K; not read at t = 0 and may be nil there.
    ///   - uniforms: (batch, K + 1, pixels), at t = 0 (batch, K, pixels), in [0, 1). Scores are float32 when both these and the log-probabilities are
    ///     at most that, else float64.
    ///   - output: x_s, (batch, pixels) `Int64`. Untouched when an error is thrown.
    /// - Throws: `ArgumentError` for shapes that disagree, a class out of range, NaN or +∞, a column without mass.
    @export(interface)
    public func sampleGumbelMax(
        from p: LogProbabilities, given sample: ClassIndices?, uniforms: LogProbabilities, into output: OutputTensor,
        parallelism: Parallelism = Parallelism()
    ) throws(ArgumentError) {
        try p.checkShape(Shape(-1, classes, -1))
        let rows = drawsModelOutput ? classes : classes + 1
        try uniforms.checkShape(Shape(p.batch, rows, p.pixels))
        try output.checkShape(Shape(p.batch, p.pixels))
        let shown = try shownClasses(sample, batch: p.batch, pixels: p.pixels)
        let tokens = output.base.assumingMemoryBound(to: Int64.self)
        let name = sample?.name ?? "sample"
        switch (p.elementType, uniforms.elementType) {
        case (.float16, .float32): try argmax(HalfElement.self, FloatNoise.self, p, shown, name, uniforms, tokens, parallelism)
        case (.bfloat16, .float32): try argmax(BrainElement.self, FloatNoise.self, p, shown, name, uniforms, tokens, parallelism)
        case (.float32, .float32): try argmax(Float.self, FloatNoise.self, p, shown, name, uniforms, tokens, parallelism)
        case (.float64, .float32): try argmax(Double.self, WidenedFloatNoise.self, p, shown, name, uniforms, tokens, parallelism)
        case (.float16, .float64): try argmax(Widened<HalfElement>.self, DoubleNoise.self, p, shown, name, uniforms, tokens, parallelism)
        case (.bfloat16, .float64): try argmax(Widened<BrainElement>.self, DoubleNoise.self, p, shown, name, uniforms, tokens, parallelism)
        case (.float32, .float64): try argmax(Widened<Float>.self, DoubleNoise.self, p, shown, name, uniforms, tokens, parallelism)
        case (.float64, .float64): try argmax(Double.self, DoubleNoise.self, p, shown, name, uniforms, tokens, parallelism)
        case (_, .float16), (_, .bfloat16):
            throw ArgumentError(uniforms.name, .elementType(expected: "float32 or float64", actual: "a 16-bit float"))
        }
    }

    /// The classes of the pixels at t, each once checked. At t = 0 they play no part: every pixel counts as masked, its column is then drawn from as
    /// it is.
    func shownClasses(_ sample: ClassIndices?, batch: Int, pixels: Int) throws(ArgumentError) -> Scratch<Int32> {
        if drawsModelOutput {
            return try Scratch(batch * pixels + 16, filledWith: maskClass)
        }
        guard let sample else { throw ArgumentError("sample", .missing) }
        return try sample.checked(batch: batch, pixels: pixels, upper: classes)
    }

    private func argmax<E: FloatingElement, Noise: GumbelNoise>(
        _: E.Type, _: Noise.Type, _ p: LogProbabilities, _ shown: borrowing Scratch<Int32>, _ sampleName: StaticString,
        _ uniforms: LogProbabilities, _ output: UnsafeMutablePointer<Int64>, _ parallelism: Parallelism
    ) throws(ArgumentError) where E.Real == Noise.Real {
        guard p.batch > 0 && p.pixels > 0 else { return }
        try checkUniforms(Noise.Uniform.self, uniforms, parallelism: parallelism)
        let plan = try PosteriorPlan<E>(self, p, sample: shown, name: sampleName, direct: drawsModelOutput, parallelism: parallelism)
        let width = plan.width
        let linear = isLinear || drawsModelOutput
        let hasMask = !drawsModelOutput
        let winners = try Scratch<Int32>(p.batch * p.pixels)
        try forEachChunk(of: p, parallelism) { (row, chunk) throws(ArgumentError) in
            let start = row * width + chunk.lowerBound
            var race = try ArgmaxRace<E, Noise>(p, uniforms, row: row, chunk: chunk, classes: plan.classes.pointer + start)
            race.run(
                signal: plan.signal.pointer + start, level: plan.level.pointer + start, slope: plan.slope.pointer + start,
                own: plan.own.pointer + start, mask: hasMask ? plan.mask.pointer + start : nil, linear: linear)
            for n in 0..<chunk.count { winners[row * p.pixels + chunk.lowerBound + n] = race.winner(n) }
        }
        for at in 0..<p.batch * p.pixels { output[at] = Int64(winners[at]) }
    }
}
