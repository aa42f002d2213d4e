import CVQDiffusion
import VQDiffusion

/// A step that reveals; see `vqd_unmask`.
func reveal(
    _ step: ReverseStep, _ modelOutput: UnsafePointer<vqd_tensor>?, _ guidance: vqd_guidance?,
    _ sample: UnsafePointer<vqd_tensor>?, _ known: ClassIndices?, _ draw: vqd_draw,
    _ unmask: vqd_unmask, _ tokens: OutputTensor, _ parallelism: Parallelism
) throws(ArgumentError) {
    guard vqd_draw_method(rawValue: UInt32(bitPattern: draw.method)) == VQD_INVERSE_CDF else {
        throw ArgumentError("method", .unknown(Int(draw.method), of: "VQD_INVERSE_CDF with unmask"))
    }
    let sample = try Tensor(sample, rank: 2, "sample").classIndices()
    let uniforms = try pixelUniforms(draw)
    let options = try unmaskOptions(unmask)
    let outputs = RevealOutputs(
        tokens: tokens,
        revealed: unmask.revealed == nil
            ? nil : try Tensor(unmask.revealed, rank: 2, "revealed").output(VQD_BOOL8),
        scores: unmask.scores == nil
            ? nil : try Tensor(unmask.scores, rank: 2, "scores").output(VQD_FLOAT64))
    if let guidance {
        try step.reveal(
            from: guided(modelOutput, by: guidance), given: sample, known: known,
            uniforms: uniforms, by: options, into: outputs, parallelism: parallelism)
    } else if modelOutput?.pointee.rank == 2 {
        try step.completeReveal(
            from: Tensor(modelOutput, rank: 2, "model_output").columns(), given: sample,
            known: known, uniforms: uniforms, by: options, into: outputs, parallelism: parallelism)
    } else {
        try step.reveal(
            from: plain(modelOutput), given: sample, known: known, uniforms: uniforms, by: options,
            into: outputs, parallelism: parallelism)
    }
}

/// The options of a step that reveals.
func unmaskOptions(_ unmask: vqd_unmask) throws(ArgumentError) -> UnmaskOptions {
    guard let order = UnmaskOptions.Order(rawValue: unmask.order) else {
        throw ArgumentError("order", .unknown(Int(unmask.order), of: "vqd_order"))
    }
    let rule: UnmaskOptions.Rule
    switch vqd_unmask_rule(rawValue: UInt32(bitPattern: unmask.rule)) {
    case VQD_DUE:
        rule =
            unmask.count == nil
            ? .due : .count(try Tensor(unmask.count, rank: 1, "count").timesteps())
    case VQD_THRESHOLD: rule = .threshold(unmask.bound)
    case VQD_ENTROPY_BOUND: rule = .entropyBound(unmask.bound)
    default: throw ArgumentError("rule", .unknown(Int(unmask.rule), of: "vqd_unmask_rule"))
    }
    return UnmaskOptions(
        order: order, rule: rule, temperature: unmask.temperature,
        priorWeight: unmask.prior_weight, positions: try positions(unmask.positions),
        uniforms: unmask.order_uniforms == nil
            ? nil : try Tensor(unmask.order_uniforms, rank: 2, "order_uniforms").uniformGrid())
}

private func positions(_ pointer: UnsafePointer<vqd_tensor>?) throws(ArgumentError)
    -> PositionGrid?
{
    guard let pointer else { return nil }
    let tensor = try Tensor(pointer, rank: pointer.pointee.rank == 1 ? 1 : 2, "positions")
    guard tensor.elementType == VQD_BOOL8 else { throw tensor.wrongType(expected: "bool") }
    return PositionGrid(
        name: tensor.name, base: UnsafeRawPointer(tensor.base), shape: tensor.shape,
        strides: (tensor.strides[0], tensor.strides[1]))
}

/// - Throws: `ArgumentError` when pixels are to be masked again in a step that reveals.
func refuseRemask(_ options: vqd_step_options) throws(ArgumentError) {
    guard options.remask == 0 else {
        throw ArgumentError("remask", .outsideNumbers(options.remask, lower: 0, upper: 0))
    }
}
