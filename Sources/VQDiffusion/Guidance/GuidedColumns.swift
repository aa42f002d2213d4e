import CVQDiffusion

/// Columns of two model outputs combined by classifier-free guidance and divided by a temperature:
/// ℓ = (u + scale (c - u)) / temperature, and -∞ where either is at most `limit`.
///
/// With both of magnitude L = greatest/(4 (1 + |scale|)/temperature) at most, that of ℓ is at most
/// (1 + 2 |scale|) L / temperature < greatest/2: nothing overflows. At temperatures above 1 +
/// |scale| L is greatest/4, so that c - u does not.
struct GuidedColumns<Real: RealScalar>: ~Copyable {
    typealias V = Real.Vector

    /// Of one element type.
    let unconditional, conditional: LogProbabilities
    private let elements: Elements<Real>
    private let lanesOfUnconditional, lanesOfConditional: Scratch<LaneGroup>
    /// 1 / temperature, and scale / temperature.
    private let share, scale: V
    /// L.
    private let largest: Real
    /// Classes up to this count as -∞: -L, or the lowest number of the element type.
    private let limit: V
    /// Whether inputs are checked for NaN and +∞: with a negative scale +∞ may become -∞, and the
    /// result does not show it.
    private let checksInputs: Bool
    /// Pixels are neighbours in memory.
    let alongPixels: Bool

    /// - Parameters:
    ///   - lanesOfUnconditional, lanesOfConditional: the offsets of the pixels to combine in a
    ///     batch row of either input.
    init(
        _ u: LogProbabilities, _ c: LogProbabilities, scale: Double, temperature: Double = 1,
        lanesOfUnconditional: consuming Scratch<LaneGroup>,
        lanesOfConditional: consuming Scratch<LaneGroup>
    ) {
        unconditional = u
        conditional = c
        elements = Elements(type: u.elementType)
        self.lanesOfUnconditional = lanesOfUnconditional
        self.lanesOfConditional = lanesOfConditional
        let (share, scale) = (Real(1 / temperature), Real(scale / temperature))
        self.share = V(repeating: share)
        self.scale = V(repeating: scale)
        largest = .greatestFiniteMagnitude / (4 * max(1, share + scale.magnitude))
        limit = V(repeating: max(-largest, elements.lowest))
        checksInputs = scale < 0
        alongPixels = u.pixelStride == u.elementSize && c.pixelStride == c.elementSize
    }

    /// A block of classes of sixteen pixels of the conditional input as they are.
    @inline(never)
    @_optimize(speed)
    func loadConditional(
        row: Int, group: Int, first: Int, count: Int, into block: UnsafeMutablePointer<Real>
    ) {
        elements.load(
            lanesOfConditional.pointer[group], row: conditional.pointer(row: row),
            classStride: conditional.classStride, first: first, count: count, into: block)
    }

    private func loadUnconditional(
        row: Int, group: Int, first: Int, count: Int, into block: UnsafeMutablePointer<Real>
    ) {
        elements.load(
            lanesOfUnconditional.pointer[group], row: unconditional.pointer(row: row),
            classStride: unconditional.classStride, first: first, count: count, into: block)
    }

    /// Combines a block of classes of sixteen pixels.
    ///
    /// - Parameters:
    ///   - exact: whether classes at the limit become -∞. Otherwise theirs may be any number.
    ///   - block: room for sixteen vectors, like `buffer`.
    /// - Returns: false when a class at the limit was met and not made -∞.
    @inline(never)
    @_optimize(speed)
    @discardableResult
    func combine(
        row: Int, group: Int, first: Int, count: Int, exact: Bool,
        into block: UnsafeMutablePointer<Real>, buffer: UnsafeMutablePointer<Real>
    ) -> Bool {
        loadUnconditional(row: row, group: group, first: first, count: count, into: block)
        loadConditional(row: row, group: group, first: first, count: count, into: buffer)
        let (share, scale, limit) = (share, scale, limit)
        var at = 0
        if exact {
            while at < count &* 16 {
                let (x, y) = (V(at: block + at), V(at: buffer + at))
                GuidedColumns.mixed(x, y, share, scale, limit).store(at: block + at)
                at &+= 16
            }
            return true
        }
        var least = V(repeating: 0)
        while at < count &* 16 {
            let (x, y) = (V(at: block + at), V(at: buffer + at))
            (share * x + scale * (y - x)).store(at: block + at)
            least = .lesser(least, .lesser(x, y))
            at &+= 16
        }
        return limit.isBelow(least)
    }

