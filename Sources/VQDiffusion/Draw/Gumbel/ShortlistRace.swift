import CVQDiffusion

/// Finds the winners of a batch row among the classes that have been listed.
///
/// With w the wait of a class, e^-noise, its e^score is (signal p + level S)/w, where of the mass S
/// of the column only a bracket is known at first. That of one class over that of another, (a +
/// bS)/(c + dS), is monotonic in S: a class that wins at both ends of the bracket, clearly enough
/// for every rounding, wins. Where none does, at hardly one pixel in a thousand, the mass is added
/// up and the scores are those of the plain formula (`CandidateRace`).
struct ShortlistRace {
    private typealias V = FloatVector

    /// The greatest score of a column of mass P is below with probability exp(-P e^2.75): 1.6e-7 at
    /// P = 1, 1.4e-6 at P = 0.86, 4e-4 at P = 0.5. P(max < log P - 2.75) = exp(-e^2.75) for every
    /// P.
    static var floor: Float { -2.75 }

    private let step: ReverseStep
    private let kinds: PixelKinds
    private let pixels: Int
    /// The classes that the pixels show.
    private let observed: UnsafePointer<Int32>
    private let parts: RowParts

    /// - Parameters:
    ///   - kinds: with the bounds that the classes were listed by.
    ///   - observed: the classes that the pixels of the row show.
    ///   - parts: what has been found in the classes of the row, in their order.
    init(
        _ step: ReverseStep, kinds: PixelKinds, pixels: Int, observed: UnsafePointer<Int32>,
        _ parts: RowParts
    ) {
        (self.step, self.kinds, self.pixels, self.observed, self.parts) = (
            step, kinds, pixels, observed, parts
        )
    }

    /// Sets the winners but at pixels where they depend on the mass.
    ///
    /// - Parameter open: room for all pixels; those pixels.
    /// - Returns: how many those are. Nil, and winners that mean nothing, when the lists prove
    ///   nothing: one is full, or a column is not what the bounds took for granted.
    func run(into winners: UnsafeMutablePointer<Int32>, open: UnsafeMutablePointer<Int32>)
        throws(ArgumentError) -> Int?
    {
        let own = try Scratch<Float>(pixels + 16, filledWith: -.infinity)
        guard findOwn(own.pointer) else { return nil }
        let masses = try Scratch<Bracket>(pixels)
        guard try bracketMasses(own.pointer, into: masses.pointer) else { return nil }
        let contests = try Scratch<Contest>(
            pixels, filledWith: Contest(floor: vqd_exp(Double(ShortlistRace.floor))))
        for i in 0..<parts.count { enter(parts[i], masses.pointer, contests.pointer) }
        if !step.drawsModelOutput { enterMask(masses.pointer, contests.pointer) }
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

    /// Sets the log-probabilities of the classes that the pixels show, which are listed at any
    /// rate.
    ///
    /// - Returns: false when a list is full, or a log-probability beyond what its bound can tell:
    ///   NaN and +∞ are, and always listed.
    private func findOwn(_ own: UnsafeMutablePointer<Float>) -> Bool {
        for i in 0..<parts.count {
            let part = parts[i]
            guard !part.isFull else { return false }
            for j in 0..<part.count {
                let entry = part[j]
                let observed = observed[Int(entry.pixel)]
                guard kinds[observed].bounds.takes(entry.x) else { return false }
                if observed == entry.index { own[Int(entry.pixel)] = entry.x }
            }
        }
        return true
    }

    /// Sets what S is at least and at most at every pixel; see `PosteriorFactors`.
    ///
    /// - Parameter own: log-probabilities of the classes that the pixels show; -∞ for masked ones.
    private func bracketMasses(
        _ own: UnsafePointer<Float>, into masses: UnsafeMutablePointer<Bracket>
    ) throws(ArgumentError) -> Bool {
        let sums = try Scratch<Double>(pixels, filledWith: 0)
        for i in 0..<parts.count {
            let part = parts[i].sums
            for n in 0..<pixels { sums[n] += Double(part[n]) }
        }
        for first in stride(from: 0, to: pixels, by: 16) {
            let exponentials = V.exp(V(at: own + first))
            for n in first..<min(first + 16, pixels) {
                let kind = kinds[observed[n]]
                guard let whole = kind.bounds.mass(sum: sums[n]) else { return false }
                let isApart =
                    own[n] > -.infinity && step.countedApart(observed[n]) != step.maskClass
                let apart = isApart ? exponentials[n - first].asDouble : 0
                masses[n] = Bracket(
                    low: kind.mass.of(own: apart, others: max(0, whole.low - apart)),
                    high: kind.mass.of(own: apart, others: max(0, whole.high - apart)))
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
            let waits = FloatNoise.wait(V(repeating: 1) - complements)
            for lane in 0..<count {
                let (k, n) = (part[first + lane].index, Int(part[first + lane].pixel))
                let factors = kinds[observed[n]].factors
                let isOwn = observed[n] == k
                let probability = x[lane] > -.infinity ? probabilities[lane].asDouble : 0
                contests[n].enter(
                    k, signal: (isOwn ? factors.ownSignal : factors.signal) * probability,
                    level: isOwn ? factors.ownLevel : factors.level,
                    wait: waits[lane].asDouble, mass: masses[n])
            }
        }
    }

    private func enterMask(
        _ masses: UnsafePointer<Bracket>, _ contests: UnsafeMutablePointer<Contest>
    ) {
        for first in stride(from: 0, to: pixels, by: 16) {
            let waits = FloatNoise.wait(V(repeating: 1) - V(at: parts.last.maskComplements + first))
            for n in first..<min(first + 16, pixels) {
                contests[n].enter(
                    step.maskClass, signal: 0, level: kinds[observed[n]].factors.mask,
                    wait: waits[n - first].asDouble, mass: masses[n])
            }
        }
    }
}

/// What a number is at least and at most.
struct Bracket {
    var low, high: Double
}

/// The race at one pixel, run at both ends of the bracket of its mass.
private struct Contest {
    /// The two best, as e^score.
    private struct Leaders {
        var best: Double
        var second = 0.0
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

    /// What e^score may err by, here and in the plain formula: many roundings of logarithms up to
    /// 70, the log-probability of a mass of 1e30.
    private static var clearly: Double { 1.0005 }

    private var low, high: Leaders

    /// - Parameter floor: the e^score that a winner exceeds.
    init(floor: Double) {
        low = Leaders(best: floor)
        high = low
    }

    @inline(__always)
    mutating func enter(_ index: Int32, signal: Double, level: Double, wait: Double, mass: Bracket)
    {
        let rate = 1 / wait
        low.enter((signal + level * mass.low) * rate, index)
        high.enter((signal + level * mass.high) * rate, index)
    }

    /// The class that wins whatever the mass, or nil.
    var winner: Int32? {
        low.areClear && high.areClear && low.winner == high.winner ? low.winner : nil
    }
}
