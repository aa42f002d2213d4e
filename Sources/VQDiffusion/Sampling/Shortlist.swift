import CVQDiffusion

/// The classes that a draw by Gumbel-max has to look at, found in the very pass that sums the columns, so that the model output is read once.
///
/// The greatest score of a pixel is log Σ_k p_k plus Gumbel noise, so that a class whose score is below -2.75 hardly ever wins. Which scores may be above that
/// floor is seen from the log-probability and the uniform alone (`ScoreBounds`). Those classes are listed, one in a hundred or fewer, and scored by the plain
/// formula once the masses are known. Where the winner of a pixel is not above the floor, or a column was not what the bounds took for granted, the list proves
/// nothing and an `ArgmaxRace` has to be run.
struct Shortlist: ~Copyable {
    private typealias V = FloatVector

    /// The winner of a column of mass P is below with probability exp(-P e^2.75): 1.6e-7 at P = 1, 1.4e-6 at P = 0.86, 4e-4 at P = 0.5.
    private static var floor: Float { -2.75 }
    /// Room for each pixel. Some 17 classes are listed where all of a column's mass takes part (t = 0), one or two in the middle of the chain.
    private static var roomPerPixel: Int { 24 }

    private let chunk: Range<Int>
    /// Pixels rounded up to whole vectors.
    private let width: Int
    private let kinds: (masked: ScoreBounds, unmasked: ScoreBounds)
    /// The bounds of each pixel.
    private let signal, level: Scratch<Float>
    /// The sum of the columns over the block that is being read, and over those before.
    private let block: Scratch<Float>
    private let total: Scratch<Double>
    /// The candidates: class, pixel, log-probability, and complement 1 - u of the uniform. A pixel's own class is one, whose log-probability is not set.
    private let classes, pixels: Scratch<Int32>
    private let x, complements: Scratch<Float>
    /// The complements of the uniforms of the mask.
    private let maskComplements: Scratch<Float>
    private let capacity: Int
    private var count = 0

    /// - Parameter shown: the classes that the chunk's pixels show, padded to whole vectors.
    init(_ step: ReverseStep, chunk: Range<Int>, shown: UnsafePointer<Int32>) throws(ArgumentError) {
        let width = (chunk.count + 15) / 16 * 16
        let capacity = width * Shortlist.roomPerPixel
        let signal = try Scratch<Float>(width)
        let level = try Scratch<Float>(width)
        let block = try Scratch<Float>(width, filledWith: 0)
        let total = try Scratch<Double>(width, filledWith: 0)
        let classes = try Scratch<Int32>(capacity)
        let pixels = try Scratch<Int32>(capacity)
        // The last vector may be read beyond the candidates.
        let x = try Scratch<Float>(capacity + 16)
        let complements = try Scratch<Float>(capacity + 16)
        let maskComplements = try Scratch<Float>(width + 16, filledWith: 1)
        let masked = ScoreBounds(step, showing: step.maskClass, floor: Double(Shortlist.floor))
        let unmasked = ScoreBounds(step, showing: 0, floor: Double(Shortlist.floor))
        for n in 0..<width {
            let bounds = shown[n] == step.maskClass ? masked : unmasked
            signal[n] = Float(bounds.signal) + FloatNoise.boundOrigin
            level[n] = Float(bounds.level) + FloatNoise.boundOrigin
        }
        kinds = (masked, unmasked)
        self.chunk = chunk
        self.width = width
        self.capacity = capacity
        self.signal = signal
        self.level = level
        self.block = block
        self.total = total
        self.classes = classes
        self.pixels = pixels
        self.x = x
        self.complements = complements
        self.maskComplements = maskComplements
    }

    /// The list is full: what came later is missing.
    private var isFull: Bool { count == capacity }

    /// The sum of the exponentials of pixel n of the chunk, in the order of `BlockSums`.
    func mass(_ n: Int) -> Double { total[n] }

