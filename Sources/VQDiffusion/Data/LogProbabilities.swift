/// A view of log-probabilities, indexed (batch, class, pixel), in memory that someone else owns.
///
/// Strides are in bytes and arbitrary, so that `(batch, pixels, classes)` memory is viewed as
/// `(batch, classes, pixels)` without a copy. A NumPy array, a torch tensor and a Swift array all
/// fit.
public struct LogProbabilities {
    /// How an element is stored. Kernels compute in `Double` for `.float64`, else in `Float`.
    public enum ElementType: Sendable {
        case float16, bfloat16, float32, float64

        /// In bytes.
        var size: Int {
            switch self {
            case .float16, .bfloat16: 2
            case .float32: 4
            case .float64: 8
            }
        }
    }

    /// The name errors give this argument.
    public var name: StaticString
    /// The element at (0, 0, 0).
    public var base: UnsafeRawPointer
    public var elementType: ElementType
    public var batch, classes, pixels: Int
    /// Bytes from one element to the next along each axis.
    public var batchStride, classStride, pixelStride: Int

    public init(
        name: StaticString, base: UnsafeRawPointer, elementType: ElementType,
        shape: (batch: Int, classes: Int, pixels: Int),
        strides: (batch: Int, class: Int, pixel: Int)
    ) {
        self.name = name
        self.base = base
        self.elementType = elementType
        (batch, classes, pixels) = shape
        (batchStride, classStride, pixelStride) = strides
    }

    /// A C-contiguous view.
    public init(
        name: StaticString = "logProbabilities", _ base: UnsafePointer<Float>, batch: Int,
        classes: Int, pixels: Int
    ) {
        self.init(
            name: name, base: UnsafeRawPointer(base), elementType: .float32,
            shape: (batch, classes, pixels),
            strides: (classes * pixels * 4, pixels * 4, 4))
    }

    /// Bytes of an element.
    var elementSize: Int { elementType.size }

    public var shape: Shape { Shape(batch, classes, pixels) }

    /// True when there is no pixel, and so nothing to compute, however many rows there are.
    var isEmpty: Bool { batch == 0 || pixels == 0 }

    /// Throws where there is a pixel but no class that it could have.
    func checkHasClasses() throws(ArgumentError) {
        guard classes > 0 || isEmpty else { throw ArgumentError(name, .noMass(row: 0, pixel: 0)) }
    }

    /// Throws unless the shape is the expected one, -1 standing for any length.
    func checkShape(_ expected: Shape) throws(ArgumentError) {
        guard shape.matches(expected) else {
            throw ArgumentError(name, .shape(expected: expected, actual: shape))
        }
    }

    /// How many pixels, from the first on, are whole vectors of neighbours in memory. Those behind
    /// have to be gathered, or transposed.
    func pixelsInVectors(elementSize: Int) -> Int {
        pixelStride == elementSize ? pixels / 16 * 16 : 0
    }

    /// The same memory with the axes of classes and pixels exchanged.
    var transposed: LogProbabilities {
        LogProbabilities(
            name: name, base: base, elementType: elementType, shape: (batch, pixels, classes),
            strides: (batchStride, pixelStride, classStride))
    }

    @inline(__always)
    func pointer(row: Int, class index: Int = 0, pixel: Int = 0) -> UnsafeRawPointer {
        base + (row &* batchStride &+ index &* classStride &+ pixel &* pixelStride)
    }
}
