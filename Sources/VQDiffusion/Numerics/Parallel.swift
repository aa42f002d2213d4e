import CVQDiffusion

/// How many threads a call may use.
public struct Parallelism: Sendable {
    /// Threads at most; 0 stands for the cores this thread may run on.
    public var threads: Int

    public init(threads: Int = 0) { self.threads = threads }

    /// Below this many exponentials, starting a thread (0.02 to 0.1 ms) costs more than it saves.
    private static var worthwhile: Int { 1 << 17 }

    /// The threads to use for a call that evaluates `work` exponentials.
    func threads(forWork work: Int) -> Int {
        guard threads != 1, work >= Parallelism.worthwhile else { return 1 }
        return min(threads > 0 ? threads : Int(vqd_available_cores()), Int(VQD_MAX_THREADS))
    }
}

/// Runs `body` for every task in `0..<tasks`, on at most `threads` threads, and returns when all have ended.
///
/// - Throws: the error of the lowest task that failed, so that the error does not depend on the number of threads.
func parallel(
    tasks: Int, threads: Int, _ body: (Int) throws(ArgumentError) -> Void
) throws(ArgumentError) {
    guard threads > 1 && tasks > 1 else {
        for task in 0..<max(tasks, 0) { try body(task) }
        return
    }
    let errors = try Scratch<ArgumentError?>(tasks, filledWith: nil)
    withoutActuallyEscaping(body) { body in
        var job = ParallelJob(body: body, errors: errors.pointer)
        withUnsafeMutablePointer(to: &job) { job in
            vqd_parallel(Int64(tasks), Int32(clamping: threads), runTask, job)
        }
    }
    for task in 0..<tasks {
        if let error = errors[task] { throw error }
    }
}

private struct ParallelJob {
    var body: (Int) throws(ArgumentError) -> Void
    var errors: UnsafeMutablePointer<ArgumentError?>
}

private func runTask(_ context: UnsafeMutableRawPointer?, _ task: Int64) {
    let job = context!.assumingMemoryBound(to: ParallelJob.self)
    do throws(ArgumentError) {
        try job.pointee.body(Int(task))
    } catch {
        job.pointee.errors[Int(task)] = error
    }
}