    /// Reads the columns: adds them up and lists the candidates. Takes all uniforms of the chunk from the engine.
    ///
    /// - Parameters:
    ///   - excluded: for each pixel the class to leave out of the sum, K for none; padded to whole vectors.
    ///   - shown: the classes that the pixels show.
    ///   - drawsMask: there is a row of uniforms for the mask.
    mutating func read<E: FloatingElement>(
        _: E.Type, _ p: LogProbabilities, row: Int, _ engine: inout EngineRows, excluded: UnsafePointer<Int32>, shown: UnsafePointer<Int32>, drawsMask: Bool
    ) throws(ArgumentError) where E.Real == Float {
        let columns = try PixelList.run(chunk).laneGroups(pixelStride: p.pixelStride, elementSize: E.size)
        let blockRows = BlockSums<E>.blockRows(classes: p.classes)
        let showing = try PixelsByClass(shown, count: chunk.count, maskClass: p.classes)
        // Where the classes of a pixel are neighbours, several lines of it are read in turn.
        let together = p.pixelStride == E.size ? blockOfClasses : 4 * blockOfClasses
        let noise = try Scratch<Float>(together * width + 16)
        let copy = try Scratch<Float>(16 * blockOfClasses)
        var k = 0
        while k < p.classes {
            let count = min(together, p.classes &- k, blockRows &- k % blockRows)
            for i in 0..<count { engine.next(into: noise.pointer + i &* width, complements: true) }
            for g in 0..<width / 16 {
                var i = 0
                while i < count {
                    let rows = min(blockOfClasses, count &- i)
                    let v = noise.pointer + (i &* width &+ g &* 16)
                    if columns[g].isDense {
                        let x = p.pointer(row: row, class: k &+ i) + columns[g].offsets[0]
                        read(E.self, x, p.classStride, v, classes: k &+ i..<k &+ i &+ rows, group: g, excluded: excluded)
                    } else {
                        columns[g].load(E.self, row: p.pointer(row: row), classStride: p.classStride, first: k &+ i, count: rows, into: copy.pointer)
                        let x = UnsafeRawPointer(copy.pointer)
                        read(Float.self, x, 16 &* Float.size, v, classes: k &+ i..<k &+ i &+ rows, group: g, excluded: excluded)
                    }
                    i &+= rows
                }
            }
            for i in 0..<count { listOwn(k &+ i, showing, noise.pointer + i &* width) }
            k &+= count
            if k % blockRows == 0 || k == p.classes { endBlock() }
        }
        if drawsMask { engine.next(into: maskComplements.pointer, complements: true) }
    }

    /// Reads up to sixteen classes of sixteen pixels, eight at a time as `BlockSums` does.
    ///
    /// The class that is left out is looked for once for eight: two of some 25 instructions less for each vector.
    @inline(never)
    private mutating func read<E: FloatingElement>(
        _: E.Type, _ x: UnsafeRawPointer, _ classStride: Int, _ v: UnsafePointer<Float>, classes: Range<Int>, group: Int, excluded: UnsafePointer<Int32>
    ) where E.Real == Float {
        let at = group &* 16
        let leftOut = UnsafeRawPointer(excluded + at).loadUnaligned(as: SIMD16<Int32>.self)
        var k = classes.lowerBound
        while k < classes.upperBound {
            let rows = k..<min(k &+ BlockSums<E>.rowsAtOnce, classes.upperBound)
            let skipped = k &- classes.lowerBound
            let (x, v) = (x + skipped &* classStride, v + skipped &* width)
            let sum: V
            if vqd_any_among(leftOut, Int32(truncatingIfNeeded: k), Int32(truncatingIfNeeded: rows.count)) != 0 {
                sum = read(E.self, x, classStride, v, classes: rows, at: at, excluding: leftOut)
            } else {
                sum = read(E.self, x, classStride, v, classes: rows, at: at, excluding: nil)
            }
            (V(at: block.pointer + at) + sum).store(at: block.pointer + at)
            k = rows.upperBound
        }
    }

    @inline(__always)
    private mutating func read<E: FloatingElement>(
        _: E.Type, _ x: UnsafeRawPointer, _ classStride: Int, _ v: UnsafePointer<Float>, classes: Range<Int>, at: Int, excluding leftOut: SIMD16<Int32>?
    ) -> V where E.Real == Float {
        let signal = V(at: signal.pointer + at)
        let level = V(at: level.pointer + at)
        let zero = V(repeating: 0)
        var sum = zero
        var (p, v) = (x, v)
        var k = classes.lowerBound
        while k < classes.upperBound {
            let x = E.loadVector(p)
            vqd_prefetch(p + 16 &* classStride)
            if let leftOut {
                sum = sum + .exp(x.replacing(with: V(repeating: -.infinity), where: leftOut, equals: Int32(truncatingIfNeeded: k)))
            } else {
                sum = sum + .exp(x)
            }
            let found = FloatNoise.bound(complement: V(at: v), plus: .greater(x + signal, level)).lanes(above: zero)
            if found != 0 { list(E.self, found, k, at: at, p, v) }
            p += classStride
            v += width
            k &+= 1
        }
        return sum
    }

