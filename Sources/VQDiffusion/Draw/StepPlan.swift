/// A step whose uniforms are drawn but whose model output is still to come: what `Scheduler.plan`
/// gives and `step(_:completing:)` takes.
public struct StepPlan: Equatable, Sendable {
    /// The timestep of the sample, and the one to go to.
    public let timestep, earlier: Int
    /// x_t.
    public let sample: ClassGrid
    /// The classes that pixels are given, and -1; nil where nothing is known.
    public let known: ClassGrid?
    /// For every pixel, row after row, whether the step needs the model's output there.
    public let needed: [Bool]
    let uniforms: Uniforms

    /// The pixels that are needed, as (row, pixel), in the order in which the step takes their
    /// columns.
    public var neededPixels: [(row: Int, pixel: Int)] {
        needed.indices.filter { needed[$0] }.map { ($0 / sample.pixels, $0 % sample.pixels) }
    }
}

/// One uniform in [0, 1) of 53 bits for every pixel.
struct Uniforms: Equatable, Sendable {
    let batch, pixels: Int
    let values: [Double]

    init(batch: Int, pixels: Int, using generator: inout some RandomNumberGenerator) {
        (self.batch, self.pixels) = (batch, pixels)
        values = (0..<batch * pixels).map { _ in Double(generator.next() >> 11) * 0x1p-53 }
    }

    func withView(_ body: (UniformGrid) throws(ArgumentError) -> Void) throws(ArgumentError) {
        // One more than there are, so that there is memory also for an empty grid.
        try (values + [0]).withUnsafeBufferPointer { (buffer) throws(ArgumentError) in
            try body(UniformGrid(buffer.baseAddress!, batch: batch, pixels: pixels))
        }
    }
}
