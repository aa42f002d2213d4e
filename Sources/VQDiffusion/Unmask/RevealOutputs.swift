/// Where the results of a step that reveals go.
public struct RevealOutputs {
    /// x_s, (batch, pixels) `Int64`.
    public var tokens: OutputTensor
    /// (batch, pixels), a byte each: 1 where a pixel is revealed, else 0; nil for nowhere.
    public var revealed: OutputTensor?
    /// (batch, pixels) `Double`: the keys without noise, NaN where no column is read.
    public var scores: OutputTensor?

    public init(tokens: OutputTensor, revealed: OutputTensor? = nil, scores: OutputTensor? = nil) {
        (self.tokens, self.revealed, self.scores) = (tokens, revealed, scores)
    }

    func checkShape(_ expected: Shape) throws(ArgumentError) {
        try tokens.checkShape(expected)
        try revealed?.checkShape(expected)
        try scores?.checkShape(expected)
    }
}

extension RevealOutputs {
    func write<Real: RealScalar>(
        _ decision: borrowing RevealDecision, chosen: borrowing PixelSelection,
        _ scores: borrowing RevealScores<Real>
    ) {
        let needed = (list: decision.needed.list.pointer, starts: decision.needed.starts.pointer)
        let (batch, pixels) = (decision.needed.batch, decision.needed.pixels)
        guard batch * pixels > 0 else { return }
        let result = tokens.base.assumingMemoryBound(to: Int64.self)
        for at in 0..<batch * pixels {
            let given = decision.known[at]
            result[at] = Int64(given < 0 ? decision.observed[at] : given)
        }
        decision.needed.forEach(of: chosen) { row, pixel, at in
            result[row &* pixels &+ pixel] = Int64(scores.tokens[at])
        }
        if let revealed { chosen.mark(in: revealed) }
        if let keys = self.scores {
            let numbers = keys.base.assumingMemoryBound(to: Double.self)
            numbers.update(repeating: .nan, count: batch * pixels)
            for row in 0..<batch {
                for c in needed.starts[row]..<needed.starts[row + 1] {
                    numbers[row &* pixels &+ Int(needed.list[c])] = scores.keys[c]
                }
            }
        }
    }
}
