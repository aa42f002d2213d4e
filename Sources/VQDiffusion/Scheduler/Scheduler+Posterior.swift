extension Scheduler {
    /// log p(x_s | x_t), eq. 11, (batch, K + 1, pixels); not normalised (see
    /// `ReverseStep.logPosterior`).
    ///
    /// - Throws: as `step`, for NaN and +∞ anywhere.
    public func logPosterior(
        of modelOutput: LogProbabilityTensor, at t: Int, to s: Int? = nil, given sample: ClassGrid
    ) throws(ArgumentError) -> LogProbabilityTensor {
        var result = LogProbabilityTensor(
            repeating: 0, batch: modelOutput.batch, classes: classes + 1, pixels: modelOutput.pixels
        )
        try withStep(at: t, to: s ?? t &- 1) { (step) throws(ArgumentError) in
            try modelOutput.withView(name: "modelOutput") { (p) throws(ArgumentError) in
                try sample.withView(name: "sample") { (sample) throws(ArgumentError) in
                    try result.fill { (output) throws(ArgumentError) in
                        try step.logPosterior(of: p, given: sample, into: output)
                    }
                }
            }
        }
        return result
    }
}
