import Engine
import Glibc
import Testing

@testable import Upstream

@Suite("Name resolution")
struct DNSResolverTests {
  private let loop = EventLoop()
  private let server: FakeNameServer

  init() {
    server = FakeNameServer(on: loop)
    server.zone["both.example"] = .init(v4: ["10.0.0.1", "10.0.0.2"], v6: ["fd00::1"], ttl: 7)
    server.zone["four.example"] = .init(v4: ["10.0.0.4"])
    server.zone["six.example"] = .init(v6: ["fd00::6"])
  }

  private func makeResolver(timeout: UInt64 = 100, tries: UInt32 = 1) -> DNSResolver {
    var options = ResolverOptions()
    options.servers = .immortal([server.address])
    options.queryTimeout = timeout
    options.tries = tries
    return DNSResolver(loop: loop, options: options)
  }

  /// The answer for a name, as addresses or as a sentence.
  private func resolve(
    _ name: String, _ lookup: DNSOptions.Lookup, with resolver: DNSResolver
  ) -> (addresses: [String], records: [DNSRecord], failure: String?) {
    var answer: DNSAnswer?
    let query = resolver.resolve(name, port: 80, lookup: lookup) { answer = $0 }
    #expect(answer == nil, "the completion is not called from within")
    #expect(loop.turn { answer != nil })
    withExtendedLifetime(query) {}
    switch answer {
    case .records(let records): return (records.map(\.address.description), records, nil)
    case .failure(let reason): return ([], [], reason)
    case nil: return ([], [], "no answer")
    }
  }

  @Test(
    "the lookup family decides which addresses are found",
    arguments: [
      ("both.example", DNSOptions.Lookup.auto, ["[fd00::1]:80"]),
      ("four.example", .auto, ["10.0.0.4:80"]),
      ("six.example", .auto, ["[fd00::6]:80"]),
      ("both.example", .v4Preferred, ["10.0.0.1:80", "10.0.0.2:80"]),
      ("six.example", .v4Preferred, ["[fd00::6]:80"]),
      ("both.example", .v4Only, ["10.0.0.1:80", "10.0.0.2:80"]),
      ("six.example", .v4Only, []),
      ("both.example", .v6Only, ["[fd00::1]:80"]),
      ("four.example", .v6Only, []),
      ("both.example", .all, ["10.0.0.1:80", "10.0.0.2:80", "[fd00::1]:80"]),
      ("four.example", .all, ["10.0.0.4:80"]),
      ("unknown.example", .all, []),
      ("unknown.example", .auto, []),
    ])
  func families(name: String, lookup: DNSOptions.Lookup, expected: [String]) {
    let found = resolve(name, lookup, with: makeResolver())
    #expect(found.failure == nil)
    #expect(found.addresses.sorted() == expected)
  }

  @Test("records bring their time to live")
  func ttl() {
    #expect(resolve("both.example", .all, with: makeResolver()).records.map(\.ttl) == [7, 7, 7])
  }

  @Test("literals need no server", arguments: [("127.0.0.1", "127.0.0.1:80"), ("::1", "[::1]:80")])
  func literals(name: String, expected: String) {
    #expect(resolve(name, .auto, with: makeResolver()).addresses == [expected])
    #expect(server.queryCount == 0)
  }

  @Test("a name in /etc/hosts needs no server")
  func hostsFile() throws {
    // A machine without any name of its own has nothing to show here.
    guard let entry = Self.hostsFileEntry() else { return }
    let found = resolve(entry.name, entry.isIPv6 ? .v6Only : .v4Only, with: makeResolver())
    #expect(found.addresses.contains(entry.address))
    #expect(server.queryCount == 0)
  }

  private static func hostsFileEntry() -> (name: String, address: String, isIPv6: Bool)? {
    guard let file = fopen("/etc/hosts", "r") else { return nil }
    defer { fclose(file) }
    var line = [CChar](repeating: 0, count: 1024)
    while fgets(&line, Int32(line.count), file) != nil {
      let text = line.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
      let words = text.prefix { $0 != "#" }.split(whereSeparator: \.isWhitespace).map(String.init)
      guard words.count >= 2, words[1] != "localhost",
        let address = SocketAddress(ip: words[0], port: 80)
      else { continue }
      return (words[1], address.description, address.isIPv6)
    }
    return nil
  }

  @Test("a server's failure is a sentence with the name", arguments: [UInt8(2), 5])
  func refused(code: UInt8) {
    server.behaviour = .refuse(code: code)
    let found = resolve("both.example", .v4Only, with: makeResolver())
    #expect(found.failure?.hasPrefix("cannot resolve 'both.example': ") == true)
  }

  @Test("a silent server is asked as often as configured, then given up", arguments: [1, 2, 3])
  func silence(tries: UInt32) {
    server.behaviour = .silence
    let found = resolve("both.example", .v4Only, with: makeResolver(timeout: 20, tries: tries))
    #expect(found.failure?.contains("Timeout") == true, "\(found)")
    #expect(server.queryCount == Int(tries))
  }

  @Test("after a silent spell the same resolver works again")
  func recovers() {
    let resolver = makeResolver(timeout: 20)
    server.behaviour = .silence
    #expect(resolve("four.example", .v4Only, with: resolver).failure != nil)
    server.behaviour = .answer
    #expect(resolve("four.example", .v4Only, with: resolver).addresses == ["10.0.0.4:80"])
  }

  @Test("an answer too large for UDP comes over TCP, in pieces")
  func overTCP() {
    let many = (0..<300).map { "10.1.\($0 / 250).\($0 % 250)" }
    server.zone["many.example"] = .init(v4: many)
    let found = resolve("many.example", .v4Only, with: makeResolver(timeout: 2000))
    #expect(found.failure == nil)
    #expect(found.addresses.count == 300)
    #expect(server.tcpQueryCount == 1)
  }

  @Test("many names are asked for at once")
  func concurrent() {
    let resolver = makeResolver(timeout: 2000)
    var answers = 0
    var queries: [DNSQuery] = []
    for index in 0..<50 {
      server.zone["n\(index).example"] = .init(v4: ["10.2.0.\(index)"])
      queries.append(
        resolver.resolve("n\(index).example", lookup: .v4Only) { answer in
          if case .records(let records) = answer, records.first?.address.ip == "10.2.0.\(index)" {
            answers += 1
          }
        })
    }
    #expect(loop.turn { answers == 50 })
  }

  @Test("a cancelled lookup is not heard of again")
  func cancelled() {
    let resolver = makeResolver()
    var called = false
    let query = resolver.resolve("both.example", lookup: .auto) { _ in called = true }
    query.cancel()
    #expect(!resolve("both.example", .all, with: resolver).addresses.isEmpty)
    #expect(!called)
  }

  @Test("a resolver that goes away ends its lookups")
  func goesAway() {
    server.behaviour = .silence
    var failure: String?
    var resolver: DNSResolver? = makeResolver(timeout: 5000)
    let query = resolver?.resolve("both.example", lookup: .v4Only) {
      if case .failure(let reason) = $0 { failure = reason }
    }
    loop.turn(waitAtMost: 1)
    resolver = nil
    #expect(loop.turn { failure != nil })
    withExtendedLifetime(query) {}
  }

  @Test(
    "names that are not names fail without harm",
    arguments: ["", ".", "a..b", String(repeating: "a", count: 300)])
  func badNames(name: String) {
    #expect(resolve(name, .v4Only, with: makeResolver()).addresses.isEmpty)
  }
}
