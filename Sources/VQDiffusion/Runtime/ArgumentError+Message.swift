import CVQDiffusion

extension ArgumentError {
    /// The error as one sentence, in UTF-8. Written by hand because Embedded Swift has no string
    /// interpolation of numbers.
    public var message: [UInt8] {
        var text = MessageWriter()
        text.write(argument)
        switch problem {
        case .missing:
            text.write(" has no data: the pointer is null")
        case .superfluous(let condition):
            text.write(" must be NULL where ")
            text.write(condition)
        case .unknown(let value, let enumeration):
            text.write(" must be a ")
            text.write(enumeration)
            text.write(", not ")
            text.write(value)
        case .rank(let expected, let actual):
            text.write(" must have ")
            text.write(expected)
            text.write(expected == 1 ? " axis, not " : " axes, not ")
            text.write(actual)
        case .shape(let expected, let actual):
            text.write(" must have shape ")
            text.write(expected)
            text.write(", not ")
            text.write(actual)
        case .extent:
            text.write(" has a shape and strides that no memory can hold")
        case .elementType(let expected, let actual):
            text.write(" must be ")
            text.write(expected)
            text.write(", not ")
            text.write(actual)
        case .notContiguous:
            text.write(" must be C-contiguous")
        case .outside(let value, let lower, let upper):
            text.write(" must be in ")
            text.write(lower)
            text.write(" ... ")
            text.write(upper)
            text.write(", not ")
            text.write(value)
        case .tooSmall(let value, let lower):
            text.write(" must be at least ")
            text.write(lower)
            text.write(", not ")
            text.write(value)
        case .classOutside(
            let magnitude, let isNegative, let lower, let upper, let row, let pixel):
            text.write(" must hold classes 0 ... ")
            text.write(upper)
            text.write(lower < 0 ? ", or -1 where unknown, not " : ", not ")
            text.write(magnitude: magnitude, isNegative: isNegative)
            text.write(" as at ")
            text.write(Shape(row, pixel), brackets: true)
        case .notANumber:
            text.write(" must be a number of moderate size, not NaN or infinite")
        case .outsideNumbers(let value, let lower, let upper):
            text.write(" must be in ")
            text.write(lower)
            text.write(" ... ")
            text.write(upper)
            text.write(", not ")
            text.write(value)
        case .negative(let value):
            text.write(" must be a finite number from 0 on, not ")
            text.write(value)
        case .notProbability(let value):
            text.write(" must be a probability in [0, 1], not ")
            text.write(value)
        case .notWeight(let value):
            text.write(" must be finite and at least 0, not ")
            text.write(value)
        case .notPositiveProbability(let value):
            text.write(" must be a probability in (0, 1], not ")
            text.write(value)
        case .notUniform(let value):
            text.write(" must be in [0, 1), not ")
            text.write(value)
        case .notPositive(let value):
            text.write(" must be positive and finite, not ")
            text.write(value)
        case .notAbove(let value, let lower):
            text.write(" must be above ")
            text.write(lower)
            text.write(", not ")
            text.write(value)
        case .notFalling(let timestep, let next):
            text.write(" must fall strictly, but ")
            text.write(timestep)
            text.write(" is followed by ")
            text.write(next)
        case .notMasked(let timestep, let share):
            text.write(" must not begin at timestep ")
            text.write(timestep)
            text.write(", where only ")
            text.write(share)
            text.write(
                " of the pixels are masked: the chain starts from masks alone, and the bound")
            text.write(" is infinite")
        case .notAChain(let rule, let timestep):
            text.write(": no valid noise schedule, as ")
            text.write(rule)
            text.write(" at timestep ")
            text.write(timestep)
        case .notFinite(let row, let index, let pixel):
            text.write(" must hold finite numbers or -inf, not NaN or +inf as at ")
            text.write(Shape(row, index, pixel), brackets: true)
        case .tooLarge(let value, let row, let index, let pixel):
            text.write(" must hold numbers that guidance at this scale keeps finite, not ")
            text.write(value)
            text.write(" as at ")
            text.write(Shape(row, index, pixel), brackets: true)
        case .noMass(let row, let pixel):
            text.write(
                " must give every pixel a class of nonzero probability; all are -inf at row ")
            text.write(row)
            text.write(", pixel ")
            text.write(pixel)
        case .columnNotFinite(let index, let column):
            text.write(" must hold finite numbers or -inf, not NaN or +inf as at ")
            text.write(Shape(index, column), brackets: true)
        case .columnWithoutMass(let column):
            text.write(
                " must give every pixel a class of nonzero probability; all are -inf in column ")
            text.write(column)
        case .maskUnreachable(let timestep, let row, let pixel):
            text.write(" must not be masked at timestep ")
            text.write(timestep)
            text.write(", where the schedule masks nothing, but is at ")
            text.write(Shape(row, pixel), brackets: true)
        case .remaskTooLarge(let value, let largest, let timestep):
            text.write(" must be a probability from 0 to ")
            text.write(largest)
            text.write(", the largest that keeps the share of masked pixels at timestep ")
            text.write(timestep)
            text.write(", not ")
            text.write(value)
        case .outOfMemory(let bytes):
            text.write(": no memory for ")
            text.write(bytes)
            text.write(" bytes of scratch")
        }
        return text.utf8
    }
}

#if !hasFeature(Embedded)
    extension ArgumentError: CustomStringConvertible {
        public var description: String { String(decoding: message, as: UTF8.self) }
    }
#endif

/// Gathers a message in UTF-8.
struct MessageWriter {
    private(set) var utf8: [UInt8] = []

    mutating func write(_ text: StaticString) {
        utf8.append(
            contentsOf: UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    mutating func write(_ value: Int) { write(magnitude: value.magnitude, isNegative: value < 0) }

    mutating func write(magnitude: UInt, isNegative: Bool) {
        if isNegative { utf8.append(UInt8(ascii: "-")) }
        var digits: [UInt8] = []
        var rest = magnitude
        repeat {
            digits.append(UInt8(ascii: "0") + UInt8(rest % 10))
            rest /= 10
        } while rest > 0
        utf8.append(contentsOf: digits.reversed())
    }

    mutating func write(_ value: Double) {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: 32) { buffer in
            let length = Int(vqd_format_double(value, buffer.baseAddress!, buffer.count))
            for i in 0..<min(length, 31) { utf8.append(UInt8(bitPattern: buffer[i])) }
        }
    }

    /// "(2, 18, 64)", or "[2, 18, 64]" for a position. A length of -1 is written "any".
    mutating func write(_ shape: Shape, brackets: Bool = false) {
        utf8.append(UInt8(ascii: brackets ? "[" : "("))
        for axis in 0..<shape.rank {
            if axis > 0 { write(", ") }
            if shape.lengths[axis] == -1 { write("any") } else { write(shape.lengths[axis]) }
        }
        if shape.rank == 1 && !brackets { utf8.append(UInt8(ascii: ",")) }
        utf8.append(UInt8(ascii: brackets ? "]" : ")"))
    }
}
