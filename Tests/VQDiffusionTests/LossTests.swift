import Foundation
import Testing

@testable import VQDiffusion

extension ExplicitChain {
    /// KL(q(x_s | x_t, x_0) ‖ p(x_s | x_t)) by the posteriors of Bayes' rule; at s = -1 -log
    /// p(x_0).
    func loss(_ logits: [Double], clean: Int, observed: Int, from t: Int, to s: Int) -> Double {
        let largest = logits.max()!
        let total = logits.reduce(0) { $0 + Foundation.exp($1 - largest) }
        let p = logits.map { Foundation.exp($0 - largest) / total }
        guard s >= 0 else { return -Foundation.log(p[clean]) }
        let truth = posterior(
            (0..<classes).map { $0 == clean ? 1 : 0 }, observed: observed, from: t, to: s)
        let model = posterior(p, observed: observed, from: t, to: s)
        return zip(truth, model).reduce(0) { sum, pair in
            pair.0 > 0 ? sum + pair.0 * Foundation.log(pair.0 / pair.1) : sum
        }
    }
}

/// Logits that are -∞ nowhere, of some sharpness.
private func randomLogits(batch: Int, classes: Int, pixels: Int, sharpness: Float, seed: UInt64)
    -> LogProbabilityTensor
{
    var random = TestGenerator(seed: seed)
    return LogProbabilityTensor(
        batch: batch, classes: classes, pixels: pixels,
        values: (0..<batch * classes * pixels).map { _ in
            sharpness * Float.random(in: -1...1, using: &random)
        })
}

@Suite("Loss")
struct LossTests {
    private let steps = [(99, 98), (50, 49), (7, 6), (1, 0), (0, -1), (99, 49), (60, 3), (30, -1)]

    private func heavy(_ classes: Int) -> ExplicitChain {
        let line = { (first: Double, last: Double) in
            (0..<100).map { first + (last - first) * Double($0) / 99 }
        }
        return ExplicitChain(
            classes: classes, alphaCumulative: line(0.99, 1e-3), gammaCumulative: line(1e-3, 0.5))
    }

    /// Against Bayes on explicit matrices and central differences of it, over masked, kept and
    /// replaced pixels, single steps and strides.
    @Test(arguments: [1, 2, 5, 19], [false, true])
    func agreesWithBayes(classes: Int, isHeavy: Bool) throws {
        let chain = isHeavy ? heavy(classes) : ExplicitChain(classes: classes)
        let scheduler = try Scheduler(
            classes: classes, alphaCumulative: chain.alphaCumulative,
            gammaCumulative: chain.gammaCumulative)
        let (batch, pixels) = (steps.count, 18)
        let logits = randomLogits(
            batch: batch, classes: classes, pixels: pixels, sharpness: 3, seed: UInt64(classes))
        let data = randomGrid(batch: batch, pixels: pixels, upTo: classes - 1, seed: 3)
        var sample = randomGrid(batch: batch, pixels: pixels, upTo: classes, seed: 4)
        for i in sample.indices.indices where i % 3 == 0 { sample.indices[i] = data.indices[i] }
        let result = try scheduler.loss(
            of: logits, data, sample, at: steps.map(\.0), to: steps.map(\.1))
        var truth = 0.0
        for row in 0..<batch {
            let (t, s) = steps[row]
            var sum = 0.0
            for n in 0..<pixels {
                let column = (0..<classes).map { Double(logits[row, $0, n]) }
                func loss(_ k: Int, _ change: Double) -> Double {
                    var moved = column
                    moved[k] += change
                    return chain.loss(
                        moved, clean: data[row, n], observed: sample[row, n], from: t, to: s)
                }
                sum += loss(0, 0)
                for k in Set([0, classes - 1, data[row, n], sample[row, n] % classes]) {
                    let difference = (loss(k, 1e-4) - loss(k, -1e-4)) / 2e-4
                    let slope = difference * 100 / Double(batch * pixels)
                    #expect(abs(Double(result.gradient[row, k, n]) - slope) < 1e-7)
                }
            }
            #expect(abs(result.perRow[row] - sum) <= 1e-6 * sum + 1e-9)
            truth += sum * 100 / Double(batch * pixels)
        }
        #expect(abs(result.loss - truth) <= 1e-6 * truth + 1e-9)
    }

    /// Each column of the gradient sums to zero, also where logits are -∞ or far apart.
    @Test func columnsSumToZero() throws {
        let scheduler = try Scheduler(classes: 40)
        var logits = randomLogits(batch: 2, classes: 40, pixels: 33, sharpness: 4, seed: 5)
        for n in 0..<33 {
            logits[0, n % 40, n] = -.infinity
            logits[1, (n + 7) % 40, n] = n % 2 == 0 ? 1e4 : -1e4
        }
        let data = randomGrid(batch: 2, pixels: 33, upTo: 39, seed: 6)
        let sample = randomGrid(batch: 2, pixels: 33, upTo: 40, seed: 7)
        let result = try scheduler.loss(of: logits, data, sample, at: [60, 20])
        let largest = result.gradient.values.map(abs).max()!
        for row in 0..<2 {
            for n in 0..<33 {
                let sum = (0..<40).reduce(0) { $0 + Double(result.gradient[row, $1, n]) }
                #expect(abs(sum) < 1e-6 * Double(largest))
            }
        }
        #expect(result.loss.isFinite)
    }

