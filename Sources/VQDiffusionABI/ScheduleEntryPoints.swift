// C names are those of vqdiffusion.h.
// swift-format-ignore-file: AlwaysUseLowerCamelCase

import CVQDiffusion
import VQDiffusion

// The contract of every entry point is in vqdiffusion.h.

@implementation @_cdecl("vqd_version")
public func vqd_version() -> UnsafePointer<CChar>! {
    let version: StaticString = "0.1.0"
    return UnsafeRawPointer(version.utf8Start).assumingMemoryBound(to: CChar.self)
}

@implementation @_cdecl("vqd_alpha_schedules")
public func vqd_alpha_schedules(
    _ num_timesteps: Int64, _ alpha_cum_start: Double, _ alpha_cum_end: Double,
    _ alpha: UnsafeMutablePointer<Double>!,
    _ alpha_cumulative: UnsafeMutablePointer<Double>!, _ context: UnsafeMutablePointer<vqd_context>!
) -> vqd_status {
    call(context) { (_) throws(ArgumentError) in
        let single = try doubles(alpha, Int(num_timesteps), "alpha")
        let cumulative = try doubles(alpha_cumulative, Int(num_timesteps), "alpha_cumulative")
        try LinearSchedule.fill(
            cumulative, from: alpha_cum_start, to: alpha_cum_end,
            names: ("alpha_cum_start", "alpha_cum_end"))
        for t in single.indices { single[t] = LinearSchedule.singleStepAlpha(cumulative, at: t) }
        alpha_cumulative[single.count] = 1
    }
}

@implementation @_cdecl("vqd_gamma_schedules")
public func vqd_gamma_schedules(
    _ num_timesteps: Int64, _ gamma_cum_start: Double, _ gamma_cum_end: Double,
    _ gamma: UnsafeMutablePointer<Double>!,
    _ gamma_cumulative: UnsafeMutablePointer<Double>!, _ context: UnsafeMutablePointer<vqd_context>!
) -> vqd_status {
    call(context) { (_) throws(ArgumentError) in
        let single = try doubles(gamma, Int(num_timesteps), "gamma")
        let cumulative = try doubles(gamma_cumulative, Int(num_timesteps), "gamma_cumulative")
        try LinearSchedule.fill(
            cumulative, from: gamma_cum_start, to: gamma_cum_end,
            names: ("gamma_cum_start", "gamma_cum_end"))
        for t in single.indices { single[t] = LinearSchedule.singleStepGamma(cumulative, at: t) }
        gamma_cumulative[single.count] = 0
    }
}

@implementation @_cdecl("vqd_schedule_check")
public func vqd_schedule_check(
    _ schedule: UnsafePointer<vqd_schedule>!, _ context: UnsafeMutablePointer<vqd_context>!
) -> vqd_status {
    call(context) { (_) throws(ArgumentError) in
        try VQDiffusionABI.schedule(schedule).checkChain()
    }
}

@implementation @_cdecl("vqd_schedule_logs")
public func vqd_schedule_logs(
    _ schedule: UnsafePointer<vqd_schedule>!, _ log_alpha: UnsafeMutablePointer<Double>!,
    _ log_beta: UnsafeMutablePointer<Double>!,
    _ log_gamma: UnsafeMutablePointer<Double>!,
    _ log_alpha_cumulative: UnsafeMutablePointer<Double>!,
    _ log_beta_cumulative: UnsafeMutablePointer<Double>!,
    _ log_gamma_cumulative: UnsafeMutablePointer<Double>!,
    _ context: UnsafeMutablePointer<vqd_context>!
) -> vqd_status {
    call(context) { (_) throws(ArgumentError) in
        let schedule = try VQDiffusionABI.schedule(schedule)
        let count = schedule.timesteps
        let single = (
            try doubles(log_alpha, count, "log_alpha"), try doubles(log_beta, count, "log_beta"),
            try doubles(log_gamma, count, "log_gamma")
        )
        let cumulative = (
            try doubles(log_alpha_cumulative, count + 1, "log_alpha_cumulative"),
            try doubles(log_beta_cumulative, count + 1, "log_beta_cumulative"),
            try doubles(log_gamma_cumulative, count + 1, "log_gamma_cumulative")
        )
        for t in 0..<count {
            let rates = try schedule.logSingleStep(at: t)
            (single.0[t], single.1[t], single.2[t]) = (rates.alpha, rates.beta, rates.gamma)
        }
        for index in 0...count {
            let rates = try schedule.logCumulative(at: index < count ? index : -1)
            (cumulative.0[index], cumulative.1[index], cumulative.2[index]) = (
                rates.alpha, rates.beta, rates.gamma
            )
        }
    }
}

@implementation @_cdecl("vqd_transition")
public func vqd_transition(
    _ schedule: UnsafePointer<vqd_schedule>!, _ s: Int64, _ t: Int64,
    _ probabilities: UnsafeMutablePointer<Double>!,
    _ context: UnsafeMutablePointer<vqd_context>!
) -> vqd_status {
    call(context) { (_) throws(ArgumentError) in
        let step = try VQDiffusionABI.schedule(schedule).reverseStep(
            from: Int(t), to: Int(s), names: ("t", "s"))
        let out = try doubles(probabilities, 3, "probabilities")
        (out[0], out[1], out[2]) = (
            step.transition.alpha, step.transition.beta, step.transition.gamma
        )
    }
}
