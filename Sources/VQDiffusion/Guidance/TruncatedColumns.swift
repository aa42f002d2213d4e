/// Guided and truncated columns, stored as each column's threshold and a bit for each class that is
/// kept at some pixel of sixteen. Values are recomputed on demand; truncation keeps few.
struct TruncatedColumns<Real: RealScalar>: RaceColumns, ~Copyable {
    typealias ClassRow = (k: Int, row: Int, buffer: UnsafeMutablePointer<Real>)

    private let guided: GuidedColumns<Real>
    private let groups: Int
    /// Groups are numbered through all batch rows.
    private let kept: KeptClasses
    /// Where the columns are truncated; see `TruncationTile.findThresholds`.
    private let thresholds: Scratch<Real>
    private let lasts: Scratch<Int32>
    /// The logarithm of the mass of each pixel's guided column.
    private let normalisers: Scratch<Real>
    /// The floor, which replaces all that is not kept or is below.
    private let least: Real.Vector

    var classes: Int { guided.conditional.classes }

    /// For one group, which is more than needed.
    var roomPerGroup: Int { 32 }

    @inline(__always)
    func classRow(_ k: Int, row: Int, groups: Range<Int>, buffer: UnsafeMutablePointer<Real>)
        -> ClassRow
    {
        (k, row, buffer)
    }

    @inline(__always)
    func load(_ classRow: ClassRow, group: Int) -> Real.Vector {
        let at = classRow.row &* groups &+ group
        guard kept.contains(classRow.k, group: at) else { return least }
        let x =
            guided.load(
                row: classRow.row, class: classRow.k, group: group, buffer: classRow.buffer)
            - Real.Vector(at: normalisers.pointer + at &* 16)
        let bits = x.lanesKept(
            above: Real.Vector(at: thresholds.pointer + at &* 16),
            index: Int32(truncatingIfNeeded: classRow.k),
            last: UnsafeRawPointer(lasts.pointer + at &* 16).loadUnaligned(as: SIMD16<Int32>.self),
            floor: least)
        return x.kept(where: bits, else: least)
    }

    /// Guides and truncates a model's output and sets the coefficients of its columns, in one pass.
    ///
    /// - Parameter plan: with its classes set already.
    /// - Returns: nil, and a plan of no use, when a column has a mass beyond the plain exponentials
    ///   of the element type.
    /// - Throws: `ArgumentError` for a column with NaN or +∞, or without mass.
    static func of(
        _ output: GuidedModelOutput, _ step: ReverseStep,
        enteredInto plan: borrowing PosteriorCoefficients<Real>, parallelism: Parallelism
    ) throws(ArgumentError) -> TruncatedColumns? {
        typealias V = Real.Vector
        let p = output.conditional
        let groups = (p.pixels + 15) / 16
        let preparation = Preparation(
            output: output, batch: p.batch, columns: p.pixels, selection: nil,
            parallelism: parallelism)
        let guided = try preparation.guidedColumns(Real.self)
        let kept = try KeptClasses(classes: p.classes, groups: p.batch * groups)
        let thresholds = try Scratch<Real>(p.batch * groups * 16)
        let lasts = try Scratch<Int32>(p.batch * groups * 16)
        let normalisers = try Scratch<Real>(p.batch * groups * 16)
        let observed = try Scratch<Int32>(p.batch * groups * 16)
        let others = try Scratch<Double>(p.batch * groups * 16)
        let observedLogs = try Scratch<Real>(p.batch * groups * 16)
        let unreliable = try Scratch<Bool>(p.batch * groups, filledWith: false)
        for at in 0..<p.batch * groups * 16 { observed[at] = step.countedApart(plan.classes[at]) }
        let floor = V(repeating: Real(output.floor))
        try preparation.forEachGroup(Real.self, guided) { row, group, tile, at, logs in
            let start = (row * groups + group) * 16
            (normalisers.pointer + start).update(from: logs, count: 16)
            tile.keep(
                group: at, floor: floor, observed: observed.pointer + start, kept: kept,
                keptGroup: row * groups + group,
                thresholds: thresholds.pointer + start, lasts: lasts.pointer + start,
                others: others.pointer + start, observedLogs: observedLogs.pointer + start)
            for pixel in start..<start + 16 {
                let x = observedLogs[pixel].asDouble
                if let logMass = step.mass(of: plan.classes[pixel]).log(
                    Real.self, ownLog: x, others: others[pixel], classes: p.classes)
                {
                    plan.set(pixel, step, own: x, logMass: logMass)
                } else {
                    unreliable[row * groups + group] = true
                }
            }
        }
        for at in 0..<p.batch * groups where unreliable[at] { return nil }
        return TruncatedColumns(
            guided: guided, groups: groups, kept: kept, thresholds: thresholds, lasts: lasts,
            normalisers: normalisers, least: floor)
    }
}
