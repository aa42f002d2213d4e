import CVQDiffusion

/// Finds the winners of a batch row among the classes that have been listed.
///
/// A score depends on the mass of the column, of which only brackets are known at first: but the difference of any two scores is monotonic in it. So a class that
/// wins at both ends, clearly enough for every rounding, wins. Where another does, a few pixels in a thousand, the mass is added up and the scores are those of
/// the plain formula.
struct ShortlistRace<E: FloatingElement>: ~Copyable where E.Real == Float {
    private typealias V = FloatVector

    /// The greatest score of a column of mass P is below with probability exp(-P e^2.75): 1.6e-7 at P = 1, 1.4e-6 at P = 0.86, 4e-4 at P = 0.5.
    static var floor: Float { -2.75 }
    /// What e^score may err by and the plain formula with it: many roundings of logarithms up to 20.
    private static var clearly: Double { 1.0005 }

    /// The two best of a pixel at one end, as e^score.
    private struct Leader {
        var best, second: Double
        var winner: Int32

        @inline(__always)
        mutating func enter(_ value: Double, _ index: Int32) {
            if value > best {
                (second, best, winner) = (best, value, index)
            } else if value > second {
                second = value
            }
        }

        var isClear: Bool { winner >= 0 && best >= second * ShortlistRace.clearly }
    }

    private let step: ReverseStep
    private let p: LogProbabilities
    private let shown: UnsafePointer<Int32>
    private let bounds: (masked: ScoreBounds, unmasked: ScoreBounds)

    /// - Parameters:
    ///   - shown: the classes that the pixels of the batch show.
    ///   - bounds: those that the classes were listed by.
    init(_ step: ReverseStep, _ p: LogProbabilities, shown: UnsafePointer<Int32>, bounds: (masked: ScoreBounds, unmasked: ScoreBounds)) {
        (self.step, self.p, self.shown, self.bounds) = (step, p, shown, bounds)
    }

    /// - Parameter parts: what has been found in the classes of the row, in their order.
    /// - Returns: false, and winners that mean nothing, when the lists prove nothing: one is full, a column is not what the bounds took for granted, or no score
    ///   is above the floor.
    func run(row: Int, _ parts: RowParts, into winners: UnsafeMutablePointer<Int32>) throws(ArgumentError) -> Bool {
        let shown = shown + row * p.pixels
        let own = try Scratch<Float>(p.pixels + 16, filledWith: -.infinity)
        for i in 0..<parts.count {
            let part = parts[i]
            guard !part.isFull else { return false }
            for j in 0..<part.count {
                let entry = part[j]
                let pixel = Int(entry.pixel)
                let isOwn = shown[pixel] == entry.index
                // This finds NaN and +∞, which are in the list.
                guard (shown[pixel] == step.maskClass ? bounds.masked : bounds.unmasked).takes(entry.x) else { return false }
                if isOwn { own[pixel] = entry.x }
            }
        }
        let low = try Scratch<Double>(p.pixels)
        let high = try Scratch<Double>(p.pixels)
        guard bracketMasses(parts, shown, own.pointer, low.pointer, high.pointer) else { return false }
        let leaders = try Scratch<(low: Leader, high: Leader)>(p.pixels)
        let nobody = Leader(best: vqd_exp(Double(ShortlistRace.floor)), second: 0, winner: -1)
        for n in 0..<p.pixels { leaders[n] = (nobody, nobody) }
        let factors = step.drawsModelOutput ? (.direct, .direct) : (step.factors(of: step.maskClass), step.factors(of: 0))
        for i in 0..<parts.count { enter(parts[i], shown, factors, low.pointer, high.pointer, leaders.pointer) }
        if !step.drawsModelOutput { enterMask(parts.last, shown, factors, low.pointer, high.pointer, leaders.pointer) }
        let unclear = try Scratch<Int32>(p.pixels)
        var found = 0
        for n in 0..<p.pixels {
            let (low, high) = leaders[n]
            winners[n] = low.winner
            guard !low.isClear || !high.isClear || low.winner != high.winner else { continue }
            unclear[found] = Int32(truncatingIfNeeded: n)
            found &+= 1
        }
        guard found > 0 else { return true }
        return try runPlainly(row: row, parts, .selection(unclear.pointer, count: found), into: winners)
    }

    /// Sets what S is at least and at most at every pixel; see `PosteriorFactors`.
    private func bracketMasses(
        _ parts: RowParts, _ shown: UnsafePointer<Int32>, _ own: UnsafePointer<Float>, _ low: UnsafeMutablePointer<Double>,
        _ high: UnsafeMutablePointer<Double>
    ) -> Bool {
        let (masked, unmasked) = (step.mass(of: step.maskClass), step.mass(of: 0))
        for n in 0..<p.pixels { low[n] = 0 }
        for i in 0..<parts.count {
            let sums = parts[i].sums
            for n in 0..<p.pixels { low[n] += Double(sums[n]) }
        }
        for first in stride(from: 0, to: p.pixels, by: 16) {
            let exponentials = V.exp(V(at: own + first))
            for n in first..<min(first + 16, p.pixels) {
                let isMasked = shown[n] == step.maskClass
                guard let mass = (isMasked ? bounds.masked : bounds.unmasked).mass(sum: low[n]) else { return false }
                let ownMass = own[n] > -.infinity ? exponentials[n - first].asDouble : 0
                let law = isMasked ? masked : unmasked
                let apart = step.countedApart(shown[n]) == step.maskClass ? 0 : ownMass
                low[n] = law.of(own: apart, others: max(0, mass.low - apart))
                high[n] = law.of(own: apart, others: max(0, mass.high - apart))
            }
        }
        return true
    }

