import CVQDiffusion

extension ScheduleTables {
    /// Whose cosine is meant.
    public enum CosineVariant: Sendable {
        /// ᾱ = ε + (1 - ε) cos(πu/2) with ε = 1e-3 (Sahoo et al. 2024, arXiv 2406.07524). At u = ½
        /// 0.293 are lost.
        case mdlm
        /// ᾱ = 1 - sin(πu/2) (Chang et al. 2022, arXiv 2202.04200, whose masked share is cos(πr/2)
        /// after a share r = 1 - u of its steps). At u = ½ 0.707 are lost.
        case maskGIT
        /// ᾱ = f(u)/f(0) with f(u) = cos(π/2 · (u + 0.008)/1.008), but every single step keeps at
        /// least 0.001 (Austin et al. 2021, arXiv 2107.03006, whose cosine is that of Hoogeboom et
        /// al. 2021, arXiv 2102.05379). At u = ½ 0.297 are lost.
        case d3pm
    }

    /// One of the three schedules that papers call "cosine".
    ///
    /// - Parameters:
    ///   - timesteps: T, at least 2.
    ///   - variant: whose.
    ///   - maskShare: m of γ̄ = m (1 - ᾱ), in [0, 1]; that of the paper where nil, 0 for D3PM and 1
    ///     for the others.
    /// - Throws: `ArgumentError` when an argument is out of its range.
    public static func cosine(
        timesteps: Int, variant: CosineVariant = .mdlm, maskShare: Double? = nil
    ) throws(ArgumentError) -> ScheduleTables {
        let quarter = Double.pi / 2
        switch variant {
        case .mdlm:
            let epsilon = 1e-3
            return try losing(timesteps, maskShare ?? 1) { u, left in
                let half = vqd_sin(quarter / 2 * u)
                return (
                    epsilon + (1 - epsilon) * vqd_sin(quarter * left),
                    (1 - epsilon) * 2 * (half * half)
                )
            }
        case .maskGIT:
            return try losing(timesteps, maskShare ?? 1) { u, left in
                let half = vqd_sin(quarter / 2 * left)
                return (2 * (half * half), vqd_sin(quarter * u))
            }
        case .d3pm:
            // f(u) = sin(angle (1 - u)), which is accurate where f is small. Before the last step f
            // falls by at most a half, so that the bound on single steps touches the last one only.
            let angle = quarter / 1.008
            let whole = vqd_sin(angle)
            return try losing(timesteps, maskShare ?? 0) { u, left in
                guard left > 0 else {
                    let kept = 0.001 * vqd_sin(angle / Double(timesteps)) / whole
                    return (kept, 1 - kept)
                }
                let cosine = vqd_cos(angle * (1 - u / 2))
                return (vqd_sin(angle * left) / whole, 2 * cosine * vqd_sin(angle / 2 * u) / whole)
            }
        }
    }
}
