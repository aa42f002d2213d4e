/// What there is of a step that reveals before anything of the model output is read.
struct RevealDecision: ~Copyable {
    let observed: Scratch<Int32>
    let known: KnownTokens
    let uniforms: Scratch<Double>
    /// The noise of the order; of no meaning where there is none.
    let noise: Scratch<Double>
    /// The pixels whose columns are read: all that may be revealed, or those that are.
    let needed: PixelSelection
    /// How many of them to reveal in each row.
    let counts: Scratch<Int>

    /// - Throws: `ArgumentError` for shapes that disagree, a class, a uniform or an option out of
    ///   range, a masked pixel where the schedule masks nothing.
    init(
        _ step: ReverseStep, sample: ClassIndices, known: ClassIndices?, uniforms: UniformGrid,
        options: UnmaskOptions, batch: Int, pixels: Int
    ) throws(ArgumentError) {
        try options.check()
        let observed: Scratch<Int32>
        if step.drawsModelOutput {
            observed = try sample.checked(batch: batch, pixels: pixels, upper: step.classes)
        } else {
            observed = try step.checkedClasses(sample, batch: batch, pixels: pixels)
        }
        let known = try KnownTokens(known, batch: batch, pixels: pixels, classes: step.classes)
        let uniforms = try uniforms.checked(batch: batch, pixels: pixels)
        let noise: Scratch<Double>
        if options.hasNoise {
            guard let given = options.uniforms else {
                throw ArgumentError("order_uniforms", .missing)
            }
            noise = try given.checked(batch: batch, pixels: pixels)
        } else {
            noise = try Scratch<Double>(0)
        }
        let masked = try PixelSelection(
            masked: observed, maskClass: step.maskClass, known: known,
            positions: options.positions, batch: batch, pixels: pixels)
        let counts = try options.counts(of: masked, batch: batch, step)
        let needed: PixelSelection
        if options.choosesFirst {
            needed = try masked.largest(counts, keys: nil, noise: noise.pointer, temperature: 1)
        } else {
            needed = masked
        }
        self.observed = observed
        self.known = known
        self.uniforms = uniforms
        self.noise = noise
        self.needed = needed
        self.counts = counts
    }
}
