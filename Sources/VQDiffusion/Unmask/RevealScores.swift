import CVQDiffusion

/// The tokens and keys of the pixels that a step reads, one after the other, in one read of their
/// columns.
struct RevealScores<Real: RealScalar>: ~Copyable {
    let tokens: Scratch<Int32>
    /// What `UnmaskOptions.Order` says, without noise.
    let keys: Scratch<Double>
    /// p₁, under `confidence` p of the token.
    private let probabilities: Scratch<Double>
    private let entropies: Scratch<Double>
    /// The largest logit, and p₁ over the largest of the row.
    private let largest, purities: Scratch<Double>
    /// Of the needed pixels alone, where their columns are.
    private let gatheredUniforms: Scratch<Double>
    /// What the tokens are drawn from, unless all are drawn with the scores.
    private let scored: ScoredTokens<Real>
    private let areDrawn: Bool

    /// - Parameter gathered: whether `p` holds only the needed columns, in one batch row.
    /// - Throws: `ArgumentError` for a column with NaN or +∞, or nothing but -∞.
    init(
        _ decision: borrowing RevealDecision, _ p: LogProbabilities, gathered: Bool,
        _ options: UnmaskOptions, _ parallelism: Parallelism
    ) throws(ArgumentError) {
        let (count, pixels) = (decision.needed.count, decision.needed.pixels)
        let rows = try decision.needed.rows()
        let tokens = try Scratch<Int32>(count)
        let keys = try Scratch<Double>(count)
        let probabilities = try Scratch<Double>(count)
        let entropies = try Scratch<Double>(count)
        let largest = try Scratch<Double>(count)
        let purities = try Scratch<Double>(count)
        let gatheredUniforms = try Scratch<Double>(gathered ? count : 0)
        if gathered {
            for c in 0..<count {
                gatheredUniforms[c] =
                    decision.uniforms[Int(rows[c]) &* pixels &+ Int(decision.needed.list[c])]
            }
        }
        let uniforms = gathered ? gatheredUniforms.pointer : decision.uniforms.pointer
        // To draw a token can take as long as to score it: else only those of the chosen are drawn.
        let areDrawn =
            options.priorWeight == 0
            && (options.order == .confidence || options.choosesFirst
                || options.revealsAll(of: decision))
        let scored = try ScoredTokens<Real>(
            p, uniforms: areDrawn ? UnsafePointer(uniforms) : nil, temperature: 1,
            keepsMasses: !areDrawn && options.priorWeight == 0)
        if gathered {
            try scored.read(parallelism)
        } else {
            try scored.read(decision.needed, parallelism)
        }
        let all = p.batch * p.pixels
        let numbers = scored.numbers.pointer
        func number(_ index: Int, _ at: Int) -> Double { numbers[index &* all &+ at].asDouble }
        for row in 0..<decision.needed.batch {
            let range = decision.needed.starts[row]..<decision.needed.starts[row + 1]
            var best = 0.0
            for c in range {
                let pixel = gathered ? c : Int(decision.needed.list[c])
                let at = gathered ? c : row &* p.pixels &+ pixel
                if !scored.good[at] {
                    _ = try largestElement(p, row: gathered ? 0 : row, pixel: pixel)
                }
                best = max(best, number(5, at))
            }
            for c in range {
                let pixel = gathered ? c : Int(decision.needed.list[c])
                let at = gathered ? c : row &* p.pixels &+ pixel
                let purity = number(5, at) / best
                (largest[c], purities[c], tokens[c]) = (number(4, at), purity, scored.tokens[at])
                var probability = number(0, at)
                if options.priorWeight > 0 && options.order == .confidence {
                    let row = gathered ? 0 : row
                    let column = ColumnDraw<Real>(
                        p: p, row: row, pixel: pixel, largest: largest[c],
                        sharpness: options.power(purity, as: Real.self),
                        segmentRows: p.classes)
                    tokens[c] = Int32(truncatingIfNeeded: column.draw(uniforms[at]))
                    let x = Elements<Real>(type: p.elementType).load(
                        p.pointer(row: row, class: Int(tokens[c]), pixel: pixel))
                    probability = number(5, at) * vqd_exp(x.asDouble - largest[c])
                }
                let isOfToken = options.order == .confidence
                probabilities[c] = isOfToken ? probability : number(5, at)
                entropies[c] = number(1, at)
                switch options.order {
                case .random: keys[c] = 0
                case .purity: keys[c] = vqd_log(purity)
                case .margin: keys[c] = vqd_log(number(2, at))
                case .entropy: keys[c] = -number(1, at)
                case .confidence: keys[c] = vqd_log(probability)
                }
            }
        }
        self.tokens = tokens
        self.keys = keys
        self.probabilities = probabilities
        self.entropies = entropies
        self.largest = largest
        self.purities = purities
        self.gatheredUniforms = gatheredUniforms
        self.scored = scored
        self.areDrawn = areDrawn
    }

