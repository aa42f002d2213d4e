/// The pixels of a chunk by the class that they show.
struct PixelsByClass: ~Copyable {
    /// `first[k]` is one of the pixels that show class k, `next` leads to the others, -1 ends.
    let first, next: Scratch<Int32>

    /// - Parameter classes: one for every pixel, up to `maskClass`.
    init(_ classes: UnsafePointer<Int32>, count: Int, maskClass: Int) throws(ArgumentError) {
        let first = try Scratch<Int32>(maskClass + 1, filledWith: -1)
        let next = try Scratch<Int32>(count)
        for n in 0..<count {
            let shown = Int(classes[n])
            next[n] = first[shown]
            first[shown] = Int32(truncatingIfNeeded: n)
        }
        self.first = first
        self.next = next
    }
}
