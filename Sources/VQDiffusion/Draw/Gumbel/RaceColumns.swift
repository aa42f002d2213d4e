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

/// Log-probabilities as they lie in memory.
struct StoredColumns<E: FloatingElement>: RaceColumns, ~Copyable {
    typealias Real = E.Real
    /// Its place in the model's output, or in a copy of sixteen classes.
    typealias ClassRow = (source: UnsafeRawPointer, copy: UnsafePointer<E.Real>?)

    private let p: LogProbabilities
    private let lanes: Scratch<LaneGroup>
    /// Whether sixteen classes of sixteen pixels are loaded at once and transposed: where classes
    /// are neighbours in memory and pixels are not.
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
        // The hardware does not prefetch across pages, and every class row begins a new one.
        vqd_prefetch(classRow.source + (4 &* p.classStride &+ lanes.pointer[group].offsets[0]))
        return lanes.pointer[group].load(E.self, row: classRow.source)
    }
}

/// Log-probabilities of any type, copied sixteen classes at a time in double precision.
///
/// For uniforms in double precision: compiled once, where `StoredColumns` would be for four types.
struct CopiedColumns: RaceColumns, ~Copyable {
    private let p: LogProbabilities
    private let elements: Elements<Double>
    private let lanes: Scratch<LaneGroup>

    init(_ p: LogProbabilities) throws(ArgumentError) {
        (self.p, elements) = (p, Elements(type: p.elementType))
        lanes = try PixelList.run(0..<p.pixels).laneGroups(
            pixelStride: p.pixelStride, elementSize: p.elementSize)
    }

    var classes: Int { p.classes }
    var roomPerGroup: Int { blockOfClasses * 16 }

    /// Its place in a copy, less that of the first group of all.
    func classRow(_ k: Int, row: Int, groups: Range<Int>, buffer: UnsafeMutablePointer<Double>)
        -> UnsafePointer<Double>
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
    func load(_ classRow: UnsafePointer<Double>, group: Int) -> DoubleVector {
        DoubleVector(at: classRow + group &* roomPerGroup)
    }
}
