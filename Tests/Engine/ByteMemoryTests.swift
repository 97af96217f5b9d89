import Engine
import Testing

@Suite("Pooled blocks")
struct BlockPoolTests {
  @Test(
    "a block holds what was asked for, rounded up to a power of two",
    arguments: [
      (0, 2048), (1, 2048), (2048, 2048), (2049, 4096), (4096, 4096), (65_537, 131_072),
      (262_144, 262_144),
    ])
  func sizes(asked: Int, capacity: Int) {
    var pool = BlockPool()
    let block = pool.take(asked)
    #expect(block.capacity == capacity)
    #expect(block.used == 0)
    #expect(pool.liveBytes == capacity)
    pool.release(block)
    #expect(pool.liveBytes == 0)
  }

  @Test("a released block is handed out again, empty and alone")
  func reuse() {
    var pool = BlockPool()
    let first = pool.take()
    let second = pool.take()
    first.next = second
    _ = first.append(Bytes("abc"))
    let base = first.base
    pool.release(first)
    let again = pool.take()
    #expect(again.base == base)
    #expect(again.used == 0)
    #expect(again.next == nil)
    pool.release(again)
    pool.release(second)
  }

  @Test("appending takes what fits and says how much that was")
  func append() {
    var pool = BlockPool()
    let block = pool.take()
    let text = Bytes.immortal(String(repeating: "x", count: 2000))
    #expect(block.append(text) == 2000)
    #expect(block.append(text) == 48)
    #expect(block.append(text) == 0)
    #expect(block.bytes(from: 2040).count == 8)
    #expect(block.bytes(from: 2048).isEmpty)
    pool.release(block)
  }
}

@Suite("Queues of bytes")
struct ByteQueueTests {
  @Test("what goes in comes out, in any portions", arguments: 1...8 as ClosedRange<UInt64>)
  func model(seed: UInt64) {
    var random = Random(seed: seed)
    var pool = BlockPool()
    var queue = ByteQueue()
    var model: [UInt8] = []
    var next: UInt8 = 0
    for _ in 0..<200 {
      if random.next(below: 2) == 0 {
        let size = Int(random.next(below: random.next(below: 16) == 0 ? 40_000 : 3000))
        let bytes = (0..<size).map { _ -> UInt8 in
          next &+= 7
          return next
        }
        bytes.withUnsafeBufferPointer {
          if let base = $0.baseAddress {
            queue.append(Bytes(base: base, count: size), from: &pool)
          }
        }
        model += bytes
      } else {
        let size = Int(random.next(below: UInt64(model.count + 1)))
        queue.drop(size, into: &pool)
        model.removeFirst(size)
      }
      #expect(queue.count == model.count)
      #expect(queue.isEmpty == model.isEmpty)
      let front = queue.front
      let second = queue.second
      #expect(front.isEmpty == model.isEmpty, "waiting bytes can be seen")
      #expect(same(front, model.prefix(front.count)))
      #expect(same(second, model.dropFirst(front.count).prefix(second.count)))
    }
    queue.removeAll(into: &pool)
    #expect(pool.liveBytes == 0, "an empty queue holds no memory")
  }

  @Test("dropping everything gives all memory back")
  func dropAll() {
    var pool = BlockPool()
    var queue = ByteQueue()
    queue.append(.immortal(String(repeating: "y", count: 70_000)), from: &pool)
    queue.drop(70_000, into: &pool)
    #expect(pool.liveBytes == 0)
    queue.append(Bytes("z"), from: &pool)
    #expect(queue.front == "z")
    queue.drop(0, into: &pool)
    #expect(queue.count == 1)
    queue.removeAll(into: &pool)
    queue.removeAll(into: &pool)
    #expect(pool.liveBytes == 0)
  }

  private func same(_ bytes: Bytes, _ expected: ArraySlice<UInt8>) -> Bool {
    bytes.count == expected.count
      && expected.withUnsafeBufferPointer {
        $0.baseAddress.map { bytes == Bytes(base: $0, count: expected.count) } ?? true
      }
  }
}

@Suite("Views of bytes")
struct BytesTests {
  @Test("comparisons look at all bytes and at nothing else")
  func comparisons() {
    #expect(Bytes("abc") == Bytes.immortal("abc"))
    #expect(Bytes("abc") != "abd")
    #expect(Bytes("abc") != "ab")
    #expect(Bytes.empty == "")
    #expect(Bytes("Host").equalsIgnoringCase("hOST"))
    #expect(!Bytes("Host").equalsIgnoringCase("hosts"))
    // Bytes that differ from a letter in the case bit only are no letters.
    #expect(!Bytes("@[").equalsIgnoringCase("`{"))
  }

