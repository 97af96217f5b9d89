import Engine

/// Reads the heads of frames as they go by (RFC 9113 §4.1), so that frames which nghttp2 passes over
/// in silence are seen too. It is told bytes, in whatever pieces they come.
struct HTTP2FrameScanner {
  /// One frame's head.
  struct Head: Equatable {
    var length = 0
    var type: UInt8 = 0
    var flags: UInt8 = 0
    var stream: Int32 = 0
  }

  /// Bytes to pass over before the next head: the client's preface at first.
  private var skip: Int
  private var bytes = InlineArray<9, UInt8>(repeating: 0)
  private var count = 0

  init(behind preface: Int) { skip = preface }

  /// The next head that is whole; `position` moves behind it.
  mutating func next(_ input: Bytes, at position: inout Int) -> Head? {
    while position < input.count {
      let passed = min(skip, input.count - position)
      skip -= passed
      position += passed
      guard position < input.count else { return nil }
      bytes[count] = input[position]
      count += 1
      position += 1
      guard count == 9 else { continue }
      count = 0
      let head = self.head
      skip = head.length
      return head
    }
    return nil
  }

  /// Bytes of a head that is not whole yet.
  var partialBytes: Int { count }

  /// Lends the bytes of the last head.
  func withHeadBytes<Result>(_ body: (Bytes) -> Result) -> Result {
    let span = bytes.span
    return unsafe span.withUnsafeBufferPointer { buffer in
      guard let base = buffer.baseAddress else { return body(.empty) }
      return body(unsafe Bytes(base: base, count: buffer.count))
    }
  }

  private var head: Head {
    let length = Int(bytes[0]) << 16 | Int(bytes[1]) << 8 | Int(bytes[2])
    let stream =
      Int32(bytes[5] & 0x7F) << 24 | Int32(bytes[6]) << 16 | Int32(bytes[7]) << 8
      | Int32(bytes[8])
    return Head(length: length, type: bytes[3], flags: bytes[4], stream: stream)
  }
}
