import CVQDiffusion

/// How the stream of uniforms of a batch is cut into pieces of equal length, each some class rows
/// of one batch row, for threads to share out.
///
/// A thread has to pass over the uniforms before its piece, at a fifth of the cost of drawing and
/// reading them. So each has a share of neighbouring pieces, a fifth shorter than the share before:
/// two threads take 7 % less time than with equal shares. A thread that has finished its share
/// takes over pieces of later ones, which a thread that started late has left.
struct StreamPieces: ~Copyable {
    private static var piecesPerThread: Int { 8 }
    /// Pieces of fewer class rows are not worth the memory for what is found in them.
    private static var leastClassRows: Int { 32 }
    /// Of passing over a class row, where reading it costs 1.
    private static var costOfPassing: Double { 0.2 }

    let count: Int
    let shares: Int
    /// Class rows of a batch row.
    let classRows: Int
    private let piecesPerRow: Int
    /// The first piece of each share, then the end.
    private let firstOfShares: Scratch<Int>
    /// The next piece of each share to take.
    private let next: Scratch<Int64>

    init(batch: Int, classRows: Int, threads: Int) throws(ArgumentError) {
        let wanted = threads > 1 ? threads * StreamPieces.piecesPerThread : 1
        let most = max(1, classRows / StreamPieces.leastClassRows)
        let firstOfShares = try Scratch<Int>(threads + 1)
        let next = try Scratch<Int64>(threads)
        piecesPerRow = min(most, (wanted + batch - 1) / batch)
        (count, self.classRows, shares) = (batch * piecesPerRow, classRows, threads)
        var (total, length) = (0.0, 1.0)
        for _ in 0..<threads {
            total += length
            length *= 1 - StreamPieces.costOfPassing
        }
        var end = 0.0
        length = 1
        for share in 0..<threads {
            firstOfShares[share] = Int(Double(count) * end / total + 0.5)
            next[share] = Int64(firstOfShares[share])
            end += length
            length *= 1 - StreamPieces.costOfPassing
        }
        firstOfShares[threads] = count
        self.firstOfShares = firstOfShares
        self.next = next
    }

    /// Class rows of the longest piece.
    var longest: Int { (classRows + piecesPerRow - 1) / piecesPerRow }

    /// Places for what is found in pieces to be kept: one for each thread where a piece is a whole
    /// batch row, which is complete at once, else one for each piece.
    var places: Int { piecesPerRow == 1 ? shares : count }

    func place(of piece: Int, share: Int) -> Int { piecesPerRow == 1 ? share : piece }

    /// The next piece for the owner of a share, of that or a later one, or nil when all of those
    /// have been taken. None comes before the one that owner took last. For any number of threads
    /// at once.
    func take(share: Int) -> Int? {
        for from in share..<shares {
            let piece = Int(vqd_next(next.pointer + from))
            if piece < firstOfShares[from + 1] { return piece }
        }
        return nil
    }

    /// The pieces of a batch row.
    func pieces(ofRow row: Int) -> Range<Int> { row * piecesPerRow..<(row + 1) * piecesPerRow }

    func row(of piece: Int) -> Int { piece / piecesPerRow }

    /// The class rows of a piece in its batch row.
    func classRows(of piece: Int) -> Range<Int> {
        let i = piece % piecesPerRow
        return i * classRows / piecesPerRow..<(i + 1) * classRows / piecesPerRow
    }

    /// Class rows of the whole batch before a piece.
    func start(of piece: Int) -> Int {
        row(of: piece) * classRows + classRows(of: piece).lowerBound
    }

    func end(of piece: Int) -> Int { start(of: piece) + classRows(of: piece).count }
}
