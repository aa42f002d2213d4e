/// What a step reveals: which masked pixels, how many of them, and what is drawn there.
public struct UnmaskOptions {
    /// What pixels are chosen by: the largest keys, of equal ones the lower index. With p the
    /// distribution of a pixel, p₁ and p₂ the largest of it:
    public enum Order: Int32, Sendable {
        /// All alike.
        case random = 1
        /// log p₁, less the largest of the row.
        case purity = 2
        /// log(p₁ - p₂).
        case margin = 3
        /// Σ p log p.
        case entropy = 4
        /// log p of the token drawn, which biases the samples even at one pixel a step.
        case confidence = 5
    }

    /// How many pixels of a row.
    public enum Rule {
        /// M - ⌊M γ̄_s/γ̄_t + ½⌋ of M that may be, all at s = -1.
        case due
        /// So many in each row; all where there are fewer.
        case count(TimestepList)
        /// Those with p₁ (`confidence`: p of the token) above it, and at least one.
        case threshold(Double)
        /// Those of lowest entropy as long as their sum less the largest is at most this.
        case entropyBound(Double)
    }

    public var order: Order
    public var rule: Rule
    /// So many times Gumbel noise is added to the keys; `random` always has the noise alone.
    public var temperature: Double
    /// r: classes are drawn from p^(1 + r q), where q is p₁ over the largest of the row's pixels.
    public var priorWeight: Double
    /// The pixels that may be revealed; nil for all.
    public var positions: PositionGrid?
    /// The noise of the order, one for each pixel; not looked at where there is none.
    public var uniforms: UniformGrid?

    public init(
        order: Order = .margin, rule: Rule = .due, temperature: Double = 0, priorWeight: Double = 0,
        positions: PositionGrid? = nil, uniforms: UniformGrid? = nil
    ) {
        (self.order, self.rule, self.temperature) = (order, rule, temperature)
        (self.priorWeight, self.positions, self.uniforms) = (priorWeight, positions, uniforms)
    }

    /// Whether the choice has noise.
    var hasNoise: Bool { order == .random || temperature > 0 }

    /// What p is raised to where tokens are drawn, finite: ∞ times the 0 of the largest is NaN.
    func power<Real: RealScalar>(_ purity: Double, as _: Real.Type) -> Real {
        Real(min(1 + priorWeight * purity, Real.greatestFiniteMagnitude.asDouble))
    }

    /// Whether the pixels are chosen before anything is read.
    var choosesFirst: Bool {
        guard order == .random && priorWeight == 0 else { return false }
        switch rule {
        case .due, .count: return true
        case .threshold, .entropyBound: return false
        }
    }

    /// Whether every pixel that may be revealed is.
    func revealsAll(of decision: borrowing RevealDecision) -> Bool {
        switch rule {
        case .due, .count:
            for row in 0..<decision.needed.batch
            where decision.counts[row] < decision.needed.count(row) { return false }
            return true
        case .threshold, .entropyBound: return false
        }
    }

    /// - Throws: `ArgumentError` for a number out of its range.
    func check() throws(ArgumentError) {
        guard temperature >= 0 && temperature < .infinity else {
            throw ArgumentError("temperature", .negative(temperature))
        }
        guard priorWeight >= 0 && priorWeight < .infinity else {
            throw ArgumentError("prior_weight", .negative(priorWeight))
        }
        switch rule {
        case .threshold(let bound):
            guard bound >= 0 && bound <= 1 else {
                throw ArgumentError("threshold", .notProbability(bound))
            }
        case .entropyBound(let bound):
            guard bound >= 0 && bound < .infinity else {
                throw ArgumentError("entropy_bound", .negative(bound))
            }
        case .due, .count: break
        }
    }

    /// How many pixels to reveal in each row, as far as the rule says it before anything is read.
    func counts(of masked: borrowing PixelSelection, batch: Int, _ step: ReverseStep)
        throws(ArgumentError) -> Scratch<Int>
    {
        let counts = try Scratch<Int>(masked.batch)
        if case .count(let given) = rule, given.count != batch {
            throw ArgumentError(
                given.name, .shape(expected: Shape(batch), actual: Shape(given.count)))
        }
        for row in 0..<masked.batch {
            let all = masked.count(row)
            guard case .count(let given) = rule else {
                counts[row] = step.due(of: all)
                continue
            }
            guard given[row] >= 0 else {
                throw ArgumentError(given.name, .tooSmall(given[row], lower: 0))
            }
            counts[row] = min(all, given[row])
        }
        return counts
    }
}

/// A view of a byte for every pixel, or for every pixel of each batch row, in memory that someone
/// else owns: not 0 for the pixels that are meant.
public struct PositionGrid {
    /// The name errors give this argument.
    public var name: StaticString
    public var base: UnsafeRawPointer
    /// (pixels,) or (batch, pixels).
    public var shape: Shape
    /// Bytes from one element to the next along each axis; of a list only the first.
    public var strides: (Int, Int)

    public init(
        name: StaticString = "positions", base: UnsafeRawPointer, shape: Shape, strides: (Int, Int)
    ) {
        (self.name, self.base, self.shape, self.strides) = (name, base, shape, strides)
    }

    func checkShape(batch: Int, pixels: Int) throws(ArgumentError) {
        let expected = shape.rank == 1 ? Shape(pixels) : Shape(batch, pixels)
        guard shape == expected else {
            throw ArgumentError(name, .shape(expected: expected, actual: shape))
        }
    }

    @inline(__always)
    func contains(_ row: Int, _ pixel: Int) -> Bool {
        let offset =
            shape.rank == 1 ? pixel &* strides.0 : row &* strides.0 &+ pixel &* strides.1
        return base.load(fromByteOffset: offset, as: UInt8.self) != 0
    }
}

extension ReverseStep {
    /// M - ⌊M γ̄_s/γ̄_t + ½⌋: how many of M masked pixels a step reveals. From 0 to M for any
    /// numbers in the tables; NaN reveals none.
    func due(of masked: Int) -> Int {
        guard earlier.gamma > 0 else { return masked }
        let staying = Double(masked) * (earlier.gamma / now.gamma) + 0.5
        return masked - (staying < Double(masked) ? Int(max(0, staying)) : masked)
    }
}
