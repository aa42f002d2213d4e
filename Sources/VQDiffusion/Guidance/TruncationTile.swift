import CVQDiffusion

/// The classes that truncation may keep, of a few groups of sixteen columns.
///
/// Classes below a value v hold at most K e^v. So of a column whose probabilities add up to 1, no
/// class is kept below log((1 - rate)/K). For columns still to be normalised the cutoff is a
/// heuristic: max + log(0.9 (1 - rate)/256), with the largest class so far as max. One pass lists
/// the classes above the cutoff, a vector wherever one of sixteen columns has one; what follows
/// looks at no other class. Where the listed mass does not reach the rate, all are listed in turn.
struct TruncationTile<Real: RealScalar>: ~Copyable {
    typealias V = Real.Vector

    /// The result of weighing the list of a group.
    enum Weighed {
        case good
        /// Less than the rate is listed, at a bound above -∞.
        case short
        /// A column has NaN or +∞, or no mass.
        case bad
    }

    let classes: Int
    private let rate: Double
    /// The most classes that are kept; nil for any number.
    private let topK: Int?
    /// As many as masses, each 1; nothing without `topK`.
    private let ones: Scratch<Real>
    /// The cutoffs above which classes are listed: of columns that add up to 1, and of others,
    /// relative to the largest class.
    private let bound, boundBelowLargest: Real
    /// Room for all classes of each group; memory beyond the list is never touched.
    private let elements: Scratch<Real>
    private let indices: Scratch<Int32>
    private let counts: Scratch<Int>
    /// An upper bound of the classes that are not listed, in each column.
    private let bounds: Scratch<Real>
    /// Of the group weighed last: the exponentials of the list, the largest class, the bound, and
    /// the mass above the bound.
    private let masses: Scratch<Real>
    private let largest, lower: Scratch<Real>
    private let aboveLower: Scratch<Double>
    private let search: TruncationSearch<Real>
    /// The results of the search.
    private let thresholds: Scratch<Real>
    private let lasts: Scratch<Int32>
    /// The index of each class into `masses`.
    private let places: Scratch<Int32>

    /// Groups of a tile. More of them read longer pieces of class rows; fewer keep lists of most
    /// classes within 8 MB.
    static func groups(classes: Int) -> Int {
        max(4, min(8, (1 << 23) / max(classes * 16 * MemoryLayout<Real>.size, 1)))
    }

    init(classes: Int, groups: Int, rate: Double, topK: Int?) throws(ArgumentError) {
        // A positive rate keeps the most probable class always.
        let rate = max(rate, .leastNonzeroMagnitude)
        let vectors = groups * TruncationTile.buffer(classes: classes)
        let elements = try Scratch<Real>(vectors * 16)
        let indices = try Scratch<Int32>(vectors)
        let counts = try Scratch<Int>(groups)
        let bounds = try Scratch<Real>(groups * 16)
        let masses = try Scratch<Real>((classes + 1) * 16)
        let largest = try Scratch<Real>(16)
        let lower = try Scratch<Real>(16)
        let aboveLower = try Scratch<Double>(16)
        let search = try TruncationSearch<Real>()
        let ones = try Scratch<Real>(topK == nil ? 0 : classes * 16, filledWith: 1)
        let thresholds = try Scratch<Real>(16)
        let lasts = try Scratch<Int32>(16)
        let places = try Scratch<Int32>(classes)
        self.classes = classes
        self.rate = rate
        self.topK = topK
        self.ones = ones
        // By count any class may be kept.
        let listed = topK == nil ? rate : .infinity
        bound = TruncationTile.bound(rate: listed, sharing: classes)
        boundBelowLargest = TruncationTile.bound(rate: listed, sharing: min(classes, 256))
        self.elements = elements
        self.indices = indices
        self.counts = counts
        self.bounds = bounds
        self.masses = masses
        self.largest = largest
        self.lower = lower
        self.aboveLower = aboveLower
        self.search = search
        self.thresholds = thresholds
        self.lasts = lasts
        self.places = places
    }

    /// The logarithm of 0.9 (1 - rate)/classes: classes up to this have together less than the
    /// mass that is dropped. The tenth covers roundings; close to a rate of 1 they decide, and all
    /// classes are listed.
    ///
    /// The factor 0.9 affects only the time and how sums of masses round. Proof: the classes above
    /// a bound v come before all others. Were one of the others kept, less than the rate would lie
    /// above v. But then `weigh` returns `.short`, and `Preparation.forEachGroup` enters all
    /// classes, at a bound of -∞.
    private static func bound(rate: Double, sharing classes: Int) -> Real {
        rate < 1 - 1e-5 ? Real(vqd_log(0.9 * (1 - rate) / Double(classes))) : -.infinity
    }

