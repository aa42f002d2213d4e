import CVQDiffusion
import VQDiffusion

/// A tensor from outside, checked so far that reading its elements cannot leave the memory it
/// describes.
struct Tensor {
    let name: StaticString
    let base: UnsafeMutableRawPointer
    let elementType: vqd_dtype
    let shape: Shape
    let strides: SIMD4<Int>

    /// - Throws: `ArgumentError` when the tensor or its data is missing, its rank is not the
    ///   expected one, or its extent is impossible.
    init(_ pointer: UnsafePointer<vqd_tensor>?, rank: Int, _ name: StaticString)
        throws(ArgumentError)
    {
        guard let tensor = pointer?.pointee else { throw ArgumentError(name, .missing) }
        guard tensor.rank == rank else {
            throw ArgumentError(name, .rank(expected: rank, actual: Int(tensor.rank)))
        }
        self.name = name
        elementType = vqd_dtype(rawValue: UInt32(bitPattern: tensor.dtype))
        guard Tensor.size(of: elementType) > 0 else {
            throw ArgumentError(
                name, .elementType(expected: "one of vqd_dtype", actual: "an unknown number"))
        }
        let lengths = SIMD4(Int(tensor.shape.0), Int(tensor.shape.1), Int(tensor.shape.2), 0)
        strides = SIMD4(Int(tensor.strides.0), Int(tensor.strides.1), Int(tensor.strides.2), 0)
        shape =
            rank == 1
            ? Shape(lengths[0])
            : rank == 2 ? Shape(lengths[0], lengths[1]) : Shape(lengths[0], lengths[1], lengths[2])
        guard Tensor.isAddressable(shape, strides) else { throw ArgumentError(name, .extent) }
        // An empty tensor may have no data; any address serves, as nothing is read.
        if let data = tensor.data {
            base = data
        } else {
            guard Tensor.isEmpty(shape) else { throw ArgumentError(name, .missing) }
            base = UnsafeMutableRawPointer(bitPattern: 64)!
        }
    }

    private static func isEmpty(_ shape: Shape) -> Bool {
        for axis in 0..<shape.rank where shape.lengths[axis] == 0 { return true }
        return false
    }

    /// True when no length is negative and neither the number of elements (times the widest, for
    /// scratch) nor the reach of the strides overflows.
    private static func isAddressable(_ shape: Shape, _ strides: SIMD4<Int>) -> Bool {
        var (elements, reach) = (64, 0)
        for axis in 0..<shape.rank {
            guard shape.lengths[axis] >= 0 else { return false }
            let (product, tooMany) = elements.multipliedReportingOverflow(
                by: max(shape.lengths[axis], 1))
            guard strides[axis] != Int.min else { return false }
            let (span, tooFar) = abs(strides[axis]).multipliedReportingOverflow(
                by: max(shape.lengths[axis], 1))
            let (sum, tooFarInAll) = reach.addingReportingOverflow(span)
            guard !tooMany && !tooFar && !tooFarInAll else { return false }
            (elements, reach) = (product, sum)
        }
        return true
    }

    private static func size(of type: vqd_dtype) -> Int {
        switch type {
        case VQD_INT8, VQD_UINT8, VQD_BOOL8: 1
        case VQD_INT16, VQD_UINT16, VQD_FLOAT16, VQD_BFLOAT16: 2
        case VQD_INT32, VQD_UINT32, VQD_FLOAT32: 4
        case VQD_INT64, VQD_UINT64, VQD_FLOAT64: 8
        default: 0
        }
    }

    private static func label(of type: vqd_dtype) -> StaticString {
        switch type {
        case VQD_INT8: "int8"
        case VQD_INT16: "int16"
        case VQD_INT32: "int32"
        case VQD_INT64: "int64"
        case VQD_UINT8: "uint8"
        case VQD_UINT16: "uint16"
        case VQD_UINT32: "uint32"
        case VQD_UINT64: "uint64"
        case VQD_FLOAT16: "float16"
        case VQD_BFLOAT16: "bfloat16"
        case VQD_FLOAT32: "float32"
        case VQD_FLOAT64: "float64"
        default: "bool"
        }
    }

    func wrongType(expected: StaticString) -> ArgumentError {
        ArgumentError(name, .elementType(expected: expected, actual: Tensor.label(of: elementType)))
    }

    /// The tensor as log-probabilities.
    func logProbabilities() throws(ArgumentError) -> LogProbabilities {
        LogProbabilities(
            name: name, base: UnsafeRawPointer(base), elementType: try floatingType(),
            shape: (shape.lengths[0], shape.lengths[1], shape.lengths[2]),
            strides: (strides[0], strides[1], strides[2]))
    }

