/// How the stream of uniforms of a batch is cut into pieces, which threads take one after the other: some class rows of a batch row each.
///
/// Several for each thread, so that one that starts late or is held up leaves its share to the others, and each shorter than the one before, so that none is
/// at work for long when there is nothing left for the others. Whoever takes a piece has to pass over what lies before
/// it, which costs a twist of the engine but nothing else: a fifth of reading it.
struct StreamPieces {
    private static var piecesPerThread: Int { 6 }
    /// Fewer class rows than these are not worth the memory for what is found in them, unless a thread had none.
    private static var leastRows: Int { 32 }

    /// Class rows of a batch row.
    let classRows: Int
    let batch: Int
    /// Pieces of each batch row.
    let perRow: Int
    let threads: Int

    init(batch: Int, classRows: Int, threads: Int) {
        (self.batch, self.classRows, self.threads) = (batch, classRows, threads)
        let most = max(classRows / StreamPieces.leastRows, min(threads, classRows))
        perRow = threads == 1 ? 1 : min(most, max(1, StreamPieces.piecesPerThread * threads / batch))
    }

    var count: Int { batch * perRow }

    func row(of piece: Int) -> Int { piece / perRow }

    /// The class rows of a piece in its batch row.
    func classRows(of piece: Int) -> Range<Int> {
        start(of: piece % perRow)..<start(of: piece % perRow + 1)
    }

    /// Lengths fall linearly; the last piece has a class row at any rate.
    private func start(of part: Int) -> Int {
        let (left, all) = ((perRow - part) * (perRow - part), perRow * perRow)
        return classRows - (classRows * left + all - 1) / all
    }

    /// Where what is found in a piece is kept until its batch row is complete. One that is a whole batch row is so at once.
    func place(of piece: Int, thread: Int) -> Int { perRow > 1 ? piece : thread }

    var places: Int { perRow > 1 ? count : threads }

    /// Class rows of the longest piece.
    var mostClassRows: Int { start(of: 1) }
}
