/// The argmax of Gumbel-max over a chunk of pixels, class row by class row.
///
/// A score needs an exponential and three logarithms; hardly any score can win. The posterior is at
/// most level + max(x + slope, 0) + log 2, the noise has a cheap bound, and only vectors in which
/// their sum beats a lane's best so far are worked out. The winners are those of the plain formula.
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
    ///   - classes: the classes that the chunk's pixels show, up to `maskClass`, padded to whole
    ///     vectors.
    init(row: Int, chunk: Range<Int>, classes: UnsafePointer<Int32>, maskClass: Int)
        throws(ArgumentError)
    {
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

    /// The class that has won at pixel n of the chunk; means nothing where `run` has returned
    /// false.
    func winner(_ n: Int) -> Int32 { token[n] }

    /// - Parameter likely: begin with the scores that the columns say are likely, so that fewer are
    ///   worked out.
    /// - Returns: false when the best score of a pixel was not likely. The winners then mean
    ///   nothing.
    mutating func run<Columns: RaceColumns & ~Copyable>(
        _ columns: borrowing Columns, _ uniforms: inout UniformRows<Noise.Uniform>,
        _ pixels: RaceCoefficients<Noise.Real>, likely: Bool
    ) throws(ArgumentError) -> Bool where Columns.Real == Noise.Real {
        let (uniformLanes, uniformStride, rowStride) = (
            uniforms.groups, uniforms.pixelStride, uniforms.rowStride
        )
        let groups = chunk.lowerBound / 16..<(chunk.upperBound &+ 15) / 16
        let buffer = try Scratch<Noise.Real>(groups.count * columns.roomPerGroup)
        let limits = try FloorLimits<Noise>(groups: columns.floor == nil ? 0 : groups.count)
        if let floor = columns.floor {
            for g in 0..<groups.count { limits.set(bound(floor, pixels, at: g &* 16), at: g &* 16) }
        }
        if likely {
            for g in 0..<groups.count {
                guard let score = columns.likelyScores(row: row, group: groups.lowerBound &+ g)
                else { continue }
                // -1: no winner yet.
                set(score, SIMD16(repeating: -1), at: g &* 16, pixels, limits)
            }
        }
        let listed = try Scratch<Int32>(columns.floor == nil ? 0 : groups.count)
        for first in stride(from: 0, to: columns.classes, by: Columns.classesTogether) {
            let some = first..<min(first &+ Columns.classesTogether, columns.classes)
            let firstRow = columns.classRow(first, row: row, groups: groups, buffer: buffer.pointer)
            let noise = uniforms.next(some.count)
            if columns.floor == nil {
                // A loop of its own: through that of the listed groups it takes a tenth longer.
                for g in 0..<groups.count {
                    let u = uniformLanes[g].load(Noise.Uniform.self, row: noise)
                    look(
                        at: columns.load(firstRow, group: groups.lowerBound &+ g), u,
                        Int32(truncatingIfNeeded: first), at: g &* 16, pixels, limits)
                }
            } else {
                for i
                    in 0..<list(
                        groups, some, columns, uniforms, noise, limits, into: listed.pointer)
                {
                    let g = Int(listed[i])
                    let group = groups.lowerBound &+ g
                    for k in some {
                        let u = uniformLanes[g].load(
                            Noise.Uniform.self, row: noise + (k &- first) &* rowStride)
                        guard
                            !columns.isAtFloor(k, row: row, group: group)
                                || limits.areExceeded(by: u, at: g &* 16)
                        else { continue }
                        let classRow =
                            k == first
                            ? firstRow
                            : columns.classRow(k, row: row, groups: groups, buffer: buffer.pointer)
                        look(
                            at: columns.load(classRow, group: group), u,
                            Int32(truncatingIfNeeded: k), at: g &* 16, pixels, limits)
                    }
                }
            }
            for k in some {
                var n = showing.first[k]
                while n >= 0 {
                    let pixel = Int(n)
                    let u = Noise.Uniform.load(
                        noise + ((k &- first) &* rowStride &+ pixel &* uniformStride))
                    enterOwn(Int32(truncatingIfNeeded: k), pixel: pixel, u, pixels, limits)
                    n = showing.next[pixel]
                }
            }
        }
        if let mask = pixels.mask {
            let noise = uniforms.next(1)
            for g in 0..<groups.count {
                let at = g &* 16
                let u = uniformLanes[g].load(Noise.Uniform.self, row: noise)
                enter(
                    .load(mask + at) + Noise.noise(u), Int32(truncatingIfNeeded: columns.classes),
                    at: at, pixels, limits)
            }
        }
        for n in 0..<chunk.count where token[n] < 0 { return false }
        return true
    }

    /// Lists the groups at which one of some classes holds more than the floor, or has a uniform
    /// with which that may win.
    ///
    /// - Parameter noise: of the first of the classes.
    /// - Returns: how many.
    @inline(never)
    private func list<Columns: RaceColumns & ~Copyable>(
        _ groups: Range<Int>, _ some: Range<Int>, _ columns: borrowing Columns,
        _ uniforms: borrowing UniformRows<Noise.Uniform>,
        _ noise: UnsafeRawPointer, _ limits: borrowing FloorLimits<Noise>,
        into listed: UnsafeMutablePointer<Int32>
    ) -> Int {
        let (lanes, rowStride, areDense) = (uniforms.groups, uniforms.rowStride, uniforms.areDense)
        var count = 0
        for g in 0..<groups.count {
            let group = groups.lowerBound &+ g
            if some.upperBound < columns.classes
                && !columns.areAtFloor(from: some.upperBound, row: row, group: group)
            {
                let next =
                    some
                    .upperBound..<min(some.upperBound &+ Columns.classesTogether, columns.classes)
                for k in next where !columns.isAtFloor(k, row: row, group: group) {
                    columns.ask(for: k, row: row, group: group)
                }
            }
            var greatest = Noise.Uniform.Real.Vector(repeating: 0)
            var source = noise
            for _ in some {
                let u =
                    areDense
                    ? Noise.Uniform.loadVector(source + g &* 16 &* Noise.Uniform.size)
                    : lanes[g].load(Noise.Uniform.self, row: source)
                greatest = .greater(greatest, u)
                source += rowStride
            }
            let isAtFloor = columns.areAtFloor(from: some.lowerBound, row: row, group: group)
            // Branch-free append: the branch is unpredictable.
            listed[count] = Int32(truncatingIfNeeded: g)
            count &+= limits.areExceeded(by: greatest, at: g &* 16) || !isAtFloor ? 1 : 0
        }
        return count
    }

    /// What a posterior less the level is at most, or where there is none (linear) less the signal;
    /// but for log 2.
    @inline(__always)
    private func bound(_ x: V, _ pixels: RaceCoefficients<Noise.Real>, at: Int) -> V {
        pixels.isLinear ? x : .greater(x + .load(pixels.logRatio + at), V(repeating: 0))
    }

    /// Enters a class at the pixels that do not show it, if it may win at one of them.
    @inline(__always)
    private func look(
        at x: V, _ u: Noise.Uniform.Real.Vector, _ index: Int32, at: Int,
        _ pixels: RaceCoefficients<Noise.Real>, _ limits: borrowing FloorLimits<Noise>
    ) {
        guard
            (bound(x, pixels, at: at) + Noise.bound(u)).lanes(above: .load(threshold.pointer + at))
                != 0
        else { return }
        enter(x, u, index, at: at, pixels, limits)
    }

    /// Enters a class at the pixels that do not show it. A call, for the size of the library.
    @inline(never)
    private func enter(
        _ x: V, _ u: Noise.Uniform.Real.Vector, _ index: Int32, at: Int,
        _ pixels: RaceCoefficients<Noise.Real>, _ limits: borrowing FloorLimits<Noise>
    ) {
        let posterior = V.logPosterior(
            x, signal: .load(pixels.signal + at), level: .load(pixels.level + at),
            logRatio: .load(pixels.logRatio + at), linear: pixels.isLinear)
        let score = (posterior + Noise.noise(u)).replacing(
            with: V(repeating: -.infinity), where: .load(classes + at), equals: index)
        enter(score, index, at: at, pixels, limits)
    }

    @inline(never)
    private func enter(
        _ score: V, _ index: Int32, at: Int, _ pixels: RaceCoefficients<Noise.Real>,
        _ limits: borrowing FloorLimits<Noise>
    ) {
        var leader = V.load(best.pointer + at)
        var tokens = SIMD16<Int32>.load(token.pointer + at)
        leader.takeGreater(score, index: index, into: &tokens)
        set(leader, tokens, at: at, pixels, limits)
    }

    /// Sets the best scores of sixteen pixels, and whose they are.
    @inline(__always)
    private func set(
        _ score: V, _ tokens: SIMD16<Int32>, at: Int, _ pixels: RaceCoefficients<Noise.Real>,
        _ limits: borrowing FloorLimits<Noise>
    ) {
        score.store(best.pointer + at)
        tokens.store(token.pointer + at)
        let least = thresholdFor(score, reference: .load(pixels.reference + at))
        least.store(threshold.pointer + at)
        limits.raise(at: at, threshold: least)
    }

    /// Enters the one class of a pixel that follows a formula of its own.
    @inline(never)
    private func enterOwn(
        _ index: Int32, pixel: Int, _ u: Noise.Uniform.Real, _ pixels: RaceCoefficients<Noise.Real>,
        _ limits: borrowing FloorLimits<Noise>
    ) {
        let score = pixels.own[pixel] + Noise.noise(.init(repeating: u))[0]
        // The classes of a few rows are not entered in order: of equal scores the lowest index
        // wins.
        guard score > best[pixel] || (score == best[pixel] && index < token[pixel]) else { return }
        best[pixel] = score
        token[pixel] = index
        let least = thresholdFor(
            V(repeating: score), reference: V(repeating: pixels.reference[pixel]))
        threshold[pixel] = least[0]
        limits.raise(pixel: pixel, threshold: least)
    }

    /// best - reference - log 2, less a margin for the roundings of a score (at most some 1e-5 at
    /// the magnitudes of these logarithms).
    @inline(__always)
    private func thresholdFor(_ best: V, reference: V) -> V {
        best - reference - V(repeating: 0.694)
    }
}

/// The coefficients of a chunk's pixels, padded to whole vectors; see `PixelCoefficients`.
struct RaceCoefficients<Real: RealScalar> {
    let signal, level, logRatio, own: UnsafePointer<Real>
    /// nil leaves the mask out.
    let mask: UnsafePointer<Real>?
    let isLinear: Bool

    /// What a bound of a posterior is relative to.
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
