/// The argmax of Gumbel-max over a chunk of pixels, class row by class row.
///
/// A score needs an exponential and three logarithms; hardly any score can win. The posterior is at most level + max(x + slope, 0) + log 2, the noise has a
/// cheap bound, and only vectors in which their sum beats a lane's best so far are worked out. The winners are those of the plain formula.
struct ArgmaxRace<Noise: GumbelNoise>: ~Copyable {
    private typealias V = Noise.Real.Vector

    private let row: Int
    private let chunk: Range<Int>
    private let classes: UnsafePointer<Int32>
    private let best: Scratch<Noise.Real>
    private let token: Scratch<Int32>
    /// What a bound has to exceed for a score to beat `best`.
    private let threshold: Scratch<Noise.Real>
    private let showing: PixelsByClass

    /// - Parameters:
    ///   - chunk: begins at a multiple of 16.
    ///   - classes: the classes that the chunk's pixels show, up to `maskClass`, padded to whole vectors.
    init(row: Int, chunk: Range<Int>, classes: UnsafePointer<Int32>, maskClass: Int) throws(ArgumentError) {
        let width = (chunk.count + 15) / 16 * 16
        let best = try Scratch<Noise.Real>(width, filledWith: -.infinity)
        let threshold = try Scratch<Noise.Real>(width, filledWith: -.infinity)
        let token = try Scratch<Int32>(width, filledWith: 0)
        let showing = try PixelsByClass(classes, count: chunk.count, among: 0..<maskClass + 1)
        self.row = row
        self.chunk = chunk
        self.classes = classes
        self.best = best
        self.threshold = threshold
        self.token = token
        self.showing = showing
    }

    /// The class that has won at pixel n of the chunk.
    func winner(_ n: Int) -> Int32 { token[n] }

    /// - Parameters: the columns, the uniforms, and the coefficients of the chunk's pixels (see `PixelCoefficients`); no `mask` leaves the mask out.
    mutating func run<Columns: RaceColumns & ~Copyable>(
        _ columns: borrowing Columns, _ uniforms: inout UniformRows<Noise.Uniform>, signal: UnsafePointer<Noise.Real>, level: UnsafePointer<Noise.Real>,
        slope: UnsafePointer<Noise.Real>, own: UnsafePointer<Noise.Real>, mask: UnsafePointer<Noise.Real>?, linear: Bool
    ) throws(ArgumentError) where Columns.Real == Noise.Real {
        // What a bound is relative to.
        let reference = linear ? signal : level
        let (uniformLanes, uniformStride) = (uniforms.groups, uniforms.pixelStride)
        let groups = chunk.lowerBound / 16..<(chunk.upperBound &+ 15) / 16
        let room = try Scratch<Noise.Real>(groups.count * columns.roomPerGroup)
        let limits = try FloorLimits<Noise>(groups: columns.floor == nil ? 0 : groups.count)
        if let floor = columns.floor {
            for g in 0..<groups.count { limits.set(bound(floor, slope + g &* 16, linear: linear), at: g &* 16) }
        }
        for k in 0..<columns.classes {
            let index = Int32(truncatingIfNeeded: k)
            let classRow = columns.classRow(k, row: row, groups: groups, room: room.pointer)
            let noise = uniforms.next()
            enterOwn(index, own: own, reference: reference, noise: noise, stride: uniformStride, limits)
            for g in 0..<groups.count {
                let at = g &* 16
                let u = uniformLanes[g].load(Noise.Uniform.self, row: noise)
                guard !columns.isAtFloor(classRow, group: groups.lowerBound &+ g) || limits.areExceeded(by: u, at: at) else { continue }
                let x = columns.load(classRow, group: groups.lowerBound &+ g)
                guard (bound(x, slope + at, linear: linear) + Noise.bound(u)).lanes(above: .load(threshold.pointer + at)) != 0 else { continue }
                let posterior = V.logPosterior(
                    x, signal: .load(signal + at), level: .load(level + at), slope: .load(slope + at), linear: linear)
                let others = posterior + Noise.noise(u)
                let shown = SIMD16<Int32>.load(classes + at)
                enter(others.replacing(with: V(repeating: -.infinity), where: shown, equals: index), index, at: at, reference: .load(reference + at), limits)
            }
        }
        guard let mask else { return }
        let noise = uniforms.next()
        for g in 0..<groups.count {
            let at = g &* 16
            let u = uniformLanes[g].load(Noise.Uniform.self, row: noise)
            let score = .load(mask + at) + Noise.noise(u)
            enter(score, Int32(truncatingIfNeeded: columns.classes), at: at, reference: .load(reference + at), limits)
        }
    }

    /// What a posterior less the level is at most, or where there is none (linear) less the signal; but for log 2.
    @inline(__always)
    private func bound(_ x: V, _ slope: UnsafePointer<Noise.Real>, linear: Bool) -> V { linear ? x : .greater(x + .load(slope), V(repeating: 0)) }

    /// The one class of a pixel that follows a formula of its own.
    @inline(__always)
    private func enterOwn(
        _ index: Int32, own: UnsafePointer<Noise.Real>, reference: UnsafePointer<Noise.Real>, noise: UnsafeRawPointer, stride: Int,
        _ limits: borrowing FloorLimits<Noise>
    ) {
        var n = showing.first[Int(index)]
        while n >= 0 {
            let pixel = Int(n)
            let u = Noise.Uniform.load(noise + pixel &* stride)
            let score = own[pixel] + Noise.noise(.init(repeating: u))[0]
            if score > best[pixel] {
                best[pixel] = score
                token[pixel] = index
                let least = thresholdFor(V(repeating: score), reference: V(repeating: reference[pixel]))
                threshold[pixel] = least[0]
                limits.raise(pixel: pixel, threshold: least)
            }
            n = showing.next[pixel]
        }
    }

    @inline(__always)
    private func enter(_ score: V, _ index: Int32, at: Int, reference: V, _ limits: borrowing FloorLimits<Noise>) {
        var leader = V.load(best.pointer + at)
        var tokens = SIMD16<Int32>.load(token.pointer + at)
        leader.takeGreater(score, index: index, into: &tokens)
        leader.store(best.pointer + at)
        tokens.store(token.pointer + at)
        let least = thresholdFor(leader, reference: reference)
        least.store(threshold.pointer + at)
        limits.raise(at: at, threshold: least)
    }

    /// best - reference - log 2, less a margin for the roundings of a score (at most some 1e-5 at the magnitudes of these logarithms).
    @inline(__always)
    private func thresholdFor(_ best: V, reference: V) -> V {
        best - reference - V(repeating: 0.694)
    }
}

extension RealVector {
    @inline(__always)
    fileprivate static func load(_ p: UnsafePointer<Scalar>) -> Self { .loadUnaligned(UnsafeRawPointer(p)) }

    @inline(__always)
    fileprivate func store(_ p: UnsafeMutablePointer<Scalar>) { storeUnaligned(UnsafeMutableRawPointer(p)) }
}

extension SIMD16<Int32> {
    @inline(__always)
    fileprivate static func load(_ p: UnsafePointer<Int32>) -> Self { UnsafeRawPointer(p).loadUnaligned(as: Self.self) }

    @inline(__always)
    fileprivate func store(_ p: UnsafeMutablePointer<Int32>) { UnsafeMutableRawPointer(p).storeBytes(of: self, as: Self.self) }
}
