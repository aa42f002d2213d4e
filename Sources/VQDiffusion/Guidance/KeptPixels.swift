/// The pixels at which each class holds more than the floor: sixteen bits for every class and group of sixteen pixels.
///
/// Four classes of a group lie next to each other, and then those of the next group: a race looks at them in this order.
struct KeptPixels: ~Copyable {
    static var classesTogether: Int { 4 }

    private let bits: Scratch<UInt64>
    private let groups: Int

    /// None is kept at first.
    ///
    /// - Parameter groups: of all batch rows.
    init(classes: Int, groups: Int) throws(ArgumentError) {
        let blocks = (classes + KeptPixels.classesTogether - 1) / KeptPixels.classesTogether
        bits = try Scratch<UInt64>(blocks * groups, filledWith: 0)
        self.groups = groups
    }

    @inline(__always)
    subscript(k: Int, group group: Int) -> UInt16 {
        get { ofClasses(group)[place(k)] }
        nonmutating set { ofClasses(group)[place(k)] = newValue }
    }

    /// Whether no pixel is kept of four classes, of which the first is a multiple of four.
    @inline(__always)
    func areNone(from first: Int, group: Int) -> Bool { bits[first / KeptPixels.classesTogether &* groups &+ group] == 0 }

    /// Of the first class, from where `place` counts.
    @inline(__always)
    private func ofClasses(_ group: Int) -> UnsafeMutablePointer<UInt16> {
        UnsafeMutableRawPointer(bits.pointer + group).assumingMemoryBound(to: UInt16.self)
    }

    @inline(__always)
    private func place(_ k: Int) -> Int {
        let (block, i) = (k / KeptPixels.classesTogether, k % KeptPixels.classesTogether)
        return block &* groups &* KeptPixels.classesTogether &+ i
    }
}
