import CVQDiffusion

/// What is known of sixteen pixels, until their gradient is written.
struct LossGroup {
    /// Where their columns are.
    let logits, gradient: LaneGroup
    /// The classes of x_0 and of x_t.
    let clean, observed: SIMD16<Int32>
    let kinds: LossKinds
    /// The logit of the class of x_0 less the largest, and that of another class that a pixel
    /// shows.
    let logClean, logObserved: DoubleVector
    /// The largest logit.
    let largest: DoubleVector
    let weights: DoubleVector
    /// x/e of the classes that are neither, see `PixelLosses`.
    var ratio = DoubleVector(repeating: 0)
    /// The gradient, when it is known.
    var constant = DoubleVector(repeating: 0)
    var slope = DoubleVector(repeating: 0)
    var ofClean = DoubleVector(repeating: 0)
    var ofObserved = DoubleVector(repeating: 0)
}

/// Neighbouring pixels of one batch row, which one thread works on.
struct LossTile {
    let pixels: LossPixels
    let row: Int
    let run: Range<Int>
    /// The largest logit of every column of the row.
    let maxima: UnsafePointer<Double>
    let groups: UnsafeMutablePointer<LossGroup>
    /// For the exponentials of all columns.
    let memory: UnsafeMutableRawPointer

    private var classes: Int { pixels.logits.classes }
    private var groupCount: Int { (run.count + 15) / 16 }

    /// The sums of the losses and of the cross-entropies that are added to them.
    func sums<Real: RealScalar>(_: Real.Type) -> (loss: Double, auxiliary: Double) {
        let values = memory.assumingMemoryBound(to: Real.self)
        for g in 0..<groupCount { groups[g] = group(g) }
        load(into: values)
        var sums = (loss: 0.0, auxiliary: 0.0)
        for g in 0..<groupCount {
            let own = solve(g, LossColumns(values: values + g &* classes &* 16, classes: classes))
            sums = (sums.loss + own.loss, sums.auxiliary + own.auxiliary)
        }
        guard let gradient = pixels.gradient else { return sums }
        write(values, to: gradient)
        if pixels.logits.elementType == .float64 {
            writeSpecial(Double.self, to: gradient)
        } else {
            writeSpecial(Float.self, to: gradient)
        }
        return sums
    }

    /// Sixteen pixels; the last group's spare lanes repeat the last pixel.
    private func group(_ g: Int) -> LossGroup {
        let (logits, list) = (pixels.logits, PixelList.run(run))
        let elements = Elements<Double>(type: logits.elementType)
        var (clean, observed) = (SIMD16<Int32>(), SIMD16<Int32>())
        var kinds = LossKinds()
        var (logClean, logObserved) = (DoubleVector(repeating: 0), DoubleVector(repeating: 0))
        var largest = DoubleVector(repeating: 0)
        var weights = DoubleVector(repeating: 1)
        for lane in 0..<16 {
            let n = min(run.lowerBound &+ g &* 16 &+ lane, run.upperBound &- 1)
            let at = row &* logits.pixels &+ n
            let column = logits.pointer(row: row, pixel: n)
            let (j, i) = (pixels.clean[at], pixels.observed[at])
            (clean[lane], observed[lane], largest[lane]) = (j, i, maxima[n])
            logClean[lane] = elements.load(column + Int(j) &* logits.classStride) - maxima[n]
            let bit = UInt16(truncatingIfNeeded: 1 &<< lane)
            if Int(i) == classes {
                kinds.masked |= bit
            } else if i == j {
                kinds.kept |= bit
            } else {
                logObserved[lane] = elements.load(column + Int(i) &* logits.classStride) - maxima[n]
            }
            if let given = pixels.weights { weights[lane] = given[row, n] }
        }
        return LossGroup(
            logits: LaneGroup(
                list, from: g * 16, pixelStride: logits.pixelStride,
                elementSize: logits.elementSize),
            gradient: LaneGroup(
                list, from: g * 16, pixelStride: pixels.gradient?.pixelStride ?? 0,
                elementSize: logits.elementType == .float64 ? 8 : 4),
            clean: clean, observed: observed, kinds: kinds, logClean: logClean,
            logObserved: logObserved, largest: largest, weights: weights)
    }

