// C names are those of vqdiffusion.h.
// swift-format-ignore-file: AlwaysUseLowerCamelCase

import CVQDiffusion
import VQDiffusion

@implementation @_cdecl("vqd_step")
public func vqd_step(
    _ schedule: UnsafePointer<vqd_schedule>!, _ timestep: Int64, _ previous_timestep: Int64,
    _ model_output: UnsafePointer<vqd_tensor>!, _ sample: UnsafePointer<vqd_tensor>!,
    _ draw: UnsafePointer<vqd_draw>!, _ options: UnsafePointer<vqd_step_options>!,
    _ prev_sample: UnsafePointer<vqd_tensor>!, _ context: UnsafeMutablePointer<vqd_context>!
) -> vqd_status {
    call(context) { (parallelism) throws(ArgumentError) in
        let step = try reverseStep(schedule, from: timestep, to: previous_timestep).remasking(
            options?.pointee.remask ?? 0)
        guard let draw = draw?.pointee else { throw ArgumentError("draw", .missing) }
        let guidance = options?.pointee.guidance?.pointee
        let known = try knownTokens(options?.pointee.known)
        if let unmask = options?.pointee.unmask?.pointee {
            try refuseRemask(options.pointee)
            return try reveal(
                step, model_output, guidance, sample, known, draw, unmask, tokens(prev_sample),
                parallelism)
        }
        switch vqd_draw_method(rawValue: UInt32(bitPattern: draw.method)) {
        case VQD_GUMBEL:
            if let guidance {
                try step.sampleGumbelMax(
                    from: guided(model_output, by: guidance), given: observed(sample, step),
                    known: known, uniforms: classUniforms(draw), into: tokens(prev_sample),
                    parallelism: parallelism)
            } else {
                try step.sampleGumbelMax(
                    from: plain(model_output), given: observed(sample, step),
                    known: known, uniforms: classUniforms(draw), into: tokens(prev_sample),
                    parallelism: parallelism)
            }
        case VQD_INVERSE_CDF:
            if let guidance {
                try step.sampleInverseCDF(
                    from: guided(model_output, by: guidance), given: observed(sample, step),
                    known: known, uniforms: pixelUniforms(draw), into: tokens(prev_sample),
                    parallelism: parallelism)
            } else if model_output?.pointee.rank == 2 {
                try step.completeInverseCDF(
                    from: Tensor(model_output, rank: 2, "model_output").columns(),
                    given: observed(sample, step),
                    known: known, uniforms: pixelUniforms(draw), into: tokens(prev_sample),
                    parallelism: parallelism)
            } else {
                try step.sampleInverseCDF(
                    from: plain(model_output), given: observed(sample, step),
                    known: known, uniforms: pixelUniforms(draw), into: tokens(prev_sample),
                    parallelism: parallelism)
            }
        default:
            throw ArgumentError("method", .unknown(Int(draw.method), of: "vqd_draw_method"))
        }
    }
}

@implementation @_cdecl("vqd_plan")
public func vqd_plan(
    _ schedule: UnsafePointer<vqd_schedule>!, _ timestep: Int64, _ previous_timestep: Int64,
    _ sample: UnsafePointer<vqd_tensor>!, _ options: UnsafePointer<vqd_step_options>!,
    _ uniforms: UnsafePointer<vqd_tensor>!, _ needed: UnsafePointer<vqd_tensor>!,
    _ context: UnsafeMutablePointer<vqd_context>!
) -> vqd_status {
    call(context) { (_) throws(ArgumentError) in
        let step = try reverseStep(schedule, from: timestep, to: previous_timestep).remasking(
            options?.pointee.remask ?? 0)
        let known = try knownTokens(options?.pointee.known)
        let uniforms = try Tensor(uniforms, rank: 2, "uniforms").uniformGrid()
        let needed = try Tensor(needed, rank: 2, "needed").output(VQD_BOOL8)
        if let unmask = options?.pointee.unmask?.pointee {
            try refuseRemask(options.pointee)
            try step.planReveal(
                given: Tensor(sample, rank: 2, "sample").classIndices(), known: known,
                uniforms: uniforms, by: unmaskOptions(unmask), into: needed)
        } else {
            try step.planInverseCDF(
                given: observed(sample, step), known: known, uniforms: uniforms, into: needed)
        }
    }
}

func plain(_ modelOutput: UnsafePointer<vqd_tensor>?) throws(ArgumentError)
    -> LogProbabilities
{
    try Tensor(modelOutput, rank: 3, "model_output").logProbabilities()
}

func guided(_ modelOutput: UnsafePointer<vqd_tensor>?, by guidance: vqd_guidance)
    throws(ArgumentError) -> GuidedModelOutput
{
    GuidedModelOutput(
        unconditional: guidance.log_p_uncond == nil
            ? nil : try Tensor(guidance.log_p_uncond, rank: 3, "log_p_uncond").logProbabilities(),
        conditional: try Tensor(modelOutput, rank: 3, "log_p_cond").logProbabilities(),
        guidanceScale: guidance.scale, truncationRate: guidance.truncation_rate,
        floor: guidance.floor, topK: guidance.top_k == 0 ? nil : Int(guidance.top_k),
        temperature: guidance.temperature == 0 ? 1 : guidance.temperature)
}

/// The sample of a step, or nil where the step does not look at it.
private func observed(_ sample: UnsafePointer<vqd_tensor>?, _ step: ReverseStep)
    throws(ArgumentError) -> ClassIndices?
{
    step.readsSample ? try Tensor(sample, rank: 2, "sample").classIndices() : nil
}

/// The classes that pixels are given, or nil where nothing is known.
private func knownTokens(_ known: UnsafePointer<vqd_tensor>?) throws(ArgumentError)
    -> ClassIndices?
{
    known == nil ? nil : try Tensor(known, rank: 2, "known").classIndices()
}

/// Where the uniforms of Gumbel noise come from.
private func classUniforms(_ draw: vqd_draw) throws(ArgumentError) -> UniformSource {
    if let uniforms = draw.uniforms {
        try refuseOtherSources(draw, where: "uniforms are given")
        return .given(try Tensor(uniforms, rank: 3, "uniforms").classUniforms())
    }
    if let engine = draw.engine {
        guard draw.fill == nil else {
            throw ArgumentError("fill", .superfluous(where: "an engine is given"))
        }
        return .mersenneTwister(
            state: UnsafeMutableRawPointer(engine).assumingMemoryBound(to: UInt32.self))
    }
    guard let fill = draw.fill else { throw ArgumentError("uniforms", .missing) }
    return .function(fill, context: draw.fill_context)
}

/// The uniforms of a draw that takes one for each pixel.
func pixelUniforms(_ draw: vqd_draw) throws(ArgumentError) -> UniformGrid {
    try refuseOtherSources(draw, where: "the method is VQD_INVERSE_CDF")
    return try Tensor(draw.uniforms, rank: 2, "uniforms").uniformGrid()
}

/// - Throws: `ArgumentError` when there is an engine or a function beside the uniforms.
private func refuseOtherSources(_ draw: vqd_draw, where condition: StaticString)
    throws(ArgumentError)
{
    guard draw.engine == nil else {
        throw ArgumentError("engine", .superfluous(where: condition))
    }
    guard draw.fill == nil else { throw ArgumentError("fill", .superfluous(where: condition)) }
}

/// Where the tokens of a step go.
private func tokens(_ prevSample: UnsafePointer<vqd_tensor>?) throws(ArgumentError)
    -> OutputTensor
{
    try Tensor(prevSample, rank: 2, "prev_sample").output(VQD_INT64)
}