    @inline(never)
    private mutating func list<E: FloatingElement>(
        _: E.Type, _ found: UInt16, _ k: Int, at: Int, _ x: UnsafeRawPointer, _ v: UnsafePointer<Float>
    ) where E.Real == Float {
        var bits = found
        while bits != 0 {
            let lane = bits.trailingZeroBitCount
            bits &= bits &- 1
            guard at &+ lane < chunk.count else { return }
            add(k, pixel: at &+ lane, E.load(x + lane &* E.size), v[lane])
        }
    }

    @inline(__always)
    private mutating func listOwn(_ k: Int, _ showing: borrowing PixelsByClass, _ v: UnsafePointer<Float>) {
        var n = showing.first[k]
        while n >= 0 {
            add(k, pixel: Int(n), 0, v[Int(n)])
            n = showing.next[Int(n)]
        }
    }

    @inline(__always)
    private mutating func add(_ k: Int, pixel: Int, _ value: Float, _ complement: Float) {
        guard !isFull else { return }
        classes[count] = Int32(truncatingIfNeeded: k)
        pixels[count] = Int32(truncatingIfNeeded: pixel)
        x[count] = value
        complements[count] = complement
        count &+= 1
        if isFull { stopListing() }
    }

    private func stopListing() {
        for n in 0..<width {
            signal[n] = -.infinity
            level[n] = -.infinity
        }
    }

    private func endBlock() {
        for n in 0..<width {
            total[n] += Double(block[n])
            block[n] = 0
        }
    }

    /// Scores the candidates by the coefficients of a plan whose pixel at `start` is the chunk's first. The winners are those of the plain formula.
    ///
    /// - Returns: false, and winners that mean nothing, when the list does not prove them.
    func race(
        _ step: ReverseStep, _ plan: borrowing PosteriorPlan<Float>, start: Int, into winners: UnsafeMutablePointer<Int32>
    ) throws(ArgumentError) -> Bool {
        guard !isFull else { return false }
        let best = try Scratch<Float>(width, filledWith: Shortlist.floor)
        winners.update(repeating: -1, count: chunk.count)
        let gathered = try Scratch<Float>(3 * 16, filledWith: 0)
        for first in stride(from: 0, to: count, by: 16) {
            let lanes = min(16, count - first)
            for lane in 0..<lanes {
                let at = start + Int(pixels[first + lane])
                gathered[lane] = plan.signal[at]
                gathered[16 + lane] = plan.level[at]
                gathered[32 + lane] = plan.slope[at]
            }
            let x = V(at: x.pointer + first)
            let noise = FloatNoise.noise(V(repeating: 1) - V(at: complements.pointer + first))
            let posterior = V.logPosterior(
                x, signal: V(at: gathered.pointer), level: V(at: gathered.pointer + 16), slope: V(at: gathered.pointer + 32), linear: step.drawsLinearly)
            let scores = posterior + noise
            for lane in 0..<lanes {
                let n = Int(pixels[first + lane])
                let k = classes[first + lane]
                let score = plan.classes[start + n] == k ? plan.own[start + n] + noise[lane] : scores[lane]
                // A pixel's own class is not in its place in the list.
                guard score > best[n] || score == best[n] && k < winners[n] else { continue }
                best[n] = score
                winners[n] = k
            }
        }
        if !step.drawsModelOutput { enterMask(step.maskClass, plan, start: start, best.pointer, winners) }
        for n in 0..<chunk.count {
            let kind = plan.classes[start + n] == step.maskClass ? kinds.masked : kinds.unmasked
            guard winners[n] >= 0 && Double(plan.level[start + n]) <= kind.levelTaken else { return false }
        }
        return true
    }

    private func enterMask(
        _ maskClass: Int32, _ plan: borrowing PosteriorPlan<Float>, start: Int, _ best: UnsafePointer<Float>, _ winners: UnsafeMutablePointer<Int32>
    ) {
        for first in stride(from: 0, to: chunk.count, by: 16) {
            let noise = FloatNoise.noise(V(repeating: 1) - V(at: maskComplements.pointer + first))
            let scores = V(at: plan.mask.pointer + (start + first)) + noise
            for n in first..<min(first + 16, chunk.count) where scores[n - first] > best[n] { winners[n] = maskClass }
        }
    }
}
