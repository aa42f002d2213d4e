/// A view of one uniform for every pixel, indexed (batch, pixel), in memory that someone else owns.
public struct UniformGrid {
    /// The name errors give this argument.
    public var name: StaticString
    /// The element at (0, 0), a `Double`.
    public var base: UnsafeRawPointer
    public var batch, pixels: Int
    /// Bytes from one element to the next along each axis.
    public var batchStride, pixelStride: Int

    public init(
        name: StaticString, base: UnsafeRawPointer, shape: (batch: Int, pixels: Int),
        strides: (batch: Int, pixel: Int)
    ) {
        self.name = name
        self.base = base
        (batch, pixels) = shape
        (batchStride, pixelStride) = strides
    }

    /// A C-contiguous view.
    public init(
        name: StaticString = "uniforms", _ base: UnsafePointer<Double>, batch: Int, pixels: Int
    ) {
        self.init(
            name: name, base: UnsafeRawPointer(base), shape: (batch, pixels),
            strides: (pixels * 8, 8))
    }

    /// All uniforms, contiguous.
    ///
    /// - Throws: `ArgumentError` unless the shape is (batch, pixels) and every value in [0, 1).
    func checked(batch: Int, pixels: Int) throws(ArgumentError) -> Scratch<Double> {
        let (expected, actual) = (Shape(batch, pixels), Shape(self.batch, self.pixels))
        guard actual == expected else {
            throw ArgumentError(name, .shape(expected: expected, actual: actual))
        }
        let result = try Scratch<Double>(batch * pixels)
        guard pixels > 0 else { return result }
        for row in 0..<batch {
            for pixel in 0..<pixels {
                let u = (base + (row &* batchStride &+ pixel &* pixelStride)).loadUnaligned(
                    as: Double.self)
                guard u >= 0 && u < 1 else { throw ArgumentError(name, .notUniform(u)) }
                result[row &* pixels &+ pixel] = u
            }
        }
        return result
    }
}

/// A view of one timestep for every batch row, in memory that someone else owns.
public struct TimestepList {
    /// The name errors give this argument.
    public var name: StaticString
    /// The first element, an `Int64`.
    public var base: UnsafeRawPointer
    public var count: Int
    /// Bytes from one element to the next.
    public var stride: Int

    public init(name: StaticString, base: UnsafeRawPointer, count: Int, stride: Int = 8) {
        (self.name, self.base, self.count, self.stride) = (name, base, count, stride)
    }

    @inline(__always)
    subscript(row: Int) -> Int { Int((base + row &* stride).loadUnaligned(as: Int64.self)) }
}
