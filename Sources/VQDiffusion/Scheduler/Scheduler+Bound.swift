import CVQDiffusion

// Embedded Swift has no errors of any type, such as a model's.
#if !hasFeature(Embedded)
    extension Scheduler {
        /// An upper bound of -log p(x_0) of a chain, in nats for each row, by one draw of each x_t.
        ///
        /// KL(q(x_t | x_0) ‖ prior) at the first timestep, where the prior is what `samplePrior`
        /// draws, plus KL(q(x_s | x_t, x_0) ‖ p(x_s | x_t)) for each step, which at s = -1 is -log
        /// p(x_0 | x_t): eq. 3 of Gu et al. 2021 for any stride. Divided by pixels · log 2 it is
        /// bits per pixel. It bounds what the chain gives to x_0, so that a single row may lie
        /// below what the data's own distribution gives.
        ///
        /// ```swift
        /// let nats = try scheduler.likelihoodBound(
        ///     of: data, along: scheduler.strides(25), using: &noise
        /// ) { sample, t in model(sample, t) }
        /// ```
        ///
        /// - Parameters:
        ///   - data: x_0, (batch, pixels), classes 0 … K - 1.
        ///   - strides: the steps of the chain, that of all timesteps unless given.
        ///   - model: from x_t and t to log-probabilities of x_0, (batch, K, pixels), which are
        ///     normalised here.
        /// - Returns: the bound of each batch row, computed in float64.
        /// - Throws: `ArgumentError` for a class out of range, for what the model returns when its
        ///   shape is another, it holds NaN or +∞ or a column without mass, and when the bound is
        ///   infinite because the chain starts from masks alone at a timestep where pixels may
        ///   still show a class; and the model's errors. A generator that is a value is then as it
        ///   was.
        public func likelihoodBound(
            of data: ClassGrid, along strides: Strides? = nil,
            using generator: inout some RandomNumberGenerator,
            model: (_ sample: ClassGrid, _ t: Int) throws -> LogProbabilityTensor
        ) throws -> [Double] {
            var drawing = generator
            let nats = try bound(of: data, along: strides, model) { (t) throws(ArgumentError) in
                try addNoise(
                    to: data, at: Array(repeating: t, count: data.batch), using: &drawing)
            }
            generator = drawing
            return nats
        }

        /// The bound by the keys of the rows, which draw at each t: each row's is the same
        /// whichever rows are together.
        ///
        /// - Parameters:
        ///   - keys: one for each batch row.
        ///   - data, strides, model: as with a generator.
        /// - Throws: as with a generator; also when there is another number of keys.
        public func likelihoodBound(
            of data: ClassGrid, along strides: Strides? = nil, using keys: RowKeys,
            model: (_ sample: ClassGrid, _ t: Int) throws -> LogProbabilityTensor
        ) throws -> [Double] {
            try bound(of: data, along: strides, model) { (t) throws(ArgumentError) in
                try addNoise(to: data, at: Array(repeating: t, count: data.batch), using: keys)
            }
        }

        private func bound(
            of data: ClassGrid, along strides: Strides?,
            _ model: (ClassGrid, Int) throws -> LogProbabilityTensor,
            noised: (Int) throws(ArgumentError) -> ClassGrid
        ) throws -> [Double] {
            let strides = strides ?? Strides(visiting: timesteps.reversed())
            try data.withView(name: "data") { (view) throws(ArgumentError) in
                _ = try view.checked(batch: data.batch, pixels: data.pixels, upper: classes - 1)
            }
            let prior = try priorTerm(at: strides[0].from)
            var nats = Array(repeating: Double(data.pixels) * prior, count: data.batch)
            for (t, s) in strides {
                let sample = try noised(t)
                let terms = try stepTerms(model(sample, t), data, sample, from: t, to: s)
                for row in nats.indices { nats[row] += terms[row] }
            }
            return nats
        }

        /// KL(q(x_t | x_0) ‖ prior) of a pixel, in nats.
        private func priorTerm(at t: Int) throws(ArgumentError) -> Double {
            var first = Marginal.clean
            try withSchedule { (schedule) throws(ArgumentError) in
                first = try schedule.marginal(at: t, lower: 0, name: "strides")
            }
            let masked = gammaCumulative[timesteps.count - 1]
            guard masked < 1 || first.gamma == 1 else {
                throw ArgumentError("strides", .notMasked(timestep: t, share: first.gamma))
            }
            let ofClass = (1 - masked) / Double(classes)
            func term(_ q: Double, _ p: Double) -> Double { q > 0 ? q * vqd_log(q / p) : 0 }
            return term(first.gamma, masked) + term(first.keep, ofClass)
                + Double(classes - 1) * term(first.beta, ofClass)
        }

        /// The term of a step in nats, for each row.
        private func stepTerms(
            _ output: LogProbabilityTensor, _ data: ClassGrid, _ sample: ClassGrid, from t: Int,
            to s: Int
        ) throws(ArgumentError) -> [Double] {
            try output.withView(name: "what model returns") { (view) throws(ArgumentError) in
                try view.checkShape(Shape(data.batch, classes, data.pixels))
                try checkColumns(view)
            }
            var terms = [Double](repeating: 0, count: data.batch)
            guard !data.indices.isEmpty else { return terms }
            let guess = output.logNormalised
            try withStep(at: t, to: s) { (step) throws(ArgumentError) in
                if s < 0 {
                    for (at, k) in data.indices.enumerated() {
                        // Where nothing is replaced by another class, what is shown is what was.
                        if step.isAbsorbing && sample.indices[at] != maskClass { continue }
                        let (row, pixel) = (at / data.pixels, at % data.pixels)
                        terms[row] -= guess[(row * classes + k) * data.pixels + pixel]
                    }
                    return
                }
                let truth = try step.logPosterior(of: data.logOneHot(classes), given: sample)
                let model = try step.logPosterior(of: guess, given: sample)
                let perRow = (classes + 1) * data.pixels
                for at in truth.indices {
                    let q = vqd_exp(truth[at])
                    if q > 0 { terms[at / perRow] += q * (truth[at] - model[at]) }
                }
            }
            return terms
        }
    }

    extension LogProbabilityTensor {
        /// The values in float64 less the logarithm of each column's sum.
        fileprivate var logNormalised: [Double] {
            var result = values.map { Double($0) }
            for row in 0..<batch {
                for pixel in 0..<pixels {
                    let column = (0..<classes).map { (row * classes + $0) * pixels + pixel }
                    let peak = column.reduce(-Double.infinity) { max($0, result[$1]) }
                    let sum = column.reduce(0) { $0 + vqd_exp(result[$1] - peak) }
                    for at in column { result[at] -= peak + vqd_log(sum) }
                }
            }
            return result
        }
    }

    extension ClassGrid {
        /// Logarithms of one-hot vectors, (batch, classes, pixels).
        fileprivate func logOneHot(_ classes: Int) -> [Double] {
            var result = [Double](repeating: -.infinity, count: indices.count * classes)
            for (at, k) in indices.enumerated() {
                result[(at / pixels * classes + k) * pixels + at % pixels] = 0
            }
            return result
        }
    }

    extension ReverseStep {
        /// log p(x_s | x_t) of log-probabilities in float64, (batch, K, pixels) for the batch and
        /// the pixels of the sample, of which there are some.
        func logPosterior(of p: [Double], given sample: ClassGrid) throws(ArgumentError) -> [Double]
        {
            let (batch, pixels) = (sample.batch, sample.pixels)
            var result = [Double](repeating: 0, count: batch * (classes + 1) * pixels)
            try p.withUnsafeBufferPointer { (p) throws(ArgumentError) in
                let view = LogProbabilities(
                    name: "p", base: p.baseAddress!, elementType: .float64,
                    shape: (batch, classes, pixels), strides: (classes * pixels * 8, pixels * 8, 8))
                try sample.withView(name: "sample") { (sample) throws(ArgumentError) in
                    try result.withUnsafeMutableBufferPointer { (buffer) throws(ArgumentError) in
                        try logPosterior(
                            of: view, given: sample,
                            into: OutputTensor(buffer, Shape(batch, classes + 1, pixels)))
                    }
                }
            }
            return result
        }
    }
#endif
