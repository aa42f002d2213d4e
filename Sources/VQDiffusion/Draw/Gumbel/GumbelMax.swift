extension ReverseStep {
    /// Draws x_s by Gumbel-max: the argmax over classes of log p(x_s | x_t) plus Gumbel noise, the
    /// lowest index winning ties.
    ///
    /// At t = 0 the model output itself is drawn from, and the mask never is; where β̄_0 = 0 the
    /// pixels that show a class keep it.
    ///
    /// - Parameters:
    ///   - p: log-probabilities of x_0, (batch, K, pixels).
    ///   - sample: x_t, (batch, pixels), classes 0 … K; not read at t = 0 and may be nil there,
    ///     unless β̄_0 = 0.
    ///   - uniforms: for (batch, K + 1, pixels), at t = 0 (batch, K, pixels), in [0, 1). Scores are
    ///     float32 when both these and the log-probabilities
    ///     are at most that, else float64.
    ///   - output: x_s, (batch, pixels) `Int64`. Untouched when an error is thrown.
    /// - Throws: `ArgumentError` for shapes that disagree, a class out of range, NaN or +∞, a
    ///   column without mass.
    @export(interface)
    public func sampleGumbelMax(
        from p: LogProbabilities, given sample: ClassIndices?, uniforms: UniformSource,
        into output: OutputTensor,
        parallelism: Parallelism = Parallelism()
    ) throws(ArgumentError) {
        let observed = try checkedClasses(p, given: sample, uniforms: uniforms, output: output)
        guard p.batch > 0 && p.pixels > 0 else { return }
        let winners = try Scratch<Int32>(p.batch * p.pixels)
        // Scores are computed in the wider of the precisions of the two.
        if case .given(let uniforms) = uniforms, uniforms.elementType == .float64 {
            switch p.elementType {
            case .float16:
                try race(
                    Widened<HalfElement>.self, p, observed, uniforms, winners.pointer, parallelism)
            case .bfloat16:
                try race(
                    Widened<BrainElement>.self, p, observed, uniforms, winners.pointer, parallelism)
            case .float32:
                try race(Widened<Float>.self, p, observed, uniforms, winners.pointer, parallelism)
            case .float64:
                try race(Double.self, p, observed, uniforms, winners.pointer, parallelism)
            }
        } else {
            switch p.elementType {
            case .float16:
                try race(HalfElement.self, p, observed, uniforms, winners.pointer, parallelism)
            case .bfloat16:
                try race(BrainElement.self, p, observed, uniforms, winners.pointer, parallelism)
            case .float32: try race(Float.self, p, observed, uniforms, winners.pointer, parallelism)
            case .float64:
                try race(
                    Double.self, WidenedFloatNoise.self, p, observed, uniforms, winners.pointer,
                    parallelism)
            }
        }
        output.write(winners.pointer, count: p.batch * p.pixels)
    }

    /// Checks the shapes of the arguments of a draw with Gumbel noise, and the classes of the
    /// pixels, which are returned.
    func checkedClasses(
        _ p: LogProbabilities, given sample: ClassIndices?, uniforms: UniformSource,
        output: OutputTensor
    ) throws(ArgumentError) -> Scratch<Int32> {
        try p.checkShape(Shape(-1, classes, -1))
        if case .given(let uniforms) = uniforms {
            try uniforms.checkShape(Shape(p.batch, uniformRows, p.pixels))
        }
        try output.checkShape(Shape(p.batch, p.pixels))
        return try observedClasses(sample, batch: p.batch, pixels: p.pixels)
    }

    /// The class rows that have noise: all that can be drawn.
    var uniformRows: Int { drawsModelOutput ? classes : classes + 1 }

    /// With uniforms given in double precision.
    private func race<E: FloatingElement>(
        _: E.Type, _ p: LogProbabilities, _ observed: borrowing Scratch<Int32>,
        _ uniforms: LogProbabilities,
        _ winners: UnsafeMutablePointer<Int32>, _ parallelism: Parallelism
    ) throws(ArgumentError) where E.Real == Double {
        try checkUniforms(Double.self, uniforms, parallelism: parallelism)
        let plan = try PosteriorCoefficients.of(
            E.self, self, p, sample: observed, parallelism: parallelism)
        let columns = try StoredColumns<E>(p)
        try forEachChunk(of: p, parallelism) { (row, chunk) throws(ArgumentError) in
            var rows = try UniformRows<Double>(uniforms, row: row, chunk: chunk)
            try race(
                DoubleNoise.self, columns, plan, row: row, chunk: chunk, pixels: p.pixels, &rows,
                winners)
        }
    }

    /// With scores in single precision. Where the uniforms are drawn here, the model output is
    /// hardly ever read twice.
    private func race<E: FloatingElement>(
        _: E.Type, _ p: LogProbabilities, _ observed: borrowing Scratch<Int32>,
        _ uniforms: UniformSource, _ winners: UnsafeMutablePointer<Int32>,
        _ parallelism: Parallelism
    ) throws(ArgumentError) where E.Real == Float {
        guard case .mersenneTwister(let state) = uniforms, shortlistsPay else {
            return try race(E.self, FloatNoise.self, p, observed, uniforms, winners, parallelism)
        }
        do throws(ArgumentError) {
            if try drawFromShortlists(
                E.self, p, observed: observed.pointer, engine: state, winners, parallelism)
            {
                return
            }
        } catch {
            // The race does with less memory.
            guard case .outOfMemory = error.problem else { throw error }
        }
        try race(E.self, FloatNoise.self, p, observed, uniforms, winners, parallelism)
    }

    /// With uniforms in single precision.
    private func race<E: FloatingElement, Noise: GumbelNoise>(
        _: E.Type, _: Noise.Type, _ p: LogProbabilities, _ observed: borrowing Scratch<Int32>,
        _ uniforms: UniformSource,
        _ winners: UnsafeMutablePointer<Int32>, _ parallelism: Parallelism
    ) throws(ArgumentError) where Noise.Real == E.Real, Noise.Uniform == Float {
        if case .given(let uniforms) = uniforms {
            try checkUniforms(Float.self, uniforms, parallelism: parallelism)
        }
        // This finds out all that is wrong with the model output: no uniform is drawn before.
        let plan = try PosteriorCoefficients.of(
            E.self, self, p, sample: observed, parallelism: parallelism)
        try race(Noise.self, try StoredColumns<E>(p), plan, of: p, uniforms, winners, parallelism)
    }

    /// Goes through the columns that a plan was made of, drawing uniforms in single precision.
    ///
    /// - Parameter p: of the shape of the columns.
    func race<Columns: RaceColumns & ~Copyable, Noise: GumbelNoise>(
        _: Noise.Type, _ columns: borrowing Columns,
        _ plan: borrowing PosteriorCoefficients<Columns.Real>, of p: LogProbabilities,
        _ uniforms: UniformSource, _ winners: UnsafeMutablePointer<Int32>,
        _ parallelism: Parallelism
    ) throws(ArgumentError) where Noise.Real == Columns.Real, Noise.Uniform == Float {
        switch uniforms {
        case .given(let uniforms):
            try forEachChunk(of: p, parallelism) { (row, chunk) throws(ArgumentError) in
                var rows = try UniformRows<Float>(uniforms, row: row, chunk: chunk)
                try race(
                    Noise.self, columns, plan, row: row, chunk: chunk, pixels: p.pixels, &rows,
                    winners)
            }
        case .mersenneTwister(let state):
            try forEachDrawnChunk(of: p, from: state, parallelism) {
                (row, chunk, engine) throws(ArgumentError) in
                var rows = try UniformRows(engine, pixels: chunk.count)
                try race(
                    Noise.self, columns, plan, row: row, chunk: chunk, pixels: p.pixels, &rows,
                    winners)
                return rows.engine!
            }
        case .function(let fill, let context):
            for row in 0..<p.batch {
                var rows = try UniformRows(fill, context: context, pixels: p.pixels)
                try race(
                    Noise.self, columns, plan, row: row, chunk: 0..<p.pixels, pixels: p.pixels,
                    &rows, winners)
            }
        }
    }

    private func race<Columns: RaceColumns & ~Copyable, Noise: GumbelNoise>(
        _: Noise.Type, _ columns: borrowing Columns,
        _ plan: borrowing PosteriorCoefficients<Columns.Real>, row: Int, chunk: Range<Int>,
        pixels: Int,
        _ uniforms: inout UniformRows<Noise.Uniform>, _ winners: UnsafeMutablePointer<Int32>
    ) throws(ArgumentError) where Noise.Real == Columns.Real {
        let start = row * plan.width + chunk.lowerBound
        var race = try ArgmaxRace<Noise>(
            row: row, chunk: chunk, classes: plan.classes.pointer + start, maskClass: classes)
        let coefficients = RaceCoefficients<Noise.Real>(
            signal: plan.signal.pointer + start, level: plan.level.pointer + start,
            logRatio: plan.logRatio.pointer + start, own: plan.own.pointer + start,
            mask: drawsModelOutput ? nil : UnsafePointer(plan.mask.pointer + start),
            isLinear: isLinear)
        try race.run(columns, &uniforms, coefficients)
        for n in 0..<chunk.count { winners[row * pixels + chunk.lowerBound + n] = race.winner(n) }
    }
}
