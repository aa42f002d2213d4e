import CVQDiffusion

/// Working memory of one call, freed when it goes out of scope. Unlike `Array`, running out is an
/// error and not a trap.
struct Scratch<Element>: ~Copyable {
    let pointer: UnsafeMutablePointer<Element>

    /// Uninitialised memory for `count` trivial values, aligned for vectors.
    init(_ count: Int) throws(ArgumentError) {
        let (bytes, overflow) = max(count, 1).multipliedReportingOverflow(
            by: MemoryLayout<Element>.stride)
        guard !overflow, let memory = vqd_allocate(bytes) else {
            throw ArgumentError("scratch", .outOfMemory(bytes: bytes))
        }
        pointer = memory.bindMemory(to: Element.self, capacity: max(count, 1))
    }

    /// Memory for `count` copies of a value.
    init(_ count: Int, filledWith value: Element) throws(ArgumentError) {
        try self.init(count)
        pointer.initialize(repeating: value, count: max(count, 1))
    }

    deinit { vqd_free(pointer) }

    subscript(index: Int) -> Element {
        @inline(__always) get { pointer[index] }
        @inline(__always) nonmutating set { pointer[index] = newValue }
    }
}
