/// A view of class indices, indexed (batch, pixel), in memory that someone else owns: a sample x_t
/// or clean data x_0.
public struct ClassIndices {
    /// How an index is stored.
    public enum ElementType: Sendable {
        case int8, int16, int32, int64, uint8, uint16, uint32, uint64
    }

    /// The name errors give this argument.
    public var name: StaticString
    /// The element at (0, 0).
    public var base: UnsafeRawPointer
    public var elementType: ElementType
    public var batch, pixels: Int
    /// Bytes from one element to the next along each axis.
    public var batchStride, pixelStride: Int

    public init(
        name: StaticString, base: UnsafeRawPointer, elementType: ElementType,
        shape: (batch: Int, pixels: Int), strides: (batch: Int, pixel: Int)
    ) {
        self.name = name
        self.base = base
        self.elementType = elementType
        (batch, pixels) = shape
        (batchStride, pixelStride) = strides
    }

    /// A C-contiguous view.
    public init(
        name: StaticString = "sample", _ base: UnsafePointer<Int32>, batch: Int, pixels: Int
    ) {
        self.init(
            name: name, base: UnsafeRawPointer(base), elementType: .int32, shape: (batch, pixels),
            strides: (pixels * 4, 4))
    }

    public var shape: Shape { Shape(batch, pixels) }

    /// True when there is no pixel, however many rows there are.
    var isEmpty: Bool { batch == 0 || pixels == 0 }

    /// All indices as contiguous 32-bit integers, padded so that vectors may read past the end.
    ///
    /// - Parameter lower: 0, or -1 where that stands for a class that is not known.
    /// - Throws: `ArgumentError` when the shape is not (batch, pixels) or an index is outside
    ///   lower ... upper.
    func checked(batch: Int, pixels: Int, lower: Int = 0, upper: Int) throws(ArgumentError)
        -> Scratch<Int32>
    {
        let expected = Shape(batch, pixels)
        guard shape == expected else {
            throw ArgumentError(name, .shape(expected: expected, actual: shape))
        }
        let result = try Scratch<Int32>(batch * pixels + 16)
        for i in 0..<16 { result[batch * pixels + i] = 0 }
        guard pixels > 0 else { return result }
        switch elementType {
        case .int8: try copy(Int8.self, to: result.pointer, lower: lower, upper: upper)
        case .int16: try copy(Int16.self, to: result.pointer, lower: lower, upper: upper)
        case .int32: try copy(Int32.self, to: result.pointer, lower: lower, upper: upper)
        case .int64: try copy(Int64.self, to: result.pointer, lower: lower, upper: upper)
        case .uint8: try copy(UInt8.self, to: result.pointer, lower: lower, upper: upper)
        case .uint16: try copy(UInt16.self, to: result.pointer, lower: lower, upper: upper)
        case .uint32: try copy(UInt32.self, to: result.pointer, lower: lower, upper: upper)
        case .uint64: try copy(UInt64.self, to: result.pointer, lower: lower, upper: upper)
        }
        return result
    }

    @inline(__always)
    private func copy<Index: FixedWidthInteger>(
        _: Index.Type, to result: UnsafeMutablePointer<Int32>, lower: Int, upper: Int
    ) throws(ArgumentError) {
        for row in 0..<batch {
            for pixel in 0..<pixels {
                let value = (base + (row &* batchStride &+ pixel &* pixelStride)).loadUnaligned(
                    as: Index.self)
                guard value >= lower && value <= upper else {
                    throw ArgumentError(
                        name,
                        .classOutside(
                            UInt(value.magnitude), isNegative: value < 0, lower: lower,
                            upper: upper, row: row, pixel: pixel))
                }
                result[row &* pixels &+ pixel] = Int32(truncatingIfNeeded: value)
            }
        }
    }
}
