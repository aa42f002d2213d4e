// swift-tools-version: 6.3
import PackageDescription

// The Python extension is built from the same targets as Embedded Swift, so that it carries no
// Swift runtime; setup.py passes the flags:
//
//     -enable-experimental-feature Embedded   no runtime, no reflection, typed throws only
//     -wmo               Embedded Swift compiles a module at a time
//     -function-sections the linker drops the functions that nothing calls
//     -Xcc -march=LEVEL  code generation for one CPU level
//     -Osize             a library that is a fifth smaller; what takes longer then is marked
//                        @_optimize(speed), and @inline(never) where a caller would undo that
//     -D VQD_FMA         fused multiply-add is an instruction (Vector/FusedMultiplyAdd.swift)
//     -D VQD_AVX512      sixteen doubles are two registers (Vector/ExpAndLog.swift)

let package = Package(
    name: "VQDiffusion",
    products: [
        .library(name: "VQDiffusion", targets: ["VQDiffusion"]),
        // What Python links: the C ABI with the core inside.
        .library(name: "VQDiffusionABI", type: .static, targets: ["VQDiffusionABI"]),
    ],
    targets: [
        // MARK: - Library
        .target(name: "CVQDiffusion", linkerSettings: [.linkedLibrary("m")]),
        .target(name: "VQDiffusion", dependencies: ["CVQDiffusion"]),
        .target(name: "VQDiffusionABI", dependencies: ["CVQDiffusion", "VQDiffusion"]),

        // MARK: - Tests
        .testTarget(
            name: "VQDiffusionTests",
            dependencies: ["VQDiffusion", "VQDiffusionABI", "CVQDiffusion"]),
    ]
)
