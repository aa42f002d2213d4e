import Foundation
import Testing

@testable import VQDiffusion

/// The posterior and the drawn classes of a view, with the uniforms of a fixed stream.
private func results(
    _ p: LogProbabilities, _ sample: ClassIndices, chain: ExplicitChain, at t: Int, threads: Int = 1
) throws -> (posterior: [Float], inverse: [Int64], gumbel: [Int64]) {
    var random = TestGenerator(seed: 3)
    let (batch, classes, pixels) = (p.batch, p.classes, p.pixels)
    let uniforms = (0..<batch * pixels).map { _ in Double(random.next() >> 11) * 0x1p-53 }
    let classUniforms = LogProbabilityTensor(
        batch: batch, classes: classes + 1, pixels: pixels,
        values: (0..<batch * (classes + 1) * pixels).map { _ in Float(random.next() >> 40) * 0x1p-24
        })
    var posterior = [Float](repeating: 0, count: batch * (classes + 1) * pixels)
    var inverse = [Int64](repeating: 0, count: batch * pixels)
    var gumbel = inverse
    let parallelism = Parallelism(threads: threads)
    try withSchedule(of: chain) { schedule in
        // A long stride, so that most columns are needed.
        let step = try schedule.reverseStep(from: t, to: t / 5)
        try posterior.withUnsafeMutableBytes { bytes in
            try step.logPosterior(
                of: p, given: sample,
                into: OutputTensor(
                    name: "out", base: bytes.baseAddress!,
                    shape: Shape(batch, classes + 1, pixels)),
                parallelism: parallelism)
        }
        try inverse.withUnsafeMutableBytes { bytes in
            try uniforms.withUnsafeBufferPointer {
                try step.sampleInverseCDF(
                    from: p, given: sample,
                    uniforms: UniformGrid($0.baseAddress!, batch: batch, pixels: pixels),
                    into: OutputTensor(
                        name: "out", base: bytes.baseAddress!, shape: Shape(batch, pixels)),
                    parallelism: parallelism)
            }
        }
        try gumbel.withUnsafeMutableBytes { bytes in
            try classUniforms.withView(name: "uniforms") { (uniforms) throws(ArgumentError) in
                try step.sampleGumbelMax(
                    from: p, given: sample, uniforms: .given(uniforms),
                    into: OutputTensor(
                        name: "out", base: bytes.baseAddress!, shape: Shape(batch, pixels)),
                    parallelism: parallelism)
            }
        }
    }
    return (posterior, inverse, gumbel)
}

@Suite("Memory layouts and threads")
struct LayoutTests {
    @Test(arguments: [(1, 1), (5, 17), (70, 33)]) func anyStridesGiveTheSame(
        classes: Int, pixels: Int
    ) throws {
        let chain = ExplicitChain(classes: classes)
        let p = randomLogProbabilities(
            batch: 2, classes: classes, pixels: pixels, sharpness: 4, seed: 8)
        let sample = randomGrid(batch: 2, pixels: pixels, upTo: classes, seed: 9)
        try p.withView(name: "p") { (plain) throws(ArgumentError) in
            do {
                try sample.withView(name: "sample") { (sample) throws(ArgumentError) in
                    do {
                        let truth = try results(plain, sample, chain: chain, at: 50)
                        // (batch, pixels, classes) memory; every other element of memory; reversed
                        // pixels of reversed memory.
                        for layout in 0..<3 {
                            let step = layout == 1 ? 2 : 1
                            var memory = [Float](repeating: .nan, count: p.values.count * step)
                            let strides =
                                layout == 0
                                ? (classes * pixels, 1, classes)
                                : layout == 1
                                    ? (classes * pixels * 2, pixels * 2, 2)
                                    : (classes * pixels, pixels, -1)
                            let origin = layout == 2 ? pixels - 1 : 0
                            for row in 0..<2 {
                                for k in 0..<classes {
                                    for n in 0..<pixels {
                                        memory[
                                            origin + row * strides.0 + k * strides.1 + n * strides.2
                                        ] = p[row, k, n]
                                    }
                                }
                            }
                            let result = try memory.withUnsafeBytes { bytes in
                                try results(
                                    LogProbabilities(
                                        name: "p", base: bytes.baseAddress! + origin * 4,
                                        elementType: .float32, shape: (2, classes, pixels),
                                        strides: (strides.0 * 4, strides.1 * 4, strides.2 * 4)),
                                    sample, chain: chain, at: 50)
                            }
                            // Along the classes sums are added in another order: 1e-6, and a
                            // rounding of the result.
                            for (a, b) in zip(result.posterior, truth.posterior) {
                                #expect(abs(a - b) < 1e-6 + 0x1p-23 * abs(b) || a == b)
                            }
                            #expect(result.inverse == truth.inverse)
                            #expect(result.gumbel == truth.gumbel)
                        }
                    } catch { Issue.record(error) }
                }
            } catch { Issue.record(error) }
        }
    }

    /// Enough work that threads are started: 200 x 700.
    @Test func anyNumberOfThreadsGivesTheSame() throws {
        let chain = ExplicitChain(classes: 200)
        let p = randomLogProbabilities(batch: 1, classes: 200, pixels: 700, sharpness: 4, seed: 8)
        let sample = randomGrid(batch: 1, pixels: 700, upTo: 200, seed: 9)
        try p.withView(name: "p") { (p) throws(ArgumentError) in
            try sample.withView(name: "sample") { (sample) throws(ArgumentError) in
                do {
                    let truth = try results(p, sample, chain: chain, at: 30)
                    for threads in [2, 3, 8] {
                        let result = try results(p, sample, chain: chain, at: 30, threads: threads)
                        #expect(result == truth)
                    }
                } catch { Issue.record(error) }
            }
        }
    }
}