    /// Vectors for each group: 37 more than classes, so that the lists of all groups do not share
    /// sets of the cache.
    private static func buffer(classes: Int) -> Int { classes + 37 }

    private func list(_ group: Int) -> (
        elements: UnsafeMutablePointer<Real>, indices: UnsafeMutablePointer<Int32>
    ) {
        let start = group &* TruncationTile.buffer(classes: classes)
        return (elements.pointer + start &* 16, indices.pointer + start)
    }

    /// Lists the classes of a block that may be kept at a group. Blocks come in the order of the
    /// classes; the first one empties the list.
    ///
    /// - Parameters:
    ///   - largest: the largest class of each column so far; nil for columns that need no
    ///     normalising.
    ///   - all: whether all classes are listed.
    @inline(never)
    @_optimize(speed)
    func enter(
        _ block: UnsafePointer<Real>, first: Int, count: Int, group: Int,
        largest: UnsafePointer<Real>? = nil, all: Bool = false
    ) {
        var bound = V(repeating: all ? -.infinity : self.bound)
        if let largest { bound = V(at: largest) + V(repeating: boundBelowLargest) }
        bound.store(at: bounds.pointer + group &* 16)
        let list = list(group)
        var listed = first == 0 ? 0 : counts[group]
        var i = 0
        while i < count {
            let x = V(at: block + i &* 16)
            // Branch-free append: the branch is unpredictable. The next vector overwrites one that
            // is not listed.
            x.store(at: list.elements + listed &* 16)
            list.indices[listed] = Int32(truncatingIfNeeded: first &+ i)
            listed &+= x.allAtMost(bound) ? 0 : 1
            i &+= 1
        }
        counts[group] = listed
    }

    /// Subtracts `normaliser` from the list of a group and computes the masses. Once for each list.
    func weigh(group: Int, less normaliser: V) -> Weighed {
        let list = list(group)
        // Rounded differences are monotonic: classes that are not listed are at most this.
        let lower = V(at: bounds.pointer + group * 16) - normaliser
        let zero = V(repeating: 0)
        var largest = V(repeating: -.infinity)
        var (total, above) = (DoubleVector(repeating: 0), DoubleVector(repeating: 0))
        var (i, listed) = (0, 0)
        while i < counts[group] {
            let end = min(i &+ blockOfClasses, counts[group])
            var (part, partAbove) = (zero, zero)
            while i < end {
                let x = V(at: list.elements + i &* 16) - normaliser
                let mass = V.exp(x)
                x.store(at: list.elements + listed &* 16)
                mass.store(at: masses.pointer + listed &* 16)
                list.indices[listed] = list.indices[i]
                largest = .greater(largest, x)
                part = part + mass
                partAbove = partAbove + mass.kept(where: x, above: lower, else: zero)
                listed &+= x.lanes(above: lower) != 0 ? 1 : 0
                i &+= 1
            }
            total = total + part.widened
            above = above + partAbove.widened
        }
        counts[group] = listed
        largest.store(at: self.largest.pointer)
        lower.store(at: self.lower.pointer)
        above.store(at: aboveLower.pointer)
        for lane in 0..<16 {
            if lower[lane] > -.infinity && !(above[lane] >= rate) { return .short }
            if !(largest[lane].isFinite && total[lane] >= 0) { return .bad }
        }
        return .good
    }

    /// Finds where to truncate the columns of the group weighed last, as `TruncationSearch.run`.
    func findThresholds(
        group: Int, thresholds: UnsafeMutablePointer<Real>, lasts: UnsafeMutablePointer<Int32>
    ) -> TruncationList<Real> {
        let list = list(group)
        let result = TruncationList<Real>(
            count: counts[group], indices: UnsafePointer(list.indices),
            elements: UnsafePointer(list.elements), masses: UnsafePointer(masses.pointer))
        if let topK {
            findThresholds(of: result, keeping: topK, thresholds: thresholds, lasts: lasts)
        } else {
            search.run(
                result, largest: V(at: largest.pointer), bound: V(at: lower.pointer),
                aboveBound: DoubleVector(at: aboveLower.pointer),
                rates: DoubleVector(repeating: rate), thresholds: thresholds, lasts: lasts)
        }
        return result
    }

