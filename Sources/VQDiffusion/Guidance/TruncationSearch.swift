import CVQDiffusion

/// Finds where to truncate sixteen columns, among the classes that a `TruncationTile` has listed.
///
/// The mass F(v) of the classes above a value v falls as v rises, and the value down to which
/// classes are kept is the smallest with F < rate. A pass over the list evaluates F at three values
/// per column; interpolation chooses the next three. Three or four passes leave a handful of
/// classes between a value known to be too low and one that is not. Those are sorted.
struct TruncationSearch<Real: RealScalar>: ~Copyable {
    typealias V = Real.Vector

    /// Of each column.
    private let rates: Scratch<Double>
    /// Of each column two values, with F(lower) ≥ rate > F(upper), and F there.
    private let lower, upper: Scratch<Real>
    private let aboveLower, aboveUpper: Scratch<Double>
    /// Three values for each column, and F there.
    private let trials: Scratch<Real>
    private let aboveTrials: Scratch<Double>
    /// For each column the classes between the two values, as places in the list, and how many.
    private let left: Scratch<Int32>
    private let leftCount: Scratch<Int>
    /// The mass of the classes counted through so far, in columns where those between the two
    /// values are all equal.
    private let counted: Scratch<Double>

    /// The most classes of a column that are sorted. The search goes on until about as many are
    /// left in all sixteen together.
    private static var buffer: Int { 256 }

    init() throws(ArgumentError) {
        let rates = try Scratch<Double>(16)
        let lower = try Scratch<Real>(16)
        let upper = try Scratch<Real>(16)
        let trials = try Scratch<Real>(48)
        let aboveLower = try Scratch<Double>(16)
        let aboveUpper = try Scratch<Double>(16)
        let aboveTrials = try Scratch<Double>(48)
        let left = try Scratch<Int32>(16 * Self.buffer)
        let leftCount = try Scratch<Int>(16)
        let counted = try Scratch<Double>(16)
        self.rates = rates
        self.lower = lower
        self.upper = upper
        self.trials = trials
        self.aboveLower = aboveLower
        self.aboveUpper = aboveUpper
        self.aboveTrials = aboveTrials
        self.left = left
        self.leftCount = leftCount
        self.counted = counted
    }

    /// Finds for each column the value down to which its classes are kept, and the last index at
    /// which that very value is.
    ///
    /// - Parameters:
    ///   - list: the classes that are above `bound` in some column.
    ///   - largest: of each column, finite.
    ///   - bound: below `largest`; -∞ when all classes are listed.
    ///   - aboveBound: F(bound), as `massesAbove` adds it up, to within rounding. Not below the
    ///     rate, unless the bound is -∞.
    ///   - rates: positive.
    ///   - counting: whether the masses are all 1, so that the rates are numbers of classes.
    func run(
        _ list: TruncationList<Real>, largest: V, bound: V, aboveBound: DoubleVector,
        rates: DoubleVector, counting: Bool = false,
        thresholds: UnsafeMutablePointer<Real>, lasts: UnsafeMutablePointer<Int32>
    ) {
        largest.store(at: upper.pointer)
        aboveBound.store(at: aboveLower.pointer)
        rates.store(at: self.rates.pointer)
        for lane in 0..<16 {
            aboveUpper[lane] = 0
            // A column of less than the rate in all is kept whole: there is nothing to find.
            let isFound = aboveBound[lane] < rates[lane]
            lower[lane] = isFound ? upper[lane] : max(bound[lane], -Real.greatestFiniteMagnitude)
            setFirstTrials(lane, classes: list.count, counting: counting)
        }
        repeat {
            repeat {
                massesAbove(list)
                for lane in 0..<16 { narrow(lane) }
            } while expectedLeft(counting: counting) > Double(Self.buffer)
        } while !collect(list, lasts)
        for lane in 0..<16 {
            if aboveBound[lane] < rates[lane] {
                (thresholds[lane], lasts[lane]) = (-.infinity, -1)
            } else {
                if isCollapsed(lane) {
                    thresholds[lane] = upper[lane]
                } else {
                    (thresholds[lane], lasts[lane]) = cut(lane, list)
                }
                if lasts[lane] >= 0 { lasts[lane] = list.indices[Int(lasts[lane])] }
            }
        }
    }

    /// No value lies between the two.
    private func isCollapsed(_ lane: Int) -> Bool {
        lower[lane].orderedBits >= upper[lane].orderedBits - 1
    }

    /// Classes below v hold at most K e^v, so the mass that is dropped gives a value that is too
    /// low, up to rounding. Of a number of classes nothing like that is known.
    private func setFirstTrials(_ lane: Int, classes: Int, counting: Bool) {
        let (total, rate, high) = (aboveLower[lane], rates[lane], upper[lane].asDouble)
        if counting { return setTrials(lane, high - 16, high - 8, high - 4) }
        let low = max(
            vqd_log(max(total - rate, 1e-9 * total) / Double(classes)) - 0.001, lower[lane].asDouble
        )
        let width = high - low
        setTrials(lane, low, low + width / 3, low + width * (2 / 3))
    }

    private func setTrials(_ lane: Int, _ a: Double, _ b: Double, _ c: Double) {
        let (low, high) = (lower[lane].orderedBits, upper[lane].orderedBits)
        let middle = Real(orderedBits: (low >> 1) + (high >> 1) + (low & high & 1))
        let (a, b, c) = (Real(a), Real(b), Real(c))
        trials[lane] = a > lower[lane] && a < upper[lane] ? a : middle
        trials[16 + lane] = b > lower[lane] && b < upper[lane] ? b : middle
        trials[32 + lane] = c > lower[lane] && c < upper[lane] ? c : middle
    }

