// C names are those of vqdiffusion.h.
// swift-format-ignore-file: AlwaysUseLowerCamelCase

import CVQDiffusion
import VQDiffusion

@implementation @_cdecl("vqd_check_model_output")
public func vqd_check_model_output(
    _ model_output: UnsafePointer<vqd_tensor>!, _ context: UnsafeMutablePointer<vqd_context>!
) -> vqd_status {
    call(context) { (parallelism) throws(ArgumentError) in
        try checkColumns(
            try Tensor(model_output, rank: 3, "model_output").logProbabilities(),
            parallelism: parallelism)
    }
}

@implementation @_cdecl("vqd_add_noise")
public func vqd_add_noise(
    _ schedule: UnsafePointer<vqd_schedule>!, _ from_timestep: Int64,
    _ original_samples: UnsafePointer<vqd_tensor>!, _ timesteps: UnsafePointer<vqd_tensor>!,
    _ uniforms: UnsafePointer<vqd_tensor>!, _ out: UnsafePointer<vqd_tensor>!,
    _ context: UnsafeMutablePointer<vqd_context>!
) -> vqd_status {
    call(context) { (_) throws(ArgumentError) in
        try VQDiffusionABI.schedule(schedule).addNoise(
            from: Int(from_timestep),
            to: try Tensor(original_samples, rank: 2, "original_samples").classIndices(),
            timesteps: try Tensor(timesteps, rank: 1, "timesteps").timesteps(),
            uniforms: try Tensor(uniforms, rank: 2, "uniforms").uniformGrid(),
            into: try Tensor(out, rank: 2, "out").output(VQD_INT64))
    }
}

@implementation @_cdecl("vqd_gumbel_noised")
public func vqd_gumbel_noised(
    _ logits: UnsafePointer<vqd_tensor>!, _ uniforms: UnsafePointer<vqd_tensor>!,
    _ out: UnsafePointer<vqd_tensor>!,
    _ context: UnsafeMutablePointer<vqd_context>!
) -> vqd_status {
    call(context) { (parallelism) throws(ArgumentError) in
        let logits = try Tensor(logits, rank: 3, "logits").logProbabilities()
        let uniforms = try Tensor(uniforms, rank: 3, "uniforms").classUniforms()
        let isDouble = logits.elementType == .float64 || uniforms.elementType == .float64
        try gumbelNoised(
            logits, uniforms: uniforms,
            into: try Tensor(out, rank: 3, "out").output(isDouble ? VQD_FLOAT64 : VQD_FLOAT32),
            parallelism: parallelism)
    }
}
