import CVQDiffusion

/// Finds the winners of a batch row among the classes that have been listed.
///
/// A score depends on the mass of the column, of which only brackets are known at first: but the difference of any two scores is monotonic in
/// it. So a class that wins at both ends, clearly enough for every rounding, wins. Where none does, at hardly one pixel in a thousand, the mass
/// is added up and the scores are those of the plain formula.
struct ShortlistRace {
    private typealias V = FloatVector

    /// The greatest score of a column of mass P is below with probability exp(-P e^2.75): 1.6e-7 at P = 1, 1.4e-6 at P = 0.86, 4e-4 at P = 0.5.
    static var floor: Float { -2.75 }
    /// What e^score may err by and the plain formula with it: many roundings of logarithms up to 70, the log-probability of a mass of 1e30.
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
    private let bounds: (masked: ScoreBounds, unmasked: ScoreBounds)
    private let pixels: Int
    /// The classes that the pixels show.
    private let shown: UnsafePointer<Int32>
    private let parts: RowParts

    /// - Parameters:
    ///   - bounds: those that the classes were listed by.
    ///   - shown: the classes that the pixels of the row show.
    ///   - parts: what has been found in the classes of the row, in their order.
    init(
        _ step: ReverseStep, bounds: (masked: ScoreBounds, unmasked: ScoreBounds), pixels: Int, shown: UnsafePointer<Int32>, _ parts: RowParts
    ) {
        (self.step, self.bounds, self.pixels, self.shown, self.parts) = (step, bounds, pixels, shown, parts)
    }

    /// Sets the winners but at pixels where they depend on the mass.
    ///
    /// - Parameter unclear: room for all pixels; those pixels.
    /// - Returns: how many those are. Nil, and winners that mean nothing, when the lists prove nothing: one is full, or a column is not what the
    ///   bounds took for granted.
    func run(into winners: UnsafeMutablePointer<Int32>, unclear: UnsafeMutablePointer<Int32>) throws(ArgumentError) -> Int? {
        let own = try Scratch<Float>(pixels + 16, filledWith: -.infinity)
        for i in 0..<parts.count {
            let part = parts[i]
            guard !part.isFull else { return nil }
            for j in 0..<part.count {
                let entry = part[j]
                let pixel = Int(entry.pixel)
                let isOwn = shown[pixel] == entry.index
                // This finds NaN and +∞, which are in the list.
                guard (shown[pixel] == step.maskClass ? bounds.masked : bounds.unmasked).takes(entry.x) else { return nil }
                if isOwn { own[pixel] = entry.x }
            }
        }
        let low = try Scratch<Double>(pixels)
        let high = try Scratch<Double>(pixels)
        guard bracketMasses(own.pointer, low.pointer, high.pointer) else { return nil }
        let leaders = try Scratch<(low: Leader, high: Leader)>(pixels)
        let nobody = Leader(best: vqd_exp(Double(ShortlistRace.floor)), second: 0, winner: -1)
        for n in 0..<pixels { leaders[n] = (nobody, nobody) }
        let factors = step.drawsModelOutput ? (.direct, .direct) : (step.factors(of: step.maskClass), step.factors(of: 0))
        for i in 0..<parts.count { enter(parts[i], factors, low.pointer, high.pointer, leaders.pointer) }
        if !step.drawsModelOutput { enterMask(factors, low.pointer, high.pointer, leaders.pointer) }
        var found = 0
        for n in 0..<pixels {
            let (low, high) = leaders[n]
            winners[n] = low.winner
            guard !low.isClear || !high.isClear || low.winner != high.winner else { continue }
            unclear[found] = Int32(truncatingIfNeeded: n)
            found &+= 1
        }
        return found
    }

    /// Sets what S is at least and at most at every pixel; see `PosteriorFactors`.
    private func bracketMasses(
        _ own: UnsafePointer<Float>, _ low: UnsafeMutablePointer<Double>, _ high: UnsafeMutablePointer<Double>
    ) -> Bool {
        let (masked, unmasked) = (step.mass(of: step.maskClass), step.mass(of: 0))
        for n in 0..<pixels { low[n] = 0 }
        for i in 0..<parts.count {
            let sums = parts[i].sums
            for n in 0..<pixels { low[n] += Double(sums[n]) }
        }
        for first in stride(from: 0, to: pixels, by: 16) {
            let exponentials = V.exp(V(at: own + first))
            for n in first..<min(first + 16, pixels) {
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
        _ part: ShortlistPart, _ factors: (masked: PosteriorFactors, unmasked: PosteriorFactors),
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
        _ factors: (masked: PosteriorFactors, unmasked: PosteriorFactors),
        _ low: UnsafePointer<Double>, _ high: UnsafePointer<Double>, _ leaders: UnsafeMutablePointer<(low: Leader, high: Leader)>
    ) {
        for first in stride(from: 0, to: pixels, by: 16) {
            let waits = FloatNoise.wait(V(repeating: 1) - V(at: parts.last.maskComplements + first))
            for n in first..<min(first + 16, pixels) {
                let rate = (shown[n] == step.maskClass ? factors.masked : factors.unmasked).mask / waits[n - first].asDouble
                leaders[n].low.enter(rate * low[n], step.maskClass)
                leaders[n].high.enter(rate * high[n], step.maskClass)
            }
        }
    }

    /// Sets the winners at some pixels by the plain formula.
    ///
    /// - Parameter plan: of those pixels in a row.
    /// - Returns: false when at one of them no score is above the floor.
    func runPlainly(_ selection: PixelList, _ plan: borrowing PosteriorPlan<Float>, into winners: UnsafeMutablePointer<Int32>) throws(ArgumentError) -> Bool {
        let place = try Scratch<Int32>(pixels, filledWith: -1)
        let best = try Scratch<Float>(selection.count, filledWith: ShortlistRace.floor)
        for c in 0..<selection.count {
            place[selection[c]] = Int32(truncatingIfNeeded: c)
            winners[selection[c]] = -1
        }
        func enter(_ score: Float, _ index: Int32, _ c: Int) {
            let n = selection[c]
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
                    plan.classes[c] == entry.index
                    ? V(repeating: plan.own[c])
                    : .logPosterior(
                        V(repeating: entry.x), signal: V(repeating: plan.signal[c]), level: V(repeating: plan.level[c]),
                        slope: V(repeating: plan.slope[c]), linear: step.drawsLinearly)
                enter((posterior + noise)[0], entry.index, c)
            }
        }
        for c in 0..<selection.count {
            let n = selection[c]
            if !step.drawsModelOutput {
                let noise = FloatNoise.noise(V(repeating: 1 - parts.last.maskComplements[n]))
                enter(plan.mask[c] + noise[0], step.maskClass, c)
            }
            guard winners[n] >= 0 else { return false }
        }
        return true
    }
}