    /// Narrows the two values by F at the trials, and chooses the next three: around the
    /// interpolated crossing of F and the rate, and half-way in the order of numbers, so that the
    /// search ends for every F.
    private func narrow(_ lane: Int) {
        let rate = rates[lane]
        for i in 0..<3 {
            let (value, above) = (trials[i * 16 + lane], aboveTrials[i * 16 + lane])
            if above >= rate {
                if value > lower[lane] { (lower[lane], aboveLower[lane]) = (value, above) }
            } else if value < upper[lane] {
                (upper[lane], aboveUpper[lane]) = (value, above)
            }
        }
        let (low, high) = (lower[lane].asDouble, upper[lane].asDouble)
        if lower[lane] == -Real.greatestFiniteMagnitude {
            let unit = max(1, abs(high) / 64)
            setTrials(lane, high - 2 * unit, high - 16 * unit, high - 128 * unit)
        } else {
            let crossing =
                low + (high - low) * (aboveLower[lane] - rate)
                / (aboveLower[lane] - aboveUpper[lane])
            setTrials(lane, .nan, crossing - (high - low) / 16, crossing + (high - low) / 16)
        }
    }

    /// An estimate of the classes left between the two values, in all unfinished columns.
    private func expectedLeft(counting: Bool) -> Double {
        let least = V.exp(V(at: lower.pointer))
        var sum = 0.0
        for lane in 0..<16 where !isCollapsed(lane) {
            let left = aboveLower[lane] - aboveUpper[lane]
            sum += counting ? left : left / least[lane].asDouble
        }
        return sum
    }

    /// F at the trials.
    ///
    /// Sixteen classes are added in the precision of the elements and those sums in double
    /// precision: in the tail a rounding error of the whole is worth several classes.
    private func massesAbove(_ list: TruncationList<Real>) {
        let (a, b, c) = (
            V(at: trials.pointer), V(at: trials.pointer + 16), V(at: trials.pointer + 32)
        )
        let zero = V(repeating: 0)
        var (aboveA, aboveB, aboveC) = (
            DoubleVector(repeating: 0), DoubleVector(repeating: 0), DoubleVector(repeating: 0)
        )
        var at = 0
        while at < list.count &* 16 {
            let end = min(at &+ blockOfClasses &* 16, list.count &* 16)
            var (partA, partB, partC) = (zero, zero, zero)
            while at < end {
                let (x, mass) = (V(at: list.elements + at), V(at: list.masses + at))
                partA = partA + mass.kept(where: x, above: a, else: zero)
                partB = partB + mass.kept(where: x, above: b, else: zero)
                partC = partC + mass.kept(where: x, above: c, else: zero)
                at &+= 16
            }
            aboveA = aboveA + partA.widened
            aboveB = aboveB + partB.widened
            aboveC = aboveC + partC.widened
        }
        aboveA.store(at: aboveTrials.pointer)
        aboveB.store(at: aboveTrials.pointer + 16)
        aboveC.store(at: aboveTrials.pointer + 32)
    }

    /// Lists the classes that are left between the two values. Where those are neighbours the
    /// classes are all equal: they are counted through at once.
    ///
    /// - Returns: false when there were too many to list. Then the next trials are closer.
    private func collect(_ list: TruncationList<Real>, _ lasts: UnsafeMutablePointer<Int32>)
        -> Bool
    {
        let (low, high) = (V(at: lower.pointer), V(at: upper.pointer))
        var collapsed: UInt16 = 0
        for lane in 0..<16 {
            leftCount[lane] = 0
            counted[lane] = aboveUpper[lane]
            lasts[lane] = -1
            if isCollapsed(lane) { collapsed |= 1 << UInt16(lane) }
        }
        var fits = true
        var k = 0
        while k < list.count {
            var lanes = V(at: list.elements + k &* 16).lanes(above: low, upTo: high)
            while lanes != 0 {
                let lane = lanes.trailingZeroBitCount
                lanes &= lanes &- 1
                let count = leftCount[lane]
                if collapsed & (1 << UInt16(lane)) != 0 {
                    if counted[lane] < rates[lane] {
                        lasts[lane] = Int32(truncatingIfNeeded: k)
                        counted[lane] += list.masses[k &* 16 &+ lane].asDouble
                    }
                } else if count < Self.buffer {
                    left[lane &* Self.buffer &+ count] = Int32(truncatingIfNeeded: k)
                    leftCount[lane] = count &+ 1
                } else {
                    fits = false
                }
            }
            k &+= 1
        }
        return fits
    }

    /// Sorts the listed classes and counts through them while less than the rate lies before.
    private func cut(_ lane: Int, _ list: TruncationList<Real>) -> (
        threshold: Real, last: Int32
    ) {
        let left = left.pointer + lane &* Self.buffer
        var before = aboveUpper[lane]
        var threshold = upper[lane]
        var last = Int32(-1)
        for i in 0..<leftCount[lane] where before < rates[lane] {
            // The next in order: the largest, and of equal ones the one that comes first.
            var best = i
            for j in i..<leftCount[lane] {
                let (x, y) = (
                    list.elements[Int(left[j]) &* 16 &+ lane],
                    list.elements[Int(left[best]) &* 16 &+ lane]
                )
                if x > y || (x == y && left[j] < left[best]) { best = j }
            }
            (left[i], left[best]) = (left[best], left[i])
            let at = Int(left[i]) &* 16 &+ lane
            (threshold, last) = (list.elements[at], left[i])
            before += list.masses[at].asDouble
        }
        return (threshold, last)
    }
}
