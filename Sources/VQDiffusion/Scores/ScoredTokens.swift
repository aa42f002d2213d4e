import CVQDiffusion

/// The tokens and scores of all pixels, gathered before anything is written to the caller's memory.
///
/// Lanes are pixels; but where the classes of a pixel are neighbours in memory, and many, lanes are
/// its classes: nothing need be transposed then.
struct ScoredTokens<Real: RealScalar>: ~Copyable {
    typealias Lanes = ScoreLanes<Real.Vector>

    let p: LogProbabilities
    private let elements: Elements<Real>
    private let uniforms: UnsafePointer<Double>?
    private let sharpness: Real
    private let alongClasses: Bool
    private let segmentRows, segments: Int
    let tokens: Scratch<Int32>
    /// Probability, entropy, margin and logsumexp, one after the other; then the largest logit, and
    /// its probability.
    let numbers: Scratch<Real>
    /// Of each pixel the masses of its segments, where they are kept for `draw`; else nothing.
    private let masses: Scratch<Double>
    private let keepsMasses: Bool
    /// False at a column with NaN or +∞, or nothing but -∞.
    let good: Scratch<Bool>

    /// - Parameters:
    ///   - uniforms: nil when nothing is drawn with the scores.
    ///   - keepsMasses: whether `draw` follows: a number for every `segmentRows` logits is kept.
    init(
        _ p: LogProbabilities, uniforms: UnsafePointer<Double>?, temperature: Double,
        keepsMasses: Bool = false
    ) throws(ArgumentError) {
        // Within the normal numbers of the precision, so that no difference becomes 0 times ∞.
        let (least, greatest) = (Real.leastNormalMagnitude, Real.greatestFiniteMagnitude)
        let inverse = max(least.asDouble, min(1 / temperature, greatest.asDouble))
        // Of fewer classes, those of sixteen pixels are transposed in less time than the lanes of
        // one pixel are put together.
        let elements = Elements<Real>(type: p.elementType)
        let alongClasses = p.classStride == p.elementSize && p.classes >= 1024
        let rows = BlockSums<Float>.blockRows(classes: p.classes)
        let whole = 16 * blockOfClasses  // what is read at once along classes
        let segmentRows = alongClasses ? (rows + whole - 1) / whole * whole : rows
        let count = p.batch * p.pixels
        let tokens = try Scratch<Int32>(count)
        let numbers = try Scratch<Real>(6 * count)
        let good = try Scratch<Bool>(count, filledWith: false)
        let segments = (p.classes + segmentRows - 1) / segmentRows
        let masses = try Scratch<Double>(keepsMasses ? count * segments : 0)
        (self.p, self.uniforms, self.elements) = (p, uniforms, elements)
        sharpness = uniforms == nil && !keepsMasses ? 0 : Real(inverse)
        self.alongClasses = alongClasses
        self.segmentRows = segmentRows
        self.segments = segments
        self.masses = masses
        self.keepsMasses = keepsMasses
        self.tokens = tokens
        self.numbers = numbers
        self.good = good
    }

    /// False when a column has NaN or +∞, or nothing but -∞.
    var areFinite: Bool {
        var all = true
        for at in 0..<p.batch * p.pixels { all = all && good[at] }
        return all
    }

    /// Reads the columns of some pixels alone.
    func read(_ selection: borrowing PixelSelection, _ parallelism: Parallelism)
        throws(ArgumentError)
    {
        let (list, starts) = (selection.list.pointer, selection.starts.pointer)
        let chunk = 256
        let perRow = (selection.pixels + chunk - 1) / chunk
        try parallel(
            tasks: selection.batch * perRow,
            threads: parallelism.threads(forWork: selection.count * p.classes)
        ) { (task) throws(ArgumentError) in
            let row = task / perRow
            let first = starts[row] + task % perRow * chunk
            let columns = PixelList.selection(
                list + first, count: min(starts[row + 1] - first, chunk))
            guard columns.count > 0 else { return }
            try alongClasses
                ? readClasses(of: columns, row: row) : readPixels(columns, row: row)
        }
    }

