import CVQDiffusion

/// What has been found in the pieces of a batch row, in the order of the classes.
struct RowParts {
    let first: UnsafePointer<ShortlistPart>
    let count: Int

    subscript(index: Int) -> ShortlistPart { first[index] }
    /// The part with the row of the mask.
    var last: ShortlistPart { first[count - 1] }
}

/// Finds the winners of a batch row among the listed classes.
///
/// With w = e^-noise the arrival time of a class, its e^score is (signal p + level S)/w, where the
/// mass S of the column is known to lie in a bracket. The ratio of two such scores,
/// (a + bS)/(c + dS), is monotonic in S: a class that wins at both ends of the bracket, by more
/// than all roundings, wins. Where none does, at hardly one pixel in a thousand, `CandidateRace`
/// adds the mass up.
struct ShortlistRace {
    private typealias V = FloatVector

    /// Scores up to this are not listed. The greatest score of a column of mass P is below
    /// log P - 2.75 with probability exp(-e^2.75) = 1.6e-7 for every P, and so below -2.75 with
    /// probability exp(-P e^2.75): 1.4e-6 at P = 0.86, 4e-4 at P = 0.5.
    static var floor: Float { -2.75 }

    private let step: ReverseStep
    private let kinds: PixelKinds
    private let pixels: Int
    private let observed: UnsafePointer<Int32>
    private let parts: RowParts

    /// - Parameters:
    ///   - kinds: with the bounds that the classes were listed by.
    ///   - observed: the observed classes of the row's pixels.
    ///   - parts: what has been found in the row.
    init(
        _ step: ReverseStep, kinds: PixelKinds, pixels: Int, observed: UnsafePointer<Int32>,
        _ parts: RowParts
    ) {
        (self.step, self.kinds, self.pixels, self.observed, self.parts) = (
            step, kinds, pixels, observed, parts
        )
    }

    /// Sets the winners of the pixels where they do not depend on the mass within its bracket.
    ///
    /// - Parameter open: room for all pixels; gets the others.
    /// - Returns: how many others there are. Nil, and winners that mean nothing, when the lists
    ///   prove nothing: one is full, or the bounds do not hold for a column.
    func run(into winners: UnsafeMutablePointer<Int32>, open: UnsafeMutablePointer<Int32>)
        throws(ArgumentError) -> Int?
    {
        let observedLogs = try Scratch<Float>(pixels + 16, filledWith: -.infinity)
        guard findObserved(observedLogs.pointer) else { return nil }
        let masses = try Scratch<Bracket>(pixels)
        guard try bracketMasses(observedLogs.pointer, into: masses.pointer) else { return nil }
        let contests = try Scratch<Contest>(
            pixels, filledWith: Contest(floor: vqd_exp(Double(ShortlistRace.floor))))
        for i in 0..<parts.count { enter(parts[i], masses.pointer, contests.pointer) }
        if !step.drawsModelOutput {
            enterMask(observedLogs.pointer, masses.pointer, contests.pointer)
        }
        var count = 0
        for n in 0..<pixels {
            if let winner = contests[n].winner {
                winners[n] = winner
            } else {
                open[count] = Int32(truncatingIfNeeded: n)
                count &+= 1
            }
        }
        return count
    }

    /// Sets the log-probabilities of the observed classes, which are always listed.
    ///
    /// - Returns: false when a list is full, or a listed log-probability is beyond the range of its
    ///   bound, as NaN and +∞ are.
    private func findObserved(_ logs: UnsafeMutablePointer<Float>) -> Bool {
        for i in 0..<parts.count {
            let part = parts[i]
            guard !part.isFull else { return false }
            for j in 0..<part.count {
                let entry = part[j]
                let observed = observed[Int(entry.pixel)]
                guard kinds[observed].bounds.takes(entry.x) else { return false }
                if observed == entry.index { logs[Int(entry.pixel)] = entry.x }
            }
        }
        return true
    }

    /// Brackets S at every pixel; see `PosteriorFactors`.
    ///
    /// - Parameter observedLogs: log-probabilities of the observed classes; -∞ for masked pixels.
    /// - Returns: false when the bounds do not hold for a column.
    private func bracketMasses(
        _ observedLogs: UnsafePointer<Float>, into masses: UnsafeMutablePointer<Bracket>
    ) throws(ArgumentError) -> Bool {
        let sums = try Scratch<Double>(pixels, filledWith: 0)
        for i in 0..<parts.count {
            let part = parts[i].sums
            for n in 0..<pixels { sums[n] += Double(part[n]) }
        }
        for first in stride(from: 0, to: pixels, by: 16) {
            let probabilities = V.exp(V(at: observedLogs + first))
            for n in first..<min(first + 16, pixels) {
                let kind = kinds[observed[n]]
                guard let whole = kind.bounds.mass(sum: sums[n]) else { return false }
                let isCountedApart =
                    observedLogs[n] > -.infinity && step.countedApart(observed[n]) != step.maskClass
                let own = isCountedApart ? probabilities[n - first].asDouble : 0
                masses[n] = Bracket(
                    low: kind.mass.of(own: own, others: max(0, whole.low - own)),
                    high: kind.mass.of(own: own, others: max(0, whole.high - own)))
            }
        }
        return true
    }

