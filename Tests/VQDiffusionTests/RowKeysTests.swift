import Testing

@testable import VQDiffusion

@Suite("Uniforms by the keys of rows")
struct RowKeysTests {
    static let largest = UInt64.max

    /// Salmon et al. publish these with their implementation.
    @Test func wordsArePublishedOnes() {
        let zeros = Philox(key: (0, 0)).block((0, 0, 0, 0))
        #expect(
            zeros == (
                0x1655_4d9e_ca36_314c, 0xdb20_fe9d_672d_0fdc, 0xd7e7_72ce_e186_176b,
                0x7e68_b68a_ec7b_a23b
            ))
        let largest = RowKeysTests.largest
        let ones = Philox(key: (largest, largest)).block((largest, largest, largest, largest))
        #expect(
            ones == (
                0x87b0_92c3_013f_e90b, 0x438c_3c67_be8d_0224, 0x9cc7_d7c6_9cd7_77b6,
                0xa09c_aebf_594f_0ba0
            ))
        let digitsOfPi = Philox(key: (0x4528_21e6_38d0_1377, 0xbe54_66cf_34e9_0c6c)).block(
            (
                0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344, 0xa409_3822_299f_31d0,
                0x082e_fa98_ec4e_6c89
            ))
        #expect(
            digitsOfPi == (
                0xa528_f454_03e6_1d95, 0x38c7_2dbd_566e_9788, 0xa5a1_610e_72fd_18b5,
                0x57bd_43b5_e52b_7fe6
            ))
    }

    static func uniforms<Uniform: PhiloxUniform & BinaryFloatingPoint>(
        _: Uniform.Type, seed: UInt64 = 7, ids: [UInt64], timesteps: [Int64], draw: UInt64 = 1,
        count: Int, threads: Int = 1
    ) throws -> [Uniform] {
        // One more in front and behind, that must stay as they are.
        var out = [Uniform](repeating: 9, count: ids.count * count + 2)
        try out.withUnsafeMutableBytes { buffer in
            try ids.withUnsafeBytes { ids in
                try timesteps.withUnsafeBytes { timesteps in
                    let rows = RowIDs(base: ids.baseAddress!, isSigned: false, count: ids.count / 8)
                    try RowKeyView(seed: seed, ids: rows, draw: draw).fillUniforms(
                        at: TimestepList(
                            name: "timesteps", base: timesteps.baseAddress!,
                            count: timesteps.count / 8),
                        into: OutputTensor(
                            name: "out", base: buffer.baseAddress! + MemoryLayout<Uniform>.size,
                            shape: Shape(ids.count / 8, count)),
                        isDouble: Uniform.self == Double.self,
                        parallelism: Parallelism(threads: threads))
                }
            }
        }
        #expect(out.first == 9 && out.last == 9)
        return Array(out.dropFirst().dropLast())
    }

    /// What NumPy's Generator(Philox(key=[7, id], counter=[0, timestep, 1, 0])).random gives.
    @Test func uniformsAreThoseOfNumPy() throws {
        let expected: [Double] = [
            0x1.35f8442f35bf4p-3, 0x1.3d4c6df138010p-2, 0x1.35c4d83b12ea8p-3,
            0x1.01e05fb416d44p-2, 0x1.c3d1cdd537738p-2, 0x1.9629559799460p-2,
            0x1.9270b039f4d2cp-3, 0x1.82eeaafe80600p-8, 0x1.dff847e86d41dp-1,
            0x1.853e7755672c6p-2, 0x1.7f369d43d9e17p-1, 0x1.3ae80cd0af03bp-1,
        ]
        #expect(
            try RowKeysTests.uniforms(
                Double.self, ids: [3, RowKeysTests.largest], timesteps: [50, 0], count: 6)
                == expected)
        #expect(
            try RowKeysTests.uniforms(Float.self, ids: [3], timesteps: [50], count: 11) == [
                0x1.cd6fdp-1, 0x1.35f84p-3, 0x1.380114p-2, 0x1.3d4c6cp-2, 0x1.89755cp-2,
                0x1.35c4d8p-3, 0x1.6d4540p-6, 0x1.01e05cp-2, 0x1.377390p-2, 0x1.c3d1ccp-2,
                0x1.cca302p-1,
            ])
    }

    /// Whatever the other rows are, wherever a row ends, and however many threads there are.
    @Test(arguments: [1, 2, 3, 4, 5, 7, 8, 9, 63, 64, 65, 1000], [1, 2, 3, 8])
    func aRowDependsOnItsKeyAlone(count: Int, threads: Int) throws {
        let ids = (0..<40 as Range<UInt64>).map { $0 &* 0x9e37_79b9_7f4a_7c15 }
        let timesteps = ids.indices.map { Int64($0 * $0) }
        let together = try RowKeysTests.uniforms(
            Double.self, ids: ids, timesteps: timesteps, count: count, threads: threads)
        for row in ids.indices {
            let longer = try RowKeysTests.uniforms(
                Double.self, ids: [ids[row]], timesteps: [timesteps[row]], count: count + 4)
            #expect(Array(together[row * count..<(row + 1) * count]) == Array(longer.prefix(count)))
        }
    }

    /// Above the size from which threads are used, in rows that tasks divide.
    @Test(arguments: [(1, 400_001), (3, 77_777), (9000, 15)])
    func threadsChangeNothing(rows: Int, count: Int) throws {
        let ids = (0..<rows).map { UInt64($0) }
        let timesteps = [Int64](repeating: 3, count: rows)
        func uniforms(_ threads: Int) throws -> ([Double], [Float]) {
            (
                try RowKeysTests.uniforms(
                    Double.self, ids: ids, timesteps: timesteps, count: count, threads: threads),
                try RowKeysTests.uniforms(
                    Float.self, ids: ids, timesteps: timesteps, count: count, threads: threads)
            )
        }
        let expected = try uniforms(1)
        for threads in [0, 2, 3, 8] { #expect(try uniforms(threads) == expected) }
    }

    @Test func badArgumentsAreErrors() {
        #expect(throws: ArgumentError.self) {
            try RowKeysTests.uniforms(Double.self, ids: [1, 2], timesteps: [1], count: 4)
        }
        #expect(throws: ArgumentError.self) {
            try RowKeysTests.uniforms(Double.self, ids: [1, 2], timesteps: [1, -1], count: 4)
        }
        // Nothing is read where there is nothing to draw.
        #expect(throws: Never.self) {
            try RowKeysTests.uniforms(Double.self, ids: [1], timesteps: [-1], count: 0)
        }
    }
}