  @Test("prefixes and suffixes, up to the whole and no further")
  func affixes() {
    let text = Bytes("/api/v1")
    #expect(text.hasPrefix(Bytes("")))
    #expect(text.hasPrefix(Bytes("/api/v1")))
    #expect(!text.hasPrefix(Bytes("/api/v1/")))
    #expect(text.hasSuffix(Bytes("v1")))
    #expect(!text.hasSuffix(Bytes("x/api/v1")))
    #expect(text.hasPrefixIgnoringCase(Bytes("/API")))
    #expect(text.hasSuffixIgnoringCase(Bytes("V1")))
    #expect(text.dropFirst(7).isEmpty)
    #expect(text.prefix(99) == text)
  }

  @Test("searching finds the first place, from anywhere")
  func searching() {
    let text = Bytes("a=b=c")
    #expect(text.firstIndex(of: UInt8(ascii: "=")) == 1)
    #expect(text.firstIndex(of: UInt8(ascii: "="), from: 2) == 3)
    #expect(text.firstIndex(of: UInt8(ascii: "="), from: 4) == nil)
    #expect(text.firstIndex(of: UInt8(ascii: "="), from: 5) == nil)
    #expect(text.range(of: Bytes("b=")) == 2)
    #expect(text.range(of: Bytes("cc")) == nil)
    #expect(Bytes.empty.firstIndex(of: 0) == nil)
  }

  @Test(
    "a decimal number is digits only, at most eighteen",
    arguments: [
      ("0", 0), ("007", 7), ("999999999999999999", 999_999_999_999_999_999),
      ("1000000000000000000", nil), ("", nil), ("-1", nil), ("+1", nil), ("1a", nil), (" 1", nil),
    ])
  func decimal(text: String, expected: Int?) {
    #expect(Bytes.immortal(text).decimal == expected)
  }

  @Test(
    "trimming takes blanks and tabs, and nothing else",
    arguments: [("  a b\t", "a b"), ("\t \t", ""), ("", ""), ("\r a", "\r a")])
  func trimming(text: String, expected: String) {
    #expect(Bytes.immortal(text).trimmed.string == expected)
  }

  @Test("hexadecimal digits of both cases, and nothing around them")
  func hex() {
    for byte in UInt8.min...UInt8.max {
      let expected = Character(UnicodeScalar(byte)).hexDigitValue.map(UInt8.init) ?? 255
      #expect(ASCII.hex(byte) == expected)
    }
  }
}

@Suite("Writing bytes")
struct ByteWriterTests {
  private func write(capacity: Int = 64, _ body: (inout ByteWriter) -> Void) -> (String, Bool) {
    var memory = [UInt8](repeating: 0, count: capacity)
    return memory.withUnsafeMutableBufferPointer {
      guard let base = $0.baseAddress else { return ("", false) }
      var writer = ByteWriter(base: base, capacity: capacity)
      body(&writer)
      return (writer.written.string, writer.overflowed)
    }
  }

  @Test("decimal numbers of every length", arguments: [0, 9, 10, 99, 100, -1, .max, .min])
  func decimals(number: Int) {
    #expect(write { $0.append(decimal: number) }.0 == "\(number)")
  }

  @Test("hexadecimal numbers without leading zeros", arguments: [0, 1, 15, 16, 255, 65_536, .max])
  func hexadecimals(number: Int) {
    #expect(write { $0.append(hexadecimal: number) }.0 == String(number, radix: 16))
  }

  @Test("what does not fit is left out and told", arguments: 0...4)
  func overflow(capacity: Int) {
    let (text, overflowed) = write(capacity: max(capacity, 1)) {
      if capacity == 0 { $0.append("x") }
      $0.append("abc")
    }
    #expect(overflowed == (capacity < 3))
    #expect(text == (capacity == 0 ? "x" : capacity < 3 ? "" : "abc"))
  }

  @Test("truncating forgets the end")
  func truncate() {
    let (text, _) = write {
      $0.append("abcdef")
      $0.truncate(to: 2)
      $0.append(text: "é")
    }
    #expect(text == "abé")
  }
}
