import Engine
import HTTPModel
import Testing

@testable import HTTPCodec

/// Lines are looked at sixteen bytes at a time, so what matters is where in them each part begins and
/// ends, and how far the end of the bytes is.
@Suite("A field's line")
struct FieldLineTests {
  private static let start = "GET / HTTP/1.1\r\n"

  /// Each field as `name=value`, or why there is none. The bytes lie at the very end of their memory,
  /// where a read beyond them would be seen by a sanitizer.
  private func fields(_ head: [UInt8]) -> [String] {
    var parser = HTTP1HeadParser(capacity: 10)
    let memory = UnsafeMutablePointer<UInt8>.allocate(capacity: max(head.count, 1))
    defer { unsafe memory.deallocate() }
    for index in head.indices { unsafe memory[index] = head[index] }
    switch unsafe parser.parseRequest(memory, head.count, maxFields: 10) {
    case .incomplete: return ["incomplete"]
    case .invalid(let error): return ["\(error)"]
    case .complete: break
    }
    var pool = BlockPool()
    var map = HeaderMap()
    unsafe map.load(Bytes(base: memory, count: head.count), parser.found, from: &pool)
    var found: [String] = []
    for index in 0..<map.count {
      found.append("\(map.name(index).string)=\(map.value(index).string)")
    }
    map.release(into: &pool)
    return found
  }

  private func fields(_ lines: String) -> [String] { fields(Array((Self.start + lines).utf8)) }

  @Test("names and values of every length are found", arguments: 1...40)
  func lengths(nameLength: Int) {
    let name = String(repeating: "Ab-9", count: 10).prefix(nameLength)
    for valueLength in 0...40 {
      let value = String(repeating: "Xy Z", count: 11).prefix(valueLength) + "."
      let expected = "\(name.lowercased())=\(value)"
      #expect(fields("\(name): \(value)\r\n\r\n") == [expected])
      #expect(fields("\(name):\(value) \t\r\nB: C\r\n\r\n") == [expected, "b=C"])
    }
  }

  @Test("capitals of a value stay, whatever the name before it", arguments: 1...20)
  func capitals(length: Int) {
    let name = String(repeating: "N", count: length)
    #expect(fields("\(name):ABC\r\n\r\n") == ["\(name.lowercased())=ABC"])
  }

  @Test("rarer bytes of a token are part of the name", arguments: 0...35)
  func rareBytes(position: Int) {
    let name = String(repeating: "A", count: position) + "_~B|" + "CD"
    #expect(fields("\(name): Vv\r\n\r\n") == ["\(name.lowercased())=Vv"])
  }

  @Test("every beginning of a head waits for the rest")
  func beginnings() {
    let head = Array((Self.start + "Content-Type-Of-It: Some Text\r\nB_: c\r\n\r\n").utf8)
    for count in 1..<head.count { #expect(fields(Array(head.prefix(count))) == ["incomplete"]) }
    #expect(fields(head) == ["content-type-of-it=Some Text", "b_=c"])
  }

  @Test(
    "a control byte is refused wherever it stands",
    arguments: [0, 10, 11, 13, 31, 127] as [UInt8])
  func controls(byte: UInt8) {
    let line = Array("Name-Of-This: a value of some length".utf8)
    for position in line.indices {
      var line = line
      line[position] = byte
      #expect(fields(Array(Self.start.utf8) + line + Array("\r\n\r\n".utf8)) == ["field"])
    }
  }

  @Test("bytes beyond ASCII belong into values only", arguments: [0x80, 0xff] as [UInt8])
  func beyondASCII(byte: UInt8) {
    let ending = Array("\r\n\r\n".utf8)
    let start = Array(Self.start.utf8)
    #expect(fields(start + Array("a: ".utf8) + [byte] + ending).count == 1)
    #expect(fields(start + Array("a: ".utf8) + [byte] + ending) != ["field"])
    #expect(fields(start + Array("a".utf8) + [byte] + Array(": b".utf8) + ending) == ["field"])
  }
}
