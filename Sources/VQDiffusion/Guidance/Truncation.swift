/// Truncates distributions: of every pixel's classes in the order of falling probability, keeps those before which less than `rate` of probability
/// lies, and sets the others to -∞. The most probable class is always kept; classes of equal probability count in the order of their indices. Not
/// renormalised.
///
/// - Parameters:
///   - logProbabilities: (batch, classes, pixels), finite or -∞. Their exponentials are meant as they are, not relative to their sum.
///   - rate: not NaN. At 1 and above classes are still dropped once 1 is reached.
///   - floor: what is below is raised to this (-∞: nothing is).
///   - output: (batch, classes, pixels) `Float`, or `Double` when the log-probabilities are. Untouched when an error is thrown.
/// - Throws: `ArgumentError` for NaN or +∞, a column without mass, or a rate that is NaN or a floor that is NaN or +∞.
@export(interface)
public func truncate(
    _ logProbabilities: LogProbabilities, rate: Double, floor: Double = -.infinity, into output: OutputTensor,
    parallelism: Parallelism = Parallelism()
) throws(ArgumentError) {
    guard !rate.isNaN else { throw ArgumentError("rate", .notANumber) }
    guard floor < .infinity else { throw ArgumentError("floor", .notANumber) }
    try output.checkShape(logProbabilities.shape)
    switch logProbabilities.elementType {
    case .float16: try truncate(HalfElement.self, logProbabilities, rate, floor, output.base, parallelism)
    case .bfloat16: try truncate(BrainElement.self, logProbabilities, rate, floor, output.base, parallelism)
    case .float32: try truncate(Float.self, logProbabilities, rate, floor, output.base, parallelism)
    case .float64: try truncate(Double.self, logProbabilities, rate, floor, output.base, parallelism)
    }
}

private func truncate<E: FloatingElement>(
    _: E.Type, _ p: LogProbabilities, _ rate: Double, _ floor: Double, _ output: UnsafeMutableRawPointer, _ parallelism: Parallelism
) throws(ArgumentError) {
    guard p.batch > 0 && p.pixels > 0 else { return }
    let width = (p.pixels + 15) / 16 * 16
    // The value down to which a pixel's classes are kept, and the last index at which that very value is.
    let thresholds = try Scratch<E.Real>(p.batch * width)
    let lasts = try Scratch<Int32>(p.batch * width)
    let groups = try PixelList.run(0..<p.pixels).laneGroups(pixelStride: p.pixelStride, elementSize: E.size)
    let threads = parallelism.threads(forWork: p.batch * p.classes * p.pixels)
    try parallel(tasks: p.batch * (width / 16), threads: threads) { (task) throws(ArgumentError) in
        let (row, g) = (task / (width / 16), task % (width / 16))
        let column = try PackedColumns<E>(p, row: row, lanes: groups.pointer + g, firstPixel: g * 16)
        let threshold = column.threshold(rate: rate)
        threshold.storeUnaligned(UnsafeMutableRawPointer(thresholds.pointer + row * width + g * 16))
        let last = column.lastKept(at: threshold, rate: rate)
        UnsafeMutableRawPointer(lasts.pointer + row * width + g * 16).storeBytes(of: last, as: SIMD16<Int32>.self)
    }
    let least = E.Real.Vector(repeating: E.Real(floor))
    try mapRows(E.self, p, into: output, groups: groups.pointer, threads: threads) { x, row, k, first in
        let at = row * width + first
        let kept = x.kept(
            above: .loadUnaligned(thresholds.pointer + at), index: Int32(truncatingIfNeeded: k),
            last: UnsafeRawPointer(lasts.pointer + at).loadUnaligned(as: SIMD16<Int32>.self),
            else: E.Real.Vector(repeating: -E.Real.infinity))
        return .greater(kept, least)
    }
}

/// The columns of sixteen pixels, copied next to each other so that they stay in the second-level cache while they are gone over again and again.
private struct PackedColumns<E: FloatingElement>: ~Copyable {
    typealias V = E.Real.Vector

    private let classes: Int
    /// The log-probabilities, sixteen to a class, and their exponentials.
    private let elements, masses: Scratch<E.Real>
    private let largest: V