    /// Fills the memory with exponentials, group by group and class by class.
    private func load<Real: RealScalar>(into values: UnsafeMutablePointer<Real>) {
        let (logits, classes) = (pixels.logits, classes)
        let source = logits.pointer(row: row)
        let elements = Elements<Real>(type: logits.elementType)
        forEachBlock(
            classes: 0..<classes, groups: 0..<groupCount,
            alongPixels: logits.pixelStride == logits.elementSize
        ) { first, count, g in
            let block = values + (g &* classes &+ first) &* 16
            elements.load(
                groups[g].logits, row: source, classStride: logits.classStride, first: first,
                count: count,
                into: block)
            LossColumns(values: block, classes: count).exponentiate(
                largest: Real.Vector(groups[g].largest))
        }
    }

    /// The losses of a group. Sets what its gradient is made of.
    private func solve<Real: RealScalar>(_ g: Int, _ columns: LossColumns<Real>)
        -> (loss: Double, auxiliary: Double)
    {
        let row = pixels.rows[row]
        let group = groups + g
        let (clean, observed, kinds) = (
            group.pointee.clean, group.pointee.observed, group.pointee.kinds
        )
        for lane in 0..<16 {
            columns.values[Int(clean[lane]) &* 16 &+ lane] = 0
            if Int(observed[lane]) < classes {
                columns.values[Int(observed[lane]) &* 16 &+ lane] = 0
            }
        }
        let losses = PixelLosses(
            row, kinds, logClean: group.pointee.logClean, logObserved: group.pointee.logObserved,
            others: columns.sums())
        var logs = DoubleVector(repeating: 0)
        var shares = DoubleVector(repeating: 0)
        if row.hasDivergence {
            let ratio = losses.ratio
            group.pointee.ratio = ratio
            (logs, shares) = columns.logsAndShares(
                ratio: Real.Vector(ratio), fitsFour: row.fitsFour)
        }
        let result = losses.result(logs: logs, shares: shares, pixelWeights: group.pointee.weights)
        let scale = DoubleVector(repeating: row.scale)
        group.pointee.constant = result.constant * scale
        group.pointee.slope = result.slope * scale
        group.pointee.ofClean = result.clean * scale
        group.pointee.ofObserved = result.observed * scale
        var sums = (loss: 0.0, auxiliary: 0.0)
        for lane in 0..<min(16, run.count &- g &* 16) {
            sums = (sums.loss + result.loss[lane], sums.auxiliary + result.auxiliary[lane])
        }
        return sums
    }

    /// Makes gradients of the exponentials and writes them.
    private func write<Real: RealScalar>(
        _ values: UnsafeMutablePointer<Real>, to gradient: GradientTensor
    ) {
        let (hasSlope, classes) = (pixels.rows[row].hasDivergence, classes)
        let isNarrowed = Real.self == Double.self && pixels.logits.elementType != .float64
        let (target, isStreamed) = (gradient.pointer(row: row), gradient.isLarge)
        forEachBlock(
            classes: 0..<classes, groups: 0..<groupCount,
            alongPixels: abs(gradient.classStride) >= abs(gradient.pixelStride)
        ) { first, count, g in
            let block = values + (g &* classes &+ first) &* 16
            let group = groups + g
            LossColumns(values: block, classes: count).differentiate(
                constant: Real.Vector(group.pointee.constant),
                slope: Real.Vector(group.pointee.slope),
                ratio: Real.Vector(group.pointee.ratio), hasSlope: hasSlope)
            if isNarrowed {
                // In place, as a float takes less than a double.
                let narrow = UnsafeMutableRawPointer(block).assumingMemoryBound(to: Float.self)
                for i in 0..<count {
                    FloatVector(Real.Vector(at: block + i &* 16).widened)
                        .store(at: narrow + i &* 16)
                }
                group.pointee.gradient.store(
                    narrow, row: target, classStride: gradient.classStride, first: first,
                    count: count, isStreamed: isStreamed)
            } else {
                group.pointee.gradient.store(
                    block, row: target, classStride: gradient.classStride, first: first,
                    count: count, isStreamed: isStreamed)
            }
        }
        if isStreamed { vqd_streamed() }
    }

    /// Writes the gradients of the classes that have formulas of their own.
    private func writeSpecial<Out: RealScalar>(_: Out.Type, to gradient: GradientTensor) {
        for n in run {
            let at = n &- run.lowerBound
            let (group, lane) = (groups + at / 16, at % 16)
            let column = gradient.pointer(row: row, pixel: n)
            let (j, i) = (Int(group.pointee.clean[lane]), Int(group.pointee.observed[lane]))
            (column + j &* gradient.classStride).storeBytes(
                of: Out(group.pointee.ofClean[lane]), as: Out.self)
            guard i != j && i < classes else { continue }
            (column + i &* gradient.classStride).storeBytes(
                of: Out(group.pointee.ofObserved[lane]), as: Out.self)
        }
    }
}
