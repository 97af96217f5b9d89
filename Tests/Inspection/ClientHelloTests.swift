import Engine
import Inspection
import Testing

@Suite("TLS client hello")
struct ClientHelloTests {
  static let limit = 16 * 1024

  /// A client's first message, in records of at most `recordBytes`.
  static func hello(
    name: String? = "Example.COM", protocols: [String] = ["h2", "http/1.1"],
    padding: Int = 0, recordBytes: Int = 1 << 14
  ) -> [UInt8] {
    var extensions: [UInt8] = []
    func add(_ type: UInt16, _ body: [UInt8]) {
      extensions += type.bytes + UInt16(body.count).bytes + body
    }
    add(0x0a0a, [])
    if let name {
      let text = Array(name.utf8)
      add(0, UInt16(text.count + 3).bytes + [0] + UInt16(text.count).bytes + text)
    }
    if !protocols.isEmpty {
      let list = protocols.flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) }
      add(16, UInt16(list.count).bytes + list)
    }
    if padding > 0 { add(21, Array(repeating: 0, count: padding)) }
    var body: [UInt8] = [3, 3] + Array(repeating: 7, count: 32) + [0]
    body += UInt16(2).bytes + [0x13, 0x01] + [1, 0]
    body += UInt16(extensions.count).bytes + extensions
    return records([1, 0] + UInt16(body.count).bytes + body, of: recordBytes)
  }

  static func records(_ message: [UInt8], of size: Int) -> [UInt8] {
    stride(from: 0, to: message.count, by: size).flatMap { start in
      let part = message[start..<min(start + size, message.count)]
      return [22, 3, 1] + UInt16(part.count).bytes + part
    }
  }

  static func inspect(_ bytes: [UInt8], limit: Int = limit) -> Inspected<ClientHello> {
    lend(bytes) { ClientHello.inspect($0, limit: limit) }
  }

  @Test("the name comes in lower case, and the protocols as on the wire")
  func findings() throws {
    let hello = try #require(Self.inspect(Self.hello()).finding)
    #expect(hello.serverName.withBytes { $0.string } == "example.com")
    #expect(hello.protocols.withBytes { $0.string } == "\u{2}h2\u{8}http/1.1")
    #expect(hello.byteCount == Self.hello().count)
  }

  @Test("a client may name nobody and offer nothing")
  func bareHello() throws {
    let hello = try #require(Self.inspect(Self.hello(name: nil, protocols: [])).finding)
    #expect(hello.serverName.count == 0)
    #expect(hello.protocols.count == 0)
  }

  @Test("every beginning of a message asks for more", arguments: [1 << 14, 40, 1])
  func splits(recordBytes: Int) {
    let whole = Self.hello(recordBytes: recordBytes)
    for count in 0..<whole.count {
      #expect(Self.inspect(Array(whole[..<count])).kind == .incomplete)
    }
    #expect(Self.inspect(whole + [1, 2, 3]).kind == .found)
  }

  @Test("what does not begin as a handshake record is not TLS")
  func otherProtocols() {
    #expect(Self.inspect(Array("GET / HTTP/1.1\r\n".utf8)).kind == .absent)
    #expect(Self.inspect([22, 2]).kind == .absent)
    #expect(Self.inspect([22, 3, 1, 0, 0]).kind == .absent)
    #expect(Self.inspect([22, 3, 1, 0x40, 1]).kind == .absent)
  }

  @Test("a length that leads out of its container is malformed, wherever it stands")
  func lies() {
    let whole = Self.hello(recordBytes: 1 << 14)
    for index in 5..<whole.count {
      var broken = whole
      broken[index] = 0xFF
      // Whatever it is taken for: nothing is read that is not there.
      _ = Self.inspect(broken)
    }
    var wrongType = whole
    wrongType[5] = 2
    #expect(Self.inspect(wrongType).kind == .malformed)
    var longName = whole
    // The server name's own length, behind GREASE, its type, two lengths and the kind.
    let place = 5 + 4 + 2 + 32 + 1 + 4 + 2 + 2 + 4 + 4 + 2 + 1
    longName[place] = 1
    #expect(Self.inspect(longName).kind == .malformed)
  }

  @Test("a message of the limit passes, and a longer one does not")
  func limit() {
    let whole = Self.hello(padding: 1000)
    let message = whole.count - 5
    #expect(Self.inspect(whole, limit: message).kind == .found)
    #expect(Self.inspect(whole, limit: message - 5).kind == .malformed)
    #expect(Self.inspect(Array(whole[..<600]), limit: 600).kind == .malformed)
  }

  @Test("protocols that do not fit are left out whole")
  func manyProtocols() throws {
    let names = (0..<40).map { "protocol-\($0 + 10)" }
    let hello = try #require(Self.inspect(Self.hello(protocols: names)).finding)
    #expect(hello.protocols.count == 252)
    #expect(hello.protocols.withBytes { $0.hasSuffix(Bytes("protocol-30")) })
  }
}
