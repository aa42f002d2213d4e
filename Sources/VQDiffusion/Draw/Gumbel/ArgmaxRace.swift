/// The argmax of Gumbel-max over a chunk of the pixels of a batch row, class by class.
///
/// A score needs an exponential and three logarithms; hardly any score can win. The posterior is at
/// most level + max(x + logRatio, 0) + log 2, the noise has a cheap bound, and only vectors in
/// which their sum beats the best score so far of some lane are computed. The winners are those of
/// the plain formula.
struct ArgmaxRace<Noise: GumbelNoise>: ~Copyable {
    private typealias V = Noise.Real.Vector

    private let row: Int
    private let chunk: Range<Int>
    private let observed: UnsafePointer<Int32>
    private let best: Scratch<Noise.Real>
    private let token: Scratch<Int32>
    /// The bound of a score has to exceed this for the score to beat `best`.
    private let threshold: Scratch<Noise.Real>
    private let observing: PixelsByClass

    /// - Parameters:
    ///   - row: the batch row.
    ///   - chunk: begins at a multiple of 16.
    ///   - observed: the observed classes of the chunk's pixels, up to `maskClass`, padded to whole
    ///     vectors.
    init(row: Int, chunk: Range<Int>, observed: UnsafePointer<Int32>, maskClass: Int)
        throws(ArgumentError)
    {
        let width = (chunk.count + 15) / 16 * 16
        let best = try Scratch<Noise.Real>(width, filledWith: -.infinity)
        let threshold = try Scratch<Noise.Real>(width, filledWith: -.infinity)
        let token = try Scratch<Int32>(width, filledWith: 0)
        let observing = try PixelsByClass(observed, count: chunk.count, among: 0..<maskClass + 1)
        self.row = row
        self.chunk = chunk
        self.observed = observed
        self.best = best
        self.threshold = threshold
        self.token = token
        self.observing = observing
    }

    /// The class that has won at pixel n of the chunk.
    func winner(_ n: Int) -> Int32 { token[n] }

    /// Goes through all classes in their order.
    mutating func run<Columns: RaceColumns & ~Copyable>(
        _ columns: borrowing Columns, _ uniforms: inout UniformRows<Noise.Uniform>,
        _ pixels: RaceCoefficients<Noise.Real>
    ) throws(ArgumentError) where Columns.Real == Noise.Real {
        let (uniformLanes, uniformStride) = (uniforms.groups, uniforms.pixelStride)
        let groups = chunk.lowerBound / 16..<(chunk.upperBound &+ 15) / 16
        let buffer = try Scratch<Noise.Real>(groups.count * columns.roomPerGroup)
        for k in 0..<columns.classes {
            let index = Int32(truncatingIfNeeded: k)
            let classRow = columns.classRow(k, row: row, groups: groups, buffer: buffer.pointer)
            let noise = uniforms.next()
            for g in 0..<groups.count {
                let u = uniformLanes[g].load(Noise.Uniform.self, row: noise)
                look(
                    at: columns.load(classRow, group: groups.lowerBound &+ g), u, index,
                    at: g &* 16, pixels)
            }
            var n = observing.first[k]
            while n >= 0 {
                let pixel = Int(n)
                let u = Noise.Uniform.load(noise + pixel &* uniformStride)
                enterObserved(index, pixel: pixel, u, pixels)
                n = observing.next[pixel]
            }
        }
        if let mask = pixels.mask {
            let noise = uniforms.next()
            for g in 0..<groups.count {
                let at = g &* 16
                let u = uniformLanes[g].load(Noise.Uniform.self, row: noise)
                enter(
                    .load(mask + at) + Noise.noise(u), Int32(truncatingIfNeeded: columns.classes),
                    at: at, pixels)
            }
        }
    }

    /// An upper bound, less log 2, of a posterior relative to `RaceCoefficients.reference`.
    @inline(__always)
    private func bound(_ x: V, _ pixels: RaceCoefficients<Noise.Real>, at: Int) -> V {
        pixels.isLinear ? x : .greater(x + .load(pixels.logRatio + at), V(repeating: 0))
    }

