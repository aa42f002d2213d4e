/// Reads floats or doubles from the standard input and writes the core's `exp`, or `log`, of each
/// to the standard output. Compiled with Sources/VQDiffusion/Vector, once for each CPU level.
///
///     exp_log exp|log float|double

import Foundation

func results<Vector: RealVector>(of input: Data, _ function: (Vector) -> Vector) -> Data {
    let size = MemoryLayout<Vector.Scalar>.size
    let count = input.count / size
    var output = Data(count: count * size)
    input.withUnsafeBytes { from in
        output.withUnsafeMutableBytes { to in
            for first in stride(from: 0, to: count, by: 16) {
                var x = Vector(repeating: 1)
                let lanes = min(16, count - first)
                for lane in 0..<lanes {
                    x[lane] = from.loadUnaligned(
                        fromByteOffset: (first + lane) * size, as: Vector.Scalar.self)
                }
                let y = function(x)
                for lane in 0..<lanes {
                    to.storeBytes(
                        of: y[lane], toByteOffset: (first + lane) * size, as: Vector.Scalar.self)
                }
            }
        }
    }
    return output
}

let input = FileHandle.standardInput.readDataToEndOfFile()
switch CommandLine.arguments.dropFirst() {
case ["exp", "float"]: FileHandle.standardOutput.write(results(of: input, FloatVector.exp))
case ["log", "float"]: FileHandle.standardOutput.write(results(of: input, FloatVector.log))
case ["exp", "double"]: FileHandle.standardOutput.write(results(of: input, DoubleVector.exp))
case ["log", "double"]: FileHandle.standardOutput.write(results(of: input, DoubleVector.log))
default: fatalError("exp_log exp|log float|double")
}