    /// Draws the tokens of the pixels that are revealed, unless they are.
    ///
    /// - Parameter gathered: whether `p` holds only the needed columns, in one batch row.
    func draw(
        _ chosen: borrowing PixelSelection, of decision: borrowing RevealDecision,
        _ p: LogProbabilities, gathered: Bool, _ options: UnmaskOptions, _ parallelism: Parallelism
    ) throws(ArgumentError) {
        // Under a prior, confidence has drawn them to know their probabilities.
        guard !areDrawn && !(options.priorWeight > 0 && options.order == .confidence) else {
            return
        }
        let uniforms = gathered ? gatheredUniforms.pointer : decision.uniforms.pointer
        let places = try decision.needed.places(of: chosen)
        let rows = try decision.needed.rows()
        let (place, list) = (places.list.pointer, decision.needed.list.pointer)
        let rowOf = rows.pointer
        // A draw rereads a part of a column, under a prior all of it.
        let work = options.priorWeight > 0 ? 2 * p.classes : 256
        let threads = parallelism.threads(forWork: places.count * work)
        try parallelByShares(items: places.count, threads: threads) { item in
            let at = Int(place[item])
            let (row, pixel) = gathered ? (0, at) : (Int(rowOf[at]), Int(list[at]))
            let u = uniforms[row &* p.pixels &+ pixel]
            if options.priorWeight > 0 {
                let column = ColumnDraw<Real>(
                    p: p, row: row, pixel: pixel, largest: largest[at],
                    sharpness: options.power(purities[at], as: Real.self),
                    segmentRows: p.classes)
                tokens[at] = Int32(truncatingIfNeeded: column.draw(u))
            } else {
                tokens[at] = Int32(
                    truncatingIfNeeded: scored.draw(row: row, pixel: pixel, u))
            }
        }
        withExtendedLifetime(places) {}
        withExtendedLifetime(rows) {}
    }

    /// The pixels that are revealed.
    func chosen(of decision: borrowing RevealDecision, _ options: UnmaskOptions)
        throws(ArgumentError) -> PixelSelection
    {
        let needed = (list: decision.needed.list.pointer, starts: decision.needed.starts.pointer)
        let noise = decision.noise.pointer
        let temperature =
            options.order == .random ? 1 : options.temperature > 0 ? options.temperature : nil
        switch options.rule {
        case .due, .count:
            return try decision.needed.largest(
                decision.counts, keys: keys.pointer, noise: noise, temperature: temperature)
        case .entropyBound(let bound):
            let negative = try Scratch<Double>(decision.needed.count)
            for c in 0..<decision.needed.count { negative[c] = -entropies[c] }
            let counts = try counts(decision.needed, withinBound: bound, negative.pointer)
            return try decision.needed.largest(
                counts, keys: negative.pointer, noise: noise, temperature: nil)
        case .threshold(let bound):
            // As many as exceed it, before all others; where none does, one by its key.
            let counts = try Scratch<Int>(decision.needed.batch)
            let order = try Scratch<Double>(decision.needed.count)
            for row in 0..<decision.needed.batch {
                let range = needed.starts[row]..<needed.starts[row + 1]
                var above = 0
                for c in range where probabilities[c] > bound { above += 1 }
                counts[row] = max(1, above)
                for c in range {
                    order[c] =
                        above == 0 ? keys[c] : probabilities[c] > bound ? .infinity : -.infinity
                }
            }
            return try decision.needed.largest(
                counts, keys: order.pointer, noise: noise, temperature: temperature)
        }
    }

    /// How many pixels of lowest entropy have a sum of at most `bound`, less the largest; at least
    /// one of each row.
    private func counts(
        _ needed: borrowing PixelSelection, withinBound bound: Double,
        _ negative: UnsafePointer<Double>
    ) throws(ArgumentError) -> Scratch<Int> {
        let counts = try Scratch<Int>(needed.batch)
        let heap = try Scratch<Int32>(needed.pixels)
        for row in 0..<needed.batch {
            let keys = negative + needed.starts[row]
            var rising = KeyHeap(keys, count: needed.count(row), in: heap.pointer)
            var (sum, count) = (0.0, 0)
            while let i = rising.next() {
                // The largest of those that rise is the last one.
                guard sum <= bound || count == 0 else { break }
                sum -= keys[i]
                count += 1
            }
            counts[row] = count
        }
        return counts
    }
}
