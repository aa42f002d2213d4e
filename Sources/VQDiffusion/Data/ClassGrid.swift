/// A batch of grids of class indices: a sample x_t, or clean data.
public struct ClassGrid: Equatable, Sendable {
    public let batch: Int
    /// Pixels (cells) of each grid.
    public let pixels: Int
    /// The indices, row after row.
    public var indices: [Int]

    /// - Precondition: there are batch · pixels indices.
    public init(batch: Int, pixels: Int, indices: [Int]) {
        precondition(
            indices.count == batch * pixels, "a grid of \(batch) x \(pixels) needs as many indices")
        (self.batch, self.pixels, self.indices) = (batch, pixels, indices)
    }

    public init(repeating index: Int, batch: Int, pixels: Int) {
        self.init(
            batch: batch, pixels: pixels, indices: Array(repeating: index, count: batch * pixels))
    }

    public subscript(row: Int, pixel: Int) -> Int {
        get { indices[row * pixels + pixel] }
        set { indices[row * pixels + pixel] = newValue }
    }

    /// Calls `body` with a view of the indices for kernels.
    func withView<Result>(
        name: StaticString, _ body: (ClassIndices) throws(ArgumentError) -> Result
    ) throws(ArgumentError) -> Result {
        try indices.withUnsafeBufferPointer { (buffer) throws(ArgumentError) in
            try body(
                ClassIndices(
                    name: name, base: base(of: buffer), elementType: .int64, shape: (batch, pixels),
                    strides: (pixels * 8, 8)))
        }
    }
}

/// A batch of log-probabilities, indexed (row, class, pixel): what a model predicts, or a
/// posterior.
public struct LogProbabilityTensor: Equatable, Sendable {
    public let batch, classes, pixels: Int
    /// The values: batch row by batch row, class by class, pixel by pixel.
    public var values: [Float]

    /// - Precondition: there are batch · classes · pixels values.
    public init(batch: Int, classes: Int, pixels: Int, values: [Float]) {
        precondition(
            values.count == batch * classes * pixels,
            "a tensor of \(batch) x \(classes) x \(pixels) needs as many values")
        (self.batch, self.classes, self.pixels, self.values) = (batch, classes, pixels, values)
    }

    public init(repeating value: Float, batch: Int, classes: Int, pixels: Int) {
        self.init(
            batch: batch, classes: classes, pixels: pixels,
            values: Array(repeating: value, count: batch * classes * pixels))
    }

    public subscript(row: Int, index: Int, pixel: Int) -> Float {
        get { values[(row * classes + index) * pixels + pixel] }
        set { values[(row * classes + index) * pixels + pixel] = newValue }
    }

    /// Calls `body` with a view of the values for kernels.
    func withView<Result>(
        name: StaticString, _ body: (LogProbabilities) throws(ArgumentError) -> Result
    ) throws(ArgumentError) -> Result {
        try values.withUnsafeBufferPointer { (buffer) throws(ArgumentError) in
            try body(
                LogProbabilities(
                    name: name, base: base(of: buffer), elementType: .float32,
                    shape: (batch, classes, pixels),
                    strides: (classes * pixels * 4, pixels * 4, 4)))
        }
    }
}

/// Where a buffer begins; any address for an empty one, which is never read.
private func base<Element>(of buffer: UnsafeBufferPointer<Element>) -> UnsafeRawPointer {
    buffer.baseAddress.map { UnsafeRawPointer($0) } ?? UnsafeRawPointer(bitPattern: 64)!
}
