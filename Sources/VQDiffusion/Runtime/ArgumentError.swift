/// An argument that cannot be used: its name, what was expected and what came.
public struct ArgumentError: Error {
    /// The argument's name, as the caller knows it.
    public var argument: StaticString
    public var problem: Problem

    public init(_ argument: StaticString, _ problem: Problem) {
        self.argument = argument
        self.problem = problem
    }

    public enum Problem: Sendable {
        /// The pointer to the data is null although there are elements.
        case missing
        /// A pointer that has to be null under a condition that is met.
        case superfluous(where: StaticString)
        /// A number that an enumeration lacks.
        case unknown(Int, of: StaticString)
        /// The number of axes.
        case rank(expected: Int, actual: Int)
        /// The number of elements along each axis; an expected length of -1 stands for any.
        case shape(expected: Shape, actual: Shape)
        /// A length is negative, or the shape and strides reach beyond the address space.
        case extent
        /// The type of the elements.
        case elementType(expected: StaticString, actual: StaticString)
        /// An output that is not C-contiguous.
        case notContiguous
        /// An integer outside `lower ... upper`.
        case outside(Int, lower: Int, upper: Int)
        /// An integer that is too small.
        case tooSmall(Int, lower: Int)
        /// A class index outside `0 ... upper`, by its magnitude; with a `lower` of -1 that stands
        /// for a class that is not known.
        case classOutside(
            UInt, isNegative: Bool, lower: Int, upper: Int, row: Int, pixel: Int)
        /// NaN or infinite where a number is asked for.
        case notANumber
        /// A number outside `lower ... upper`, or NaN.
        case outsideNumbers(Double, lower: Double, upper: Double)
        /// A number that is negative, NaN or infinite.
        case negative(Double)
        /// A number that is not in [0, 1].
        case notProbability(Double)
        /// A weight that is negative, NaN or infinite.
        case notWeight(Double)
        /// A number that is not in (0, 1].
        case notPositiveProbability(Double)
        /// A number, such as a uniform, that is not in [0, 1).
        case notUniform(Double)
        /// A number that is not positive, or infinite.
        case notPositive(Double)
        /// A number that is not above another.
        case notAbove(Double, lower: Double)
        /// Two timesteps of which the second had to be below the first.
        case notFalling(Int, next: Int)
        /// The schedule breaks a rule of Markov chains at a timestep.
        case notAChain(rule: StaticString, timestep: Int)
        /// Steps that begin from masks alone where some pixels still show a class, so that a
        /// likelihood is 0.
        case notMasked(timestep: Int, share: Double)
        /// NaN or +∞ in the column of a pixel.
        case notFinite(row: Int, class: Int, pixel: Int)
        /// A number in the column of a pixel that guidance cannot take at its scale.
        case tooLarge(Double, row: Int, class: Int, pixel: Int)
        /// A column that is -∞ throughout.
        case noMass(row: Int, pixel: Int)
        /// NaN or +∞ in a tensor of single columns, (classes, columns).
        case columnNotFinite(class: Int, column: Int)
        /// A column of such a tensor that is -∞ throughout.
        case columnWithoutMass(column: Int)
        /// A pixel is masked at a timestep at which the schedule masks nothing.
        case maskUnreachable(timestep: Int, row: Int, pixel: Int)
        /// A probability of masking pixels again that is negative, NaN or above the largest that a
        /// step to a timestep can have.
        case remaskTooLarge(Double, largest: Double, timestep: Int)
        /// Scratch memory could not be had.
        case outOfMemory(bytes: Int)
    }
}

extension ArgumentError {
    /// The same error of single columns, which are the pixels of one batch row.
    func ofColumns(_ name: StaticString) -> ArgumentError {
        switch problem {
        case .notFinite(_, let index, let column):
            ArgumentError(name, .columnNotFinite(class: index, column: column))
        case .noMass(_, let column): ArgumentError(name, .columnWithoutMass(column: column))
        default: self
        }
    }
}

/// The lengths of up to three axes.
public struct Shape: Equatable, Sendable {
    public var rank: Int
    public var lengths: SIMD4<Int>

    public init(_ a: Int) { (rank, lengths) = (1, SIMD4(a, 0, 0, 0)) }
    public init(_ a: Int, _ b: Int) { (rank, lengths) = (2, SIMD4(a, b, 0, 0)) }
    public init(_ a: Int, _ b: Int, _ c: Int) { (rank, lengths) = (3, SIMD4(a, b, c, 0)) }

    /// The elements of a tensor of this shape.
    var count: Int {
        var count = 1
        for axis in 0..<rank { count &*= lengths[axis] }
        return count
    }

    /// True when every axis has the expected length, -1 standing for any.
    func matches(_ expected: Shape) -> Bool {
        guard rank == expected.rank else { return false }
        for axis in 0..<rank
        where expected.lengths[axis] != -1 && expected.lengths[axis] != lengths[axis] {
            return false
        }
        return true
    }
}
