import CVQDiffusion

/// What a posterior needs to know of a column as a whole.
///
/// For a masked pixel that is P = Σ_j p_j. For a pixel showing class i it is S = Σ_j p_j / q(x_t =
/// i | x_0 = j) = (P - p_i)/β̄_t + p_i/D_t.
struct ColumnMass {
    /// The factor of the classes that are not the pixel's own: 1, or 1/β̄_t.
    let otherWeight: Double
    /// The factor of the pixel's own class: 0 (there is none), or 1/D_t.
    let ownWeight: Double

    /// The mass of columns whose pixel is masked, or is drawn from the model output itself.
    static var plain: ColumnMass { ColumnMass(otherWeight: 1, ownWeight: 0) }

    /// The logarithm of the mass of one column.
    ///
    /// - Parameters:
    ///   - own: the pixel's class, K or more for none.
    ///   - others: Σ e^x over the other classes, as summed in the element's own precision.
    /// - Throws: `ArgumentError` when the column has a NaN or +∞, or no mass.
    @inline(__always)
    func log<Real: RealScalar>(
        _: Real.Type, _ p: LogProbabilities, row: Int, pixel: Int, own: Int32, others: Double
    ) throws(ArgumentError) -> Double {
        let ownLog =
            Int(own) < p.classes ? p.element(row: row, class: Int(own), pixel: pixel) : -.infinity
        if let log = log(Real.self, ownLog: ownLog, others: others, classes: p.classes) {
            return log
        }
        return try logRescaled(p, row: row, pixel: pixel, own: own)
    }

    /// The same from the logarithm of the mass of the own class, -∞ for none; nil when `others`
    /// cannot be trusted.
    @inline(__always)
    func log<Real: RealScalar>(_: Real.Type, ownLog: Double, others: Double, classes: Int)
        -> Double?
    {
        let mass = of(own: vqd_exp(ownLog), others: others)
        return isReliable(mass, Real.self, classes: classes) ? vqd_log(mass) : nil
    }

    /// The mass of a column, from that of its own class and of all others.
    @inline(__always)
    func of(own: Double, others: Double) -> Double {
        ownWeight > 0 ? others * otherWeight + own * ownWeight : others * otherWeight
    }

    /// False when a sum of plain exponentials cannot be trusted: it met a NaN, or an element beyond
    /// the range of `exp` on either side might make a difference larger than a rounding error.
    @inline(__always)
    func isReliable<Real: RealScalar>(_ mass: Double, _: Real.Type, classes: Int) -> Bool {
        let flushed = Real.flushedMass * Double(classes) * otherWeight
        let overflowing = 0x1p-30 / Real.flushedMass
        return mass >= flushed * 0x1p24
            && mass < overflowing * min(otherWeight, ownWeight > 0 ? ownWeight : otherWeight)
    }

    /// The same by way of the largest element, in double precision: right for any column, and the
    /// place where bad ones are found out.
    private func logRescaled(_ p: LogProbabilities, row: Int, pixel: Int, own: Int32)
        throws(ArgumentError) -> Double
    {
        let largest = try largestElement(p, row: row, pixel: pixel)
        var mass = 0.0
        for k in 0..<p.classes {
            let x = p.element(row: row, class: k, pixel: pixel)
            mass += vqd_exp(x - largest) * (k == Int(own) ? ownWeight : otherWeight)
        }
        return largest + vqd_log(mass)
    }
}

/// The largest element of a column.
///
/// - Throws: `ArgumentError` when the column has a NaN or +∞, or is -∞ throughout.
func largestElement(_ p: LogProbabilities, row: Int, pixel: Int) throws(ArgumentError) -> Double {
    var largest = -Double.infinity
    for k in 0..<p.classes {
        let x = p.element(row: row, class: k, pixel: pixel)
        guard x < .infinity else {
            throw ArgumentError(p.name, .notFinite(row: row, class: k, pixel: pixel))
        }
        largest = max(largest, x)
    }
    guard largest > -.infinity else { throw ArgumentError(p.name, .noMass(row: row, pixel: pixel)) }
    return largest
}
