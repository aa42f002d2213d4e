// C names are those of vqdiffusion.h.
// swift-format-ignore-file: AlwaysUseLowerCamelCase

import CVQDiffusion
import VQDiffusion

@implementation @_cdecl("vqd_step_gumbel")
public func vqd_step_gumbel(
    _ schedule: UnsafePointer<vqd_schedule>!, _ timestep: Int64, _ previous_timestep: Int64,
    _ model_output: UnsafePointer<vqd_tensor>!, _ sample: UnsafePointer<vqd_tensor>!,
    _ noise: UnsafePointer<vqd_noise>!,
    _ prev_sample: UnsafePointer<vqd_tensor>!, _ context: UnsafeMutablePointer<vqd_context>!
) -> vqd_status {
    call(context) { (parallelism) throws(ArgumentError) in
        let step = try VQDiffusionABI.schedule(schedule).reverseStep(
            from: Int(timestep), to: Int(previous_timestep))
        try step.sampleGumbelMax(
            from: try Tensor(model_output, rank: 3, "model_output").logProbabilities(),
            given: try observed(sample, step),
            uniforms: try uniformSource(noise),
            into: try Tensor(prev_sample, rank: 2, "prev_sample").output(VQD_INT64),
            parallelism: parallelism)
    }
}

@implementation @_cdecl("vqd_step_inverse_cdf")
public func vqd_step_inverse_cdf(
    _ schedule: UnsafePointer<vqd_schedule>!, _ timestep: Int64, _ previous_timestep: Int64,
    _ model_output: UnsafePointer<vqd_tensor>!, _ sample: UnsafePointer<vqd_tensor>!,
    _ uniforms: UnsafePointer<vqd_tensor>!,
    _ prev_sample: UnsafePointer<vqd_tensor>!, _ context: UnsafeMutablePointer<vqd_context>!
) -> vqd_status {
    call(context) { (parallelism) throws(ArgumentError) in
        let step = try VQDiffusionABI.schedule(schedule).reverseStep(
            from: Int(timestep), to: Int(previous_timestep))
        try step.sampleInverseCDF(
            from: try Tensor(model_output, rank: 3, "model_output").logProbabilities(),
            given: try observed(sample, step),
            uniforms: try Tensor(uniforms, rank: 2, "uniforms").uniformGrid(),
            into: try Tensor(prev_sample, rank: 2, "prev_sample").output(VQD_INT64),
            parallelism: parallelism)
    }
}

@implementation @_cdecl("vqd_plan_inverse_cdf")
public func vqd_plan_inverse_cdf(
    _ schedule: UnsafePointer<vqd_schedule>!, _ timestep: Int64, _ previous_timestep: Int64,
    _ sample: UnsafePointer<vqd_tensor>!,
    _ uniforms: UnsafePointer<vqd_tensor>!, _ needed: UnsafePointer<vqd_tensor>!,
    _ context: UnsafeMutablePointer<vqd_context>!
) -> vqd_status {
    call(context) { (_) throws(ArgumentError) in
        let step = try VQDiffusionABI.schedule(schedule).reverseStep(
            from: Int(timestep), to: Int(previous_timestep))
        try step.planInverseCDF(
            given: try observed(sample, step),
            uniforms: try Tensor(uniforms, rank: 2, "uniforms").uniformGrid(),
            into: try Tensor(needed, rank: 2, "needed").output(VQD_BOOL8))
    }
}

@implementation @_cdecl("vqd_complete_inverse_cdf")
public func vqd_complete_inverse_cdf(
    _ schedule: UnsafePointer<vqd_schedule>!, _ timestep: Int64, _ previous_timestep: Int64,
    _ model_output: UnsafePointer<vqd_tensor>!, _ sample: UnsafePointer<vqd_tensor>!,
    _ uniforms: UnsafePointer<vqd_tensor>!,
    _ prev_sample: UnsafePointer<vqd_tensor>!, _ context: UnsafeMutablePointer<vqd_context>!
) -> vqd_status {
    call(context) { (parallelism) throws(ArgumentError) in
        let step = try VQDiffusionABI.schedule(schedule).reverseStep(
            from: Int(timestep), to: Int(previous_timestep))
        try step.completeInverseCDF(
            from: try Tensor(model_output, rank: 2, "model_output").columns(),
            given: try observed(sample, step),
            uniforms: try Tensor(uniforms, rank: 2, "uniforms").uniformGrid(),
            into: try Tensor(prev_sample, rank: 2, "prev_sample").output(VQD_INT64),
            parallelism: parallelism)
    }
}

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

/// Where the uniforms of Gumbel noise come from.
func uniformSource(_ pointer: UnsafePointer<vqd_noise>?) throws(ArgumentError) -> UniformSource {
    guard let noise = pointer?.pointee else { throw ArgumentError("noise", .missing) }
    if let uniforms = noise.uniforms {
        return .given(try Tensor(uniforms, rank: 3, "uniforms").classUniforms())
    }
    if let engine = noise.engine {
        return .mersenneTwister(
            state: UnsafeMutableRawPointer(engine).assumingMemoryBound(to: UInt32.self))
    }
    guard let fill = noise.fill else { throw ArgumentError("noise", .missing) }
    return .function(fill, context: noise.fill_context)
}

/// The sample of a step, or nil where the step does not look at it.
func observed(
    _ sample: UnsafePointer<vqd_tensor>?, _ step: ReverseStep
) throws(ArgumentError) -> ClassIndices? {
    step.readsSample ? try Tensor(sample, rank: 2, "sample").classIndices() : nil
}

@implementation @_cdecl("vqd_q_sample")
public func vqd_q_sample(
    _ schedule: UnsafePointer<vqd_schedule>!, _ x_0: UnsafePointer<vqd_tensor>!,
    _ timesteps: UnsafePointer<vqd_tensor>!,
    _ uniforms: UnsafePointer<vqd_tensor>!, _ out: UnsafePointer<vqd_tensor>!,
    _ context: UnsafeMutablePointer<vqd_context>!
) -> vqd_status {
    call(context) { (_) throws(ArgumentError) in
        try VQDiffusionABI.schedule(schedule).sampleForward(
            from: try Tensor(x_0, rank: 2, "x_0").classIndices(),
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
