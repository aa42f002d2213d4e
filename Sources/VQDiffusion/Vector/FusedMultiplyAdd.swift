extension SIMD16<Float> {
    /// `self * factor + addend`, fused where the CPU level has the instruction.
    ///
    /// On baseline x86-64 `addingProduct` becomes one call of `fmaf` per lane (some 40 times
    /// slower), so there it is a multiplication and an addition. This is the only place where
    /// results may differ between CPU levels. (The bounds of `vqd_native_bound` may as well, but
    /// decide nothing.)
    @inline(__always)
    func times(_ factor: Self, plus addend: Self) -> Self {
        #if VQD_FMA || arch(arm64)
            addend.addingProduct(self, factor)
        #else
            self * factor + addend
        #endif
    }

    @inline(__always)
    func times(_ factor: Float, plus addend: Float) -> Self {
        times(Self(repeating: factor), plus: Self(repeating: addend))
    }

    @inline(__always)
    func times(_ factor: Self, plus addend: Float) -> Self {
        times(factor, plus: Self(repeating: addend))
    }
}

extension SIMD16<Double> {
    /// `self * factor + addend`, fused where the CPU level has the instruction.
    @inline(__always)
    func times(_ factor: Self, plus addend: Self) -> Self {
        #if VQD_FMA || arch(arm64)
            addend.addingProduct(self, factor)
        #else
            self * factor + addend
        #endif
    }

    @inline(__always)
    func times(_ factor: Double, plus addend: Double) -> Self {
        times(Self(repeating: factor), plus: Self(repeating: addend))
    }

    @inline(__always)
    func times(_ factor: Self, plus addend: Double) -> Self {
        times(factor, plus: Self(repeating: addend))
    }
}
