/// Draws a class of one column from softmax(x / temperature) by one uniform, given the masses of
/// its segments: finds the segment, then reads that once more.
///
/// Masses are right to some 3e-7 relative (float32); a class of logit -∞ is never drawn.
struct ColumnDraw<Real: RealScalar> {
    let p: LogProbabilities
    let row, pixel: Int
    /// Of the column's logits.
    let largest: Double
    /// 1 / temperature.
    let sharpness: Real
    /// Classes of a segment.
    let segmentRows: Int

    private var elements: Elements<Real> { Elements(type: p.elementType) }

    /// - Parameters:
    ///   - u: in [0, 1).
    ///   - mass: the mass of a segment, relative to that of the largest logit.
    func draw(_ u: Double, segments: Int, mass: (Int) -> Double) -> Int {
        var total = 0.0
        for segment in 0..<segments { total += mass(segment) }
        var (rest, target) = (u * total, 0.0)
        var chosen = 0
        for segment in 0..<segments {
            let mass = mass(segment)
            // A segment of nothing but -∞ sums to the smallest exponentials.
            guard mass > Real.flushedMass * Double(segmentRows) else { continue }
            (chosen, target) = (segment, rest)
            if rest < mass { break }
            rest -= mass
        }
        let first = chosen * segmentRows
        return invert(target, classes: first..<min(p.classes, first + segmentRows))
    }

    /// The first class of a segment at which the running mass exceeds `target`; the last with any
    /// mass where rounding leaves none.
    private func invert(_ target: Double, classes: Range<Int>) -> Int {
        typealias V = Real.Vector
        let group = LaneGroup(
            PixelList.run(0..<16), from: 0, pixelStride: p.classStride, elementSize: p.elementSize)
        var (rest, last) = (target, classes.lowerBound)
        for first in stride(from: classes.lowerBound, to: classes.upperBound, by: 16) {
            let count = min(16, classes.upperBound - first)
            let x = sharpened(first, count, group)
            let weights = V.expOfNegative(x)
            for lane in 0..<count where x[lane] > Real.smallestExponent {
                last = first + lane
                let weight = weights[lane].asDouble
                if rest < weight { return last }
                rest -= weight
            }
        }
        return last
    }

    /// Draws from the whole column by one uniform in [0, 1), in two reads of it.
    func draw(_ u: Double) -> Int {
        let group = LaneGroup(
            PixelList.run(0..<16), from: 0, pixelStride: p.classStride, elementSize: p.elementSize)
        var total = 0.0
        for first in stride(from: 0, to: p.classes, by: 16) {
            let count = min(16, p.classes - first)
            let x = sharpened(first, count, group)
            let weights = Real.Vector.expOfNegative(x)
            for lane in 0..<count where x[lane] > Real.smallestExponent {
                total += weights[lane].asDouble
            }
        }
        return invert(u * total, classes: 0..<p.classes)
    }

    /// (x - largest) / temperature of up to sixteen classes, -∞ beyond them.
    @inline(__always)
    private func sharpened(_ first: Int, _ count: Int, _ group: LaneGroup) -> Real.Vector {
        typealias V = Real.Vector
        var x = V(repeating: -.infinity)
        let source = p.pointer(row: row, class: first, pixel: pixel)
        if count == 16 {
            withUnsafeMutableBytes(of: &x) {
                elements.load(
                    group, row: source, classStride: 0, first: 0, count: 1,
                    into: $0.baseAddress!.assumingMemoryBound(to: Real.self))
            }
        } else {
            for lane in 0..<count { x[lane] = elements.load(source + lane &* p.classStride) }
        }
        return (x - V(repeating: Real(largest))) * V(repeating: sharpness)
    }
}