    /// ℓ, or -∞ where an input is at most the limit, which may overflow. Neither is NaN.
    @inline(__always)
    private static func mixed(_ x: V, _ y: V, _ share: V, _ scale: V, _ limit: V) -> V {
        let nothing = V(repeating: -Real.infinity)
        return (share * x + scale * (y - x)).kept(where: .lesser(x, y), above: limit, else: nothing)
    }

    /// The most groups combined together: a vector of each, of both inputs, fills a buffer.
    private static var mostTogether: Int { blockOfClasses / 2 }

    /// Combines a block of classes of some groups, not exactly. Groups that are neighbours are
    /// combined class by class: consecutive lines of memory take less time than lines a class row
    /// apart.
    ///
    /// - Returns: false when a class at the limit was met in one of the groups.
    @inline(never)
    private func combine(
        row: Int, groups: Range<Int>, first: Int, count: Int,
        into blocks: UnsafeMutablePointer<Real>, buffer: UnsafeMutablePointer<Real>
    ) -> Bool {
        let (size, vector) = (blockOfClasses &* 16, 16 &* unconditional.elementSize)
        let (lanesOfU, lanesOfC) = (
            lanesOfUnconditional.pointer + groups.lowerBound,
            lanesOfConditional.pointer + groups.lowerBound
        )
        let (startOfU, startOfC) = (lanesOfU[0].offsets[0], lanesOfC[0].offsets[0])
        // A selection has no neighbours, and the last group of a batch row may be ragged.
        var neighbours = 0
        while neighbours < groups.count && lanesOfU[neighbours].isDense
            && lanesOfC[neighbours].isDense
            && lanesOfU[neighbours].offsets[0] == startOfU &+ neighbours &* vector
            && lanesOfC[neighbours].offsets[0] == startOfC &+ neighbours &* vector
        {
            neighbours &+= 1
        }
        var isAbove = true
        for j in neighbours..<groups.count {
            isAbove =
                combine(
                    row: row, group: groups.lowerBound &+ j, first: first, count: count,
                    exact: false,
                    into: blocks + j &* size, buffer: buffer) && isAbove
        }
        var least = V(repeating: 0)
        var u = unconditional.pointer(row: row, class: first) + startOfU
        var c = conditional.pointer(row: row, class: first) + startOfC
        var i = 0
        while i < count && neighbours > 0 {
            let x = elements.neighbours(at: u, vectors: neighbours, buffer: buffer)
            let y = elements.neighbours(
                at: c, vectors: neighbours, buffer: buffer + 16 &* neighbours)
            var target = blocks + i &* 16
            for j in 0..<neighbours {
                let (a, b) = (V(at: x + j &* 16), V(at: y + j &* 16))
                (share * a + scale * (b - a)).store(at: target)
                least = .lesser(least, .lesser(a, b))
                target += size
            }
            u += unconditional.classStride
            c += conditional.classStride
            i &+= 1
        }
        return limit.isBelow(least) && isAbove
    }

    /// The beginning of two class rows of some groups in both inputs.
    @inline(__always)
    private func rowsAhead(row: Int, groups: Range<Int>, first: Int) -> (RowsAhead, RowsAhead) {
        let (u, c) = (
            lanesOfUnconditional.pointer[groups.lowerBound].offsets[0],
            lanesOfConditional.pointer[groups.lowerBound].offsets[0]
        )
        return (
            RowsAhead(
                first: unconditional.pointer(row: row, class: first) + u,
                classStride: unconditional.classStride, step: 16 &* unconditional.elementSize),
            RowsAhead(
                first: conditional.pointer(row: row, class: first) + c,
                classStride: conditional.classStride, step: 16 &* conditional.elementSize)
        )
    }

    /// ℓ of class k at sixteen pixels.
    ///
    /// - Parameter buffer: room for two vectors.
    @inline(__always)
    func load(row: Int, class k: Int, group: Int, buffer: UnsafeMutablePointer<Real>) -> V {
        loadUnconditional(row: row, group: group, first: k, count: 1, into: buffer)
        loadConditional(row: row, group: group, first: k, count: 1, into: buffer + 16)
        return GuidedColumns.mixed(V(at: buffer), V(at: buffer + 16), share, scale, limit)
    }

