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

    /// True where elements are numbers of that precision as they are.
    var areReal: Bool { type == (MemoryLayout<Real>.size == 8 ? .float64 : .float32) }

    /// The lowest finite number.
    var lowest: Real {
        switch type {
        case .float16: -65504
        case .bfloat16: -0x1.fep127
        case .float32: Real(-Float.greatestFiniteMagnitude)
        case .float64: -.greatestFiniteMagnitude
        }
    }

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
        if areWidened { widen(target, to: block, count: count) }
    }

    /// Floats that lie in the upper half of what they become.
    private func widen(
        _ floats: UnsafeMutableRawPointer, to block: UnsafeMutablePointer<Real>, count: Int
    ) {
        for i in 0..<count {
            let sixteen = FloatVector.loadUnaligned(floats + i &* 16 &* 4)
            Real.Vector(sixteen.widened).store(at: block + i &* 16)
        }
    }

    /// So many vectors of neighbours in memory: they themselves, or their copy in a buffer.
    @inline(__always)
    func neighbours(
        at source: UnsafeRawPointer, vectors: Int, buffer: UnsafeMutablePointer<Real>
    ) -> UnsafePointer<Real> {
        if areReal { return source.assumingMemoryBound(to: Real.self) }
        loadNeighbours(source, vectors: vectors, into: buffer)
        return UnsafePointer(buffer)
    }

    /// So many vectors of neighbours in memory, one after the other.
    @inline(never)
    func loadNeighbours(
        _ source: UnsafeRawPointer, vectors: Int, into block: UnsafeMutablePointer<Real>
    ) {
        let target = UnsafeMutableRawPointer(block) + (areWidened ? vectors &* 16 &* 4 : 0)
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
        if areWidened { widen(target, to: block, count: vectors) }
    }
}
