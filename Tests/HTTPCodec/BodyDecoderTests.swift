import Engine
import HTTPCodec
import Testing

@Suite("Bodies in chunks")
struct BodyDecoderTests {
  /// What a body's events say: data joined, and how it ended.
  private func read(_ text: String, inPiecesOf size: Int, joined: Bool) -> (
    data: String, pieces: Int, end: String
  ) {
    var decoder = BodyDecoder(.chunked)
    var data = ""
    var pieces = 0
    let all = Array(text.utf8)
    for start in stride(from: 0, to: all.count, by: size) {
      var bytes = Array(all[start..<min(start + size, all.count)])
      let end: String? = unsafe bytes.withUnsafeMutableBufferPointer { buffer in
        guard let base = buffer.baseAddress else { return nil }
        var position = 0
        while true {
          let input = unsafe Bytes(base: UnsafePointer(base), count: buffer.count)
          let event =
            joined
            ? unsafe decoder.nextJoined(base, buffer.count, at: &position)
            : decoder.next(input, at: &position)
          switch event {
          case .data(let piece):
            data += piece.string
            pieces += 1
          case .needMore: return nil
          case .end: return "end"
          case .trailers: return "trailers"
          case .invalid: return "invalid"
          }
        }
      }
      if let end { return (data, pieces, end) }
    }
    return (data, pieces, "incomplete")
  }

  @Test(
    "joining chunks changes nothing but the number of pieces",
    arguments: [
      "5\r\nhello\r\n0\r\n\r\n", "1\r\nh\r\n1\r\ne\r\n3;x=y\r\nllo\r\n0\r\n\r\n", "0\r\n\r\n",
      "1\r\nh\r\n1\r\ne\r\nx", "1\r\nh\r\n2\r\nel", "3\r\nabc\r\n4\r\ndefg\r\nzz",
    ])
  func joining(text: String) {
    for size in 1...text.utf8.count {
      let plain = read(text, inPiecesOf: size, joined: false)
      let joined = read(text, inPiecesOf: size, joined: true)
      #expect(joined.data == plain.data)
      #expect(joined.end == plain.end)
      #expect(joined.pieces <= plain.pieces)
    }
  }

  @Test("chunks of one byte come in few pieces")
  func manyChunks() {
    let text = String(repeating: "1\r\nx\r\n", count: 20_000) + "0\r\n\r\n"
    let joined = read(text, inPiecesOf: text.utf8.count, joined: true)
    #expect(joined.data.utf8.count == 20_000)
    #expect(joined.end == "trailers")
    #expect(joined.pieces == 2)
  }

  @Test(
    "behind a chunk's size stands its extension or nothing",
    arguments: [
      ("5\r\nhello\r\n", "incomplete"), ("5 \r\nhello\r\n", "incomplete"),
      ("5 \t;a\r\nhello\r\n", "incomplete"), ("5 5\r\nhello\r\n", "invalid"),
      ("5 a\r\nhello\r\n", "invalid"), ("5\t;\r\nhello\r\n", "incomplete"),
    ])
  func extensions(text: String, end: String) {
    #expect(read(text, inPiecesOf: 1, joined: false).end == end)
  }
}
