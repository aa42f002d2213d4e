/// The classes that pixels are given at a step, whatever would be drawn: those of the part of a
/// picture that is to stay. The model sees them clean at every step.
struct KnownTokens: ~Copyable {
    private let classes: Scratch<Int32>
    private let isNone: Bool
    private let count: Int

    /// - Parameters:
    ///   - known: (batch, pixels), classes 0 … K - 1, or -1 where a pixel is not known; nil where
    ///     none is.
    ///   - classes: K.
    /// - Throws: `ArgumentError` for another shape, and for the mask and all else out of range.
    init(_ known: ClassIndices?, batch: Int, pixels: Int, classes: Int) throws(ArgumentError) {
        isNone = known == nil
        count = known == nil || pixels == 0 ? 0 : batch * pixels
        if let known {
            self.classes = try known.checked(
                batch: batch, pixels: pixels, lower: -1, upper: classes - 1)
        } else {
            self.classes = try Scratch(0)
        }
    }

    /// The class of a pixel, counted row after row, or -1.
    @inline(__always)
    subscript(at: Int) -> Int32 { isNone ? -1 : classes[at] }

    /// Puts the classes of known pixels in place of what has been drawn.
    func write(to output: OutputTensor) {
        let tokens = output.base.assumingMemoryBound(to: Int64.self)
        for at in 0..<count where classes[at] >= 0 { tokens[at] = Int64(classes[at]) }
    }
}

extension ReverseStep {
    /// Draws by Gumbel-max, with the same uniforms whatever is known, and sets the pixels that are
    /// known.
    ///
    /// - Parameters:
    ///   - known: (batch, pixels), classes 0 … K - 1 that pixels are given, or -1; nil where
    ///     nothing is known.
    ///   - p, sample, uniforms, output: as in the method without `known`.
    @export(interface)
    public func sampleGumbelMax(
        from p: LogProbabilities, given sample: ClassIndices?, known: ClassIndices?,
        uniforms: UniformSource, into output: OutputTensor, parallelism: Parallelism = Parallelism()
    ) throws(ArgumentError) {
        let known = try KnownTokens(known, batch: p.batch, pixels: p.pixels, classes: classes)
        try sampleGumbelMax(
            from: p, given: sample, uniforms: uniforms, into: output, parallelism: parallelism)
        known.write(to: output)
    }

    /// The same under guidance.
    @export(interface)
    public func sampleGumbelMax(
        from modelOutput: GuidedModelOutput, given sample: ClassIndices?, known: ClassIndices?,
        uniforms: UniformSource, into output: OutputTensor, parallelism: Parallelism = Parallelism()
    ) throws(ArgumentError) {
        let p = modelOutput.conditional
        let known = try KnownTokens(known, batch: p.batch, pixels: p.pixels, classes: classes)
        try sampleGumbelMax(
            from: modelOutput, given: sample, uniforms: uniforms, into: output,
            parallelism: parallelism)
        known.write(to: output)
    }
}
