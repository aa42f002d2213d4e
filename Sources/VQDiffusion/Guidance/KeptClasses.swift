/// A bit for each class and group of sixteen pixels: whether the class is above the floor at one of
/// the pixels or more.
struct KeptClasses: ~Copyable {
    private let bytes: Scratch<UInt8>
    /// Bytes for each group.
    private let stride: Int

    /// All bits are unset.
    ///
    /// - Parameter groups: of all batch rows.
    init(classes: Int, groups: Int) throws(ArgumentError) {
        // Whole cache lines, because threads insert at once, and one more than needed: with a power
        // of two, the bytes of a class at all groups would share few sets of the cache.
        stride = (classes / 8 + 64) / 64 * 64 + 64
        bytes = try Scratch<UInt8>(stride * groups, filledWith: 0)
    }

    /// Branch-free: adds `k` when `isKept`. Threads may call it at once for different groups.
    @inline(__always)
    func insert(_ k: Int, group: Int, if isKept: Bool) {
        let bit: UInt8 = isKept ? 1 : 0
        // Not by a subscript: a change in place through one counts as access to all of the memory.
        (bytes.pointer + (group &* stride &+ k / 8)).pointee |=
            bit << UInt8(truncatingIfNeeded: k % 8)
    }

    @inline(__always)
    func contains(_ k: Int, group: Int) -> Bool {
        bytes[group &* stride &+ k / 8] & (1 << UInt8(truncatingIfNeeded: k % 8)) != 0
    }
}