    /// Enters a class at the pixels where it is not observed, if it may win at one of them.
    @inline(__always)
    private func look(
        at x: V, _ u: Noise.Uniform.Real.Vector, _ index: Int32, at: Int,
        _ pixels: RaceCoefficients<Noise.Real>
    ) {
        guard
            (bound(x, pixels, at: at) + Noise.bound(u)).lanes(above: .load(threshold.pointer + at))
                != 0
        else { return }
        enter(x, u, index, at: at, pixels)
    }

    /// Enters a class at the pixels where it is not observed. Not inlined: the library is smaller.
    @inline(never)
    private func enter(
        _ x: V, _ u: Noise.Uniform.Real.Vector, _ index: Int32, at: Int,
        _ pixels: RaceCoefficients<Noise.Real>
    ) {
        let posterior = V.logPosterior(
            x, signal: .load(pixels.signal + at), level: .load(pixels.level + at),
            logRatio: .load(pixels.logRatio + at), linear: pixels.isLinear)
        let score = (posterior + Noise.noise(u)).replacing(
            with: V(repeating: -.infinity), where: .load(observed + at), equals: index)
        enter(score, index, at: at, pixels)
    }

    @inline(never)
    private func enter(
        _ score: V, _ index: Int32, at: Int, _ pixels: RaceCoefficients<Noise.Real>
    ) {
        var leader = V.load(best.pointer + at)
        var tokens = SIMD16<Int32>.load(token.pointer + at)
        leader.takeGreater(score, index: index, into: &tokens)
        leader.store(best.pointer + at)
        tokens.store(token.pointer + at)
        thresholdFor(leader, reference: .load(pixels.reference + at)).store(threshold.pointer + at)
    }

    /// Enters the observed class of a pixel.
    @inline(never)
    private func enterObserved(
        _ index: Int32, pixel: Int, _ u: Noise.Uniform.Real, _ pixels: RaceCoefficients<Noise.Real>
    ) {
        let score = pixels.observed[pixel] + Noise.noise(.init(repeating: u))[0]
        guard score > best[pixel] else { return }
        best[pixel] = score
        token[pixel] = index
        threshold[pixel] =
            thresholdFor(
                V(repeating: score), reference: V(repeating: pixels.reference[pixel]))[0]
    }

    /// best - reference - log 2, less a margin of 0.0009 for the roundings of a score: some 1e-5 at
    /// the magnitudes of these logarithms.
    @inline(__always)
    private func thresholdFor(_ best: V, reference: V) -> V {
        best - reference - V(repeating: 0.694)
    }
}

/// The coefficients of a chunk's pixels, padded to whole vectors; see `PixelCoefficients`.
struct RaceCoefficients<Real: RealScalar> {
    let signal, level, logRatio: UnsafePointer<Real>
    /// The log-posterior of each pixel's observed class.
    let observed: UnsafePointer<Real>
    /// The log-posterior of the mask; nil leaves the mask out.
    let mask: UnsafePointer<Real>?
    let isLinear: Bool

    /// Bounds of posteriors are relative to this: the signal where there is no level.
    var reference: UnsafePointer<Real> { isLinear ? signal : level }
}

extension RealVector {
    @inline(__always)
    fileprivate static func load(_ p: UnsafePointer<Scalar>) -> Self {
        .loadUnaligned(UnsafeRawPointer(p))
    }

    @inline(__always)
    fileprivate func store(_ p: UnsafeMutablePointer<Scalar>) {
        storeUnaligned(UnsafeMutableRawPointer(p))
    }
}

extension SIMD16<Int32> {
    @inline(__always)
    fileprivate static func load(_ p: UnsafePointer<Int32>) -> Self {
        UnsafeRawPointer(p).loadUnaligned(as: Self.self)
    }

    @inline(__always)
    fileprivate func store(_ p: UnsafeMutablePointer<Int32>) {
        UnsafeMutableRawPointer(p).storeBytes(of: self, as: Self.self)
    }
}
