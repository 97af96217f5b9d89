import Engine
import Inspection
import Testing

@Suite("PROXY protocol")
struct ProxyHeaderTests {
  static let signature: [UInt8] = [13, 10, 13, 10, 0, 13, 10, 0x51, 0x55, 0x49, 0x54, 10]

  static func v2(
    command: UInt8 = 0x21, family: UInt8 = 0x11, _ body: [UInt8]
  ) -> [UInt8] {
    signature + [command, family] + UInt16(body.count).bytes + body
  }

  static let ipv4: [UInt8] = [10, 0, 0, 1, 10, 0, 0, 2, 0x12, 0x34, 0, 80]
  static let ipv6: [UInt8] =
    Array(repeating: 0, count: 15) + [1] + Array(repeating: 0, count: 15) + [2] + [0, 1, 0, 2]

  static func inspect(_ bytes: [UInt8]) -> Inspected<ProxyHeader> {
    lend(bytes) { ProxyHeader.inspect($0) }
  }

  /// What was told: version, bytes, and both addresses.
  static func told(_ bytes: [UInt8]) -> String {
    guard let header = inspect(bytes).finding else { return "\(inspect(bytes).kind)" }
    let text = "\(header.version) \(header.byteCount)"
    return header.addresses.map {
      "\(text) \($0.source.description) \($0.destination.description)"
    } ?? text
  }

  /// What is written for two addresses, as it is read again.
  static func written(_ version: ProxyHeader.Version, _ source: String, _ destination: String)
    -> String
  {
    func address(_ ip: String, _ port: UInt16) -> SocketAddress {
      SocketAddress(ip: ip, port: port) ?? SocketAddress()
    }
    var memory = [UInt8](repeating: 0, count: ProxyHeader.longestWritten)
    let count = memory.withUnsafeMutableBufferPointer { buffer in
      guard let base = buffer.baseAddress else { return 0 }
      var out = ByteWriter(base: base, capacity: buffer.count)
      ProxyHeader.write(
        version, from: address(source, 65535), to: address(destination, 443), into: &out)
      return out.overflowed ? 0 : out.count
    }
    return told(Array(memory.prefix(count)))
  }

  @Test(
    "what is written is read again",
    arguments: [
      ("1.2.3.4", "5.6.7.8", "38", "28", " 1.2.3.4:65535 5.6.7.8:443"),
      ("::1", "2001:db8::2", "38", "52", " [::1]:65535 [2001:db8::2]:443"),
      ("1.2.3.4", "::1", "15", "16", ""),
      ("", "5.6.7.8", "15", "16", ""),
    ])
  func writing(pair: (String, String, String, String, String)) {
    let (source, destination, line, binary, addresses) = pair
    #expect(Self.written(.v1, source, destination) == "v1 \(line)\(addresses)")
    #expect(Self.written(.v2, source, destination) == "v2 \(binary)\(addresses)")
  }

  @Test("the longest addresses fit into a line")
  func longestLine() {
    let long = "1111:2222:3333:4444:5555:6666:7777:8888"
    #expect(Self.written(.v1, long, long) == "v1 102 [\(long)]:65535 [\(long)]:443")
  }

  @Test(
    "version 1",
    arguments: [
      ("PROXY TCP4 1.2.3.4 5.6.7.8 65535 0\r\nGET", "v1 36 1.2.3.4:65535 5.6.7.8:0"),
      ("PROXY TCP6 ::1 ::2 1 2\r\n", "v1 24 [::1]:1 [::2]:2"),
      ("PROXY UNKNOWN\r\n", "v1 15"),
      ("PROXY UNKNOWN ff::1 ff::2 1 2\r\n", "v1 31"),
      ("PROXY TCP4 1.2.3.4 5.6.7.8 65536 0\r\n", "malformed"),
      ("PROXY TCP4 1.2.3.4 5.6.7.8 01 0\r\n", "malformed"),
      ("PROXY TCP4 1.2.3.4 5.6.7.8 1 -1\r\n", "malformed"),
      ("PROXY TCP4 ::1 ::2 1 2\r\n", "malformed"),
      ("PROXY TCP6 1.2.3.4 5.6.7.8 1 2\r\n", "malformed"),
      ("PROXY TCP4 1.2.3.4  5.6.7.8 1 2\r\n", "malformed"),
      ("PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n", "malformed"),
      ("PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n", "malformed"),
      ("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n", "malformed"),
      ("PROXY UDP4 1.2.3.4 5.6.7.8 1 2\r\n", "malformed"),
      ("PROXY \n", "malformed"),
      ("GET / HTTP/1.1\r\n", "absent"),
      ("PROXX", "absent"),
    ])
  func version1(line: String, expected: String) {
    #expect(Self.told(Array(line.utf8)) == expected)
  }

  @Test("a line of 107 bytes passes, and one without an end there does not")
  func longLines() {
    let start = "PROXY UNKNOWN "
    let fits = start + String(repeating: "x", count: 107 - start.utf8.count - 2) + "\r\n"
    #expect(Self.told(Array(fits.utf8)) == "v1 107")
    let long = start + String(repeating: "x", count: 107 - start.utf8.count)
    #expect(Self.inspect(Array(long.utf8)).kind == .malformed)
  }

