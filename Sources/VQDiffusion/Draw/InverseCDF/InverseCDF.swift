import CVQDiffusion

/// What one uniform decides about a pixel before its column is read.
enum Draw {
    case settled(Int32)
    /// The column has to be read.
    case needsColumn
}

extension ReverseStep {
    /// Decides the pixel by the uniform alone, where that is possible.
    ///
    /// A masked pixel stays masked with probability γ̄_s/γ̄_t whatever the model says, and takes a
    /// class of the uniform part β̄_s with a probability that needs no column either; an unmasked
    /// one is masked again with probability σ, and keeps its class with at least
    /// (1 - σ) (α + β) β̄_s/β̄_t.
    @inline(__always)
    func draw(_ u: Double, observed: Int32) -> Draw {
        if observed == maskClass {
            if drawsModelOutput { return .needsColumn }
            if u < coefficients.stay { return .settled(maskClass) }
            let (v, uniform) = unmasking(u)
            if v < uniform {
                return .settled(min(Int32(v * Double(classes) / uniform), maskClass - 1))
            }
            return .needsColumn
        }
        let rest = u - coefficients.remask
        if rest < 0 { return .settled(maskClass) }
        return rest < coefficients.settled || isAbsorbing ? .settled(observed) : .needsColumn
    }

    /// For a masked pixel that u unmasks: u rescaled to [0, 1), and the share of the uniform part
    /// in it.
    @inline(__always)
    private func unmasking(_ u: Double) -> (v: Double, uniform: Double) {
        let stay = coefficients.stay
        return ((u - stay) / (1 - stay), coefficients.uniformShare)
    }

    /// Completes the draw of a pixel from its column: inverts the cumulative distribution of the
    /// posterior at u.
    @inline(__always)
    func draw<Column: ColumnDistribution & ~Copyable>(
        _ u: Double, observed: Int32, from column: borrowing Column
    ) -> Int32 {
        if observed == maskClass {
            if drawsModelOutput { return column.invert(u * column.others) }
            let (v, uniform) = unmasking(u)
            return column.invert((v - uniform) / (1 - uniform) * column.others)
        }
        // With p normalised: S. The uniform then covers, in this order, the mask, the observed
        // class, the uniform part of the others, and their part by the model.
        let u = u - coefficients.remask
        let total = column.others + column.observedMass
        let observedShare = column.observedMass / total
        let others = column.others / total
        let s = mass(of: observed).of(own: observedShare, others: others)
        let factors = factors(of: observed)
        let keep = factors.ownSignal * observedShare + factors.ownLevel * s
        guard u >= keep else { return observed }
        let each = factors.level * s
        let v = u - keep
        if v < Double(classes - 1) * each {
            let k = min(Int32(v / each), maskClass - 2)
            return k < observed ? k : k + 1
        }
        // Only rounding leads here: the class cannot have changed.
        guard factors.signal > 0 && others > 0 else { return observed }
        return column.invert((v - Double(classes - 1) * each) / factors.signal * total)
    }
}

/// The distribution of x_0 at one pixel, up to a factor, as far as the inversion needs it.
protocol ColumnDistribution: ~Copyable {
    /// The mass of the pixel's observed class; 0 for a masked pixel.
    var observedMass: Double { get }
    /// The mass of all other classes.
    var others: Double { get }
    /// The first class, the observed one not counted, at which the running mass exceeds `target`;
    /// the last with any mass if rounding leaves none.
    func invert(_ target: Double) -> Int32
}

/// A column with known sums over blocks: finds the block, then rescans it.
struct BlockedColumn<Real: RealScalar>: ColumnDistribution {
    let p: LogProbabilities
    let row, pixel: Int
    let observed: Int32
    let sums: UnsafePointer<Real>
    let stride, blocks, blockRows: Int
    let observedMass, others: Double

    func invert(_ target: Double) -> Int32 {
        var (rest, target) = (target, target)
        var chosen = 0
        for block in 0..<blocks {
            let mass = sums[block &* stride].asDouble
            // A block of nothing but -∞ sums to the smallest exponentials.
            guard mass > Real.flushedMass * Double(blockRows) else { continue }
            chosen = block
            target = rest
            if rest < mass { break }
            rest -= mass
        }
        // Past the end by rounding, the scan runs through the last block with any mass and ends at
        // its last class.
        return scan(block: chosen, target)
    }

    private func scan(block: Int, _ target: Double) -> Int32 {
        let elements = Elements<Real>(type: p.elementType)
        let end = min(p.classes, (block + 1) * blockRows)
        var rest = target
        var last = Int32(0)
        for first in Swift.stride(from: block * blockRows, to: end, by: 16) {
            let count = min(16, end - first)
            var x = Real.Vector(repeating: -.infinity)
            for lane in 0..<count {
                x[lane] = elements.load(p.pointer(row: row, class: first + lane, pixel: pixel))
            }
            let weights = Real.Vector.exp(x)
            for lane in 0..<count {
                let k = Int32(truncatingIfNeeded: first + lane)
                let weight = weights[lane].asDouble
                guard k != observed && x[lane] > Real.smallestExponent else { continue }
                last = k
                if rest < weight { return k }
                rest -= weight
            }
        }
        return last
    }
}

/// A column whose plain exponentials overflow or vanish: relative to its largest element, in double
/// precision.
struct RescaledColumn: ColumnDistribution {
    let p: LogProbabilities
    let row, pixel: Int
    let observed: Int32
    let largest: Double
    let observedMass, others: Double

    init(_ p: LogProbabilities, row: Int, pixel: Int, observed: Int32) throws(ArgumentError) {
        (self.p, self.row, self.pixel, self.observed) = (p, row, pixel, observed)
        largest = try largestElement(p, row: row, pixel: pixel)
        var (observedMass, others) = (0.0, 0.0)
        for k in 0..<p.classes {
            let weight = RescaledColumn.weight(p, row, k, pixel, largest)
            if k == Int(observed) { observedMass = weight } else { others += weight }
        }
        (self.observedMass, self.others) = (observedMass, others)
    }

    private static func weight(
        _ p: LogProbabilities, _ row: Int, _ k: Int, _ pixel: Int, _ largest: Double
    ) -> Double {
        vqd_exp(p.element(row: row, class: k, pixel: pixel) - largest)
    }

    func invert(_ target: Double) -> Int32 {
        var rest = target
        var last = Int32(0)
        for k in 0..<p.classes where k != Int(observed) {
            let weight = RescaledColumn.weight(p, row, k, pixel, largest)
            guard weight > 0 else { continue }
            last = Int32(truncatingIfNeeded: k)
            if rest < weight { return last }
            rest -= weight
        }
        return last
    }
}
