/// What the uniforms alone decide about a step: the tokens of most pixels, and the pixels whose
/// columns have to be read.
struct StepDecision: ~Copyable {
    let batch, pixels: Int
    /// The observed classes of the pixels; the mask everywhere where the step does not read them.
    let observed: Scratch<Int32>
    let uniforms: Scratch<Double>
    /// The tokens; those of the pixels in `needed` are set later.
    let tokens: Scratch<Int32>
    /// The pixels whose columns are needed, batch row after batch row; row r's begin at starts[r].
    let needed: Scratch<Int32>
    let starts: Scratch<Int>

    /// How many columns are needed.
    var count: Int { pixels > 0 ? starts[batch] : 0 }

    /// - Parameter known: (batch, pixels), classes 0 … K - 1 that pixels are given, or -1; nil
    ///   where nothing is known.
    /// - Throws: `ArgumentError` for shapes that disagree, a class or a uniform out of range, a
    ///   masked pixel where the schedule masks nothing.
    init(
        _ step: ReverseStep, sample: ClassIndices?, known: ClassIndices?, uniforms: UniformGrid,
        batch: Int, pixels: Int
    ) throws(ArgumentError) {
        let uniforms = try uniforms.checked(batch: batch, pixels: pixels)
        let observed = try step.observedClasses(sample, batch: batch, pixels: pixels)
        let known = try KnownTokens(
            known, batch: batch, pixels: pixels, classes: step.classes)
        // Without pixels the number of rows is not bounded by memory.
        let rows = pixels > 0 ? batch : 0
        let tokens = try Scratch<Int32>(rows * pixels)
        let needed = try Scratch<Int32>(rows * pixels)
        let starts = try Scratch<Int>(rows + 1)
        var found = 0
        for row in 0..<rows {
            starts[row] = found
            for pixel in 0..<pixels {
                let at = row &* pixels &+ pixel
                let given = known[at]
                guard given < 0 else {
                    tokens[at] = given
                    continue
                }
                switch step.draw(uniforms[at], observed: observed[at]) {
                case .settled(let token):
                    tokens[at] = token
                case .needsColumn:
                    needed[found] = Int32(truncatingIfNeeded: pixel)
                    found &+= 1
                }
            }
        }
        starts[rows] = found
        (self.batch, self.pixels) = (batch, pixels)
        self.observed = observed
        self.uniforms = uniforms
        self.tokens = tokens
        self.needed = needed
        self.starts = starts
    }
}