    /// log Σ_k e^ℓ for some groups of sixteen pixels.
    ///
    /// - Parameters:
    ///   - normalisers: one for each pixel of the groups, room for whole groups.
    ///   - each: called with every block of ℓ (the index of its group, the block, its first class,
    ///     how many) and the largest classes of the columns so far. Blocks of a group come in
    ///     order; a second block at class 0 starts the group over.
    /// - Returns: false when a column has NaN or +∞, or no mass.
    func normalise(
        row: Int, groups: Range<Int>, into normalisers: UnsafeMutablePointer<Real>,
        each: (
            _ at: Int, _ block: UnsafePointer<Real>, _ first: Int, _ count: Int,
            _ largest: UnsafePointer<Real>
        ) -> Void = { _, _, _, _, _ in }
    ) throws(ArgumentError) -> Bool {
        let classes = unconditional.classes
        // Where pixels are neighbours, the blocks of some groups are read together.
        let together = alongPixels && !checksInputs ? min(groups.count, Self.mostTogether) : 1
        let block = try Scratch<Real>(together * blockOfClasses * 16)
        let buffer = try Scratch<Real>(blockOfClasses * 16)
        let masses = try RunningMasses<V>(groups: groups.count)
        // Groups to combine again, exactly.
        let again = try Scratch<Bool>(groups.count, filledWith: checksInputs)
        if together > 1 {
            for first in stride(from: 0, to: classes, by: blockOfClasses) {
                let count = min(blockOfClasses, classes &- first)
                for group in stride(from: groups.lowerBound, to: groups.upperBound, by: together) {
                    let some = group..<min(group &+ together, groups.upperBound)
                    let isAbove = combine(
                        row: row, groups: some, first: first, count: count, into: block.pointer,
                        buffer: buffer.pointer)
                    for i in 0..<some.count {
                        let at = group &+ i &- groups.lowerBound
                        if !isAbove { again[at] = true }
                        let block = block.pointer + i &* blockOfClasses &* 16
                        let ahead = rowsAhead(
                            row: row, groups: some, first: first &+ blockOfClasses &+ i &* 2)
                        masses.add(block, count: count, to: at, ahead: ahead)
                        each(at, block, first, count, masses.largest(at))
                    }
                }
            }
        } else if !checksInputs {
            forEachBlock(classes: 0..<classes, groups: groups, alongPixels: alongPixels) {
                first, count, group in
                let at = group &- groups.lowerBound
                let isAbove = combine(
                    row: row, group: group, first: first, count: count, exact: false,
                    into: block.pointer, buffer: buffer.pointer)
                if !isAbove { again[at] = true }
                masses.add(block.pointer, count: count, to: at)
                each(at, block.pointer, first, count, masses.largest(at))
            }
        }
        var isGood = true
        for group in groups {
            let at = group - groups.lowerBound
            if again[at] || !masses.isPositive(at) {
                // Rare, or bad.
                masses.clear(at)
                for first in stride(from: 0, to: classes, by: blockOfClasses) {
                    let count = min(blockOfClasses, classes - first)
                    isGood =
                        isGood
                        && isFinite(
                            row: row, group: group, first: first, count: count,
                            buffer: block.pointer)
                    combine(
                        row: row, group: group, first: first, count: count, exact: true,
                        into: block.pointer, buffer: buffer.pointer)
                    masses.add(block.pointer, count: count, to: at)
                    each(at, block.pointer, first, count, masses.largest(at))
                }
                isGood = isGood && masses.isPositive(at)
            }
            for lane in 0..<16 { normalisers[at * 16 + lane] = masses.logarithm(at, lane) }
        }
        return isGood
    }

    /// False when an input has NaN or +∞ in a block.
    private func isFinite(
        row: Int, group: Int, first: Int, count: Int, buffer: UnsafeMutablePointer<Real>
    ) -> Bool {
        loadUnconditional(row: row, group: group, first: first, count: count, into: buffer)
        for i in 0..<count * 16 where !(buffer[i] < .infinity) { return false }
        loadConditional(row: row, group: group, first: first, count: count, into: buffer)
        for i in 0..<count * 16 where !(buffer[i] < .infinity) { return false }
        return true
    }

