/// What is known of the pixels of one kind before their columns are: those that are masked, or
/// those that show a class.
struct PixelKind {
    let factors: PosteriorFactors
    let mass: ColumnMass
    let bounds: ScoreBounds

    /// - Parameters:
    ///   - observed: the mask, or any class.
    ///   - floor: of the scores that matter.
    fileprivate init(_ step: ReverseStep, showing observed: Int32, floor: Double) {
        let factors = step.factors(of: observed)
        let mass = step.mass(of: observed)
        self.factors = factors
        self.mass = mass
        bounds = ScoreBounds(factors, mass, classes: step.classes, floor: floor)
    }
}

/// Both kinds of pixels, by what a pixel shows.
struct PixelKinds {
    private let masked, unmasked: PixelKind
    let maskClass: Int32

    init(_ step: ReverseStep, floor: Double) {
        masked = PixelKind(step, showing: step.maskClass, floor: floor)
        unmasked = PixelKind(step, showing: 0, floor: floor)
        maskClass = step.maskClass
    }

    @inline(__always)
    subscript(observed: Int32) -> PixelKind { observed == maskClass ? masked : unmasked }
}
