import Engine
import HTTPModel
import Testing

@testable import HTTPCodec

/// Found by fuzzing: a head that was over looked as if more of it could come, so its sender would
/// have waited for the header timeout instead of its 400.
@Suite("A start line that is not whole yet")
struct PartialStartLineTests {
  private func outcome(_ text: String, isRequest: Bool) -> String {
    var parser = HTTP1HeadParser(capacity: 10)
    var bytes = Array(text.utf8)
    return bytes.withUnsafeMutableBufferPointer { buffer in
      guard let base = buffer.baseAddress else { return "empty" }
      let found =
        unsafe isRequest
        ? parser.parseRequest(base, buffer.count, maxFields: 10)
        : parser.parseResponse(base, buffer.count, maxFields: 10)
      return switch found {
      case .complete: "complete"
      case .incomplete: "incomplete"
      case .invalid(let error): "\(error)"
      }
    }
  }

  @Test(
    "each beginning of a request line waits for the rest",
    arguments: (1...17).map {
      String(decoding: "POST / HTTP/1.1\r\n".utf8.prefix($0), as: UTF8.self)
    })
  func requestWaits(beginning: String) {
    #expect(outcome(beginning, isRequest: true) == "incomplete")
  }

  @Test(
    "a request whose version cannot come any more is refused at once",
    arguments: [
      "POST / HTTP/\r\n\r\n", "POST / HTTP/1\r\n\r\n", "POST / HTTP/1.\r\n\r\n", "POST / HTTP/1.1 ",
      "POST / X", "POST / HTTP/x",
    ])
  func requestRefused(beginning: String) {
    #expect(outcome(beginning, isRequest: true) == "startLine")
  }

  @Test(
    "each beginning of a status line waits for the rest",
    arguments: (1...12).map { String("HTTP/1.1 200 ".prefix($0)) })
  func responseWaits(beginning: String) {
    #expect(outcome(beginning, isRequest: false) == "incomplete")
  }

  @Test(
    "a response whose status cannot come any more is refused at once",
    arguments: ["HTTP/\r\n\r\n", "HTTP/1.1\r\n\r\n", "HTTP/1.1 2\r\n", "SSH-2.0", "HTTP/1.1 x"])
  func responseRefused(beginning: String) {
    #expect(outcome(beginning, isRequest: false) == "startLine")
  }
}
