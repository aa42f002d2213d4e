import CVQDiffusion

/// Classes that are loaded together.
let blockOfClasses = 16

extension LaneGroup {
    /// Loads the pixels' elements of up to sixteen classes, one vector for each class, next to each
    /// other.
    ///
    /// Where the classes of a pixel are neighbours in memory, they are loaded at once and
    /// transposed.
    ///
    /// - Parameters:
    ///   - row: where the batch row begins.
    ///   - block: room for sixteen vectors.
    @inline(never)  // a call for sixteen vectors is nothing, its copies are a fifth of the library
    @_optimize(speed)
    func load<E: FloatingElement>(
        _: E.Type, row: UnsafeRawPointer, classStride: Int, first: Int, count: Int,
        into block: UnsafeMutablePointer<E.Real>
    ) {
        if isDense {
            var p = row + (offsets[0] &+ first &* classStride)
            var i = 0
            while i < count {
                vqd_prefetch(p + 16 &* classStride)
                E.loadVector(p).store(at: block + i &* 16)
                p += classStride
                i &+= 1
            }
        } else if classStride == E.size && count == blockOfClasses {
            for lane in 0..<16 {
                let p = row + (offsets[lane] &+ first &* E.size)
                vqd_prefetch(p + 48 &* E.size)
                E.loadVector(p).store(at: block + lane &* 16)
            }
            E.Real.Vector.transpose(block)
        } else {
            for i in 0..<count {
                prefetchLines(row + (first &+ i &+ 16) &* classStride)
                E.gather(row + (first &+ i) &* classStride, offsets).store(at: block + i &* 16)
            }
        }
    }
}

extension LaneGroup {
    /// Prefetches the pixels' elements in the class row at `row`: the lines from the first lane to
    /// the last where these are near each other, else that of each lane.
    @inline(__always)
    private func prefetchLines(_ row: UnsafeRawPointer) {
        guard offsets[15] &- offsets[0] < 16 &* 64 else {
            for lane in 0..<16 { vqd_prefetch(row + offsets[lane]) }
            return
        }
        var offset = offsets[0]
        while offset < offsets[15] {
            vqd_prefetch(row + offset)
            offset &+= 64
        }
        vqd_prefetch(row + offsets[15])
    }
}

/// Calls `body` for blocks of classes (their first, and how many) of groups of pixels, in an order
/// that suits the memory: along whole rows of pixels where pixels are neighbours, else along the
/// classes of each group.
@inline(__always)
func forEachBlock(
    classes: Range<Int>, groups: Range<Int>, alongPixels: Bool,
    _ body: (_ first: Int, _ count: Int, _ group: Int) -> Void
) {
    let blocks = (classes.count &+ blockOfClasses &- 1) / blockOfClasses
    let (outer, inner) = alongPixels ? (blocks, groups.count) : (groups.count, blocks)
    for i in 0..<outer {
        for j in 0..<inner {
            let (block, group) = alongPixels ? (i, j) : (j, i)
            let first = classes.lowerBound &+ block &* blockOfClasses
            body(
                first, min(blockOfClasses, classes.upperBound &- first), groups.lowerBound &+ group)
        }
    }
}

/// Calls `body` for runs of classes of every batch row, spread over threads: outputs are contiguous
/// along whole rows, inputs perhaps along classes.
///
/// - Parameter body: gets room for two blocks of classes as well. It is on the stack: nothing may
///   run out of memory when some of a result is written.
func forEachRun<Real: RealScalar>(
    _: Real.Type, of p: LogProbabilities, threads: Int,
    _ body: (
        _ row: Int, _ classes: Range<Int>,
        _ buffer: (UnsafeMutablePointer<Real>, UnsafeMutablePointer<Real>)
    ) -> Void
) throws(ArgumentError) {
    // Some items for each thread even of few classes, in whole blocks; longer runs than these take
    // longer.
    let share = (p.batch * p.classes + 4 * threads - 1) / (4 * threads)
    let run = min(256, (share + blockOfClasses - 1) / blockOfClasses * blockOfClasses)
    let runs = (p.classes + run - 1) / run
    try parallelByShares(items: p.batch * runs, threads: threads) { item in
        let start = item % runs * run
        var buffer = InlineArray<32, Real.Vector>(repeating: Real.Vector(repeating: 0))
        withUnsafeMutablePointer(to: &buffer) {
            let buffer = UnsafeMutableRawPointer($0).assumingMemoryBound(to: Real.self)
            body(
                item / runs, start..<min(start + run, p.classes),
                (buffer, buffer + 16 * blockOfClasses))
        }
    }
}
