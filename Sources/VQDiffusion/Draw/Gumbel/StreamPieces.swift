import CVQDiffusion

/// How the stream of uniforms of a batch is cut into pieces, each some class rows of one batch row,
/// for threads to share out.
///
/// Whoever takes a piece has to pass over what lies before it, which costs a twist of the engine
/// but nothing else: a fifth of drawing and reading it. So the pieces of a share follow each other,
/// and later shares are shorter, that all may end at once. A thread that has come to the end of its
/// share helps with later ones; towards the end of a share pieces become shorter, so that none is
/// at work for long when there is nothing left to help with.
struct StreamPieces: ~Copyable {
    /// Of passing over a class row, where reading it costs 1.
    private static var costOfPassing: Double { 0.2 }
    private static var piecesPerShare: Int { 6 }
    /// Fewer class rows than these are not worth the memory for what is found in them.
    private static var leastRows: Int { 32 }

    let count: Int
    let shares: Int
    /// Class rows of a batch row, and of the longest piece.
    let classRows, longest: Int
    /// Places for what is found in pieces to be kept.
    let places: Int
    /// The class rows that pieces begin at, counted through all of the batch, then the end.
    private let starts: Scratch<Int>
    /// The first piece of each batch row, then the end.
    private let firstOfRows: Scratch<Int>
    /// Where the place of each piece is, -1 for one that is a whole batch row.
    private let placeOfPieces: Scratch<Int>
    /// Of each share the next piece to take and, `shares` further on, the end.
    private let next: Scratch<Int64>

    init(batch: Int, classRows: Int, threads: Int) throws(ArgumentError) {
        let most = batch + threads * StreamPieces.piecesPerShare
        let starts = try Scratch<Int>(most + 1)
        let firstOfRows = try Scratch<Int>(batch + 1)
        let placeOfPieces = try Scratch<Int>(most)
        let next = try Scratch<Int64>(2 * threads)
        let total = batch * classRows
        var (count, end) = (0, 0)
        for share in 0..<threads {
            let start = end
            end =
                share == threads - 1
                ? total : StreamPieces.end(ofShareFrom: start, of: total, threads: threads)
            next[share] = Int64(count)
            let (length, pieces) = (
                end - start,
                threads == 1
                    ? 1
                    : min(
                        StreamPieces.piecesPerShare, max(1, (end - start) / StreamPieces.leastRows))
            )
            var at = start
            for left in stride(from: pieces, to: 0, by: -1) {
                // Lengths fall linearly.
                let cut = end - length * (left - 1) * (left - 1) / (pieces * pieces)
                while at < cut {
                    if at % classRows == 0 { firstOfRows[at / classRows] = count }
                    starts[count] = at
                    count += 1
                    at = min(cut, (at / classRows + 1) * classRows)
                }
            }
            next[threads + share] = Int64(count)
        }
        starts[count] = total
        firstOfRows[batch] = count
        var (places, longest) = (threads, 0)
        for piece in 0..<count {
            let length = starts[piece + 1] - starts[piece]
            longest = max(longest, length)
            placeOfPieces[piece] = length == classRows ? -1 : places
            if length < classRows { places += 1 }
        }
        (self.count, self.classRows, self.longest, self.places, shares) = (
            count, classRows, longest, places, threads
        )
        self.starts = starts
        self.firstOfRows = firstOfRows
        self.placeOfPieces = placeOfPieces
        self.next = next
    }

    /// Where a share ends that takes as long as all others: its length, and what it costs to pass
    /// over all before, come to the same for every share.
    private static func end(ofShareFrom start: Int, of total: Int, threads: Int) -> Int {
        var rest = 1.0
        for _ in 0..<threads { rest *= 1 - costOfPassing }
        let time = Double(total) * costOfPassing / (1 - rest)
        return min(total, start + max(0, Int(time - costOfPassing * Double(start))))
    }

    /// The next piece for the owner of a share, of that or a later one, or nil when all of those
    /// have been taken. None comes before the one that owner took last. For any number of threads
    /// at once.
    func take(share: Int) -> Int? {
        for from in share..<shares {
            let piece = vqd_next(next.pointer + from)
            if piece < next[shares + from] { return Int(piece) }
        }
        return nil
    }

    func start(of piece: Int) -> Int { starts[piece] }

    func end(of piece: Int) -> Int { starts[piece + 1] }

    func row(of piece: Int) -> Int { starts[piece] / classRows }

    /// The class rows of a piece in its batch row.
    func classRows(of piece: Int) -> Range<Int> {
        let first = row(of: piece) * classRows
        return starts[piece] - first..<starts[piece + 1] - first
    }

    /// Where what is found in a piece is kept until its batch row is complete. One that is a whole
    /// batch row is so at once.
    func place(of piece: Int, share: Int) -> Int {
        placeOfPieces[piece] < 0 ? share : placeOfPieces[piece]
    }

    /// The pieces of a batch row.
    func pieces(ofRow row: Int) -> Range<Int> { firstOfRows[row]..<firstOfRows[row + 1] }
}
