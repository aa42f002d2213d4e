import CVQDiffusion

/// What a training loss is made of beside the model's prediction.
public struct LossOptions: Sendable {
    /// What the losses of a pixel are multiplied with, by what it shows at t; not at s = -1.
    public struct Weights: Sendable {
        public var masked, others: Double

        public init(masked: Double = 1, others: Double = 1) {
            (self.masked, self.others) = (masked, others)
        }
    }

    public var weights: Weights
    /// λ, the weight of the cross-entropy that is added to the loss at every timestep.
    public var auxiliaryWeight: Double
    /// Whether λ is multiplied with 2 - t/T.
    public var isAdaptive: Bool

    public init(
        weights: Weights = Weights(), auxiliaryWeight: Double = 0, isAdaptive: Bool = true
    ) {
        (self.weights, self.auxiliaryWeight, self.isAdaptive) = (
            weights, auxiliaryWeight, isAdaptive
        )
    }

    func check() throws(ArgumentError) {
        for weight in [weights.masked, weights.others] {
            guard weight.isWeight else { throw ArgumentError("mask_weight", .notWeight(weight)) }
        }
        guard auxiliaryWeight.isWeight else {
            throw ArgumentError("auxiliary_weight", .notWeight(auxiliaryWeight))
        }
    }
}

/// Where a gradient goes: memory of any strides that the caller owns, in which no two elements
/// overlap.
public struct GradientTensor {
    /// The name errors give this argument.
    public var name: StaticString
    /// The element at (0, 0, 0), a `Double` where the logits are, else a `Float`.
    public var base: UnsafeMutableRawPointer
    public var shape: Shape
    /// Bytes from one element to the next along each axis.
    public var batchStride, classStride, pixelStride: Int

    public init(
        name: StaticString, base: UnsafeMutableRawPointer, shape: Shape,
        strides: (batch: Int, class: Int, pixel: Int)
    ) {
        self.name = name
        self.base = base
        self.shape = shape
        (batchStride, classStride, pixelStride) = strides
    }

    /// Larger than a second-level cache.
    var isLarge: Bool {
        shape.lengths[0] &* shape.lengths[1] &* shape.lengths[2] >= 1 << 20
    }

    /// Asks for large pages where all of the memory is about to be written and contiguous.
    func expectWrites(elementSize: Int) {
        let (batch, classes, pixels) = (shape.lengths[0], shape.lengths[1], shape.lengths[2])
        let (inner, outer) = (min(classStride, pixelStride), max(classStride, pixelStride))
        let length = classStride < pixelStride ? classes : pixels
        if inner == elementSize && outer == length &* inner
            && batchStride == classes &* pixels &* inner
        {
            vqd_expect_writes(base, batch &* classes &* pixels &* elementSize)
        }
    }

    @inline(__always)
    func pointer(row: Int, class index: Int = 0, pixel: Int = 0) -> UnsafeMutableRawPointer {
        base + (row &* batchStride &+ index &* classStride &+ pixel &* pixelStride)
    }
}

/// A view of a number for every batch row, or for every pixel, in memory that someone else owns.
public struct WeightGrid {
    /// The name errors give this argument.
    public var name: StaticString
    /// The first element, a `Double`.
    public var base: UnsafeRawPointer
    public var shape: Shape
    /// Bytes from one element to the next along each axis; of a list only the first.
    public var strides: (Int, Int)

    public init(
        name: StaticString, base: UnsafeRawPointer, shape: Shape, strides: (Int, Int)
    ) {
        (self.name, self.base, self.shape, self.strides) = (name, base, shape, strides)
    }

    @inline(__always)
    subscript(row: Int, pixel: Int) -> Double {
        (base + (row &* strides.0 &+ pixel &* strides.1)).loadUnaligned(as: Double.self)
    }

    /// - Throws: `ArgumentError` unless the shape is the expected one and every number is finite
    ///   and at least 0.
    func checkWeights(_ expected: Shape) throws(ArgumentError) {
        guard shape == expected else {
            throw ArgumentError(name, .shape(expected: expected, actual: shape))
        }
        guard shape.lengths[1] > 0 else { return }
        for row in 0..<shape.lengths[0] {
            for pixel in 0..<shape.lengths[1] where !self[row, pixel].isWeight {
                throw ArgumentError(name, .notWeight(self[row, pixel]))
            }
        }
    }

    /// - Throws: `ArgumentError` unless there is a probability above 0 for every batch row.
    func checkProbabilities(batch: Int) throws(ArgumentError) {
        guard shape == Shape(batch) else {
            throw ArgumentError(name, .shape(expected: Shape(batch), actual: shape))
        }
        for row in 0..<batch {
            guard self[row, 0] > 0 && self[row, 0] <= 1 else {
                throw ArgumentError(name, .notPositiveProbability(self[row, 0]))
            }
        }
    }
}

extension Double {
    fileprivate var isWeight: Bool { self >= 0 && self < .infinity }
}
