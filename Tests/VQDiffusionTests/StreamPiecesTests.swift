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
            #expect(range.count == 1 ? places[0] == threads - 1 : places[0] >= threads)
        }
    }

    @Test(arguments: batches, [1, 2, 3, 8, 64]) func everyPieceIsInOneShare(
        shape: (batch: Int, classRows: Int), threads: Int
    ) throws {
        let pieces = try StreamPieces(
            batch: shape.batch, classRows: shape.classRows, threads: threads)
        #expect(
            (0..<pieces.shares).flatMap { pieces.pieces(ofShare: $0) } == Array(0..<pieces.count))
    }

    /// Passing over what lies before a share included.
    @Test(arguments: [2, 4, 8]) func sharesTakeTheSameTime(threads: Int) throws {
        let pieces = try StreamPieces(batch: 1, classRows: 4097, threads: threads)
        let times = (0..<threads).map { share in
            let range = pieces.pieces(ofShare: share)
            let start = pieces.start(of: range.lowerBound)
            return Double(pieces.end(of: range.upperBound - 1) - start) + 0.2 * Double(start)
        }
        #expect(times.max()! - times.min()! < 0.002 * times.max()!)
    }
}
