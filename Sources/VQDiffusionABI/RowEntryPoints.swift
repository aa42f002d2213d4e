// C names are those of vqdiffusion.h.
// swift-format-ignore-file: AlwaysUseLowerCamelCase

import CVQDiffusion
import VQDiffusion

@implementation @_cdecl("vqd_row_uniforms")
public func vqd_row_uniforms(
    _ seed: UInt64, _ ids: UnsafePointer<vqd_tensor>!, _ timesteps: UnsafePointer<vqd_tensor>!,
    _ draw: UInt64, _ out: UnsafePointer<vqd_tensor>!,
    _ context: UnsafeMutablePointer<vqd_context>!
) -> vqd_status {
    call(context) { (parallelism) throws(ArgumentError) in
        let ids = try Tensor(ids, rank: 1, "ids").rowIDs()
        let timesteps = try Tensor(timesteps, rank: 1, "timesteps").timesteps()
        let out = try Tensor(out, rank: out?.pointee.rank == 3 ? 3 : 2, "out")
        try RowKeyView(seed: seed, ids: ids, draw: draw).fillUniforms(
            at: timesteps, into: try out.uniformOutput(),
            isDouble: out.elementType == VQD_FLOAT64, parallelism: parallelism)
    }
}

extension Tensor {
    /// The tensor as one id per batch row.
    fileprivate func rowIDs() throws(ArgumentError) -> RowIDs {
        guard elementType == VQD_INT64 || elementType == VQD_UINT64 else {
            throw wrongType(expected: "int64 or uint64")
        }
        return RowIDs(
            name: name, base: UnsafeRawPointer(base), isSigned: elementType == VQD_INT64,
            count: shape.lengths[0], stride: strides[0])
    }

    /// The tensor as an output of uniforms of either precision.
    fileprivate func uniformOutput() throws(ArgumentError) -> OutputTensor {
        guard elementType == VQD_FLOAT32 || elementType == VQD_FLOAT64 else {
            throw wrongType(expected: "float32 or float64")
        }
        return try output(elementType)
    }
}
