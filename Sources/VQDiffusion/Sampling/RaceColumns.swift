import CVQDiffusion

/// The columns of a batch row as a race over their classes reads them: a class after the other, sixteen pixels at a time.
protocol RaceColumns: ~Copyable {
    associatedtype Real: RealScalar
    /// Where the elements of one class are.
    associatedtype ClassRow

    var classes: Int { get }
    func classRow(_ k: Int, row: Int) -> ClassRow
    /// The log-probabilities of the class at a group of sixteen pixels, whose spare lanes repeat the last pixel.
    func load(_ classRow: ClassRow, group: Int) -> Real.Vector
}

/// Log-probabilities as they lie in memory.
struct StoredColumns<E: FloatingElement>: RaceColumns, ~Copyable {
    typealias Real = E.Real
    typealias ClassRow = UnsafeRawPointer

    private let p: LogProbabilities
    private let lanes: Scratch<LaneGroup>

    init(_ p: LogProbabilities) throws(ArgumentError) {
        self.p = p
        lanes = try PixelList.run(0..<p.pixels).laneGroups(pixelStride: p.pixelStride, elementSize: E.size)
    }

    var classes: Int { p.classes }

    @inline(__always)
    func classRow(_ k: Int, row: Int) -> UnsafeRawPointer { p.pointer(row: row, class: k) }

    @inline(__always)
    func load(_ classRow: UnsafeRawPointer, group: Int) -> E.Real.Vector {
        // Every class row lies in pages of its own, where the hardware does not look ahead.
        vqd_prefetch(classRow + (4 &* p.classStride &+ lanes.pointer[group].offsets[0]))
        return lanes.pointer[group].load(E.self, row: classRow)
    }
}
