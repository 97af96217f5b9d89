import Engine
import Inspection
import Testing

@Suite("A plain connection's first bytes")
struct HTTPOpeningTests {
  static func told(_ text: String, limit: Int = 8192) -> String {
    lend(Array(text.utf8)) { bytes in
      let outcome = HTTPOpening.inspect(bytes, limit: limit)
      return outcome.finding.map { $0.name.string } ?? "\(outcome.kind)"
    }
  }

  @Test(
    "versions are told apart by the request line",
    arguments: [
      ("GET / HTTP/1.1\r\n", "http/1.1"), ("POST /x HTTP/1.0\r\nHost: a", "http/1.0"),
      ("GET / HTTP/1.1\n", "http/1.1"), ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "h2c"),
      ("GET / HTTP/1.1", "incomplete"), ("GE", "incomplete"), ("", "incomplete"),
      ("PRI * HTTP/2.0\r\n\r\n", "incomplete"), ("PRI * HTTP/2.0\r\n\r\nXX", "absent"),
      ("GET /\r\n", "absent"), ("GET / HTTP/3.0\r\n", "absent"), (" GET / HTTP/1.1\r\n", "absent"),
      ("\u{1}\u{2}", "absent"), ("*1\r\n$4\r\nPING\r\n", "absent"), ("SSH-2.0-x\r\n", "absent"),
    ])
  func openings(text: String, expected: String) {
    #expect(Self.told(text) == expected)
  }

  @Test("a request line is waited for up to the limit")
  func limit() {
    let line = "GET /" + String(repeating: "a", count: 90)
    #expect(Self.told(line, limit: 96) == "incomplete")
    #expect(Self.told(line, limit: 95) == "absent")
  }

  @Test("a word without end is no method")
  func longMethod() {
    #expect(Self.told(String(repeating: "A", count: 31)) == "incomplete")
    #expect(Self.told(String(repeating: "A", count: 32)) == "absent")
  }
}