    /// - Throws: `ArgumentError` when a column has a NaN or +∞, or no mass.
    init(_ p: LogProbabilities, row: Int, lanes: UnsafePointer<LaneGroup>, firstPixel: Int) throws(ArgumentError) {
        let elements = try Scratch<E.Real>(p.classes * 16)
        let masses = try Scratch<E.Real>(p.classes * 16)
        var largest = V(repeating: -.infinity)
        var sum = V(repeating: 0)
        for k in 0..<p.classes {
            let x = lanes.pointee.load(E.self, row: p.pointer(row: row, class: k))
            let mass = V.exp(x)
            x.storeUnaligned(UnsafeMutableRawPointer(elements.pointer + k &* 16))
            mass.storeUnaligned(UnsafeMutableRawPointer(masses.pointer + k &* 16))
            largest = .greater(largest, x)
            sum = sum + mass
        }
        for lane in 0..<min(16, p.pixels - firstPixel) where !(largest[lane].isFinite && sum[lane] >= 0) {
            _ = try largestElement(E.self, p, row: row, pixel: firstPixel + lane)
        }
        self.classes = p.classes
        self.elements = elements
        self.masses = masses
        self.largest = largest
    }

    /// For each lane the smallest value before which less than `rate` of probability lies.
    ///
    /// The mass F(v) above a value v falls as v rises, so this bisects, all lanes at once, on the bit patterns; each time the upper end moves down to the
    /// next value there is. That takes some 15 passes at 4096 classes, where sorting takes 12 passes of compare and exchange for a single column.
    func threshold(rate: Double) -> V {
        // F(upper) < rate; F(lower) ≥ rate, or lower is below all values.
        var upper = largest
        var lower = V(repeating: -.infinity)
        guard rate > 0 else { return upper }
        var isDone = false
        while !isDone {
            var middle = upper
            isDone = true
            for lane in 0..<16 {
                let (low, high) = (lower[lane].orderedBits, upper[lane].orderedBits)
                // Nothing between the two: this lane is found, and asks about `upper` again.
                if high > low && UInt64(bitPattern: high &- low) > 1 {
                    middle[lane] = E.Real(orderedBits: (low >> 1) + (high >> 1) + (low & high & 1))
                    isDone = false
                }
            }
            if isDone { break }
            let (above, next) = look(at: middle)
            for lane in 0..<16 {
                if above[lane] < rate {
                    // No value lies between next and middle, so F(next) = F(middle). With -∞ as the next, all values are kept.
                    upper[lane] = next[lane]
                    if next[lane] <= lower[lane] { lower[lane] = next[lane] }
                } else {
                    lower[lane] = middle[lane]
                }
            }
        }
        return upper
    }

    /// For each lane the mass above a value, and the greatest value up to it.
    ///
    /// Sixteen classes are added in the precision of the elements and those sums in double precision: in the tail a rounding error of the whole is worth
    /// several classes.
    private func look(at value: V) -> (above: DoubleVector, next: V) {
        var above = DoubleVector(repeating: 0)
        var next = V(repeating: -.infinity)
        let zero = V(repeating: 0)
        var k = 0
        while k < classes {
            let end = min(k &+ 16, classes)
            var part = V(repeating: 0)
            while k < end {
                let x = V.loadUnaligned(UnsafeRawPointer(elements.pointer + k &* 16))
                let mass = V.loadUnaligned(UnsafeRawPointer(masses.pointer + k &* 16))
                part = part + mass.kept(where: x, above: value, else: zero)
                next = next.greatest(x, upTo: value)
                k &+= 1
            }
            above = above + part.widened
        }
        return (above, next)
    }

    /// For each lane the last index at which the threshold's own value is kept: one class after the other while less than `rate` lies before it.
    func lastKept(at threshold: V, rate: Double) -> SIMD16<Int32> {
        let above = look(at: threshold).above
        var last = SIMD16<Int32>(repeating: -1)
        for lane in 0..<16 {
            var before = above[lane]
            for k in 0..<classes where elements[k &* 16 &+ lane] == threshold[lane] {
                // The most probable class is kept at any rate.
                let isFirstOfAll = last[lane] < 0 && threshold[lane] == largest[lane]
                guard before < rate || isFirstOfAll else { break }
                last[lane] = Int32(truncatingIfNeeded: k)
                before += masses[k &* 16 &+ lane].asDouble
            }
        }
        return last
    }
}
