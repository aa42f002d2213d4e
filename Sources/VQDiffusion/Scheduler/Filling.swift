extension ClassGrid {
    /// Has a kernel write the indices.
    mutating func fill(_ body: (OutputTensor) throws(ArgumentError) -> Void)
        throws(ArgumentError)
    {
        let shape = Shape(batch, pixels)
        try indices.withUnsafeMutableBufferPointer { (buffer) throws(ArgumentError) in
            try body(OutputTensor(buffer, shape))
        }
    }
}

extension LogProbabilityTensor {
    /// Has a kernel write the values.
    mutating func fill(_ body: (OutputTensor) throws(ArgumentError) -> Void)
        throws(ArgumentError)
    {
        let shape = Shape(batch, classes, pixels)
        try values.withUnsafeMutableBufferPointer { (buffer) throws(ArgumentError) in
            try body(OutputTensor(buffer, shape))
        }
    }
}

extension OutputTensor {
    init<Element>(_ buffer: UnsafeMutableBufferPointer<Element>, _ shape: Shape) {
        // An empty grid may have no memory; any address serves, as nothing is written.
        let base =
            buffer.baseAddress.map { UnsafeMutableRawPointer($0) } ?? UnsafeMutableRawPointer(
                bitPattern: 64)!
        self.init(name: "result", base: base, shape: shape)
    }
}
