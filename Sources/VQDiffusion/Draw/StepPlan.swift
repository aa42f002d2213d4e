/// A step whose uniforms are drawn but whose model output is still to come: what `Scheduler.plan`
/// gives and `step(_:completing:)` takes.
public struct StepPlan: Equatable, Sendable {
    /// The timestep of the sample, and the one to go to.
    public let timestep, earlier: Int
    /// x_t.
    public let sample: ClassGrid
    /// The classes that pixels are given, and -1; nil where nothing is known.
    public let known: ClassGrid?
    /// σ of the step, with which pixels that show a class are masked again.
    public let remask: Double
    /// For every pixel, row after row, whether the step needs the model's output there.
    public let needed: [Bool]
    let uniforms: Uniforms

    /// The pixels that are needed, as (row, pixel), in the order in which the step takes their
    /// columns.
    public var neededPixels: [(row: Int, pixel: Int)] {
        needed.indices.filter { needed[$0] }.map { ($0 / sample.pixels, $0 % sample.pixels) }
    }
}
