/// Where the uniforms behind Gumbel noise come from: one for every class and pixel, drawn in the order of memory (batch row, class, pixel).
public enum UniformSource {
    /// Given, (batch, rows, pixels).
    case given(LogProbabilities)
    /// Drawn as torch draws float32 uniforms on the CPU, without ever being stored: from an MT19937 engine whose state is 625 words, the 624 of the
    /// twister and how many of them have been given out. The state is advanced when the call succeeds.
    case mersenneTwister(state: UnsafeMutablePointer<UInt32>)
    /// Drawn by a function that writes the next `count` float32 uniforms. It is called in order, on the calling thread, and not before everything that can
    /// fail has been checked.
    case function(
        _ fill: @convention(c) (_ context: UnsafeMutableRawPointer?, _ uniforms: UnsafeMutablePointer<Float>?, _ count: Int64) -> Void,
        context: UnsafeMutableRawPointer?)
}

/// The uniforms of a chunk of pixels of one batch row, class row after class row.
protocol UniformRows: ~Copyable {
    associatedtype Element: FloatingElement

    /// Bytes from one pixel to the next.
    var pixelStride: Int { get }
    /// The chunk's pixels in groups of sixteen, relative to what `next` returns.
    var groups: UnsafePointer<LaneGroup> { get }

    /// The first pixel's uniform in the next class row.
    mutating func next() -> UnsafeRawPointer
}

/// Uniforms that were given.
struct GivenRows<Element: FloatingElement>: UniformRows, ~Copyable {
    private let uniforms: LogProbabilities
    private let lanes: Scratch<LaneGroup>
    private let row, firstPixel: Int
    private var k = 0

    init(_: Element.Type, _ uniforms: LogProbabilities, row: Int, chunk: Range<Int>) throws(ArgumentError) {
        (self.uniforms, self.row, firstPixel) = (uniforms, row, chunk.lowerBound)
        lanes = try PixelList.run(0..<chunk.count).laneGroups(pixelStride: uniforms.pixelStride, elementSize: Element.size)
    }

    var pixelStride: Int { uniforms.pixelStride }
    var groups: UnsafePointer<LaneGroup> { UnsafePointer(lanes.pointer) }

    mutating func next() -> UnsafeRawPointer {
        defer { k &+= 1 }
        return uniforms.pointer(row: row, class: k, pixel: firstPixel)
    }
}

/// Uniforms that are drawn when they are needed, one class row at a time.
///
/// All chunks of a batch row draw from one stream. Each passes over what belongs to the others: it repeats their twists, but nothing else of their work.
struct TwistedRows: UniformRows, ~Copyable {
    typealias Element = Float

    private var engine: MersenneTwister
    private let row: RowBuffer
    /// How many uniforms lie before the first of the chunk, and between one class row and the next.
    private let before, between: Int
    private var isFirst = true

    /// - Parameter state: the engine at the start of the batch row.
    init(state: UnsafePointer<UInt32>, chunk: Range<Int>, pixels: Int) throws(ArgumentError) {
        let engine = try MersenneTwister(state: state)
        let row = try RowBuffer(pixels: chunk.count)
        self.engine = engine
        self.row = row
        (before, between) = (chunk.lowerBound, pixels - chunk.count)
    }

    var pixelStride: Int { RowBuffer.pixelStride }
    var groups: UnsafePointer<LaneGroup> { row.groups }

    mutating func next() -> UnsafeRawPointer {
        engine.skip(isFirst ? before : between)
        isFirst = false
        engine.fill(row.pointer, count: row.pixels)
        return UnsafeRawPointer(row.pointer)
    }

    /// The engine's state when the whole batch row has been drawn, once `next` has returned all class rows of the chunk.
    mutating func finish(to state: UnsafeMutablePointer<UInt32>) {
        engine.skip(between - before)
        engine.save(to: state)
    }
}

/// Uniforms that a function writes, one class row of whole batch rows at a time.
struct FunctionRows: UniformRows, ~Copyable {
    typealias Element = Float

    private let row: RowBuffer
    private let fill: @convention(c) (UnsafeMutableRawPointer?, UnsafeMutablePointer<Float>?, Int64) -> Void
    private let context: UnsafeMutableRawPointer?

    init(
        _ fill: @escaping @convention(c) (UnsafeMutableRawPointer?, UnsafeMutablePointer<Float>?, Int64) -> Void,
        context: UnsafeMutableRawPointer?, pixels: Int
    ) throws(ArgumentError) {
        row = try RowBuffer(pixels: pixels)
        (self.fill, self.context) = (fill, context)
    }

    var pixelStride: Int { RowBuffer.pixelStride }
    var groups: UnsafePointer<LaneGroup> { row.groups }

    mutating func next() -> UnsafeRawPointer {
        fill(context, row.pointer, Int64(row.pixels))
        return UnsafeRawPointer(row.pointer)
    }
}

/// Room for the uniforms of one class row, padded so that every group of lanes is dense.
private struct RowBuffer: ~Copyable {
    static var pixelStride: Int { Float.size }

    let pixels: Int
    private let uniforms: Scratch<Float>
    private let lanes: Scratch<LaneGroup>

    init(pixels: Int) throws(ArgumentError) {
        let width = (pixels + 15) / 16 * 16
        let uniforms = try Scratch<Float>(width + 16, filledWith: 0)
        let lanes = try PixelList.run(0..<width).laneGroups(pixelStride: RowBuffer.pixelStride, elementSize: Float.size)
        self.pixels = pixels
        self.uniforms = uniforms
        self.lanes = lanes
    }

    var pointer: UnsafeMutablePointer<Float> { uniforms.pointer }
    var groups: UnsafePointer<LaneGroup> { UnsafePointer(lanes.pointer) }
}
