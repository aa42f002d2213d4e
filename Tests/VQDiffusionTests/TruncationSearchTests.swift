import Testing

@testable import VQDiffusion

@Suite("Where columns are truncated")
struct TruncationSearchTests {
    /// Searches sixteen columns of the same log-probabilities, in other orders and of equal masses.
    private func search(
        classes: Int, mass: Float, rate: Double
    ) throws -> (thresholds: [Float], lasts: [Int32], columns: [[Float]]) {
        let elements = try Scratch<Float>(classes * 16)
        let masses = try Scratch<Float>(classes * 16, filledWith: mass)
        let indices = try Scratch<Int32>(classes)
        let thresholds = try Scratch<Float>(16)
        let lasts = try Scratch<Int32>(16)
        defer {  // the list has only the addresses
            withExtendedLifetime(masses) {}
            withExtendedLifetime(indices) {}
        }
        for k in 0..<classes {
            indices[k] = Int32(k)
            for lane in 0..<16 {
                elements[k * 16 + lane] = -1 - 0.001 * Float((k * 7 + lane * 31) % classes)
            }
        }
        let list = TruncationList<Float>(
            count: classes, indices: UnsafePointer(indices.pointer),
            elements: UnsafePointer(elements.pointer), masses: UnsafePointer(masses.pointer))
        try TruncationSearch<Float>().run(
            list, largest: FloatVector(repeating: -1), bound: FloatVector(repeating: -.infinity),
            aboveBound: DoubleVector(repeating: Double(mass) * Double(classes)),
            rates: DoubleVector(repeating: rate),
            thresholds: thresholds.pointer, lasts: lasts.pointer)
        let columns = (0..<16).map { lane in (0..<classes).map { elements[$0 * 16 + lane] } }
        return ((0..<16).map { thresholds[$0] }, (0..<16).map { lasts[$0] }, columns)
    }

    /// Masses that are small beside the exponentials, as rounding may make those of a long tail.
    /// All classes seem to be few enough to be put in order. There is room for 256 of a column.
    @Test(arguments: [255, 256, 257, 258, 400, 1000])
    func moreClassesAreLeftThanThereIsRoomFor(classes: Int) throws {
        let mass = Float(0x1p-20)
        for kept in [1, 2, classes / 2, classes - 1] {
            let rate = Double(mass) * (Double(kept) - 0.5)
            let (thresholds, lasts, columns) = try search(classes: classes, mass: mass, rate: rate)
            for lane in 0..<16 {
                let last = columns[lane].sorted(by: >)[kept - 1]
                #expect(thresholds[lane] == last)
                #expect(lasts[lane] == Int32(columns[lane].firstIndex(of: last)!))
            }
        }
    }
}
