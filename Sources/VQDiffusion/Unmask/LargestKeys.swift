import CVQDiffusion

extension PixelSelection {
    /// The pixels with the largest keys of each row.
    ///
    /// - Parameters:
    ///   - counts: how many in each row.
    ///   - keys: of these pixels, one after the other; nil for 0.
    ///   - noise: a uniform for every pixel of the grid, for Gumbel noise.
    ///   - temperature: so many times the noise is added; nil where there is none.
    func largest(
        _ counts: borrowing Scratch<Int>, keys: UnsafePointer<Double>?,
        noise: UnsafePointer<Double>, temperature: Double?
    ) throws(ArgumentError) -> PixelSelection {
        let result = try PixelSelection(batch: batch, pixels: pixels)
        let noisy = try Scratch<Double>(pixels)
        let heap = try Scratch<Int32>(pixels)
        let chosen = try Scratch<Bool>(pixels)
        var found = 0
        for row in 0..<batch {
            let (first, count) = (starts[row], count(row))
            for i in 0..<count {
                let key = keys?[first + i] ?? 0
                guard let temperature, key > -.infinity else {
                    noisy[i] = key
                    continue
                }
                // 1 - u is exact and never 0: rare scores have all of their 53 bits.
                let u = noise[row &* pixels &+ Int(list[first + i])]
                noisy[i] = key - temperature * vqd_log(-vqd_log(1 - u))
            }
            for i in 0..<count { chosen[i] = false }
            var left = KeyHeap(noisy.pointer, count: count, in: heap.pointer)
            for _ in 0..<counts[row] {
                guard let i = left.next() else { break }
                chosen[i] = true
            }
            for i in 0..<count where chosen[i] {
                result.list[found] = list[first + i]
                found &+= 1
            }
            result.starts[row + 1] = found
        }
        return result
    }
}

/// Takes the largest of some keys, one after the other; of equal ones the first.
struct KeyHeap {
    private let keys: UnsafePointer<Double>
    private let heap: UnsafeMutablePointer<Int32>
    private var count: Int

    /// - Parameters:
    ///   - keys: none of them NaN.
    ///   - heap: room for `count` indices.
    init(_ keys: UnsafePointer<Double>, count: Int, in heap: UnsafeMutablePointer<Int32>) {
        (self.keys, self.heap, self.count) = (keys, heap, count)
        for i in 0..<count { heap[i] = Int32(truncatingIfNeeded: i) }
        for i in (0..<count / 2).reversed() { sink(i) }
    }

    /// The index of the largest key that is left.
    mutating func next() -> Int? {
        guard count > 0 else { return nil }
        let first = heap[0]
        count -= 1
        heap[0] = heap[count]
        sink(0)
        return Int(first)
    }

    private func isBefore(_ a: Int32, _ b: Int32) -> Bool {
        let (x, y) = (keys[Int(a)], keys[Int(b)])
        return x > y || (x == y && a < b)
    }

    private func sink(_ start: Int) {
        var i = start
        while 2 &* i &+ 1 < count {
            var child = 2 &* i &+ 1
            if child &+ 1 < count && isBefore(heap[child &+ 1], heap[child]) { child &+= 1 }
            guard isBefore(heap[child], heap[i]) else { return }
            (heap[i], heap[child]) = (heap[child], heap[i])
            i = child
        }
    }
}
