// C names are those of vqdiffusion.h.
// swift-format-ignore-file: AlwaysUseLowerCamelCase

import CVQDiffusion
import VQDiffusion

@implementation @_cdecl("vqd_loss")
public func vqd_loss(
    _ schedule: UnsafePointer<vqd_schedule>!, _ options: UnsafePointer<vqd_loss_options>!,
    _ logits: UnsafePointer<vqd_tensor>!, _ x_0: UnsafePointer<vqd_tensor>!,
    _ x_t: UnsafePointer<vqd_tensor>!, _ timesteps: UnsafePointer<vqd_tensor>!,
    _ previous_timesteps: UnsafePointer<vqd_tensor>!, _ loss: UnsafeMutablePointer<Double>!,
    _ per_row: UnsafePointer<vqd_tensor>!, _ auxiliary: UnsafePointer<vqd_tensor>!,
    _ gradient: UnsafePointer<vqd_tensor>!, _ context: UnsafeMutablePointer<vqd_context>!
) -> vqd_status {
    call(context) { (parallelism) throws(ArgumentError) in
        let given: UnsafePointer<vqd_loss_options>? = options
        let schedule = try VQDiffusionABI.schedule(schedule)
        let logits = try Tensor(logits, rank: 3, "logits").logProbabilities()
        guard let loss else { throw ArgumentError("loss", .missing) }
        loss.pointee = try schedule.loss(
            of: logits,
            for: TrainingBatch(
                clean: try Tensor(x_0, rank: 2, "x_0").classIndices(),
                sample: try Tensor(x_t, rank: 2, "x_t").classIndices(),
                timesteps: try Tensor(timesteps, rank: 1, "timesteps").timesteps(),
                previousTimesteps: try Tensor(previous_timesteps, rank: 1, "previous_timesteps")
                    .timesteps(),
                probabilities: try weights(given?.pointee.probability, rank: 1, "probability"),
                pixelWeights: try weights(given?.pointee.pixel_weights, rank: 2, "pixel_weights")),
            options: given.map { LossOptions($0.pointee) } ?? LossOptions(),
            perRow: try Tensor(per_row, rank: 1, "per_row").rowOutput(batch: logits.batch),
            auxiliary: auxiliary == nil
                ? nil
                : try Tensor(auxiliary, rank: 1, "auxiliary").rowOutput(batch: logits.batch),
            gradient: gradient == nil
                ? nil : try Tensor(gradient, rank: 3, "gradient").gradient(logits.resultType),
            parallelism: parallelism)
    }
}

private func weights(
    _ tensor: UnsafePointer<vqd_tensor>?, rank: Int, _ name: StaticString
) throws(ArgumentError) -> WeightGrid? {
    tensor == nil ? nil : try Tensor(tensor, rank: rank, name).weights()
}

extension LossOptions {
    fileprivate init(_ options: vqd_loss_options) {
        self.init(
            weights: Weights(masked: options.masked_weight, others: options.unmasked_weight),
            auxiliaryWeight: options.auxiliary_weight, isAdaptive: options.adaptive_auxiliary != 0)
    }
}
