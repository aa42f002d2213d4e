// C names are those of vqdiffusion.h.
// swift-format-ignore-file: AlwaysUseLowerCamelCase

import CVQDiffusion
import VQDiffusion

@implementation @_cdecl("vqd_q_posterior")
public func vqd_q_posterior(
    _ schedule: UnsafePointer<vqd_schedule>!, _ t: Int64, _ s: Int64,
    _ log_p_x_0: UnsafePointer<vqd_tensor>!,
    _ x_t: UnsafePointer<vqd_tensor>!, _ out: UnsafePointer<vqd_tensor>!,
    _ context: UnsafeMutablePointer<vqd_context>!
) -> vqd_status {
    call(context) { (parallelism) throws(ArgumentError) in
        let step = try reverseStep(schedule, from: t, to: s, names: ("t", "s"))
        let p = try Tensor(log_p_x_0, rank: 3, "log_p_x_0").logProbabilities()
        let sample = try Tensor(x_t, rank: 2, "x_t").classIndices()
        let output = try Tensor(out, rank: 3, "out").output(p.resultType)
        try step.logPosterior(of: p, given: sample, into: output, parallelism: parallelism)
    }
}

@implementation @_cdecl("vqd_log_transition_rows")
public func vqd_log_transition_rows(
    _ schedule: UnsafePointer<vqd_schedule>!, _ t: Int64, _ cumulative: Int32,
    _ x_t: UnsafePointer<vqd_tensor>!,
    _ log_onehot_x_t: UnsafePointer<vqd_tensor>!, _ out: UnsafePointer<vqd_tensor>!,
    _ context: UnsafeMutablePointer<vqd_context>!
) -> vqd_status {
    call(context) { (parallelism) throws(ArgumentError) in
        let logOneHot = try Tensor(log_onehot_x_t, rank: 3, "log_onehot_x_t").logProbabilities()
        let sample = try Tensor(x_t, rank: 2, "x_t").classIndices()
        let output = try Tensor(out, rank: 3, "out").output(logOneHot.resultType)
        try VQDiffusionABI.schedule(schedule).logTransitionRows(
            at: Int(t), cumulative: cumulative != 0, given: sample, logOneHot: logOneHot,
            into: output, parallelism: parallelism)
    }
}

@implementation @_cdecl("vqd_apply_cumulative_transitions")
public func vqd_apply_cumulative_transitions(
    _ schedule: UnsafePointer<vqd_schedule>!, _ t: Int64, _ q: UnsafePointer<vqd_tensor>!,
    _ out: UnsafePointer<vqd_tensor>!,
    _ context: UnsafeMutablePointer<vqd_context>!
) -> vqd_status {
    call(context) { (parallelism) throws(ArgumentError) in
        let q = try Tensor(q, rank: 3, "q").logProbabilities()
        let output = try Tensor(out, rank: 3, "out").output(q.resultType)
        try VQDiffusionABI.schedule(schedule).applyCumulativeTransitions(
            at: Int(t), to: q, into: output, parallelism: parallelism)
    }
}

@implementation @_cdecl("vqd_index_to_log_onehot")
public func vqd_index_to_log_onehot(
    _ x: UnsafePointer<vqd_tensor>!, _ num_classes: Int64, _ out: UnsafePointer<vqd_tensor>!,
    _ context: UnsafeMutablePointer<vqd_context>!
) -> vqd_status {
    call(context) { (_) throws(ArgumentError) in
        let indices = try Tensor(x, rank: 2, "x").classIndices()
        try logOneHot(
            indices, classes: Int(num_classes),
            into: try Tensor(out, rank: 3, "out").output(VQD_FLOAT32))
    }
}
