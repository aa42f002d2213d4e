import CVQDiffusion

extension LogProbabilities {
    /// One element, whatever its type.
    func element(row: Int, class k: Int, pixel: Int) -> Double {
        Elements<Double>(type: elementType).load(pointer(row: row, class: k, pixel: pixel))
    }
}

/// Elements of a type that is known at run time, read in the precision that kernels compute in.
///
/// For code that reads whole blocks, or little: it is compiled for two precisions and not for four
/// types, which is half of its size in the library. A choice of the type takes no time beside the
/// sixteen vectors of a block.
struct Elements<Real: RealScalar> {
    /// In double precision any; in single precision, not float64.
    let type: LogProbabilities.ElementType

    private var areWidened: Bool { MemoryLayout<Real>.size == 8 && type != .float64 }

    func load(_ p: UnsafeRawPointer) -> Real {
        switch type {
        case .float16: Real(HalfElement.load(p))
        case .bfloat16: Real(BrainElement.load(p))
        case .float32: Real(Float.load(p))
        case .float64: Real(Double.load(p))
        }
    }

    /// `LaneGroup.load` of this type.
    ///
    /// - Parameter block: room for `count` vectors.
    @inline(never)
    @_optimize(speed)
    func load(
        _ group: LaneGroup, row: UnsafeRawPointer, classStride: Int, first: Int, count: Int,
        into block: UnsafeMutablePointer<Real>
    ) {
        // Floats that become doubles wait in the upper half of what they become.
        let target = UnsafeMutableRawPointer(block) + (areWidened ? count &* 16 &* 4 : 0)
        func load<E: FloatingElement>(_: E.Type) {
            group.load(
                E.self, row: row, classStride: classStride, first: first, count: count,
                into: target.assumingMemoryBound(to: E.Real.self))
        }
        switch type {
        case .float16: load(HalfElement.self)
        case .bfloat16: load(BrainElement.self)
        case .float32: load(Float.self)
        case .float64: load(Double.self)
        }
        guard areWidened else { return }
        for i in 0..<count {
            let floats = FloatVector.loadUnaligned(target + i &* 16 &* 4)
            Real.Vector(floats.widened).store(at: block + i &* 16)
        }
    }

    /// So many vectors of neighbours in memory, one after the other. Not widened.
    @inline(never)
    func loadNeighbours(
        _ source: UnsafeRawPointer, vectors: Int, into block: UnsafeMutablePointer<Real>
    ) {
        let target = UnsafeMutableRawPointer(block)
        func load<E: FloatingElement>(_: E.Type) {
            let vectorsAt = target.assumingMemoryBound(to: E.Real.self)
            var p = source
            for i in 0..<vectors {
                vqd_prefetch(p + 4096)  // the hardware does not look beyond a page
                E.loadVector(p).store(at: vectorsAt + i &* 16)
                p += 16 &* E.size
            }
        }
        switch type {
        case .float16: load(HalfElement.self)
        case .bfloat16: load(BrainElement.self)
        case .float32: load(Float.self)
        case .float64: load(Double.self)
        }
    }
}
