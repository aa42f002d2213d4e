import CVQDiffusion

/// The columns of a batch as `ArgmaxRace` reads them: class after class, sixteen pixels at a time.
protocol RaceColumns: ~Copyable {
    associatedtype Real: RealScalar
    /// Locates the elements of one class of a batch row.
    associatedtype ClassRow

    var classes: Int { get }
    /// Working memory for each group of sixteen pixels, in elements.
    var roomPerGroup: Int { get }
    /// Prepares reading a class of some groups of a batch row. Called for all classes in order,
    /// with the same buffer.
    func classRow(_ k: Int, row: Int, groups: Range<Int>, buffer: UnsafeMutablePointer<Real>)
        -> ClassRow
    /// The log-probabilities of the class at a group, whose spare lanes repeat the last pixel.
    func load(_ classRow: ClassRow, group: Int) -> Real.Vector
}

/// Log-probabilities in float32, read where they are.
struct StoredColumns: RaceColumns, ~Copyable {
    private let p: LogProbabilities
    private let lanes: Scratch<LaneGroup>

    init(_ p: LogProbabilities) throws(ArgumentError) {
        self.p = p
        lanes = try PixelList.run(0..<p.pixels).laneGroups(
            pixelStride: p.pixelStride, elementSize: Float.size)
    }

    /// Nothing is gained where the classes of a pixel are neighbours: `CopiedColumns` transposes.
    static func suit(_ p: LogProbabilities) -> Bool {
        p.elementType == .float32 && (p.classStride != Float.size || p.pixelStride == Float.size)
    }

    var classes: Int { p.classes }
    var roomPerGroup: Int { 0 }

    @inline(__always)
    func classRow(_ k: Int, row: Int, groups: Range<Int>, buffer: UnsafeMutablePointer<Float>)
        -> UnsafeRawPointer
    {
        p.pointer(row: row, class: k)
    }

    @inline(__always)
    func load(_ classRow: UnsafeRawPointer, group: Int) -> FloatVector {
        // The hardware does not prefetch across pages, and every class row begins a new one.
        vqd_prefetch(classRow + (4 &* p.classStride &+ lanes.pointer[group].offsets[0]))
        return lanes.pointer[group].load(Float.self, row: classRow)
    }
}

/// Log-probabilities of any type and layout, copied sixteen classes at a time: compiled once for
/// each precision.
struct CopiedColumns<Real: RealScalar>: RaceColumns, ~Copyable {
    private let p: LogProbabilities
    private let elements: Elements<Real>
    private let lanes: Scratch<LaneGroup>

    init(_ p: LogProbabilities) throws(ArgumentError) {
        (self.p, elements) = (p, Elements(type: p.elementType))
        lanes = try PixelList.run(0..<p.pixels).laneGroups(
            pixelStride: p.pixelStride, elementSize: p.elementSize)
    }

    var classes: Int { p.classes }
    var roomPerGroup: Int { blockOfClasses * 16 }

    /// Its place in a copy, less that of the first group of all.
    func classRow(_ k: Int, row: Int, groups: Range<Int>, buffer: UnsafeMutablePointer<Real>)
        -> UnsafePointer<Real>
    {
        let place = k % blockOfClasses
        if place == 0 {
            for group in groups {
                elements.load(
                    lanes.pointer[group], row: p.pointer(row: row), classStride: p.classStride,
                    first: k, count: min(blockOfClasses, classes - k),
                    into: buffer + (group - groups.lowerBound) * roomPerGroup)
            }
        }
        return UnsafePointer(buffer) + (place &* 16 &- groups.lowerBound &* roomPerGroup)
    }

    @inline(__always)
    func load(_ classRow: UnsafePointer<Real>, group: Int) -> Real.Vector {
        Real.Vector(at: classRow + group &* roomPerGroup)
    }
}
