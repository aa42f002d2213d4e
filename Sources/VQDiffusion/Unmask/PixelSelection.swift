/// Some pixels of every batch row, in the order of their indices.
struct PixelSelection: ~Copyable {
    let batch, pixels: Int
    /// Batch row after batch row; row r's begin at starts[r].
    let list: Scratch<Int32>
    let starts: Scratch<Int>

    /// How many there are.
    var count: Int { starts[batch] }

    /// How many there are in a row.
    func count(_ row: Int) -> Int { starts[row + 1] - starts[row] }

    /// No pixel, with room for all; the maker adds them. Rows without pixels are not
    /// counted, as memory does not bound their number.
    init(batch: Int, pixels: Int) throws(ArgumentError) {
        let rows = pixels > 0 ? batch : 0
        let list = try Scratch<Int32>(rows * pixels)
        let starts = try Scratch<Int>(rows + 1, filledWith: 0)
        (self.batch, self.pixels) = (rows, pixels)
        self.list = list
        self.starts = starts
    }

    /// The pixels that show the mask, are not known and may be revealed.
    init(
        masked observed: borrowing Scratch<Int32>, maskClass: Int32,
        known: borrowing KnownTokens, positions: PositionGrid?, batch: Int, pixels: Int
    ) throws(ArgumentError) {
        try positions?.checkShape(batch: batch, pixels: pixels)
        let rows = pixels > 0 ? batch : 0
        let list = try Scratch<Int32>(rows * pixels)
        let starts = try Scratch<Int>(rows + 1, filledWith: 0)
        var found = 0
        for row in 0..<rows {
            for pixel in 0..<pixels {
                let at = row &* pixels &+ pixel
                guard observed[at] == maskClass && known[at] < 0 else { continue }
                guard positions?.contains(row, pixel) ?? true else { continue }
                list[found] = Int32(truncatingIfNeeded: pixel)
                found &+= 1
            }
            starts[row + 1] = found
        }
        (self.batch, self.pixels) = (rows, pixels)
        self.list = list
        self.starts = starts
    }

    /// Calls `body` for each of some of these pixels, with its place in this list.
    func forEach(
        of chosen: borrowing PixelSelection, _ body: (_ row: Int, _ pixel: Int, _ at: Int) -> Void
    ) {
        for row in 0..<batch {
            // Both lists rise, and the chosen are among these.
            var at = starts[row]
            for c in chosen.starts[row]..<chosen.starts[row + 1] {
                while list[at] != chosen.list[c] { at &+= 1 }
                body(row, Int(list[at]), at)
            }
        }
    }

    /// Where some of these pixels are in this list, as the pixels of one row.
    func places(of chosen: borrowing PixelSelection) throws(ArgumentError) -> PixelSelection {
        let result = try PixelSelection(batch: 1, pixels: count)
        guard count > 0 else { return result }
        var found = 0
        forEach(of: chosen) { _, _, at in
            result.list[found] = Int32(truncatingIfNeeded: at)
            found &+= 1
        }
        result.starts[1] = found
        return result
    }

    /// Writes a byte for every pixel of the grid: 1 for these, else 0.
    func mark(in output: OutputTensor) {
        guard batch * pixels > 0 else { return }
        let flags = output.base.assumingMemoryBound(to: UInt8.self)
        flags.update(repeating: 0, count: batch * pixels)
        for row in 0..<batch {
            for c in starts[row]..<starts[row + 1] { flags[row * pixels + Int(list[c])] = 1 }
        }
    }

    /// The row that a pixel of the list belongs to, for each of them.
    func rows() throws(ArgumentError) -> Scratch<Int32> {
        let rows = try Scratch<Int32>(count)
        for row in 0..<batch {
            for c in starts[row]..<starts[row + 1] { rows[c] = Int32(truncatingIfNeeded: row) }
        }
        return rows
    }
}
