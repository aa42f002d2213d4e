import CVQDiffusion

extension LaneGroup {
    /// Stores the pixels' elements of up to sixteen classes, which lie next to each other, one
    /// vector for each class, where the offsets of this group say.
    ///
    /// - Parameters:
    ///   - row: where the batch row begins.
    ///   - block: the vectors. They may be transposed.
    ///   - isStreamed: what is stored is too much for the caches. Whole lines are then stored past
    ///     them: a loss of 4 × 4096 × 1024 takes 15 % less time.
    @inline(never)
    @_optimize(speed)
    func store<Real: RealScalar>(
        _ block: UnsafeMutablePointer<Real>, row: UnsafeMutableRawPointer, classStride: Int,
        first: Int, count: Int, isStreamed: Bool
    ) {
        let size = MemoryLayout<Real>.size
        if isDense {
            var p = row + (offsets[0] &+ first &* classStride)
            if isStreamed && (Int(bitPattern: p) | classStride) % (16 &* size) == 0 {
                for i in 0..<count {
                    Real.Vector(at: block + i &* 16).stream(p)
                    p += classStride
                }
                return
            }
            for i in 0..<count {
                // Every class row lies in pages of its own, where the hardware does not look ahead.
                vqd_prefetch(p + 16 &* classStride)
                Real.Vector(at: block + i &* 16).storeUnaligned(p)
                p += classStride
            }
        } else if classStride == size && count == blockOfClasses {
            Real.Vector.transpose(block)
            for lane in 0..<16 {
                Real.Vector(at: block + lane &* 16)
                    .storeUnaligned(row + (offsets[lane] &+ first &* size))
            }
        } else {
            for i in 0..<count {
                let p = row + (first &+ i) &* classStride
                for lane in 0..<16 {
                    (p + offsets[lane]).storeBytes(of: block[i &* 16 &+ lane], as: Real.self)
                }
            }
        }
    }
}
