extension ReverseStep {
    /// The classes that the pixels show at t, (batch, pixels), each checked once; see
    /// `ClassIndices.checked`.
    ///
    /// - Throws: `ArgumentError` when the shape is another, an index is outside 0 … K, or a pixel
    ///   is masked where the schedule masks nothing.
    func checkedClasses(_ sample: ClassIndices, batch: Int, pixels: Int) throws(ArgumentError)
        -> Scratch<Int32>
    {
        let observed = try sample.checked(batch: batch, pixels: pixels, upper: classes)
        guard now.gamma == 0 && pixels > 0 else { return observed }
        for at in 0..<batch * pixels where observed[at] == maskClass {
            throw ArgumentError(
                sample.name,
                .maskUnreachable(timestep: timestep, row: at / pixels, pixel: at % pixels))
        }
        return observed
    }

    /// The same for a draw. At s = -1 any pixel may be masked, and its column is drawn from as it
    /// is; where the classes play no part every pixel counts as masked.
    func observedClasses(_ sample: ClassIndices?, batch: Int, pixels: Int) throws(ArgumentError)
        -> Scratch<Int32>
    {
        guard readsSample else { return try Scratch(batch * pixels + 16, filledWith: maskClass) }
        guard let sample else { throw ArgumentError("sample", .missing) }
        if drawsModelOutput {
            return try sample.checked(batch: batch, pixels: pixels, upper: classes)
        }
        return try checkedClasses(sample, batch: batch, pixels: pixels)
    }
}
