import Testing

@testable import VQDiffusion

@Suite("Pieces of the stream of uniforms")
struct StreamPiecesTests {
    static let batches: [(batch: Int, classRows: Int)] = [
        (1, 1), (1, 2), (1, 65), (1, 4097), (2, 4097), (3, 100), (16, 1025), (200, 19), (1000, 1),
    ]

    @Test(arguments: batches, [1, 2, 3, 8, 64]) func everyClassRowIsInOnePieceOfItsBatchRow(
        shape: (batch: Int, classRows: Int), threads: Int
    ) throws {
        let pieces = try StreamPieces(
            batch: shape.batch, classRows: shape.classRows, threads: threads)
        var at = 0
        for piece in 0..<pieces.count {
            let rows = pieces.classRows(of: piece)
            #expect(
                pieces.start(of: piece) == at && pieces.end(of: piece) > at
                    && rows.count == pieces.end(of: piece) - at)
            #expect(
                pieces.row(of: piece) == at / shape.classRows
                    && rows.lowerBound == at % shape.classRows && rows.upperBound <= shape.classRows
            )
            #expect(rows.count <= pieces.longest)
            #expect(pieces.pieces(ofRow: pieces.row(of: piece)).contains(piece))
            at = pieces.end(of: piece)
        }
        #expect(at == shape.batch * shape.classRows)
        for row in 0..<shape.batch {
            let range = pieces.pieces(ofRow: row)
            #expect(range.reduce(0) { $0 + pieces.classRows(of: $1).count } == shape.classRows)
            // What is found in the pieces of a row is kept side by side, a place for each.
            let places = range.map { pieces.place(of: $0, share: threads - 1) }
            #expect(
                places == Array(places[0]..<places[0] + range.count) && places.last! < pieces.places
            )
            #expect(range.count > 1 || places[0] == threads - 1)
        }
    }

    /// However threads take turns: each piece once, and none before one that the same thread has
    /// had.
    @Test(arguments: [1, 3, 5, 7], [1, 2, 8]) func everyPieceIsTakenOnce(stride: Int, threads: Int)
        throws
    {
        let pieces = try StreamPieces(batch: 3, classRows: 1000, threads: threads)
        var taken: [Int] = []
        var last = [Int](repeating: -1, count: threads)
        var (share, idle) = (0, 0)
        while idle < threads {
            if let piece = pieces.take(share: share) {
                #expect(piece > last[share])
                last[share] = piece
                taken.append(piece)
                idle = 0
            } else {
                idle += 1
            }
            share = (share + stride) % threads
        }
        #expect(taken.sorted() == Array(0..<pieces.count))
    }

    /// No thread is at work for long alone, passing over what lies before its share included.
    @Test(arguments: [(2, 0.03), (3, 0.05), (4, 0.16), (8, 0.2)]) func sharesTakeTheSameTime(
        threads: Int, difference: Double
    ) throws {
        let pieces = try StreamPieces(batch: 1, classRows: 4097, threads: threads)
        var (time, passed) = (
            [Double](repeating: 0, count: threads), [Int](repeating: 0, count: threads)
        )
        while true {
            let share = time.indices.min { time[$0] < time[$1] }!
            guard let piece = pieces.take(share: share) else { break }
            time[share] +=
                0.2 * Double(pieces.start(of: piece) - passed[share])
                + Double(pieces.classRows(of: piece).count)
            passed[share] = pieces.end(of: piece)
        }
        #expect(time.max()! - time.min()! < difference * time.max()!)
    }
}
