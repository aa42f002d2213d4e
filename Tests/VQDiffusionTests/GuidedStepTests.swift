import Testing

@testable import VQDiffusion

@Suite("Guided steps")
struct GuidedStepTests {
    /// Guidance, truncation and the step in one give what the three give in turn.
    @Test(
        arguments: [(1, 1, 1), (2, 5, 33), (1, 130, 200)],
        [(nil, 1), (3, 1), (nil, 0.7), (4, 2)] as [(Int?, Double)])
    func oneCallIsTheThree(shape: (Int, Int, Int), options: (topK: Int?, temperature: Double))
        throws
    {
        let (batch, classes, pixels) = shape
        let inputs = Memory<Float>(2 * batch * classes * pixels) { -5 * Float($0) }
        let prepared = Memory<Float>(2 * batch * classes * pixels) { _ in 0 }
        let classUniforms = Memory<Float>(batch * (classes + 1) * pixels) {
            Float(Int($0 * 0x1p24)) * 0x1p-24
        }
        let uniforms = Memory<Double>(batch * pixels) { $0 }
        let observed = Memory<Int32>(batch * pixels) { Int32($0 * Double(classes + 1)) }
        let tokens = Memory<Int64>(2 * batch * pixels) { _ in 0 }
        func tensor(_ base: UnsafeMutablePointer<Float>, _ rows: Int) -> LogProbabilities {
            LogProbabilities(base, batch: batch, classes: rows, pixels: pixels)
        }
        func output(_ base: UnsafeMutableRawPointer, _ shape: Shape) -> OutputTensor {
            OutputTensor(name: "out", base: base, shape: shape)
        }
        let size = batch * classes * pixels
        let (u, c) = (tensor(inputs.base, classes), tensor(inputs.base + size, classes))
        let sample = ClassIndices(observed.base, batch: batch, pixels: pixels)
        let noise = UniformSource.given(tensor(classUniforms.base, classes + 1))
        let grid = UniformGrid(uniforms.base, batch: batch, pixels: pixels)
        let (first, second) = (
            output(tokens.base, Shape(batch, pixels)),
            output(tokens.base + batch * pixels, Shape(batch, pixels))
        )
        let shape = Shape(batch, classes, pixels)
        try guide(unconditional: u, conditional: c, scale: 3, into: output(prepared.base, shape))
        try truncate(
            tensor(prepared.base, classes), rate: 0.8, floor: -70, topK: options.topK,
            temperature: options.temperature,
            into: output(prepared.base + size, shape))
        let log = tensor(prepared.base + size, classes)
        let guided = GuidedModelOutput(
            unconditional: u, conditional: c, guidanceScale: 3, truncationRate: 0.8,
            topK: options.topK, temperature: options.temperature)
        try withSchedule(of: ExplicitChain(classes: classes)) { schedule in
            let step = try schedule.reverseStep(from: 50, to: 10)
            try step.sampleGumbelMax(from: log, given: sample, uniforms: noise, into: first)
            try step.sampleGumbelMax(from: guided, given: sample, uniforms: noise, into: second)
            for n in 0..<batch * pixels {
                #expect(tokens.base[n] == tokens.base[batch * pixels + n])
            }
            try step.sampleInverseCDF(from: log, given: sample, uniforms: grid, into: first)
            try step.sampleInverseCDF(from: guided, given: sample, uniforms: grid, into: second)
            for n in 0..<batch * pixels {
                #expect(tokens.base[n] == tokens.base[batch * pixels + n])
            }
        }
    }
}

/// Numbers made of uniforms, at an address that stays.
private final class Memory<Element> {
    let base: UnsafeMutablePointer<Element>

    init(_ count: Int, _ make: (Double) -> Element) {
        var random = TestGenerator(seed: UInt64(count))
        base = .allocate(capacity: count)
        for i in 0..<count {
            (base + i).initialize(to: make(Double(random.next() >> 11) * 0x1p-53))
        }
    }

    deinit { base.deallocate() }
}
