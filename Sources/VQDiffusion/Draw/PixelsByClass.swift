/// The pixels of a chunk that show one of some classes, by the class.
struct PixelsByClass: ~Copyable {
    /// `first[k - classes.lowerBound]` is the first pixel that shows class k, `next` leads to the
    /// others in rising order, -1 ends.
    let first, next: Scratch<Int32>

    /// - Parameter observed: a class for every pixel.
    init(_ observed: UnsafePointer<Int32>, count: Int, among classes: Range<Int>)
        throws(ArgumentError)
    {
        let first = try Scratch<Int32>(classes.count, filledWith: -1)
        let next = try Scratch<Int32>(count)
        for n in (0..<count).reversed() {
            let k = Int(observed[n])
            guard classes.contains(k) else { continue }
            next[n] = first[k - classes.lowerBound]
            first[k - classes.lowerBound] = Int32(truncatingIfNeeded: n)
        }
        self.first = first
        self.next = next
    }
}
