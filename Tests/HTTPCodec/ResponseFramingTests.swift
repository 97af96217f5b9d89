import Engine
import HTTPModel
import Testing

@testable import HTTPCodec

@Suite("What follows the head of a response")
struct ResponseFramingTests {
  private func framing(
    _ fields: [(String, String)], status: Int, toHEAD: Bool = false
  ) -> (body: BodyFraming, error: HTTP1Error?) {
    var pool = BlockPool()
    var head = HeaderMap()
    head.open(from: &pool)
    for (name, value) in fields {
      Array(name.utf8).withUnsafeBufferPointer { name in
        Array(value.utf8).withUnsafeBufferPointer { value in
          guard let n = name.baseAddress, let v = value.baseAddress else { return }
          let name = unsafe Bytes(base: n, count: name.count)
          unsafe head.add(
            name, id: HeaderID.of(name), Bytes(base: v, count: value.count), from: &pool)
        }
      }
    }
    let (framing, error) = HTTP1Framing.response(head, status: status, minor: 1, toHEAD: toHEAD)
    head.release(into: &pool)
    return (framing.body, error)
  }

  @Test("a 204 or 1xx that announces a body is refused", arguments: [101, 103, 204])
  func bodilessWithLength(status: Int) {
    #expect(framing([("content-length", "1")], status: status).error == .contentLength)
    #expect(framing([("transfer-encoding", "chunked")], status: status).error == .transferEncoding)
  }

  @Test("a 204 or 1xx may say that it has none", arguments: [101, 103, 204])
  func bodilessWithZero(status: Int) {
    let found = framing([("content-length", "0")], status: status)
    #expect(found.error == nil)
    #expect(found.body == .none)
  }

  @Test("a 304 and an answer to HEAD tell the length of a body that does not follow")
  func lengthWithoutBody() {
    let notModified = framing([("content-length", "5")], status: 304)
    #expect(notModified.error == nil)
    #expect(notModified.body == .none)
    let toHEAD = framing([("content-length", "5")], status: 200, toHEAD: true)
    #expect(toHEAD.error == nil)
    #expect(toHEAD.body == .none)
  }

  @Test("a 200 without framing lasts until the connection ends")
  func untilClose() {
    #expect(framing([], status: 200).body == .untilClose)
  }
}
