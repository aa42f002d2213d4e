/// Finds the winners among the classes that have been listed at some pixels of a batch row, whose
/// columns have been added up: by the plain formula.
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
    ///   - parts: what has been found in the classes of the row, in their order.
    ///   - plan: of the selection as a row.
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

    /// The lowest index wins ties. Classes come in no order: that which a pixel shows is listed out
    /// of turn.
    private func enter(_ index: Int32, _ score: Float, at c: Int) {
        guard score > best[c] || score == best[c] && index < winners[c] else { return }
        best[c] = score
        winners[c] = index
    }
}
