/// What is known of sixteen streams of logits x that are read together, one to a lane: the two
/// largest, and sums over e^(x - r), where r is the largest so far.
///
/// Sums of sixteen float32 terms are added in double precision, and x - r is at most 0 and exact to
/// half an ulp: the entropy that follows is right to 1e-6 (measured: 5e-7 at 126,464 classes).
struct ScoreLanes<V: RealVector> {
    /// -∞ until there is one.
    private(set) var largest = V(repeating: -V.Scalar.infinity)
    private(set) var second = V(repeating: -V.Scalar.infinity)
    /// The index of the largest, the first one of equals.
    private(set) var indices = SIMD16<Int32>(repeating: 0)
    /// The largest of each lane, of all lanes where they are one stream; -∞ until there is one.
    private var record = V(repeating: -V.Scalar.infinity)
    /// r, the record; finite although nothing but -∞ may have been read.
    private(set) var reference = V(repeating: -V.Scalar.greatestFiniteMagnitude)
    /// Σ e^(x - r).
    private(set) var mass = DoubleVector(repeating: 0)
    /// Σ (x - r) e^(x - r).
    private(set) var moment = DoubleVector(repeating: 0)
    /// Σ e^((x - r) / temperature) since `takeDrawn`.
    private var drawn = DoubleVector(repeating: 0)
    private let sharpness: V.Scalar
    private let isOneStream: Bool

    /// - Parameters:
    ///   - sharpness: 1 / temperature; 0 when nothing is drawn.
    ///   - isOneStream: the lanes are read for `allLanes` only. They then share r, the largest of
    ///     all, so that few blocks hold a record.
    init(sharpness: V.Scalar, isOneStream: Bool) {
        (self.sharpness, self.isOneStream) = (sharpness, isOneStream)
    }

    /// Reads up to sixteen vectors.
    ///
    /// - Parameter first: the index of the first; the others follow.
    @inline(never)
    @_optimize(speed)
    mutating func add(_ block: UnsafePointer<V.Scalar>, count: Int, first: Int) {
        var top = V(at: block)
        for i in 1..<max(count, 1) { top = .greater(top, V(at: block + i &* 16)) }
        // A new record is rare after the first few blocks. Without one, what is largest here is
        // second at most, also where it equals the record: of equals the first one counts.
        if top.lanes(above: record) != 0 {
            takeRecords(block, count: count, first: first)
        } else {
            second = .greater(second, top)
        }
        let r = reference
        let least = V(repeating: V.Scalar.smallestExponent)
        var (sum, product) = (V(repeating: 0), V(repeating: 0))
        var at = 0
        while at < count &* 16 {
            // Bounded, because -∞ times its exponential, which is not quite 0, would be -∞.
            let x = V.greater(V(at: block + at) - r, least)
            let e = V.expOfNegative(x)
            sum = sum + e
            product = product + x * e
            at &+= 16
        }
        mass = mass + sum.widened
        moment = moment + product.widened
        if sharpness == 1 {
            drawn = drawn + sum.widened
        } else if sharpness > 0 {
            drawn = drawn + sumOfTempered(block, count: count).widened
        }
    }

    @inline(__always)
    private func sumOfTempered(_ block: UnsafePointer<V.Scalar>, count: Int) -> V {
        let (r, factor) = (reference, V(repeating: sharpness))
        var sum = V(repeating: 0)
        var at = 0
        while at < count &* 16 {
            sum = sum + .expOfNegative((V(at: block + at) - r) * factor)
            at &+= 16
        }
        return sum
    }

    @inline(never)
    private mutating func takeRecords(
        _ block: UnsafePointer<V.Scalar>, count: Int, first: Int
    ) {
        for i in 0..<count {
            let x = V(at: block + i &* 16)
            second = .greater(second, .lesser(largest, x))
            largest.takeGreater(x, index: Int32(truncatingIfNeeded: first &+ i), into: &indices)
        }
        record = isOneStream ? V(repeating: largest.largestLane) : largest
        raiseReference(to: record)
    }

    /// Expresses the sums by a reference that is nowhere lower; lanes where it is the same keep
    /// theirs bit for bit, as e^0 is 1.
    mutating func raiseReference(to higher: V) {
        let next = V.greater(higher, reference)
        let factor = drawnFactor(from: reference, to: next)
        let least = DoubleVector(repeating: Double.smallestExponent)
        let shift = DoubleVector.greater(reference.widened - next.widened, least)
        let decay = DoubleVector.expOfNegative(shift)
        moment = (moment + shift * mass) * decay
        mass = mass * decay
        drawn = drawn * factor
        reference = next
    }

    /// What sums of tempered exponentials by one reference have to be multiplied by for a higher
    /// one.
    func drawnFactor(from reference: V, to higher: V) -> DoubleVector {
        let factor = DoubleVector(repeating: sharpness.asDouble)
        return .expOfNegative((reference.widened - higher.widened) * factor)
    }

    /// The sum of tempered exponentials by the current reference since the last call.
    mutating func takeDrawn() -> DoubleVector {
        let result = drawn
        drawn = DoubleVector(repeating: 0)
        return result
    }

    /// What is known of one lane.
    func lane(_ lane: Int) -> ColumnSums {
        ColumnSums(
            largest: largest[lane].asDouble, second: second[lane].asDouble,
            argmax: Int(indices[lane]), mass: mass[lane], moment: moment[lane])
    }

    /// What is known of all lanes as one stream, whose element 16 i + lane is element i of a lane.
    mutating func allLanes() -> ColumnSums {
        var whole = lane(0)
        whole.argmax = 16 &* whole.argmax
        for i in 1..<16 {
            let next = lane(i)
            let index = 16 &* next.argmax &+ i
            let isAhead =
                next.largest > whole.largest
                || (next.largest == whole.largest && index < whole.argmax)
            whole.second = max(
                whole.second, next.second, min(next.largest, whole.largest))
            if isAhead { (whole.largest, whole.argmax) = (next.largest, index) }
        }
        raiseReference(to: V(repeating: V.Scalar(whole.largest)))
        (whole.mass, whole.moment) = (mass.sumOfLanes, moment.sumOfLanes)
        return whole
    }
}
