import Engine
import Testing

@Suite("Socket addresses")
struct SocketAddressTests {
  @Test(
    "literals are read and written",
    arguments: [
      ("127.0.0.1", "127.0.0.1:80"), ("255.255.255.255", "255.255.255.255:80"), ("::1", "[::1]:80"),
      ("fd00::1", "[fd00::1]:80"), ("::ffff:1.2.3.4", "[::ffff:1.2.3.4]:80"),
      ("0.0.0.0", "0.0.0.0:80"),
    ])
  func literals(text: String, expected: String) {
    let address = SocketAddress(ip: text, port: 80)
    #expect(address?.description == expected)
    #expect(address?.port == 80)
    #expect(address?.isIPv6 == text.contains(":"))
    var memory = [UInt8](repeating: 0, count: 128)
    let written = memory.withUnsafeMutableBufferPointer { buffer -> String in
      guard let base = buffer.baseAddress else { return "" }
      var writer = ByteWriter(base: base, capacity: 128)
      address?.append(to: &writer)
      return writer.written.string
    }
    #expect(written == expected)
  }

  @Test(
    "anything else is no literal",
    arguments: [
      "", "localhost", "1.2.3", "1.2.3.4.5", "256.0.0.1", ":::", "127.0.0.1\0.evil", " 1.2.3.4",
    ])
  func noLiterals(text: String) {
    #expect(SocketAddress(ip: text, port: 80) == nil)
  }

  @Test("a Unix path has at most 107 bytes; an @ names the abstract namespace")
  func unix() {
    let longest = "/" + String(repeating: "x", count: 106)
    #expect(SocketAddress(unixPath: longest)?.description == longest)
    #expect(SocketAddress(unixPath: longest + "x") == nil)
    #expect(SocketAddress(unixPath: "") == nil)
    #expect(SocketAddress(unixPath: "@name")?.ip == "@name")
    #expect(SocketAddress(unixPath: "@name")?.isUnix == true)
    #expect(SocketAddress(unixPath: "/a")?.port == 0)
  }

  @Test("addresses are equal when family, address and port are")
  func equality() throws {
    let one = try #require(SocketAddress(ip: "10.0.0.1", port: 80))
    let same = try #require(SocketAddress(ip: "10.0.0.1", port: 80))
    let other = try #require(SocketAddress(ip: "10.0.0.2", port: 80))
    var port = one
    port.port = 81
    let mapped = try #require(SocketAddress(ip: "::ffff:10.0.0.1", port: 80))
    #expect(one == same)
    for different in [other, port, mapped] { #expect(!(one == different)) }
    let path = try #require(SocketAddress(unixPath: "/a"))
    let samePath = try #require(SocketAddress(unixPath: "/a"))
    let otherPath = try #require(SocketAddress(unixPath: "/b"))
    #expect(path == samePath)
    #expect(!(path == otherPath))
  }

  @Test(
    "what peers write as an address and a port",
    arguments: [
      ("1.2.3.4:80", "1.2.3.4:80"), ("1.2.3.4:080", "1.2.3.4:80"), ("1.2.3.4:0", "1.2.3.4:0"),
      ("1.2.3.4:65535", "1.2.3.4:65535"), ("[::1]:80", "[::1]:80"),
      ("[fd00::0:1]:1", "[fd00::1]:1"),
      ("1.2.3.4:65536", nil), ("1.2.3.4", nil), ("1.2.3.4:", nil), (":80", nil), ("", nil),
      ("::1:80", nil), ("[::1]", nil), ("[::1:80", nil), ("[1.2.3.4]:80", nil), ("[]:80", nil),
      ("a.example:80", nil), ("1.2.3.4:+80", nil), ("1.2.3.4:-1", nil), ("1.2.3.4\0:80", nil),
      ("1.2.3.4:99999999999999999999", nil),
      ("[1:2:3:4:5:6:7:8:9:a:b:c:d:e:f:0:1:2:3:4:5:6]:80", nil),
    ] as [(String, String?)])
  func hostAndPort(text: String, expected: String?) {
    let address = Bytes.with(text) { SocketAddress(hostAndPort: $0) }
    #expect(address?.description == expected)
  }

  @Test("equal addresses have equal hashes, and a seed changes them all")
  func hashes() throws {
    let one = try #require(SocketAddress(ip: "10.0.0.1", port: 80))
    let same = try #require(SocketAddress(ip: "10.0.0.1", port: 80))
    let port = try #require(SocketAddress(ip: "10.0.0.1", port: 81))
    #expect(one.hash(seed: 1) == same.hash(seed: 1))
    #expect(one.hash(seed: 1) != one.hash(seed: 2))
    #expect(one.hash(seed: 1) != port.hash(seed: 1))
  }
}
