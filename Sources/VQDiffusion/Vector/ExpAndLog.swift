// exp and log of the vectors that kernels compute with: inlined, or called.
//
// Sixteen numbers take four registers of 128 bits, or eight in double precision, and so does every
// constant. Inlined at some two hundred places, that is a fifth of the lowest level's library, and
// calls take as long (0.84 to 1.18 of the time, by kernel). Where sixteen numbers are one register
// or two, calls take up to 2.6 times as long, as vectors are passed in pieces of 128 bits.

extension FloatVector {
    #if VQD_FMA || arch(arm64)
        @inline(__always)
        static func exp(_ x: Self) -> Self { Self(.exp(x.lanes)) }

        @inline(__always)
        static func expOfNegative(_ x: Self) -> Self { Self(.expBounded(x.lanes)) }

        @inline(__always)
        static func log(_ x: Self) -> Self { Self(.log(x.lanes)) }

        @inline(__always)
        static func logAddExpTail(_ x: Self) -> Self { Self(.logAddExpTail(x.lanes)) }
    #else
        @inline(never)
        @_optimize(speed)
        static func exp(_ x: Self) -> Self { Self(.exp(x.lanes)) }

        @inline(__always)
        static func expOfNegative(_ x: Self) -> Self { exp(x) }

        @inline(never)
        @_optimize(speed)
        static func log(_ x: Self) -> Self { Self(.log(x.lanes)) }

        @inline(never)
        @_optimize(speed)
        static func logAddExpTail(_ x: Self) -> Self { Self(.logAddExpTail(x.lanes)) }
    #endif
}

extension DoubleVector {
    #if VQD_AVX512
        @inline(__always)
        static func exp(_ x: Self) -> Self { Self(.exp(x.lanes)) }

        @inline(__always)
        static func expOfNegative(_ x: Self) -> Self { Self(.expBounded(x.lanes)) }

        @inline(__always)
        static func log(_ x: Self) -> Self { Self(.log(x.lanes)) }

        @inline(__always)
        static func logAddExpTail(_ x: Self) -> Self { Self(.logAddExpTail(x.lanes)) }
    #else
        @inline(never)
        @_optimize(speed)
        static func exp(_ x: Self) -> Self { Self(.exp(x.lanes)) }

        @inline(__always)
        static func expOfNegative(_ x: Self) -> Self { exp(x) }

        @inline(never)
        @_optimize(speed)
        static func log(_ x: Self) -> Self { Self(.log(x.lanes)) }

        @inline(never)
        @_optimize(speed)
        static func logAddExpTail(_ x: Self) -> Self { Self(.logAddExpTail(x.lanes)) }
    #endif
}
