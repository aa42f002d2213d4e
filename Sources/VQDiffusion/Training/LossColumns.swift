import CVQDiffusion

/// Sixteen columns, class by class in memory, or some of their classes: what the passes of a loss
/// read and overwrite.
struct LossColumns<Real: RealScalar> {
    typealias V = Real.Vector

    let values: UnsafeMutablePointer<Real>
    let classes: Int

    /// Classes whose terms are added to each other before they enter a sum in double precision.
    private static var rowsAtOnce: Int { 64 }

    /// Makes exponentials of logits less the largest of their column. Those below e^-80 of the
    /// largest (e^-700 in double precision) become 0, so that products with them are no subnormal
    /// numbers, which take a hundred times as long.
    @inline(__always)
    func exponentiate(largest: V) {
        let (nothing, lowest) = (V(repeating: 0), V(repeating: Real(Self.lowestExponent)))
        for k in 0..<classes {
            let p = values + k &* 16
            let x = V(at: p) - largest
            V.expOfNegative(x).kept(where: x, above: lowest, else: nothing).store(at: p)
        }
    }

    private static var lowestExponent: Double { Real.self == Float.self ? -80 : -700 }

    /// The sum of each column.
    func sums() -> DoubleVector {
        var total = DoubleVector(repeating: 0)
        var first = 0
        while first < classes {
            let end = min(first &+ Self.rowsAtOnce, classes)
            var sum = V(repeating: 0)
            for k in first..<end { sum = sum + V(at: values + k &* 16) }
            total = total + sum.widened
            first = end
        }
        return total
    }

    /// Σ log(1 + x) and Σ x/(1 + x) of each column, x being `ratio` times an element.
    ///
    /// - Parameter fitsFour: the product of four 1 + x does not overflow; that of two never does.
    func logsAndShares(ratio: V, fitsFour: Bool) -> (logs: DoubleVector, shares: DoubleVector) {
        let one = V(repeating: 1)
        var totals = (logs: DoubleVector(repeating: 0), shares: DoubleVector(repeating: 0))
        var first = 0
        while first < classes {
            let end = min(first &+ Self.rowsAtOnce, classes)
            var (logs, shares) = (V(repeating: 0), V(repeating: 0))
            var k = first
            while k &+ 4 <= end {
                let p = values + k &* 16
                let (a, b) = (V(at: p) * ratio, V(at: p + 16) * ratio)
                let (c, d) = (V(at: p + 32) * ratio, V(at: p + 48) * ratio)
                let (ua, ub, uc, ud) = (a + one, b + one, c + one, d + one)
                shares = shares + ((a / ua + b / ub) + (c / uc + d / ud))
                let (left, right) = (ua * ub, uc * ud)
                logs = logs + (fitsFour ? .log(left * right) : .log(left) + .log(right))
                k &+= 4
            }
            while k < end {
                let a = V(at: values + k &* 16) * ratio
                shares = shares + a / (a + one)
                logs = logs + .log(a + one)
                k &+= 1
            }
            totals = (totals.logs + logs.widened, totals.shares + shares.widened)
            first = end
        }
        return totals
    }

    /// Makes gradients of exponentials e: e (constant + slope x/(1 + x)).
    @inline(__always)
    func differentiate(constant: V, slope: V, ratio: V, hasSlope: Bool) {
        let one = V(repeating: 1)
        if hasSlope {
            for k in 0..<classes {
                let p = values + k &* 16
                let e = V(at: p)
                let x = e * ratio
                (e * (constant + slope * (x / (x + one)))).store(at: p)
            }
        } else {
            for k in 0..<classes {
                let p = values + k &* 16
                (V(at: p) * constant).store(at: p)
            }
        }
    }
}
