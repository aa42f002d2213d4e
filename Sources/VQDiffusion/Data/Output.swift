import CVQDiffusion

/// Where a result goes: C-contiguous memory that the caller owns.
public struct OutputTensor {
    /// The name errors give this argument.
    public var name: StaticString
    public var base: UnsafeMutableRawPointer
    public var shape: Shape

    public init(name: StaticString, base: UnsafeMutableRawPointer, shape: Shape) {
        self.name = name
        self.base = base
        self.shape = shape
    }

    func checkShape(_ expected: Shape) throws(ArgumentError) {
        guard shape.matches(expected) else {
            throw ArgumentError(name, .shape(expected: expected, actual: shape))
        }
    }

    /// The memory, for numbers that are about to be written to all of it.
    func elements<Real: RealScalar>(_: Real.Type) -> UnsafeMutablePointer<Real> {
        vqd_expect_writes(base, shape.count &* MemoryLayout<Real>.size)
        return base.assumingMemoryBound(to: Real.self)
    }

    /// Writes classes as `Int64`.
    func write(_ tokens: UnsafePointer<Int32>, count: Int) {
        let target = base.assumingMemoryBound(to: Int64.self)
        for at in 0..<count { target[at] = Int64(tokens[at]) }
    }
}
