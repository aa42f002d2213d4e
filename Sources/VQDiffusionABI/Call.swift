import CVQDiffusion
import VQDiffusion

/// Runs the body of an entry point: an error becomes a status, and a sentence in the context.
func call(
    _ context: UnsafeMutablePointer<vqd_context>?,
    _ body: (Parallelism) throws(ArgumentError) -> Void
) -> vqd_status {
    do throws(ArgumentError) {
        try body(Parallelism(threads: Int(context?.pointee.num_threads ?? 0)))
        return VQD_OK
    } catch {
        if let context { write(error.message, to: context) }
        switch error.problem {
        case .elementType: return VQD_TYPE_ERROR
        case .outOfMemory: return VQD_MEMORY_ERROR
        default: return VQD_VALUE_ERROR
        }
    }
}

/// Copies a message, cut to the room there is.
private func write(_ message: [UInt8], to context: UnsafeMutablePointer<vqd_context>) {
    withUnsafeMutableBytes(of: &context.pointee.message) { buffer in
        let length = min(message.count, buffer.count - 1)
        for i in 0..<length { buffer[i] = message[i] }
        buffer[length] = 0
    }
}

/// The schedule behind a pointer.
func schedule(_ pointer: UnsafePointer<vqd_schedule>?) throws(ArgumentError) -> NoiseSchedule {
    guard let schedule = pointer?.pointee else { throw ArgumentError("schedule", .missing) }
    guard schedule.num_timesteps >= 1 else {
        throw ArgumentError("num_timesteps", .tooSmall(Int(schedule.num_timesteps), lower: 1))
    }
    guard let alpha = schedule.alpha_cumulative else {
        throw ArgumentError("alpha_cumulative", .missing)
    }
    guard let gamma = schedule.gamma_cumulative else {
        throw ArgumentError("gamma_cumulative", .missing)
    }
    return try NoiseSchedule(
        classes: Int(schedule.num_classes),
        alphaCumulative: UnsafeBufferPointer(start: alpha, count: Int(schedule.num_timesteps)),
        gammaCumulative: UnsafeBufferPointer(start: gamma, count: Int(schedule.num_timesteps)))
}

/// The reverse step from t to s of the schedule behind a pointer.
func reverseStep(
    _ pointer: UnsafePointer<vqd_schedule>?, from t: Int64, to s: Int64,
    names: (t: StaticString, s: StaticString) = ("timestep", "previous_timestep")
) throws(ArgumentError) -> ReverseStep {
    try schedule(pointer).reverseStep(from: Int(t), to: Int(s), names: names)
}

/// Memory for `count` doubles behind a pointer.
///
/// - Throws: `ArgumentError` when the pointer is null or the count, which is that of the timesteps,
///   no number of things.
func doubles(
    _ pointer: UnsafeMutablePointer<Double>?, _ count: Int, _ name: StaticString
) throws(ArgumentError) -> UnsafeMutableBufferPointer<Double> {
    guard count >= 0 else { throw ArgumentError("num_timesteps", .tooSmall(count, lower: 2)) }
    guard let pointer else { throw ArgumentError(name, .missing) }
    return UnsafeMutableBufferPointer(start: pointer, count: count)
}
