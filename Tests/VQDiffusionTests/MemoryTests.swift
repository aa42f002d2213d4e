import CVQDiffusion
import Testing

@testable import VQDiffusion

@Suite("Working memory, and where pixels are")
struct MemoryTests {
    @Test func blocksAreAlignedAndApart() {
        var blocks: [(memory: UnsafeMutableRawPointer, bytes: Int)] = []
        for bytes in [0, 1, 7, 8, 55, 56, 57, 63, 64, 65, 127, 128, 1000, 4096, 100_000, 1 << 20] {
            for _ in 0..<5 {
                guard let memory = vqd_allocate(bytes) else {
                    return #expect(Bool(false), "no \(bytes) bytes")
                }
                #expect(Int(bitPattern: memory) % 64 == 0)
                memory.initializeMemory(
                    as: UInt8.self, repeating: UInt8(blocks.count), count: bytes)
                blocks.append((memory, bytes))
            }
        }
        // What was written into one has not been written over by another, or by the allocator.
        for (i, block) in blocks.enumerated() {
            #expect(
                UnsafeRawBufferPointer(start: block.memory, count: block.bytes).allSatisfy {
                    $0 == UInt8(i)
                })
            vqd_free(block.memory)
        }
        vqd_free(nil)
    }

    @Test(arguments: [Int.max, -1, -64, -72, -73]) func memoryThatNobodyHasIsAnError(bytes: Int) {
        #expect(vqd_allocate(bytes) == nil)
    }

    @Test func tooManyElementsAreAnError() {
        #expect(throws: ArgumentError.self) { _ = try Scratch<Double>(Int.max / 4) }
        #expect(throws: ArgumentError.self) { _ = try Scratch<Double>(Int.max) }
    }

    @Test(arguments: [0, 1, 2, 3, 7, 8, 9, 100], [1, 2, 3, 8]) func everyItemIsDoneOnce(
        items: Int, threads: Int
    ) throws {
        let done = try Scratch<Int64>(items, filledWith: 0)
        try parallelByShares(items: items, threads: threads) { item throws(ArgumentError) in
            _ = vqd_next(done.pointer + item)
        }
        for item in 0..<items { #expect(done[item] == 1) }
    }

    @Test(arguments: [1, 2, 3, 8]) func errorsOfItemsComeThrough(threads: Int) {
        #expect(throws: ArgumentError.self) {
            try parallelByShares(items: 20, threads: threads) { item throws(ArgumentError) in
                if item == 13 { throw ArgumentError("k", .notANumber) }
            }
        }
    }

    /// The short way for runs and the general one, which a selection of the same pixels takes.
    @Test(arguments: [0, 5, 16], [1, 15, 16, 17, 32, 47]) func aRunIsWhereASelectionOfItsPixelsIs(
        first: Int, count: Int
    ) throws {
        let chosen = (first..<first + count).map { Int32($0) }
        for (pixelStride, size) in [(4, 4), (2, 2), (8, 4), (4096, 4), (-4, 4), (0, 4)] {
            let run = try PixelList.run(first..<first + count).laneGroups(
                pixelStride: pixelStride, elementSize: size)
            try chosen.withUnsafeBufferPointer { pixels in
                let selection = try PixelList.selection(pixels.baseAddress!, count: count)
                    .laneGroups(pixelStride: pixelStride, elementSize: size)
                for g in 0..<(count + 15) / 16 {
                    #expect(run[g].offsets == selection[g].offsets)
                    #expect(run[g].isDense == selection[g].isDense)
                    #expect(run[g].isDense == (pixelStride == size && g * 16 + 16 <= count))
                    #expect(
                        (0..<16).allSatisfy {
                            run[g].offsets[$0] == (first + min(g * 16 + $0, count - 1))
                                * pixelStride
                        })
                }
            }
        }
    }
}
