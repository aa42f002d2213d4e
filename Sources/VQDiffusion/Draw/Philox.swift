/// Philox4x64-10 (Salmon et al. 2011): a function from a key of two words and a counter of four to
/// four random words. NumPy's bit generator of this name returns the same words.
struct Philox {
    var key: (UInt64, UInt64)

    @inline(__always)
    func block(_ counter: (UInt64, UInt64, UInt64, UInt64)) -> (UInt64, UInt64, UInt64, UInt64) {
        var (a, b, c, d) = counter
        var (k, l) = key
        for _ in 0..<10 {
            let first = a.multipliedFullWidth(by: 0xd2e7_470e_e14c_6c93)
            let second = c.multipliedFullWidth(by: 0xca5a_8263_9512_1157)
            (a, b) = (second.high ^ b ^ k, second.low)
            (c, d) = (first.high ^ d ^ l, first.low)
            k &+= 0x9e37_79b9_7f4a_7c15
            l &+= 0xbb67_ae85_84ca_a73b
        }
        return (a, b, c, d)
    }
}

/// How uniforms on [0, 1) are made of the words of a bit generator, as NumPy's `Generator.random`
/// makes them.
protocol PhiloxUniform {
    /// How many come from the four words of a block.
    static var perBlock: Int { get }

    /// Writes the uniforms of a block.
    static func write(
        _ words: (UInt64, UInt64, UInt64, UInt64), to uniforms: UnsafeMutablePointer<Self>)
}

extension Double: PhiloxUniform {
    static var perBlock: Int { 4 }

    /// Of each word the upper 53 bits.
    @inline(__always)
    static func write(
        _ words: (UInt64, UInt64, UInt64, UInt64), to uniforms: UnsafeMutablePointer<Double>
    ) {
        uniforms[0] = uniform(words.0)
        uniforms[1] = uniform(words.1)
        uniforms[2] = uniform(words.2)
        uniforms[3] = uniform(words.3)
    }

    @inline(__always)
    private static func uniform(_ word: UInt64) -> Double {
        Double(Int64(truncatingIfNeeded: word &>> 11)) * 0x1p-53
    }
}

extension Float: PhiloxUniform {
    static var perBlock: Int { 8 }

    /// Of each word the upper 24 bits of its lower half, then those of its upper half.
    @inline(__always)
    static func write(
        _ words: (UInt64, UInt64, UInt64, UInt64), to uniforms: UnsafeMutablePointer<Float>
    ) {
        (uniforms[0], uniforms[1]) = both(words.0)
        (uniforms[2], uniforms[3]) = both(words.1)
        (uniforms[4], uniforms[5]) = both(words.2)
        (uniforms[6], uniforms[7]) = both(words.3)
    }

    @inline(__always)
    private static func both(_ word: UInt64) -> (Float, Float) {
        let lower = Int32(truncatingIfNeeded: (word &>> 8) & 0xff_ffff)
        let upper = Int32(truncatingIfNeeded: word &>> 40)
        return (Float(lower) * 0x1p-24, Float(upper) * 0x1p-24)
    }
}
