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

/// Runs `body` for every task in `0..<tasks`, on at most `threads` threads, and returns when all
/// have ended.
///
/// - Throws: the error of the lowest task that failed, so that the error does not depend on the
///   number of threads.
func parallel(
    tasks: Int, threads: Int, _ body: (Int) throws(ArgumentError) -> Void
) throws(ArgumentError) {
    guard threads > 1 && tasks > 1 else {
        for task in 0..<max(tasks, 0) { try body(task) }
        return
    }
    let errors = try Scratch<ArgumentError?>(tasks, filledWith: nil)
    // Swift checks that `body` has not escaped, and passes the length of the file's path: this one
    // is the same wherever the library is built.
    #sourceLocation(file:"Parallel",line:1)
    withoutActuallyEscaping(body) { body in
        var job = ParallelJob(body: body, errors: errors.pointer)
        withUnsafeMutablePointer(to: &job) { job in
            vqd_parallel(Int64(tasks), Int32(clamping: threads), runTask, job)
        }
    }
    #sourceLocation()
    for task in 0..<tasks {
        if let error = errors[task] { throw error }
    }
}

/// Runs `body` for every item in `0..<items`, on at most `threads` threads. Each begins with items
/// of its own that follow each other, and then takes of what the others have left: where items
/// write to new memory, two threads do not ask the system for the same large page, which it would
/// clear twice.
///
/// - Throws: an error of an item that failed; which, where several do, may depend on the number of
///   threads.
func parallelByShares(
    items: Int, threads: Int, _ body: (Int) throws(ArgumentError) -> Void
) throws(ArgumentError) {
    try parallelByShares(items: items, threads: threads) { (item, _) throws(ArgumentError) in
        try body(item)
    }
}

/// The same, where `body` also gets the number of the thread, 0 ..< `threads`, for memory of its
/// own.
func parallelByShares(
    items: Int, threads: Int, _ body: (_ item: Int, _ thread: Int) throws(ArgumentError) -> Void
) throws(ArgumentError) {
    let shares = min(threads, items)
    guard shares > 1 else {
        for item in 0..<max(items, 0) { try body(item, 0) }
        return
    }
    let line = 64 / MemoryLayout<Int64>.size
    let taken = try Scratch<Int64>(shares * line, filledWith: 0)
    try parallel(tasks: shares, threads: threads) { (own) throws(ArgumentError) in
        for i in 0..<shares {
            let share = (own + i) % shares
            let (first, end) = (share * items / shares, (share + 1) * items / shares)
            var item = first + Int(vqd_next(taken.pointer + share * line))
            while item < end {
                try body(item, own)
                item = first + Int(vqd_next(taken.pointer + share * line))
            }
        }
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