    /// Finds where `topK` classes are kept, and of these as many as the rate keeps of their mass.
    /// All classes are listed.
    private func findThresholds(
        of list: TruncationList<Real>, keeping topK: Int,
        thresholds: UnsafeMutablePointer<Real>, lasts: UnsafeMutablePointer<Int32>
    ) {
        let (largest, nothing) = (V(at: largest.pointer), V(repeating: -.infinity))
        let counted = TruncationList<Real>(
            count: list.count, indices: list.indices, elements: list.elements,
            masses: UnsafePointer(ones.pointer))
        let none = SIMD16<Int32>(repeating: -1)
        search.run(
            counted, largest: largest, bound: nothing,
            aboveBound: counted.mass(above: nothing, last: none),
            rates: DoubleVector(repeating: Double(topK)), counting: true, thresholds: thresholds,
            lasts: lasts)
        guard rate < 1 else { return }
        let (threshold, last) = (
            V(at: thresholds), UnsafeRawPointer(lasts).loadUnaligned(as: SIMD16<Int32>.self)
        )
        let shares = list.mass(above: threshold, last: last) * DoubleVector(repeating: rate)
        let least = DoubleVector(repeating: .leastNonzeroMagnitude)
        search.run(
            list, largest: largest, bound: nothing,
            aboveBound: DoubleVector(at: aboveLower.pointer), rates: .greater(shares, least),
            thresholds: thresholds, lasts: lasts)
        // Sums that rounding has made larger must not keep one class more.
        for lane in 0..<16 {
            let isFewer =
                threshold[lane] > thresholds[lane]
                || (threshold[lane] == thresholds[lane] && last[lane] < lasts[lane])
            if isFewer { (thresholds[lane], lasts[lane]) = (threshold[lane], last[lane]) }
        }
    }

    /// Truncates the columns of the group weighed last, and writes the rows of their classes.
    ///
    /// - Parameters:
    ///   - floor: lower values are raised to this.
    ///   - classStride: elements from one class to the next in the output.
    ///   - count: pixels to write.
    func truncate(
        group: Int, floor: V, into output: UnsafeMutablePointer<Real>, classStride: Int,
        count: Int
    ) {
        let list = findThresholds(
            group: group, thresholds: thresholds.pointer, lasts: lasts.pointer)
        let threshold = V(at: thresholds.pointer)
        let last = UnsafeRawPointer(lasts.pointer).loadUnaligned(as: SIMD16<Int32>.self)
        var target = output
        var k = 0
        for i in 0...list.count {
            let next = i < list.count ? Int(list.indices[i]) : classes
            while k < next {
                floor.store(to: target, count: count)
                target += classStride
                k &+= 1
            }
            guard i < list.count else { break }
            let x = V(at: list.elements + i &* 16).truncated(at: threshold, index: k, last: last)
            V.greater(x, floor).store(to: target, count: count)
            target += classStride
            k &+= 1
        }
    }

    /// Truncates the columns of the group weighed last and writes only what a draw from them needs.
    ///
    /// - Parameters:
    ///   - floor: lower values are raised to this.
    ///   - observed: for each column the observed class, whose mass is not among the others'; K for
    ///     none.
    ///   - kept: gets the classes that are above the floor in some column, under `keptGroup`.
    ///   - thresholds, lasts: as `findThresholds` sets them.
    ///   - others: gets the mass of each column without the observed class, bit for bit as
    ///     `BlockSums` adds up the truncated columns.
    ///   - observedLogs: gets the truncated log-probability of the observed class; -∞ for none.
    func keep(
        group: Int, floor: V, observed: UnsafePointer<Int32>, kept: borrowing KeptClasses,
        keptGroup: Int, thresholds: UnsafeMutablePointer<Real>,
        lasts: UnsafeMutablePointer<Int32>, others: UnsafeMutablePointer<Double>,
        observedLogs: UnsafeMutablePointer<Real>
    ) {
        let list = findThresholds(group: group, thresholds: thresholds, lasts: lasts)
        let threshold = V(at: thresholds)
        let last = UnsafeRawPointer(lasts).loadUnaligned(as: SIMD16<Int32>.self)
        let massOfFloor = V.exp(floor)
        // The last mass is that of all classes that are not listed.
        massOfFloor.store(at: masses.pointer + list.count &* 16)
        places.pointer.update(repeating: Int32(truncatingIfNeeded: list.count), count: classes)
        observedLogs.update(repeating: -.infinity, count: 16)
        for lane in 0..<16 where Int(observed[lane]) < classes {
            observedLogs[lane] = floor[lane]
        }
        for i in 0..<list.count {
            let k = list.indices[i]
            let x = V(at: list.elements + i &* 16)
            let bits = x.lanesKept(above: threshold, index: k, last: last, floor: floor)
            kept.insert(Int(k), group: keptGroup, if: bits != 0)
            places[Int(k)] = Int32(truncatingIfNeeded: i)
            V(at: list.masses + i &* 16).kept(where: bits, else: massOfFloor).store(
                at: masses.pointer + i &* 16)
        }
        addUp(without: observed).store(at: others)
        for lane in 0..<16 where Int(observed[lane]) < classes {
            let k = observed[lane]
            guard places[Int(k)] < list.count else { continue }
            let x = V(at: list.elements + Int(places[Int(k)]) * 16)
            if x.lanesKept(above: threshold, index: k, last: last, floor: floor)
                & (1 << UInt16(lane)) != 0
            {
                observedLogs[lane] = x[lane]
            }
        }
    }

