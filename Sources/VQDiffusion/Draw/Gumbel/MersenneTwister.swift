import CVQDiffusion

/// A strided range of cache lines to prefetch while words are drawn, one line per 16 words.
struct LinesAhead {
    let first: UnsafeRawPointer
    /// Bytes from a line to the next.
    let step: Int
}

/// MT19937, sixteen words at a time (Matsumoto and Nishimura 1998): the engine of torch's
/// generators on the CPU, whose uniforms of 24 bits it continues.
///
/// The state of an engine between calls is 625 words: 624 of the twister, then how many of them
/// have been given out, 624 when it has to be twisted before the next.
struct MersenneTwister {
    static var size: Int { 624 }
    static var stateSize: Int { size + 1 }
    /// Words of working memory: sixteen more than the state has, where `twist` repeats the new
    /// first words behind the last.
    static var workingSize: Int { size + 16 }

    /// Working memory of another owner.
    private let words: UnsafeMutablePointer<UInt32>
    /// Words given out since the last twist.
    private var position: Int

    /// Continues an engine from its state of `stateSize` words, in memory of `workingSize` words.
    ///
    /// - Throws: `ArgumentError` when more words have been given out than there are.
    init(state: UnsafePointer<UInt32>, in memory: UnsafeMutablePointer<UInt32>)
        throws(ArgumentError)
    {
        position = Int(state[MersenneTwister.size])
        guard position <= MersenneTwister.size else {
            throw ArgumentError("engine", .outside(position, lower: 0, upper: MersenneTwister.size))
        }
        words = memory
        words.update(from: state, count: MersenneTwister.size)
    }

    func save(to state: UnsafeMutablePointer<UInt32>) {
        state.update(from: words, count: MersenneTwister.size)
        state[MersenneTwister.size] = UInt32(truncatingIfNeeded: position)
    }

    /// Passes over `count` words. Costs a twist for every 624, a third of what drawing them takes.
    mutating func skip(_ count: Int) {
        assert(count >= 0, "an engine cannot go back")
        var rest = count
        while rest > 0 {
            if position == MersenneTwister.size { twist() }
            let part = min(rest, MersenneTwister.size - position)
            position &+= part
            rest &-= part
        }
    }

    /// Writes `count` uniforms u on [0, 1), of every word the lower 24 bits times 2⁻²⁴, or the
    /// complements 1 - u, which are exact as well. May write fifteen more behind them.
    mutating func fill(
        _ uniforms: UnsafeMutablePointer<Float>, count: Int, complements: Bool = false,
        ahead: LinesAhead? = nil
    ) {
        // Prefetching what is cached is harmless.
        let ahead = ahead ?? LinesAhead(first: uniforms, step: 0)
        let unit = SIMD16<Float>(repeating: complements ? -0x1p-24 : 0x1p-24)
        let origin = SIMD16<Float>(repeating: complements ? 1 : 0)
        var at = 0
        while at < count {
            if position == MersenneTwister.size { twist() }
            let part = min(count &- at, MersenneTwister.size &- position)
            var line = ahead.first + (at &>> 4) &* ahead.step
            var i = 0
            while i < part {
                vqd_prefetch(line)
                line += ahead.step
                let y = MersenneTwister.tempered(load(position &+ i)) & SIMD16(repeating: 0xff_ffff)
                let u = vqd_converted(unsafeBitCast(y, to: SIMD16<Int32>.self)).times(
                    unit, plus: origin)
                UnsafeMutableRawPointer(uniforms + (at &+ i)).storeBytes(
                    of: u, as: SIMD16<Float>.self)
                i &+= 16
            }
            position &+= part
            at &+= part
        }
    }

    @inline(__always)
    private static func tempered(_ word: SIMD16<UInt32>) -> SIMD16<UInt32> {
        var y = word
        y ^= y &>> 11
        y ^= (y &<< 7) & SIMD16(repeating: 0x9d2c_5680)
        y ^= (y &<< 15) & SIMD16(repeating: 0xefc6_0000)
        return y ^ (y &>> 18)
    }

    /// x[i] ← x[i + 397] ⊕ twist(upper bit of x[i], lower bits of x[i + 1]), indices modulo 624.
    ///
    /// In place and in order, so that x[i + 397] is an old word for i < 227 and a new one from
    /// there on. The one vector across that border reads three old words and, behind the end, the
    /// first thirteen new ones.
    private mutating func twist() {
        twist(0..<16, from: 397)
        UnsafeMutableRawPointer(words + MersenneTwister.size).storeBytes(
            of: load(0), as: SIMD16<UInt32>.self)
        twist(16..<240, from: 397 + 16)
        twist(240..<MersenneTwister.size, from: 13)
        position = 0
    }

    @inline(__always)
    private func twist(_ range: Range<Int>, from source: Int) {
        var i = range.lowerBound
        var far = source
        while i < range.upperBound {
            let next = vqd_load_apart(words + (i &+ 1))
            let y =
                (vqd_load_apart(words + i) & SIMD16(repeating: 0x8000_0000))
                | (next & SIMD16(repeating: 0x7fff_ffff))
            let new = load(far) ^ (y &>> 1) ^ vqd_where_odd(next, 0x9908_b0df)
            UnsafeMutableRawPointer(words + i).storeBytes(of: new, as: SIMD16<UInt32>.self)
            i &+= 16
            far &+= 16
        }
    }

    @inline(__always)
    private func load(_ i: Int) -> SIMD16<UInt32> {
        UnsafeRawPointer(words + i).loadUnaligned(as: SIMD16<UInt32>.self)
    }
}
