import Testing

@testable import ControlTool

@Suite("Which proxy is meant")
struct TargetTests {
  @Test(
    "addresses of admin ports",
    arguments: [
      ("http://127.0.0.1:15000", "127.0.0.1:15000"), ("http://127.0.0.1:15000/", "127.0.0.1:15000"),
      ("localhost:9901", "localhost:9901"), (":9901", "127.0.0.1:9901"), ("[::1]:80", "[::1]:80"),
      ("127.0.0.1", ""), ("127.0.0.1:0", ""), ("127.0.0.1:65536", ""), ("::1:80", ""),
      ("https://a:1", ""), ("a/b:1", ""),
    ])
  func addresses(text: String, wanted: String) {
    #expect(HTTPAddress(text)?.description ?? "" == wanted)
  }

  @Test("targets are told apart by their form")
  func targets() throws {
    let id = "sidecar~10.0.0.1~web-1.default~default.svc.cluster.local"
    func target(_ text: String) throws -> ProxyTarget {
      try ProxyTarget(text, namespace: "shop")
    }
    #expect(try target("pid:17") == .process(17))
    #expect(try target(id) == .node(id))
    #expect(try target("web-1.default") == .pod("web-1.default"))
    #expect(try target("web-1") == .pod("web-1.shop"))
    #expect(try target("127.0.0.1:1") == .admin(HTTPAddress(host: "127.0.0.1", port: 1)))
    for wrong in ["", "pid:", "pid:x", "pid:-1", "https://a:1", "127.0.0.1:x"] {
      #expect(throws: ToolError.self) { try target(wrong) }
    }
  }

  @Test("a node is known by its id, or by the third part of it")
  func nodes() {
    let id = "sidecar~10.0.0.1~web-1.default~default.svc.cluster.local"
    #expect(ProxyTarget.node(id).fits(nodeID: id))
    #expect(ProxyTarget.pod("web-1.default").fits(nodeID: id))
    #expect(ProxyTarget.pod("test.node").fits(nodeID: "test.node"))
    #expect(!ProxyTarget.pod("web-1.other").fits(nodeID: id))
    #expect(!ProxyTarget.pod("10.0.0.1").fits(nodeID: id))
  }

  @Test("connections are read as the control plane tells them")
  func connections() throws {
    let document = try json(
      #"{"clients":[{"connectionId":"a-1","nodeId":"sidecar~10.0.0.1~a.b~d","admin":"#
        + #""http://127.1.2.3:15000"},{"connectionId":"b-1","nodeId":"b"}]}"#)
    let found = ControlPlaneClient.connections(in: document)
    #expect(found.map(\.admin?.description) == ["127.1.2.3:15000", nil])
    #expect(found.map(\.address) == ["10.0.0.1", nil])
    #expect(ControlPlaneClient.known(found) == "Connected are: a.b, b.")
    #expect(ControlPlaneClient.known([]) == "None is connected at all.")
  }

  @Test("a node's id is escaped in a query")
  func escaped() {
    #expect(ControlPlaneClient.escaped("a~b.c|d e/é") == "a~b.c%7Cd%20e%2F%C3%A9")
  }

  @Test("listening sockets of a process are read from the kernel's table")
  func sockets() {
    let table = """
        sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
         0: 0100007F:3A98 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 111 1
         1: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 112 1
         2: 0100007F:0050 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 113 1
         3: 0100007F:0051 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 999 1
         4: 00000000000000000000000001000000:0052 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 114 1
      """
    let found = ProcessLookup.addresses(in: Array(table.utf8), of: ["111", "112", "113", "114"])
    #expect(found.map(\.description) == ["127.0.0.1:15000", "127.0.0.1:8080", "[::1]:82"])
  }

  @Test(
    "levels become the proxy's own question",
    arguments: [
      ("debug", "/logging?level=debug"), ("all:warn", "/logging?level=warning"),
      ("http:debug,pool:trace", "/logging?paths=http%3Adebug,pool%3Atrace"),
      ("loud", ""), ("http:loud", ""), ("", ""), (":debug", ""), ("a:b:c", ""),
      ("debug,http:info", ""),
    ])
  func levels(text: String, target: String) {
    #expect((try? LogLevels(text).target) ?? "" == target)
  }
}

@Suite("Answers of an admin port")
struct HTTPAnswerTests {
  private func answer(_ text: String) -> HTTPAnswer? { HTTPAnswer(received: Array(text.utf8)) }

  @Test(
    "bodies end by length, by chunks or with the connection",
    arguments: [
      "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n",
      "HTTP/1.1 200 OK\r\nserver: x\r\n\r\nhello",
    ])
  func bodies(text: String) {
    #expect(answer(text) == HTTPAnswer(status: 200, body: Array("hello".utf8)))
  }

  @Test(
    "what is cut short is no answer",
    arguments: [
      "", "HTTP/1.1 200 OK\r\n", "SSH-2.0-x\r\n\r\n",
      "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nhello",
      "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\nhello",
      "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n",
      "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffff\r\nhe\r\n",
      "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n7fffffffffffffff\r\nhe\r\n",
      "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n-2\r\nhe\r\n0\r\n\r\n",
    ])
  func cut(text: String) { #expect(answer(text) == nil) }
}

@Suite("Times in answers")
struct TimestampTests {
  @Test(
    "times of RFC 3339",
    arguments: [
      ("1970-01-01T00:00:00Z", 0), ("2026-11-26T12:26:59Z", 1_795_696_019),
      ("2026-11-26T12:26:59.123Z", 1_795_696_019), ("2026-11-26T14:26:59+02:00", 1_795_696_019),
      ("2026-11-26T12:26:59", nil), ("yesterday", nil), ("", nil), ("2026-11-26 12:26:59Z", nil),
    ] as [(String, Int?)])
  func read(text: String, second: Int?) { #expect(Timestamp.second(of: text) == second) }

  @Test("times are written as RFC 3339 has them, and ages in one unit")
  func write() {
    #expect(Timestamp.text(1_795_696_019) == "2026-11-26T12:26:59Z")
    #expect(
      [0, 59, 60, 3599, 3600, 86_399, 86_400, 864_000].map { Timestamp.age(of: 0, at: $0) }
        == ["0s", "59s", "1m", "59m", "1h", "23h", "1d", "10d"])
    #expect(Timestamp.age(of: 10, at: 5) == "0s")
  }
}
