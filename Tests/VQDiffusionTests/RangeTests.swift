import Testing

@testable import VQDiffusion

@Suite("Ends of ranges")
struct RangeTests {
    private func message(_ body: () throws(ArgumentError) -> Void) -> String? {
        do throws(ArgumentError) {
            try body()
            return nil
        } catch { return error.description }
    }

    /// Guidance takes the lowest number for -∞, and names what overflows.
    @Test func guidanceOfExtremes() throws {
        let (classes, pixels) = (40, 33)
        let c = randomLogProbabilities(
            batch: 1, classes: classes, pixels: pixels, sharpness: 2, seed: 1)
        var low = randomLogProbabilities(
            batch: 1, classes: classes, pixels: pixels, sharpness: 2, seed: 2)
        var none = low
        for n in stride(from: 0, to: pixels, by: 2) {
            (low[0, 7, n], none[0, 7, n]) = (-Float.greatestFiniteMagnitude, -.infinity)
        }
        func guided(_ u: LogProbabilityTensor, _ c: LogProbabilityTensor) throws(ArgumentError)
            -> [Float]
        {
            var result = [Float](repeating: 0, count: classes * pixels)
            let shape = Shape(1, classes, pixels)
            try u.withView(name: "u") { (u) throws(ArgumentError) in
                try c.withView(name: "c") { (c) throws(ArgumentError) in
                    try result.withUnsafeMutableBufferPointer { (buffer) throws(ArgumentError) in
                        let output = OutputTensor(
                            name: "out", base: buffer.baseAddress!, shape: shape)
                        try guide(unconditional: u, conditional: c, scale: 5, into: output)
                    }
                }
            }
            return result
        }
        #expect(try guided(low, c) == guided(none, c) && guided(c, low) == guided(c, none))
        var great = c
        great[0, 3, 5] = 3e38
        #expect(
            message { () throws(ArgumentError) in _ = try guided(c, great) }?.hasPrefix(
                "c must hold") == true)
    }

    /// A class id is named as the number that it is.
    @Test func unsignedClassesAreNamed() throws {
        let ids: [UInt64] = [0, 1 << 63]
        let text = message { () throws(ArgumentError) in
            try ids.withUnsafeBufferPointer { (buffer) throws(ArgumentError) in
                let indices = ClassIndices(
                    name: "x", base: UnsafeRawPointer(buffer.baseAddress!), elementType: .uint64,
                    shape: (1, 2),
                    strides: (16, 8))
                _ = try indices.checked(batch: 1, pixels: 2, upper: 5)
            }
        }
        #expect(text == "x must hold classes 0 ... 5, not 9223372036854775808 as at [0, 1]")
    }
}
