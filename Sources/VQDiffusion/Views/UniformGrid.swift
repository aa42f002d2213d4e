/// One uniform for every pixel, (batch, pixels), contiguous.
public struct UniformGrid {
    /// The name errors give this argument.
    public var name: StaticString
    public var base: UnsafePointer<Double>
    public var batch, pixels: Int

    public init(name: StaticString = "uniforms", _ base: UnsafePointer<Double>, batch: Int, pixels: Int) {
        (self.name, self.base, self.batch, self.pixels) = (name, base, batch, pixels)
    }

    /// - Throws: `ArgumentError` unless the shape is (batch, pixels) and every value in [0, 1).
    func check(batch: Int, pixels: Int) throws(ArgumentError) {
        let (expected, actual) = (Shape(batch, pixels), Shape(self.batch, self.pixels))
        guard actual == expected else { throw ArgumentError(name, .shape(expected: expected, actual: actual)) }
        for i in 0..<batch * pixels {
            guard base[i] >= 0 && base[i] < 1 else { throw ArgumentError(name, .notUniform(base[i])) }
        }
    }
}