    private func enter(
        _ part: ShortlistPart, _ masses: UnsafePointer<Bracket>,
        _ contests: UnsafeMutablePointer<Contest>
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
            let arrivals = FloatNoise.arrivalTime(V(repeating: 1) - complements)
            for lane in 0..<count {
                let (k, n) = (part[first + lane].index, Int(part[first + lane].pixel))
                let factors = kinds[observed[n]].factors
                let isObserved = observed[n] == k
                let probability = x[lane] > -.infinity ? probabilities[lane].asDouble : 0
                contests[n].enter(
                    k, signal: (isObserved ? factors.ownSignal : factors.signal) * probability,
                    level: isObserved ? factors.ownLevel : factors.level,
                    arrival: arrivals[lane].asDouble, mass: masses[n])
            }
        }
    }

    private func enterMask(
        _ observedLogs: UnsafePointer<Float>, _ masses: UnsafePointer<Bracket>,
        _ contests: UnsafeMutablePointer<Contest>
    ) {
        for first in stride(from: 0, to: pixels, by: 16) {
            let arrivals = FloatNoise.arrivalTime(
                V(repeating: 1) - V(at: parts.last.maskComplements + first))
            for n in first..<min(first + 16, pixels) {
                let factors = kinds[observed[n]].factors
                let own = factors.ownMask > 0 ? vqd_exp(Double(observedLogs[n])) : 0
                contests[n].enter(
                    step.maskClass, signal: factors.ownMask * own, level: factors.mask,
                    arrival: arrivals[n - first].asDouble, mass: masses[n])
            }
        }
    }
}

/// The race at one pixel, run at both ends of the bracket of its mass.
private struct Contest {
    /// The two best, as e^score.
    private struct Leaders {
        var best: Double
        var second = 0.0
        /// -1: no winner yet.
        var winner = Int32(-1)

        @inline(__always)
        mutating func enter(_ value: Double, _ index: Int32) {
            if value > best {
                (second, best, winner) = (best, value, index)
            } else if value > second {
                second = value
            }
        }

        var areClear: Bool { winner >= 0 && best >= second * Contest.clearly }
    }

    /// Bounds the error of e^score here and in the plain formula: many roundings of logarithms up
    /// to 70, the log-probability of a mass of 1e30.
    private static var clearly: Double { 1.0005 }

    private var low, high: Leaders

    /// - Parameter floor: the e^score that a winner exceeds.
    init(floor: Double) {
        low = Leaders(best: floor)
        high = low
    }

    @inline(__always)
    mutating func enter(
        _ index: Int32, signal: Double, level: Double, arrival: Double, mass: Bracket
    ) {
        let rate = 1 / arrival
        low.enter((signal + level * mass.low) * rate, index)
        high.enter((signal + level * mass.high) * rate, index)
    }

    /// The class that wins whatever the mass, or nil.
    var winner: Int32? {
        low.areClear && high.areClear && low.winner == high.winner ? low.winner : nil
    }
}

/// Finds the winners at some pixels of a batch row, whose columns have been added up, among their
/// listed classes: by the plain formula.
struct CandidateRace: ~Copyable {
    private typealias V = FloatVector

    private let step: ReverseStep
    private let selection: PixelList
    /// Where in the selection a pixel of the row is, or -1.
    private let places: Scratch<Int32>
    private let best: Scratch<Float>
    private let winners: Scratch<Int32>

    /// - Parameters:
    ///   - selection: the pixels.
    ///   - pixels: how many the row has.
    init(_ step: ReverseStep, selection: PixelList, pixels: Int) throws(ArgumentError) {
        let places = try Scratch<Int32>(pixels, filledWith: -1)
        let best = try Scratch<Float>(selection.count, filledWith: ShortlistRace.floor)
        let winners = try Scratch<Int32>(selection.count, filledWith: -1)
        for c in 0..<selection.count { places[selection[c]] = Int32(truncatingIfNeeded: c) }
        (self.step, self.selection) = (step, selection)
        self.places = places
        self.best = best
        self.winners = winners
    }

    /// - Parameters:
    ///   - parts: what has been found in the row.
    ///   - plan: of the selection as a batch row.
    ///   - result: for all pixels; set at those of the selection.
    /// - Returns: false when at one of them no score is above the floor.
    func run(
        _ parts: RowParts, _ plan: borrowing PosteriorCoefficients<Float>,
        into result: UnsafeMutablePointer<Int32>
    ) -> Bool {
        for i in 0..<parts.count {
            let part = parts[i]
            for j in 0..<part.count where places[Int(part[j].pixel)] >= 0 { enter(part[j], plan) }
        }
        for c in 0..<selection.count {
            let n = selection[c]
            if !step.drawsModelOutput {
                let noise = FloatNoise.noise(V(repeating: 1 - parts.last.maskComplements[n]))
                enter(step.maskClass, plan.mask[c] + noise[0], at: c)
            }
            guard winners[c] >= 0 else { return false }
            result[n] = winners[c]
        }
        return true
    }

    private func enter(_ entry: ShortlistPart.Entry, _ plan: borrowing PosteriorCoefficients<Float>)
    {
        let c = Int(places[Int(entry.pixel)])
        let noise = FloatNoise.noise(V(repeating: 1 - entry.complement))
        let posterior =
            plan.classes[c] == entry.index
            ? V(repeating: plan.own[c])
            : .logPosterior(
                V(repeating: entry.x), signal: V(repeating: plan.signal[c]),
                level: V(repeating: plan.level[c]),
                logRatio: V(repeating: plan.logRatio[c]), linear: step.isLinear)
        enter(entry.index, (posterior + noise)[0], at: c)
    }

    /// The lowest index wins ties. Entries are not in the order of their classes: the observed
    /// class comes after others that are read together with it.
    private func enter(_ index: Int32, _ score: Float, at c: Int) {
        guard score > best[c] || score == best[c] && index < winners[c] else { return }
        best[c] = score
        winners[c] = index
    }
}
