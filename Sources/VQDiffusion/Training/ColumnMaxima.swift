import CVQDiffusion

/// The largest element of every column, one for each pixel of a batch. Reads and checks all of the
/// tensor.
///
/// - Throws: `ArgumentError` at the first NaN or +∞, in the order of rows, classes and pixels;
///   where there is none, at the first column that is -∞ throughout.
func columnMaxima(of p: LogProbabilities, parallelism: Parallelism) throws(ArgumentError)
    -> Scratch<Double>
{
    switch p.elementType {
    case .float16: try columnMaxima(HalfElement.self, of: p, parallelism: parallelism)
    case .bfloat16: try columnMaxima(BrainElement.self, of: p, parallelism: parallelism)
    case .float32: try columnMaxima(Float.self, of: p, parallelism: parallelism)
    case .float64: try columnMaxima(Double.self, of: p, parallelism: parallelism)
    }
}

private func columnMaxima<E: FloatingElement>(
    _: E.Type, of p: LogProbabilities, parallelism: Parallelism
) throws(ArgumentError) -> Scratch<Double> {
    let maxima = try Scratch<Double>(p.batch * p.pixels)
    let target = maxima.pointer
    do throws(ArgumentError) {
        try forEachChunk(of: p, parallelism) { (row, chunk) throws(ArgumentError) in
            let own = target + (row * p.pixels + chunk.lowerBound)
            let isGood: Bool
            if p.classStride == E.size && p.pixelStride != E.size && p.classes >= 16 {
                isGood = maximaAlongClasses(E.self, p, row: row, pixels: chunk, to: own)
            } else {
                isGood = try maximaAlongPixels(E.self, p, row: row, pixels: chunk, to: own)
            }
            guard isGood else {
                throw ArgumentError(p.name, .notFinite(row: 0, class: 0, pixel: 0))
            }
        }
    } catch {
        try checkElements(of: p, parallelism: parallelism)  // which finds the first
        throw error
    }
    for at in 0..<p.batch * p.pixels where maxima[at] == -.infinity {
        throw ArgumentError(p.name, .noMass(row: at / p.pixels, pixel: at % p.pixels))
    }
    return maxima
}

/// One vector is one class of sixteen pixels. False where there is a NaN or +∞.
private func maximaAlongPixels<E: FloatingElement>(
    _: E.Type, _ p: LogProbabilities, row: Int, pixels: Range<Int>,
    to maxima: UnsafeMutablePointer<Double>
) throws(ArgumentError) -> Bool {
    typealias V = E.Real.Vector
    let limit = V(repeating: E.Real.greatestFiniteMagnitude)
    let lanes = try PixelList.run(pixels).laneGroups(
        pixelStride: p.pixelStride, elementSize: E.size)
    let groups = (pixels.count + 15) / 16
    let own = try Scratch<E.Real>(groups * 16, filledWith: -.infinity)
    var isGood = true
    for first in stride(from: 0, to: p.classes, by: 8) {
        for g in 0..<groups {
            var largest = V(at: own.pointer + g &* 16)
            for k in first..<min(first + 8, p.classes) {
                let x = lanes.pointer[g].load(E.self, row: p.pointer(row: row, class: k))
                isGood = x.allAtMost(limit) && isGood
                largest = .greater(largest, x)
            }
            largest.store(at: own.pointer + g &* 16)
        }
    }
    for n in 0..<pixels.count { maxima[n] = own[n].asDouble }
    return isGood
}

/// One vector is sixteen classes of one pixel.
private func maximaAlongClasses<E: FloatingElement>(
    _: E.Type, _ p: LogProbabilities, row: Int, pixels: Range<Int>,
    to maxima: UnsafeMutablePointer<Double>
) -> Bool {
    typealias V = E.Real.Vector
    let limit = V(repeating: E.Real.greatestFiniteMagnitude)
    var isGood = true
    for n in pixels {
        let column = p.pointer(row: row, pixel: n)
        // The last vector overlaps the one before it.
        var x = E.loadVector(column + (p.classes &- 16) &* E.size)
        isGood = x.allAtMost(limit) && isGood
        var largest = x
        var k = 0
        while k &+ 16 <= p.classes {
            x = E.loadVector(column + k &* E.size)
            isGood = x.allAtMost(limit) && isGood
            largest = .greater(largest, x)
            k &+= 16
        }
        maxima[n &- pixels.lowerBound] = largest.largestLane.asDouble
    }
    return isGood
}
