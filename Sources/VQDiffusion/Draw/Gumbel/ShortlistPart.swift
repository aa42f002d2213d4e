/// What is found in a piece of the stream: sums that bracket those of the columns, and the classes
/// that can win. In memory of another owner.
struct ShortlistPart {
    /// A class that can win at a pixel: its log-probability and the complement 1 - u of its
    /// uniform.
    struct Entry {
        var index, pixel: Int32
        var x, complement: Float
    }

    /// For each pixel the sum of the floats that `ScoreBounds` speaks of.
    let sums: UnsafeMutablePointer<Float>
    /// The complements of the uniforms of the mask, where its row is among the classes.
    let maskComplements: UnsafeMutablePointer<Float>
    private let entries: UnsafeMutablePointer<Entry>
    private let capacity: Int
    private(set) var count = 0

    /// Entries to have room for, for each pixel. Of a whole batch row some 17 classes are listed
    /// where all of a column's mass takes part (t = 0), one or two in the middle of the chain. A
    /// piece has room for its share, one of chance and one for the pixel's own class; where all of
    /// its classes can be listed, that is one too many: a list that is full proves nothing.
    static func roomPerPixel(in pieces: borrowing StreamPieces) -> Int {
        min(pieces.longest + 1, 2 + (24 * pieces.longest + pieces.classRows - 1) / pieces.classRows)
    }

    /// Bytes for pixels rounded up to whole vectors.
    static func bytes(width: Int, roomPerPixel: Int) -> Int {
        4 * width + 4 * (width + 16) + roomPerPixel * width * MemoryLayout<Entry>.stride
    }

    init(in memory: UnsafeMutableRawPointer, width: Int, roomPerPixel: Int) {
        sums = memory.bindMemory(to: Float.self, capacity: width)
        maskComplements = (memory + 4 * width).bindMemory(to: Float.self, capacity: width + 16)
        capacity = roomPerPixel * width
        entries = (memory + 4 * width + 4 * (width + 16)).bindMemory(
            to: Entry.self, capacity: capacity)
    }

    mutating func begin(width: Int) {
        sums.update(repeating: 0, count: width)
        count = 0
    }

    /// The list is full: what came later is missing.
    var isFull: Bool { count == capacity }

    @inline(__always)
    subscript(index: Int) -> Entry { entries[index] }

    @inline(__always)
    mutating func add(_ entry: Entry) {
        guard !isFull else { return }
        entries[count] = entry
        count &+= 1
    }
}

/// What has been found in the pieces of a batch row, in the order of the classes.
struct RowParts {
    let first: UnsafePointer<ShortlistPart>
    let count: Int

    subscript(index: Int) -> ShortlistPart { first[index] }
    /// The part with the row of the mask.
    var last: ShortlistPart { first[count - 1] }
}
