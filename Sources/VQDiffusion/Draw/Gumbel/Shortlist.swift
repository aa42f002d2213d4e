import CVQDiffusion

extension ReverseStep {
    /// Whether lists take less time than the race among all classes: in the middle of the chain
    /// from 64 classes on; at t = 0, where some 17 are listed, from 1024 on.
    var shortlistsPay: Bool { classes >= (drawsModelOutput ? 1024 : 64) }

    /// Draws x_s by Gumbel-max with the uniforms of an engine, in one reading of the model output:
    /// the pass that draws the uniforms also brackets the masses of the columns and lists the
    /// classes that can win, one in a hundred or fewer.
    ///
    /// The greatest score of a pixel is log Σ_k p_k plus Gumbel noise, so that a class whose score
    /// is below a floor hardly ever wins. Which scores may be above is seen from the
    /// log-probability and the uniform alone (`ScoreBounds`). Threads share out the stream of the
    /// engine (`StreamPieces`); the one that completes a batch row finds its winners
    /// (`ShortlistRace`). They are those of the plain formula.
    ///
    /// - Parameters:
    ///   - observed: the classes that the pixels show.
    ///   - state: of the engine; advanced when this succeeds.
    /// - Returns: false, with the engine as it was and winners that mean nothing, when the lists of
    ///   a batch row prove nothing, or a column is bad.
    /// - Throws: `ArgumentError` when there is not the memory for the lists.
    func drawFromShortlists<E: FloatingElement>(
        _: E.Type, _ p: LogProbabilities, observed: UnsafePointer<Int32>,
        engine state: UnsafeMutablePointer<UInt32>,
        _ winners: UnsafeMutablePointer<Int32>, _ parallelism: Parallelism
    ) throws(ArgumentError) -> Bool where E.Real == Float {
        let threads = parallelism.threads(forWork: p.batch * p.classes * p.pixels)
        let pieces = try StreamPieces(batch: p.batch, classRows: uniformRows, threads: threads)
        let width = (p.pixels + 15) / 16 * 16
        let lanes = try PixelList.run(0..<p.pixels).laneGroups(
            pixelStride: p.pixelStride, elementSize: E.size)
        let kinds = PixelKinds(self, floor: Double(ShortlistRace.floor))
        let buffer = ShortlistPart.roomPerPixel(in: pieces)
        let bytes = (ShortlistPart.bytes(width: width, roomPerPixel: buffer) + 63) / 64 * 64
        let memory = try Scratch<UInt8>(pieces.places * bytes)
        let parts = try Scratch<ShortlistPart>(pieces.places)
        for place in 0..<pieces.places {
            parts[place] = ShortlistPart(
                in: memory.pointer + place * bytes, width: width, roomPerPixel: buffer)
        }
        let arrived = try Scratch<Int64>(p.batch, filledWith: 0)
        let isProven = try Scratch<Bool>(p.batch, filledWith: false)
        let end = try Scratch<UInt32>(MersenneTwister.stateSize)
        try parallel(tasks: pieces.shares, threads: threads) { (share) throws(ArgumentError) in
            let words = try Scratch<UInt32>(MersenneTwister.workingSize)
            var engine = try MersenneTwister(state: state, in: words.pointer)
            var reader = try ShortlistReader<E>(p, lanes: lanes.pointer)
            // Class rows that the engine has passed.
            var passed = 0
            for piece in pieces.pieces(ofShare: share) {
                engine.skip((pieces.start(of: piece) - passed) * p.pixels)
                passed = pieces.end(of: piece)
                let (row, place) = (pieces.row(of: piece), pieces.place(of: piece, share: share))
                let (classRows, ofRow) = (pieces.classRows(of: piece), pieces.pieces(ofRow: row))
                try reader.read(
                    row: row, classRows, observed: observed + row * p.pixels, kinds, &engine,
                    into: &parts.pointer[place])
                if piece == pieces.count - 1 { engine.save(to: end.pointer) }
                guard vqd_arrive(arrived.pointer + row) == ofRow.count - 1 else { continue }
                let all = RowParts(
                    first: parts.pointer + pieces.place(of: ofRow.lowerBound, share: share),
                    count: ofRow.count)
                let race = ShortlistRace(
                    self, kinds: kinds, pixels: p.pixels, observed: observed + row * p.pixels, all)
                isProven[row] = try decide(
                    E.self, race, all, p, row: row, observed: observed + row * p.pixels,
                    into: winners + row * p.pixels)
            }
        }
        for row in 0..<p.batch where !isProven[row] { return false }
        state.update(from: end.pointer, count: MersenneTwister.stateSize)
        return true
    }

    /// Finds the winners of a batch row; of the few pixels where they depend on the masses of the
    /// columns, those are added up.
    private func decide<E: FloatingElement>(
        _: E.Type, _ race: ShortlistRace, _ parts: RowParts, _ p: LogProbabilities, row: Int,
        observed: UnsafePointer<Int32>,
        into winners: UnsafeMutablePointer<Int32>
    ) throws(ArgumentError) -> Bool where E.Real == Float {
        let open = try Scratch<Int32>(p.pixels)
        guard let count = try race.run(into: winners, open: open.pointer) else { return false }
        guard count > 0 else { return true }
        let selection = PixelList.selection(open.pointer, count: count)
        let classes = try Scratch<Int32>(count)
        for c in 0..<count { classes[c] = observed[selection[c]] }
        let plan = try PosteriorCoefficients<Float>(self, batch: 1, pixels: count, sample: classes)
        let excluded = try excludedClasses(plan.classes.pointer, count: count)
        let sums = try BlockSums<E>.of(p, row: row, columns: selection, excluded: excluded.pointer)
        for c in 0..<count {
            try plan.set(
                E.self, self, p, at: c, row: row, pixel: selection[c], own: excluded[c],
                others: sums.total(column: c))
        }
        return try CandidateRace(self, selection: selection, pixels: p.pixels).run(
            parts, plan, into: winners)
    }
}