    /// The tensor as log-probabilities of single columns: (classes, columns), seen as one batch
    /// row.
    func columns() throws(ArgumentError) -> LogProbabilities {
        LogProbabilities(
            name: name, base: UnsafeRawPointer(base), elementType: try floatingType(),
            shape: (1, shape.lengths[0], shape.lengths[1]), strides: (0, strides[0], strides[1]))
    }

    private func floatingType() throws(ArgumentError) -> LogProbabilities.ElementType {
        switch elementType {
        case VQD_FLOAT16: return .float16
        case VQD_BFLOAT16: return .bfloat16
        case VQD_FLOAT32: return .float32
        case VQD_FLOAT64: return .float64
        default: throw wrongType(expected: "float16, bfloat16, float32 or float64")
        }
    }

    /// The tensor as uniforms of every class.
    func classUniforms() throws(ArgumentError) -> LogProbabilities {
        guard elementType == VQD_FLOAT32 || elementType == VQD_FLOAT64 else {
            throw wrongType(expected: "float32 or float64")
        }
        return try logProbabilities()
    }

    /// The tensor as class indices.
    func classIndices() throws(ArgumentError) -> ClassIndices {
        let type: ClassIndices.ElementType
        switch elementType {
        case VQD_INT8: type = .int8
        case VQD_INT16: type = .int16
        case VQD_INT32: type = .int32
        case VQD_INT64: type = .int64
        case VQD_UINT8: type = .uint8
        case VQD_UINT16: type = .uint16
        case VQD_UINT32: type = .uint32
        case VQD_UINT64: type = .uint64
        default: throw wrongType(expected: "of an integer type")
        }
        return ClassIndices(
            name: name, base: UnsafeRawPointer(base), elementType: type,
            shape: (shape.lengths[0], shape.lengths[1]),
            strides: (strides[0], strides[1]))
    }

    /// The tensor as one uniform per pixel.
    func uniformGrid() throws(ArgumentError) -> UniformGrid {
        guard elementType == VQD_FLOAT64 else { throw wrongType(expected: "float64") }
        return UniformGrid(
            name: name, base: UnsafeRawPointer(base), shape: (shape.lengths[0], shape.lengths[1]),
            strides: (strides[0], strides[1]))
    }

    /// The tensor as one timestep per batch row.
    func timesteps() throws(ArgumentError) -> TimestepList {
        guard elementType == VQD_INT64 else { throw wrongType(expected: "int64") }
        return TimestepList(
            name: name, base: UnsafeRawPointer(base), count: shape.lengths[0], stride: strides[0])
    }

    /// The tensor as a weight for every pixel, or a number for every batch row.
    func weights() throws(ArgumentError) -> WeightGrid {
        guard elementType == VQD_FLOAT64 else { throw wrongType(expected: "float64") }
        return WeightGrid(
            name: name, base: UnsafeRawPointer(base), shape: shape,
            strides: (strides[0], strides[1]))
    }

    /// The tensor as a gradient of the given type.
    func gradient(_ type: vqd_dtype) throws(ArgumentError) -> GradientTensor {
        guard elementType == type else { throw wrongType(expected: Tensor.label(of: type)) }
        return GradientTensor(
            name: name, base: base, shape: shape, strides: (strides[0], strides[1], strides[2]))
    }

    /// The tensor as an output of one float64 for each batch row.
    func rowOutput(batch: Int) throws(ArgumentError) -> UnsafeMutablePointer<Double> {
        let output = try output(VQD_FLOAT64)
        guard output.shape == Shape(batch) else {
            throw ArgumentError(name, .shape(expected: Shape(batch), actual: output.shape))
        }
        return output.base.assumingMemoryBound(to: Double.self)
    }

    /// The tensor as an output of the given type.
    func output(_ type: vqd_dtype) throws(ArgumentError) -> OutputTensor {
        guard elementType == type else { throw wrongType(expected: Tensor.label(of: type)) }
        try checkContiguous()
        return OutputTensor(name: name, base: base, shape: shape)
    }

    private func checkContiguous() throws(ArgumentError) {
        if Tensor.isEmpty(shape) { return }
        var stride = Tensor.size(of: elementType)
        for axis in (0..<shape.rank).reversed() {
            // The stride of an axis of one element is never used.
            guard shape.lengths[axis] == 1 || strides[axis] == stride else {
                throw ArgumentError(name, .notContiguous)
            }
            stride *= shape.lengths[axis]
        }
    }
}

extension LogProbabilities {
    /// The type of results computed from these: float64 for float64, else float32.
    var resultType: vqd_dtype { elementType == .float64 ? VQD_FLOAT64 : VQD_FLOAT32 }
}