    /// Reads all columns.
    func read(_ parallelism: Parallelism) throws(ArgumentError) {
        guard alongClasses else {
            return try forEachChunk(of: p, parallelism, widest: 256) {
                (row, chunk) throws(ArgumentError) in try readPixels(.run(chunk), row: row)
            }
        }
        let pixels = p.batch * p.pixels
        let together = max(1, min(64, (1 << 17) / p.classes))
        try parallel(
            tasks: (pixels + together - 1) / together,
            threads: parallelism.threads(forWork: pixels * p.classes)
        ) { (task) throws(ArgumentError) in
            let masses = try Scratch<Double>(segments * 16)
            let references = try Scratch<Real>(segments * 16)
            let block = try Scratch<Real>(blockOfClasses * 16)
            for at in task * together..<min((task + 1) * together, pixels) {
                readClasses(
                    row: at / p.pixels, pixel: at % p.pixels, block: block.pointer,
                    masses: masses.pointer, references: references.pointer)
            }
        }
    }

    private func readClasses(of columns: PixelList, row: Int) throws(ArgumentError) {
        let masses = try Scratch<Double>(segments * 16)
        let references = try Scratch<Real>(segments * 16)
        let block = try Scratch<Real>(blockOfClasses * 16)
        for c in 0..<columns.count {
            readClasses(
                row: row, pixel: columns[c], block: block.pointer, masses: masses.pointer,
                references: references.pointer)
        }
    }

    /// Lanes are sixteen neighbouring classes of one pixel.
    private func readClasses(
        row: Int, pixel: Int, block: UnsafeMutablePointer<Real>,
        masses: UnsafeMutablePointer<Double>, references: UnsafeMutablePointer<Real>
    ) {
        typealias V = Real.Vector
        var lanes = Lanes(sharpness: sharpness, isOneStream: true)
        let column = p.pointer(row: row, pixel: pixel)
        for segment in 0..<segments {
            let end = min(p.classes, (segment + 1) * segmentRows)
            for first in stride(from: segment * segmentRows, to: end, by: 16 * blockOfClasses) {
                let whole = min(blockOfClasses, (end &- first) / 16)
                let source = column + first &* p.elementSize
                elements.loadNeighbours(source, vectors: whole, into: block)
                var count = whole
                let left = min(end &- first &- whole &* 16, whole == blockOfClasses ? 0 : 16)
                if left > 0 {
                    let rest = source + whole &* 16 &* p.elementSize
                    for lane in 0..<16 {
                        block[whole &* 16 &+ lane] =
                            lane < left ? elements.load(rest + lane &* p.elementSize) : -.infinity
                    }
                    count += 1
                }
                lanes.add(block, count: count, first: first / 16)
            }
            lanes.takeDrawn().store(at: masses + segment &* 16)
            lanes.reference.store(at: references + segment &* 16)
        }
        let sums = lanes.allLanes()
        var token = sums.argmax
        if sharpness > 0 && sums.isFinite {
            let largest = V(repeating: Real(sums.largest))
            for segment in 0..<segments {
                let mass =
                    DoubleVector(at: masses + segment &* 16)
                    * lanes.drawnFactor(from: V(at: references + segment &* 16), to: largest)
                masses[segment] = mass.sumOfLanes
            }
            token = drawn(row: row, pixel: pixel, sums) { masses[$0] }
        }
        finish(row: row, pixel: pixel, token: token, sums)
    }

