// C names are those of vqdiffusion.h.
// swift-format-ignore-file: AlwaysUseLowerCamelCase

import CVQDiffusion
import VQDiffusion

@implementation @_cdecl("vqd_token_scores")
public func vqd_token_scores(
    _ logits: UnsafePointer<vqd_tensor>!, _ uniforms: UnsafePointer<vqd_tensor>!,
    _ temperature: Double, _ token: UnsafePointer<vqd_tensor>!,
    _ probability: UnsafePointer<vqd_tensor>!, _ entropy: UnsafePointer<vqd_tensor>!,
    _ margin: UnsafePointer<vqd_tensor>!, _ logsumexp: UnsafePointer<vqd_tensor>!,
    _ context: UnsafeMutablePointer<vqd_context>!
) -> vqd_status {
    call(context) { (parallelism) throws(ArgumentError) in
        let logits = try Tensor(logits, rank: 3, "logits").logProbabilities()
        let type = logits.resultType
        try scoreTokens(
            logits,
            uniforms: uniforms == nil
                ? nil : try Tensor(uniforms, rank: 2, "uniforms").uniformGrid(),
            temperature: temperature,
            into: TokenScoreOutputs(
                token: try Tensor(token, rank: 2, "token").output(VQD_INT64),
                probability: try Tensor(probability, rank: 2, "probability").output(type),
                entropy: try Tensor(entropy, rank: 2, "entropy").output(type),
                margin: try Tensor(margin, rank: 2, "margin").output(type),
                logSumExp: try Tensor(logsumexp, rank: 2, "logsumexp").output(type)),
            parallelism: parallelism)
    }
}
