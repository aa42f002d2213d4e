/// Where the uniforms behind Gumbel noise come from: one for every class and pixel, drawn in the
/// order of memory (batch row, class, pixel).
public enum UniformSource {
    /// Given, (batch, rows, pixels).
    case given(LogProbabilities)
    /// Drawn as torch draws float32 uniforms on the CPU, a class row at a time: from an MT19937
    /// engine whose state is 625 words, the 624 of the twister and how many of them have been given
    /// out. The state is advanced when the call succeeds.
    case mersenneTwister(state: UnsafeMutablePointer<UInt32>)
    /// Drawn by a function that writes the next `count` float32 uniforms. It is called in order, on
    /// the calling thread, once everything that can fail has been checked.
    case function(Fill, context: UnsafeMutableRawPointer?)

    public typealias Fill =
        @convention(c) (
            _ context: UnsafeMutableRawPointer?, _ uniforms: UnsafeMutablePointer<Float>?,
            _ count: Int64
        ) -> Void
}

/// The uniforms of a chunk of pixels of one batch row, class row after class row.
struct UniformRows<Element: FloatingElement>: ~Copyable {
    private enum Source {
        case given(LogProbabilities, row: Int, firstPixel: Int)
        case engine(EngineRows)
        case function(UniformSource.Fill, context: UnsafeMutableRawPointer?)
    }

    private var source: Source
    /// Class rows returned so far.
    private var k = 0
    /// Room for a class row of uniforms that are drawn, padded so that every group of lanes is
    /// dense.
    private let drawn: Scratch<Float>
    private let pixels: Int
    private let lanes: Scratch<LaneGroup>
    /// Bytes from one pixel to the next.
    let pixelStride: Int

    /// Uniforms that were given.
    init(_ uniforms: LogProbabilities, row: Int, chunk: Range<Int>) throws(ArgumentError) {
        let drawn = try Scratch<Float>(0)
        let lanes = try PixelList.run(0..<chunk.count).laneGroups(
            pixelStride: uniforms.pixelStride, elementSize: Element.size)
        source = .given(uniforms, row: row, firstPixel: chunk.lowerBound)
        self.drawn = drawn
        self.lanes = lanes
        pixels = chunk.count
        pixelStride = uniforms.pixelStride
    }

    private init(_ source: Source, pixels: Int) throws(ArgumentError) {
        let width = (pixels + 15) / 16 * 16
        let drawn = try Scratch<Float>(width + 16, filledWith: 0)
        let lanes = try PixelList.run(0..<width).laneGroups(
            pixelStride: Float.size, elementSize: Float.size)
        self.source = source
        self.drawn = drawn
        self.lanes = lanes
        self.pixels = pixels
        pixelStride = Float.size
    }

    /// The chunk's pixels in groups of sixteen, relative to what `next` returns.
    var groups: UnsafePointer<LaneGroup> { UnsafePointer(lanes.pointer) }

    /// The first pixel's uniform in the next class row.
    mutating func next() -> UnsafeRawPointer {
        defer { k &+= 1 }
        switch source {
        case .given(let uniforms, let row, let firstPixel):
            return uniforms.pointer(row: row, class: k, pixel: firstPixel)
        case .engine(var rows):
            rows.next(into: drawn.pointer)
            source = .engine(rows)
        case .function(let fill, let context):
            fill(context, drawn.pointer, Int64(pixels))
        }
        return UnsafeRawPointer(drawn.pointer)
    }
}

extension UniformRows where Element == Float {
    /// Uniforms drawn from an engine.
    init(_ engine: EngineRows, pixels: Int) throws(ArgumentError) {
        try self.init(.engine(engine), pixels: pixels)
    }

    /// Uniforms that a function writes, for whole batch rows.
    init(
        _ fill: @escaping UniformSource.Fill, context: UnsafeMutableRawPointer?, pixels: Int
    ) throws(ArgumentError) {
        try self.init(.function(fill, context: context), pixels: pixels)
    }

    /// The engine, if there is one, as `next` has left it.
    var engine: EngineRows? {
        guard case .engine(let engine) = source else { return nil }
        return engine
    }
}