    /// An absorbing chain carries pixels that show a class over, and its masked pixels lose a
    /// weighted cross-entropy.
    @Test func absorbing() throws {
        let alpha = (0..<10).map { 0.95 - 0.1 * Double($0) }
        let scheduler = try Scheduler(
            classes: 6, alphaCumulative: alpha, gammaCumulative: alpha.map { 1 - $0 })
        let logits = randomLogits(batch: 2, classes: 6, pixels: 20, sharpness: 3, seed: 8)
        let data = randomGrid(batch: 2, pixels: 20, upTo: 5, seed: 9)
        var sample = data
        for i in sample.indices.indices where i % 2 == 0 { sample.indices[i] = 6 }
        let result = try scheduler.loss(of: logits, data, sample, at: [6, 0])
        for row in 0..<2 {
            // (γ̄_t - γ̄_s)/γ̄_t; 1 at s = -1.
            let weight = row == 0 ? 0.1 / 0.65 : 1
            var sum = 0.0
            for n in 0..<20 {
                let column = (0..<6).map { Double(logits[row, $0, n]) }
                let total = column.reduce(0) { $0 + Foundation.exp($1) }
                let j = data[row, n]
                let isMasked = sample[row, n] == 6
                if isMasked { sum += weight * (Foundation.log(total) - column[j]) }
                for k in 0..<6 {
                    let p = Foundation.exp(column[k]) / total
                    let truth = isMasked ? weight * (p - (k == j ? 1 : 0)) * 10 / 40 : 0
                    #expect(abs(Double(result.gradient[row, k, n]) - truth) < 1e-7)
                }
            }
            #expect(abs(result.perRow[row] - sum) < 1e-6 * sum)
        }
    }

    @Test func refusesBadInput() throws {
        let scheduler = try Scheduler(classes: 4)
        let logits = randomLogits(batch: 2, classes: 4, pixels: 3, sharpness: 1, seed: 1)
        let data = randomGrid(batch: 2, pixels: 3, upTo: 3, seed: 2)
        func message(
            _ logits: LogProbabilityTensor, _ data: ClassGrid, at t: [Int] = [5, 6],
            to s: [Int]? = nil, options: LossOptions = LossOptions()
        ) -> String {
            do throws(ArgumentError) {
                _ = try scheduler.loss(of: logits, data, data, at: t, to: s, options: options)
                return ""
            } catch { return error.description }
        }
        var masked = data
        masked[1, 2] = 4
        #expect(message(logits, masked) == "data must hold classes 0 ... 3, not 4 as at [1, 2]")
        var bad = logits
        bad[1, 2, 0] = .nan
        #expect(message(bad, data).hasPrefix("logits must hold finite numbers or -inf"))
        #expect(message(bad, data).hasSuffix("as at [1, 2, 0]"))
        bad = logits
        for k in 0..<4 { bad[1, k, 1] = -.infinity }
        #expect(message(bad, data).hasSuffix("all are -inf at row 1, pixel 1"))
        #expect(message(logits, data, at: [5, 100]) == "timesteps must be in 0 ... 99, not 100")
        #expect(message(logits, data, to: [4, 6]) == "previous must be in -1 ... 5, not 6")
        #expect(message(logits, data, at: [5]) == "timesteps must have shape (2,), not (1,)")
        let options = LossOptions(weights: .init(masked: -1))
        #expect(
            message(logits, data, options: options)
                == "mask_weight must be finite and at least 0, not -1")
    }

    /// The same to the bit on any number of threads.
    @Test func doesNotDependOnThreads() throws {
        let logits = randomLogits(batch: 3, classes: 500, pixels: 200, sharpness: 6, seed: 1)
        let data = randomGrid(batch: 3, pixels: 200, upTo: 499, seed: 2)
        let sample = randomGrid(batch: 3, pixels: 200, upTo: 500, seed: 3)
        let scheduler = try Scheduler(classes: 500)
        func values(_ threads: Int) throws -> ([Float], [Double]) {
            var gradient = [Float](repeating: .nan, count: 3 * 500 * 200)
            var rows = [Double](repeating: 0, count: 3)
            let (now, earlier): ([Int64], [Int64]) = ([90, 40, 0], [80, 39, -1])
            try scheduler.withSchedule { (schedule) throws(ArgumentError) in
                try logits.withView(name: "logits") { (z) throws(ArgumentError) in
                    try data.withView(name: "data") { (data) throws(ArgumentError) in
                        try sample.withView(name: "sample") { (sample) throws(ArgumentError) in
                            let batch = TrainingBatch(
                                clean: data, sample: sample,
                                timesteps: TimestepList(name: "t", base: now, count: 3),
                                previousTimesteps: TimestepList(name: "s", base: earlier, count: 3))
                            _ = try schedule.loss(
                                of: z, for: batch, perRow: &rows,
                                gradient: GradientTensor(
                                    name: "gradient", base: &gradient, shape: z.shape,
                                    strides: (z.batchStride, z.classStride, z.pixelStride)),
                                parallelism: Parallelism(threads: threads))
                        }
                    }
                }
            }
            return (gradient, rows)
        }
        let one = try values(1)
        for threads in [2, 5] {
            let more = try values(threads)
            #expect(more.0 == one.0 && more.1 == one.1)
        }
    }
}