  @Test("every beginning of a header asks for more")
  func splits() {
    let headers = [
      Array("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n".utf8), Self.v2(Self.ipv4), Self.v2(Self.ipv6),
    ]
    for header in headers {
      for count in 0..<header.count {
        #expect(Self.inspect(Array(header[..<count])).kind == .incomplete)
      }
    }
  }

  @Test("version 2 tells addresses of either family, with whatever lies behind them")
  func version2() {
    #expect(Self.told(Self.v2(Self.ipv4)) == "v2 28 10.0.0.1:4660 10.0.0.2:80")
    #expect(Self.told(Self.v2(family: 0x21, Self.ipv6)) == "v2 52 [::1]:1 [::2]:2")
    let tlv: [UInt8] = [1, 0, 2, 0x68, 0x32, 4, 0, 0]
    #expect(Self.told(Self.v2(Self.ipv4 + tlv)) == "v2 36 10.0.0.1:4660 10.0.0.2:80")
  }

  /// Type and value of each.
  static func tlvs(_ bytes: [UInt8]) -> [String] {
    lend(bytes) { lent in
      guard let header = ProxyHeader.inspect(lent).finding else { return [] }
      return ProxyTLVs(header.tlvs).map { "\($0.type) \($0.value.string)" }
    }
  }

  @Test("what version 2 tells besides addresses is lent, one by one")
  func tlvsOfVersion2() {
    let tlv: [UInt8] = [1, 0, 2, 0x68, 0x32, 4, 0, 0, 1, 0, 1, 0x78]
    #expect(Self.tlvs(Self.v2(Self.ipv4 + tlv)) == ["1 h2", "4 ", "1 x"])
    #expect(Self.tlvs(Self.v2(family: 0x21, Self.ipv6 + tlv)) == ["1 h2", "4 ", "1 x"])
    #expect(Self.tlvs(Self.v2(Self.ipv4)) == [])
    // Whoever speaks for itself tells nothing of anybody.
    #expect(Self.tlvs(Self.v2(command: 0x20, Self.ipv4 + tlv)) == [])
  }

  @Test("the longest header that a length can say is read, and every type that a byte can say")
  func longest() {
    let value = [UInt8](repeating: 0x61, count: 65535 - Self.ipv4.count - 3)
    let header = Self.v2(Self.ipv4 + [255] + UInt16(value.count).bytes + value)
    #expect(Self.told(header).hasPrefix("v2 65551 "))
    #expect(Self.tlvs(header).first?.utf8.count == 4 + value.count)
    let empty: [UInt8] = (UInt8.min...UInt8.max).flatMap { type -> [UInt8] in [type, 0, 0] }
    #expect(Self.tlvs(Self.v2(Self.ipv4 + empty)).count == 256)
  }

  @Test("TLVs that nobody has checked end before one that is cut off")
  func cutOff() {
    let bytes: [UInt8] = [1, 0, 1, 9, 2, 0, 5, 1, 2]
    for count in 0...bytes.count {
      let found = lend(Array(bytes[..<count])) { ProxyTLVs($0).map(\.type) }
      #expect(found == (count < 4 ? [] : [1]))
    }
  }

  @Test("a set of types holds what it was given")
  func types() {
    var types = ProxyTLVTypes()
    #expect(types.isEmpty && !types.contains(0))
    types.insert(255)
    #expect(types.contains(255) && !types.contains(254) && !types.isEmpty)
    #expect(ProxyTLVTypes.all.contains(0) && ProxyTLVTypes.all.contains(255))
  }

  @Test("a header has room for as many TLVs as its length can say, and for none without addresses")
  func room() {
    func address(_ ip: String) -> SocketAddress {
      SocketAddress(ip: ip, port: 1) ?? SocketAddress()
    }
    func room(_ version: ProxyHeader.Version, _ source: String, _ destination: String) -> Int {
      ProxyHeader.roomForTLVs(version, from: address(source), to: address(destination))
    }
    #expect(room(.v2, "1.2.3.4", "1.2.3.5") == 65535 - 12)
    #expect(room(.v2, "::1", "::2") == 65535 - 36)
    #expect(room(.v2, "1.2.3.4", "::2") == 0)
    #expect(room(.v1, "1.2.3.4", "1.2.3.5") == 0)
  }

  @Test("a proxy that speaks for itself changes nothing")
  func local() {
    #expect(Self.told(Self.v2(command: 0x20, Self.ipv4)) == "v2 28")
    #expect(Self.told(Self.v2(command: 0x20, family: 0, [])) == "v2 16")
    #expect(Self.told(Self.v2(family: 0, [9, 9])) == "v2 18")
  }

  @Test("what version 2 does not know is malformed")
  func malformed() {
    #expect(Self.inspect(Self.v2(command: 0x31, Self.ipv4)).kind == .malformed)
    #expect(Self.inspect(Self.v2(command: 0x22, Self.ipv4)).kind == .malformed)
    #expect(Self.inspect(Self.v2(family: 0x12, Self.ipv4)).kind == .malformed)
    #expect(Self.inspect(Self.v2(family: 0x41, Self.ipv4)).kind == .malformed)
    #expect(Self.inspect(Self.v2(family: 0x21, Self.ipv4)).kind == .malformed)
    #expect(Self.inspect(Self.v2(Self.ipv4 + [1, 0])).kind == .malformed)
    // A TLV beyond the header's end.
    #expect(Self.inspect(Self.v2(Self.ipv4 + [1, 0, 1])).kind == .malformed)
  }
}