    /// Adds the masses up as `BlockSums` does: eight classes, then those sums over a block, then
    /// the blocks in double precision.
    private func addUp(without observed: UnsafePointer<Int32>) -> DoubleVector {
        let observed = UnsafeRawPointer(observed).loadUnaligned(as: SIMD16<Int32>.self)
        let massOfNothing = V.exp(V(repeating: -.infinity))
        let blockRows = BlockSums<Real>.blockRows(classes: classes)
        var total = DoubleVector(repeating: 0)
        var k = 0
        while k < classes {
            let endOfBlock = min(k &+ blockRows, classes)
            var block = V(repeating: 0)
            while k < endOfBlock {
                let end = min(k &+ BlockSums<Real>.rowsAtOnce, endOfBlock)
                var sum = V(repeating: 0)
                while k < end {
                    let mass = V(at: masses.pointer + Int(places[k]) &* 16)
                    sum =
                        sum
                        + mass.replacing(
                            with: massOfNothing, where: observed,
                            equals: Int32(truncatingIfNeeded: k))
                    k &+= 1
                }
                block = block + sum
            }
            total = total + block.widened
        }
        return total
    }
}

/// Listed classes of sixteen columns, in the order of their indices: sixteen log-probabilities and
/// their exponentials for each.
struct TruncationList<Real: RealScalar> {
    let count: Int
    let indices: UnsafePointer<Int32>
    let elements, masses: UnsafePointer<Real>

    /// The mass of each column's classes above a threshold, or equal to it at an index up to
    /// `last`.
    func mass(above threshold: Real.Vector, last: SIMD16<Int32>) -> DoubleVector {
        let zero = Real.Vector(repeating: 0)
        var total = DoubleVector(repeating: 0)
        for start in stride(from: 0, to: count, by: blockOfClasses) {
            var part = zero
            for i in start..<min(start &+ blockOfClasses, count) {
                let bits = Real.Vector(at: elements + i &* 16).lanesKept(
                    above: threshold, index: indices[i], last: last)
                part = part + Real.Vector(at: masses + i &* 16).kept(where: bits, else: zero)
            }
            total = total + part.widened
        }
        return total
    }
}

/// Calls `body` for runs of groups of sixteen pixels of every batch row, with a tile that belongs
/// to the calling thread.
func forEachTile<Real: RealScalar>(
    _: Real.Type, batch: Int, classes: Int, pixels: Int, rate: Double, topK: Int?, threads: Int,
    _ body: (_ row: Int, _ groups: Range<Int>, _ tile: borrowing TruncationTile<Real>)
        throws(ArgumentError) -> Void
) throws(ArgumentError) {
    let groups = (pixels + 15) / 16
    // At least a run for each thread.
    let perTile = min(
        TruncationTile<Real>.groups(classes: classes), max(1, batch * groups / threads))
    let perRow = (groups + perTile - 1) / perTile
    let tiles = batch * perRow
    let done = try Scratch<Int64>(1, filledWith: 0)
    try parallel(tasks: min(threads, tiles), threads: threads) { (_) throws(ArgumentError) in
        let tile = try TruncationTile<Real>(
            classes: classes, groups: perTile, rate: rate, topK: topK)
        var at = Int(vqd_next(done.pointer))
        while at < tiles {
            let first = at % perRow * perTile
            try body(at / perRow, first..<min(first + perTile, groups), tile)
            at = Int(vqd_next(done.pointer))
        }
    }
}
