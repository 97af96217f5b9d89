import Engine
import Testing

@Suite("Memory of configured resources")
struct ResourceMemoryTests {
  private final class Witness {
    let onEnd: () -> Void
    init(_ onEnd: @escaping () -> Void) { self.onEnd = onEnd }
    deinit { onEnd() }
  }

  private struct Holder {
    let witness: Witness
  }

  @Test("what is laid out while memory is open stays until the memory goes")
  func stays() {
    var memory: ResourceMemory? = ResourceMemory()
    let (texts, table) =
      memory?.whileOpen {
        (
          (0..<1000).map { Bytes.configured("text \($0)") },
          Table.configured(Array(0..<100_000))
        )
      } ?? ([], .empty)
    #expect(texts.indices.allSatisfy { texts[$0].string == "text \($0)" })
    #expect(table.array == Array(0..<100_000))
    #expect((memory?.byteCount ?? 0) >= 100_000 * 8)
    memory = nil
  }

  @Test("values are destroyed and endings called, the last first, when the memory goes")
  func ends() {
    var ended: [Int] = []
    var memory: ResourceMemory? = ResourceMemory()
    memory?.whileOpen {
      _ = Ref.configured(Holder(witness: Witness { ended.append(1) }))
      ResourceMemory.atEnd { ended.append(2) }
    }
    #expect(ended.isEmpty)
    memory = nil
    #expect(ended == [2, 1])
  }

  @Test("the memory that was opened last gives, and the one before again after it")
  func nests() {
    let outer = ResourceMemory()
    let inner = ResourceMemory()
    outer.whileOpen {
      inner.whileOpen { _ = Table.configured([1, 2, 3]) }
      #expect(inner.byteCount > 0 && outer.byteCount == 0)
      _ = Bytes.configured("outer")
    }
    #expect(outer.byteCount > 0)
  }
}