    private func enter(
        _ part: ShortlistPart, _ shown: UnsafePointer<Int32>, _ factors: (masked: PosteriorFactors, unmasked: PosteriorFactors),
        _ low: UnsafePointer<Double>, _ high: UnsafePointer<Double>, _ leaders: UnsafeMutablePointer<(low: Leader, high: Leader)>
    ) {
        for first in stride(from: 0, to: part.count, by: 16) {
            let count = min(16, part.count - first)
            var x = V(repeating: 0)
            var complements = V(repeating: 1)
            for lane in 0..<count {
                x[lane] = part[first + lane].x
                complements[lane] = part[first + lane].complement
            }
            let probabilities = V.exp(x)
            let waits = FloatNoise.wait(V(repeating: 1) - complements)
            for lane in 0..<count {
                let (k, n) = (part[first + lane].index, Int(part[first + lane].pixel))
                let factors = shown[n] == step.maskClass ? factors.masked : factors.unmasked
                let isOwn = shown[n] == k
                let probability = x[lane] > -.infinity ? probabilities[lane].asDouble : 0
                let signal = (isOwn ? factors.ownSignal : factors.signal) * probability
                let level = isOwn ? factors.ownLevel : factors.level
                let rate = 1 / waits[lane].asDouble
                leaders[n].low.enter((signal + level * low[n]) * rate, k)
                leaders[n].high.enter((signal + level * high[n]) * rate, k)
            }
        }
    }

    private func enterMask(
        _ part: ShortlistPart, _ shown: UnsafePointer<Int32>, _ factors: (masked: PosteriorFactors, unmasked: PosteriorFactors),
        _ low: UnsafePointer<Double>, _ high: UnsafePointer<Double>, _ leaders: UnsafeMutablePointer<(low: Leader, high: Leader)>
    ) {
        for first in stride(from: 0, to: p.pixels, by: 16) {
            let waits = FloatNoise.wait(V(repeating: 1) - V(at: part.maskComplements + first))
            for n in first..<min(first + 16, p.pixels) {
                let rate = (shown[n] == step.maskClass ? factors.masked : factors.unmasked).mask / waits[n - first].asDouble
                leaders[n].low.enter(rate * low[n], step.maskClass)
                leaders[n].high.enter(rate * high[n], step.maskClass)
            }
        }
    }

    /// The winners at some pixels by the plain formula.
    private func runPlainly(
        row: Int, _ parts: RowParts, _ pixels: PixelList, into winners: UnsafeMutablePointer<Int32>
    ) throws(ArgumentError) -> Bool {
        let shown = shown + row * p.pixels
        let width = (pixels.count + 15) / 16 * 16
        let classes = try Scratch<Int32>(width)
        for c in 0..<width { classes[c] = shown[pixels[min(c, pixels.count - 1)]] }
        let excluded = try step.excludedClasses(classes.pointer, count: pixels.count)
        let sums = try BlockSums<E>.of(p, row: row, columns: pixels, excluded: excluded.pointer)
        let plan = try PosteriorPlan<Float>(step, batch: 1, pixels: pixels.count, sample: classes, direct: step.drawsModelOutput)
        let place = try Scratch<Int32>(p.pixels, filledWith: -1)
        let best = try Scratch<Float>(pixels.count, filledWith: ShortlistRace.floor)
        for c in 0..<pixels.count {
            try plan.set(E.self, step, p, at: c, row: row, pixel: pixels[c], own: excluded[c], others: sums.total(column: c))
            place[pixels[c]] = Int32(truncatingIfNeeded: c)
            winners[pixels[c]] = -1
        }
        func enter(_ score: Float, _ index: Int32, _ c: Int) {
            let n = pixels[c]
            guard score > best[c] || score == best[c] && index < winners[n] else { return }
            best[c] = score
            winners[n] = index
        }
        for i in 0..<parts.count {
            let part = parts[i]
            for j in 0..<part.count {
                let entry = part[j]
                let c = Int(place[Int(entry.pixel)])
                guard c >= 0 else { continue }
                let noise = FloatNoise.noise(V(repeating: 1 - entry.complement))
                let posterior =
                    classes[c] == entry.index
                    ? V(repeating: plan.own[c])
                    : .logPosterior(
                        V(repeating: entry.x), signal: V(repeating: plan.signal[c]), level: V(repeating: plan.level[c]),
                        slope: V(repeating: plan.slope[c]), linear: step.drawsLinearly)
                enter((posterior + noise)[0], entry.index, c)
            }
        }
        for c in 0..<pixels.count {
            if !step.drawsModelOutput {
                let complement = parts.last.maskComplements[pixels[c]]
                enter(plan.mask[c] + FloatNoise.noise(V(repeating: 1 - complement))[0], step.maskClass, c)
            }
            guard winners[pixels[c]] >= 0 else { return false }
        }
        return true
    }
}
