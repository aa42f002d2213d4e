/// Guided and truncated columns that are not stored: which classes of each pixel are left is, a bit each, and what those hold is worked out again where a
/// race comes by. A bit for a number of 32, and truncation leaves few.
struct TruncatedColumns<E: FloatingElement>: RaceColumns, ~Copyable {
    typealias Real = E.Real
    typealias ClassRow = (kept: UnsafePointer<UInt16>, unconditional: UnsafeRawPointer, conditional: UnsafeRawPointer, normalisers: UnsafePointer<E.Real>)

    private let guided: GuidedColumns<E>
    private let groups: Int
    /// Sixteen bits for every batch row, group of sixteen pixels and class: the pixels at which the class holds more than the floor.
    private let kept: Scratch<UInt16>
    private let keptStride: Int
    /// What is taken off the guided log-probabilities of each pixel.
    private let normalisers: Scratch<E.Real>
    private let least: E.Real.Vector

    var classes: Int { guided.conditional.classes }

    var roomPerGroup: Int { 0 }
    var floor: E.Real.Vector? { least }

    @inline(__always)
    func isAtFloor(_ classRow: ClassRow, group: Int) -> Bool { classRow.kept[group &* keptStride] == 0 }

    @inline(__always)
    func classRow(_ k: Int, row: Int, groups: Range<Int>, room: UnsafeMutablePointer<E.Real>) -> ClassRow {
        (
            UnsafePointer(kept.pointer + (row &* self.groups &* keptStride &+ k)), guided.unconditional.pointer(row: row, class: k),
            guided.conditional.pointer(row: row, class: k), UnsafePointer(normalisers.pointer + row &* self.groups &* 16)
        )
    }

    @inline(__always)
    func load(_ classRow: ClassRow, group: Int) -> E.Real.Vector {
        let bits = classRow.kept[group &* keptStride]
        guard bits != 0 else { return least }
        let x = guided.load(unconditional: classRow.unconditional, conditional: classRow.conditional, group: group)
        return (x - E.Real.Vector(at: classRow.normalisers + group &* 16)).kept(where: bits, else: least)
    }

    /// Guides and truncates a model's output and enters its columns into a plan, in one go over it.
    ///
    /// - Parameter plan: of which the classes are set.
    /// - Returns: nil when a column has a mass beyond the plain exponentials of the element type. The plan is of no use then.
    /// - Throws: `ArgumentError` for a column with NaN or +∞, or without mass.
    static func of(
        _: E.Type, _ output: GuidedModelOutput, _ step: ReverseStep, enteredInto plan: borrowing PosteriorPlan<E.Real>, parallelism: Parallelism
    ) throws(ArgumentError) -> TruncatedColumns? {
        typealias V = E.Real.Vector
        let p = output.conditional
        let groups = (p.pixels + 15) / 16
        let preparation = Preparation(output: output, batch: p.batch, columns: p.pixels, selection: nil, parallelism: parallelism)
        let guided = try preparation.guidedColumns(E.self)
        // A line of the cache more than the classes need: one class of all groups would share a set of the cache else.
        let keptStride = (p.classes + 31) / 32 * 32 + 32
        let kept = try Scratch<UInt16>(p.batch * groups * keptStride)
        let normalisers = try Scratch<E.Real>(p.batch * groups * 16)
        let apart = try Scratch<Int32>(p.batch * groups * 16)
        let others = try Scratch<Double>(p.batch * groups * 16)
        let own = try Scratch<E.Real>(p.batch * groups * 16)
        let unreliable = try Scratch<Bool>(p.batch * groups, filledWith: false)
        for at in 0..<p.batch * groups * 16 { apart[at] = step.countedApart(plan.classes[at]) }
        let floor = V(repeating: E.Real(output.floor))
        try preparation.forEachGroup(E.self, guided) { row, group, tile, at, logs in
            let start = (row * groups + group) * 16
            (normalisers.pointer + start).update(from: logs, count: 16)
            tile.keep(
                group: at, floor: floor, apart: apart.pointer + start, kept: kept.pointer + (row * groups + group) * keptStride,
                others: others.pointer + start, own: own.pointer + start)
            for pixel in start..<start + 16 {
                let (shown, x) = (plan.classes[pixel], own[pixel].asDouble)
                if let logMass = step.mass(of: shown).log(E.Real.self, ownLog: x, others: others[pixel], classes: p.classes) {
                    plan.set(pixel, step, own: x, logMass: logMass)
                } else {
                    unreliable[row * groups + group] = true
                }
            }
        }
        for at in 0..<p.batch * groups where unreliable[at] { return nil }
        return TruncatedColumns(guided: guided, groups: groups, kept: kept, keptStride: keptStride, normalisers: normalisers, least: floor)
    }
}