    /// Lanes are pixels. Where pixels are neighbours in memory, whole rows of them are read.
    private func readPixels(_ pixels: PixelList, row: Int) throws(ArgumentError) {
        typealias V = Real.Vector
        let groups = try pixels.laneGroups(
            pixelStride: p.pixelStride, elementSize: p.elementSize)
        let count = (pixels.count + 15) / 16
        let lanes = try Scratch<Lanes>(
            count, filledWith: Lanes(sharpness: sharpness, isOneStream: false))
        let masses = try Scratch<Double>(count * segments * 16)
        let references = try Scratch<Real>(count * segments * 16)
        let block = try Scratch<Real>(blockOfClasses * 16)
        let source = p.pointer(row: row)
        for segment in 0..<segments {
            let end = min(p.classes, (segment + 1) * segmentRows)
            forEachBlock(
                classes: segment * segmentRows..<end, groups: 0..<count,
                alongPixels: p.pixelStride == p.elementSize
            ) { first, classes, group in
                elements.load(
                    groups.pointer[group], row: source, classStride: p.classStride, first: first,
                    count: classes, into: block.pointer)
                lanes.pointer[group].add(block.pointer, count: classes, first: first)
            }
            for group in 0..<count {
                let at = (group &* segments &+ segment) &* 16
                lanes.pointer[group].takeDrawn().store(at: masses.pointer + at)
                lanes.pointer[group].reference.store(at: references.pointer + at)
            }
        }
        for group in 0..<count {
            let (masses, references) = (
                masses.pointer + group &* segments &* 16,
                references.pointer + group &* segments &* 16
            )
            if sharpness > 0 {
                for at in stride(from: 0, to: segments &* 16, by: 16) {
                    let factor = lanes[group].drawnFactor(
                        from: V(at: references + at), to: lanes[group].largest)
                    (DoubleVector(at: masses + at) * factor).store(at: masses + at)
                }
            }
            for lane in 0..<min(16, pixels.count &- group &* 16) {
                let (pixel, sums) = (pixels[group &* 16 &+ lane], lanes[group].lane(lane))
                var token = sums.argmax
                if sharpness > 0 && sums.isFinite {
                    token = drawn(row: row, pixel: pixel, sums) { masses[$0 &* 16 &+ lane] }
                }
                finish(row: row, pixel: pixel, token: token, sums)
            }
        }
    }

    /// The token of a pixel from the masses of its segments, which are kept, if so, for `draw`;
    /// without uniforms the argmax.
    @inline(__always)
    private func drawn(row: Int, pixel: Int, _ sums: ColumnSums, mass: (Int) -> Double) -> Int {
        let at = row &* p.pixels &+ pixel
        if keepsMasses {
            for segment in 0..<segments { masses[at &* segments &+ segment] = mass(segment) }
        }
        guard let uniforms else { return sums.argmax }
        return column(row: row, pixel: pixel, largest: sums.largest)
            .draw(uniforms[at], segments: segments, mass: mass)
    }

    /// The token of a pixel whose column has been read, by one uniform in [0, 1).
    func draw(row: Int, pixel: Int, _ u: Double) -> Int {
        let at = row &* p.pixels &+ pixel
        let masses = masses.pointer + at &* segments
        return column(
            row: row, pixel: pixel, largest: numbers[4 &* p.batch &* p.pixels &+ at].asDouble
        ).draw(u, segments: segments) { masses[$0] }
    }

    private func column(row: Int, pixel: Int, largest: Double) -> ColumnDraw<Real> {
        ColumnDraw<Real>(
            p: p, row: row, pixel: pixel, largest: largest, sharpness: sharpness,
            segmentRows: segmentRows)
    }

    private func finish(row: Int, pixel: Int, token: Int, _ sums: ColumnSums) {
        let (at, count) = (row &* p.pixels &+ pixel, p.batch &* p.pixels)
        good[at] = sums.isFinite
        tokens[at] = Int32(truncatingIfNeeded: token)
        let x = elements.load(p.pointer(row: row, class: token, pixel: pixel)).asDouble
        numbers[at] = Real(sums.probability(of: x))
        numbers[count &+ at] = Real(sums.entropy)
        numbers[2 &* count &+ at] = Real(sums.margin)
        numbers[3 &* count &+ at] = Real(sums.logSumExp)
        numbers[4 &* count &+ at] = Real(sums.largest)
        numbers[5 &* count &+ at] = Real(1 / sums.mass)
    }
}
