import CVQDiffusion

/// Logarithms of one-hot vectors, zeros replaced by 1e-30: 0 at the class, log 1e-30 elsewhere.
///
/// - Parameters:
///   - indices: (batch, pixels), 0 ... classes - 1.
///   - classes: the number of rows, the mask's included if there is one.
///   - output: (batch, classes, pixels) `Float`. Untouched when an error is thrown.
/// - Throws: `ArgumentError` for shapes that disagree or a class out of range.
@export(interface)
public func logOneHot(_ indices: ClassIndices, classes: Int, into output: OutputTensor)
    throws(ArgumentError)
{
    let upper = Int(Int32.max) - 1
    guard 1...upper ~= classes else {
        throw ArgumentError("num_classes", .outside(classes, lower: 1, upper: upper))
    }
    let (batch, pixels) = (indices.batch, indices.pixels)
    try output.checkShape(Shape(batch, classes, pixels))
    let observed = try indices.checked(batch: batch, pixels: pixels, upper: classes - 1)
    guard !indices.isEmpty else { return }
    let result = output.elements(Float.self)
    result.update(
        repeating: Float(vqd_log(PosteriorFactors.impossible)), count: batch * classes * pixels)
    for row in 0..<batch {
        for pixel in 0..<pixels {
            result[(row * classes + Int(observed[row * pixels + pixel])) * pixels + pixel] = 0
        }
    }
}
