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
    _ log_p: UnsafePointer<vqd_tensor>!, _ rate: Double, _ floor: Double,
    _ out: UnsafePointer<vqd_tensor>!,
    _ context: UnsafeMutablePointer<vqd_context>!
) -> vqd_status {
    call(context) { (parallelism) throws(ArgumentError) in
        let p = try Tensor(log_p, rank: 3, "log_p").logProbabilities()
        try truncate(
            p, rate: rate, floor: floor, into: try Tensor(out, rank: 3, "out").output(p.resultType),
            parallelism: parallelism)
    }
}

@implementation @_cdecl("vqd_guided_step_gumbel")
public func vqd_guided_step_gumbel(
    _ schedule: UnsafePointer<vqd_schedule>!, _ timestep: Int64, _ previous_timestep: Int64,
    _ model_output: UnsafePointer<vqd_guided_output>!, _ sample: UnsafePointer<vqd_tensor>!,
    _ noise: UnsafePointer<vqd_noise>!,
    _ prev_sample: UnsafePointer<vqd_tensor>!, _ context: UnsafeMutablePointer<vqd_context>!
) -> vqd_status {
    call(context) { (parallelism) throws(ArgumentError) in
        let step = try VQDiffusionABI.schedule(schedule).reverseStep(
            from: Int(timestep), to: Int(previous_timestep))
        try step.sampleGumbelMax(
            from: try guidedOutput(model_output), given: try observed(sample, step),
            uniforms: try uniformSource(noise),
            into: try Tensor(prev_sample, rank: 2, "prev_sample").output(VQD_INT64),
            parallelism: parallelism)
    }
}

@implementation @_cdecl("vqd_guided_step_inverse_cdf")
public func vqd_guided_step_inverse_cdf(
    _ schedule: UnsafePointer<vqd_schedule>!, _ timestep: Int64, _ previous_timestep: Int64,
    _ model_output: UnsafePointer<vqd_guided_output>!, _ sample: UnsafePointer<vqd_tensor>!,
    _ uniforms: UnsafePointer<vqd_tensor>!,
    _ prev_sample: UnsafePointer<vqd_tensor>!, _ context: UnsafeMutablePointer<vqd_context>!
) -> vqd_status {
    call(context) { (parallelism) throws(ArgumentError) in
        let step = try VQDiffusionABI.schedule(schedule).reverseStep(
            from: Int(timestep), to: Int(previous_timestep))
        try step.sampleInverseCDF(
            from: try guidedOutput(model_output), given: try observed(sample, step),
            uniforms: try Tensor(uniforms, rank: 2, "uniforms").uniformGrid(),
            into: try Tensor(prev_sample, rank: 2, "prev_sample").output(VQD_INT64),
            parallelism: parallelism)
    }
}

/// The model output behind a pointer.
private func guidedOutput(_ pointer: UnsafePointer<vqd_guided_output>?) throws(ArgumentError)
    -> GuidedModelOutput
{
    guard let output = pointer?.pointee else { throw ArgumentError("model_output", .missing) }
    return GuidedModelOutput(
        unconditional: output.log_p_uncond == nil
            ? nil : try Tensor(output.log_p_uncond, rank: 3, "log_p_uncond").logProbabilities(),
        conditional: try Tensor(output.log_p_cond, rank: 3, "log_p_cond").logProbabilities(),
        guidanceScale: output.guidance_scale, truncationRate: output.truncation_rate,
        floor: output.floor)
}
