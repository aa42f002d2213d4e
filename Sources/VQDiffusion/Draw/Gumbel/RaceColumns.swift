import CVQDiffusion

/// The columns of a batch row as a race over their classes reads them: a class after the other,
/// sixteen pixels at a time.
protocol RaceColumns: ~Copyable {
    associatedtype Real: RealScalar
    /// Where the elements of one class are.
    associatedtype ClassRow

    var classes: Int { get }
    /// Working memory for each group of sixteen pixels, in elements.
    var roomPerGroup: Int { get }
    /// Gets ready for reading a class of some groups. Called for one class after the other, with
    /// the same memory.
    func classRow(_ k: Int, row: Int, groups: Range<Int>, buffer: UnsafeMutablePointer<Real>)
        -> ClassRow
    /// The log-probabilities of the class at a group, whose spare lanes repeat the last pixel.
    func load(_ classRow: ClassRow, group: Int) -> Real.Vector
}

/// Log-probabilities as they lie in memory.
struct StoredColumns<E: FloatingElement>: RaceColumns, ~Copyable {
    typealias Real = E.Real
    /// In the model's output, or where sixteen classes have been copied to.
    typealias ClassRow = (source: UnsafeRawPointer, copy: UnsafePointer<E.Real>?)

    private let p: LogProbabilities
    private let lanes: Scratch<LaneGroup>
    /// Classes are neighbours in memory and pixels are not: sixteen classes of sixteen pixels are
    /// loaded at once and transposed.
    private let transposes: Bool

    init(_ p: LogProbabilities) throws(ArgumentError) {
        self.p = p
        lanes = try PixelList.run(0..<p.pixels).laneGroups(
            pixelStride: p.pixelStride, elementSize: E.size)
        transposes = p.classStride == E.size && p.pixelStride != E.size
    }

    var classes: Int { p.classes }
    var roomPerGroup: Int { transposes ? blockOfClasses * 16 : 0 }

    @inline(__always)
    func classRow(_ k: Int, row: Int, groups: Range<Int>, buffer: UnsafeMutablePointer<E.Real>)
        -> ClassRow
    {
        guard transposes else { return (p.pointer(row: row, class: k), nil) }
        let place = k % blockOfClasses
        if place == 0 { copy(k, row: row, groups: groups, into: buffer) }
        return (p.base, UnsafePointer(buffer) + (place &* 16 &- groups.lowerBound &* roomPerGroup))
    }

    private func copy(
        _ first: Int, row: Int, groups: Range<Int>, into buffer: UnsafeMutablePointer<E.Real>
    ) {
        let count = min(blockOfClasses, classes - first)
        for group in groups {
            lanes.pointer[group].load(
                E.self, row: p.pointer(row: row), classStride: p.classStride, first: first,
                count: count,
                into: buffer + (group &- groups.lowerBound) &* roomPerGroup)
        }
    }

    @inline(__always)
    func load(_ classRow: ClassRow, group: Int) -> E.Real.Vector {
        if let copy = classRow.copy {
            return E.Real.Vector(at: copy + group &* blockOfClasses &* 16)
        }
        // Every class row lies in pages of its own, where the hardware does not look ahead.
        vqd_prefetch(classRow.source + (4 &* p.classStride &+ lanes.pointer[group].offsets[0]))
        return lanes.pointer[group].load(E.self, row: classRow.source)
    }
}
