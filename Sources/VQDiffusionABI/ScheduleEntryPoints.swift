// C names are those of vqdiffusion.h.
// swift-format-ignore-file: AlwaysUseLowerCamelCase

import CVQDiffusion
import VQDiffusion

// The contract of every entry point is in vqdiffusion.h.

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

@implementation @_cdecl("vqd_step_coefficients")
public func vqd_step_coefficients(
    _ schedule: UnsafePointer<vqd_schedule>!, _ timestep: Int64, _ previous_timestep: Int64,
    _ remask: Double, _ out: UnsafeMutablePointer<vqd_coefficients>!,
    _ context: UnsafeMutablePointer<vqd_context>!
) -> vqd_status {
    call(context) { (_) throws(ArgumentError) in
        let step = try reverseStep(schedule, from: timestep, to: previous_timestep).remasking(
            remask)
        guard let out else { throw ArgumentError("out", .missing) }
        let (masked, unmasked) = (step.coefficients.masked, step.coefficients.unmasked)
        out.pointee = vqd_coefficients(
            alpha: step.transition.alpha, beta: step.transition.beta, gamma: step.transition.gamma,
            alpha_cumulative: step.now.alpha, beta_cumulative: step.now.beta,
            gamma_cumulative: step.now.gamma,
            previous_alpha_cumulative: step.earlier.alpha,
            previous_beta_cumulative: step.earlier.beta,
            previous_gamma_cumulative: step.earlier.gamma,
            masked_signal: masked.signal, masked_level: masked.level, masked_mask: masked.mask,
            other_weight: step.coefficients.otherWeight, own_weight: step.coefficients.ownWeight,
            signal: unmasked.signal, level: unmasked.level,
            own_signal: unmasked.ownSignal, own_level: unmasked.ownLevel, mask: unmasked.mask,
            uniform_share: step.coefficients.uniformShare, settled: step.coefficients.settled,
            own_mask: unmasked.ownMask, remask: step.coefficients.remask)
    }
}