    /// Throws when one of the inputs has NaN or +∞ in a column, or the column has no mass or may
    /// overflow.
    func checkColumn(row: Int, pixel: Int) throws(ArgumentError) {
        let (u, c) = (unconditional, conditional)
        let limit = self.limit[0]
        var hasMass = false
        for k in 0..<u.classes {
            let (x, y) = (
                elements.load(u.pointer(row: row, class: k, pixel: pixel)),
                elements.load(c.pointer(row: row, class: k, pixel: pixel))
            )
            guard x < .infinity else {
                throw ArgumentError(u.name, .notFinite(row: row, class: k, pixel: pixel))
            }
            guard y < .infinity else {
                throw ArgumentError(c.name, .notFinite(row: row, class: k, pixel: pixel))
            }
            hasMass = hasMass || (x > limit && y > limit)
        }
        guard hasMass else { throw ArgumentError(c.name, .noMass(row: row, pixel: pixel)) }
        for k in 0..<u.classes {
            for p in [u, c] {
                let x = elements.load(p.pointer(row: row, class: k, pixel: pixel))
                guard x <= largest else {
                    let problem = ArgumentError.Problem.tooLarge(
                        x.asDouble, row: row, class: k, pixel: pixel)
                    throw ArgumentError(p.name, problem)
                }
            }
        }
    }
}

/// Two class rows to prefetch, eight vectors of each.
private struct RowsAhead {
    let first: UnsafeRawPointer
    /// Bytes from a class row to the next, and from a vector to the next.
    let classStride, step: Int

    @inline(__always)
    func prefetch(_ i: Int) {
        vqd_prefetch(first + ((i &>> 3) &* classStride &+ (i & 7) &* step))
    }
}

/// Σ e^ℓ of groups of sixteen columns, updated block by block, relative to the largest class so
/// far.
private struct RunningMasses<V: RealVector>: ~Copyable {
    private let largest: Scratch<V.Scalar>
    private let sums: Scratch<Double>

    init(groups: Int) throws(ArgumentError) {
        let largest = try Scratch<V.Scalar>(groups * 16)
        let sums = try Scratch<Double>(groups * 16)
        self.largest = largest
        self.sums = sums
        for group in 0..<groups { clear(group) }
    }

    func clear(_ group: Int) {
        // Finite, so that its difference to -∞ is one.
        V(repeating: -V.Scalar.greatestFiniteMagnitude).store(at: largest.pointer + group * 16)
        DoubleVector(repeating: 0).store(at: sums.pointer + group * 16)
    }

    /// Sixteen classes are added in the precision of the elements and those sums in double
    /// precision.
    ///
    /// - Parameter ahead: prefetched meanwhile.
    @inline(never)
    func add(
        _ block: UnsafePointer<V.Scalar>, count: Int, to group: Int,
        ahead: (RowsAhead, RowsAhead)? = nil
    ) {
        // Prefetching what is cached is harmless.
        let here = RowsAhead(first: block, classStride: 0, step: 0)
        let (rowsOfU, rowsOfC) = ahead ?? (here, here)
        let before = V(at: largest.pointer + group &* 16)
        var sum = DoubleVector(at: sums.pointer + group &* 16)
        var top = before
        var at = 0
        while at < count &* 16 {
            top = .greater(top, V(at: block + at))
            at &+= 16
        }
        if top.lanes(above: before) != 0 {
            sum = sum * V.expOfNegative(before - top).widened
            top.store(at: largest.pointer + group &* 16)
        }
        var part = V(repeating: 0)
        at = 0
        while at < count &* 16 {
            rowsOfU.prefetch(at &>> 4)
            rowsOfC.prefetch(at &>> 4)
            part = part + .expOfNegative(V(at: block + at) - top)
            at &+= 16
        }
        (sum + part.widened).store(at: sums.pointer + group &* 16)
    }

    /// The largest class so far of each column of a group.
    func largest(_ group: Int) -> UnsafePointer<V.Scalar> {
        UnsafePointer(largest.pointer + group &* 16)
    }

    /// False when a column of the group has NaN or +∞, or nothing but -∞: the largest class counts
    /// as 1.
    func isPositive(_ group: Int) -> Bool {
        for lane in group * 16..<group * 16 + 16 where !(sums[lane] >= 0.5) { return false }
        return true
    }

    func logarithm(_ group: Int, _ lane: Int) -> V.Scalar {
        V.Scalar(largest[group * 16 + lane].asDouble + vqd_log(sums[group * 16 + lane]))
    }
}
