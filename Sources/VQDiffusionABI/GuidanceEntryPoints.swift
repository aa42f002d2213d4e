// C names are those of vqdiffusion.h.
// swift-format-ignore-file: AlwaysUseLowerCamelCase

import CVQDiffusion
import VQDiffusion

@implementation @_cdecl("vqd_guide")
public func vqd_guide(
    _ log_p_uncond: UnsafePointer<vqd_tensor>!, _ log_p_cond: UnsafePointer<vqd_tensor>!,
    _ scale: Double,
    _ out: UnsafePointer<vqd_tensor>!, _ context: UnsafeMutablePointer<vqd_context>!
) -> vqd_status {
    call(context) { (parallelism) throws(ArgumentError) in
        let unconditional = try Tensor(log_p_uncond, rank: 3, "log_p_uncond").logProbabilities()
        let conditional = try Tensor(log_p_cond, rank: 3, "log_p_cond").logProbabilities()
        try guide(
            unconditional: unconditional, conditional: conditional, scale: scale,
            into: try Tensor(out, rank: 3, "out").output(unconditional.resultType),
            parallelism: parallelism)
    }
}

@implementation @_cdecl("vqd_truncate")
public func vqd_truncate(
    _ log_p: UnsafePointer<vqd_tensor>!, _ rate: Double, _ floor: Double, _ top_k: Int64,
    _ temperature: Double, _ out: UnsafePointer<vqd_tensor>!,
    _ context: UnsafeMutablePointer<vqd_context>!
) -> vqd_status {
    call(context) { (parallelism) throws(ArgumentError) in
        let p = try Tensor(log_p, rank: 3, "log_p").logProbabilities()
        try truncate(
            p, rate: rate, floor: floor, topK: top_k == 0 ? nil : Int(top_k),
            temperature: temperature, into: try Tensor(out, rank: 3, "out").output(p.resultType),
            parallelism: parallelism)
    }
}
