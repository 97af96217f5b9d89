import FilterSDK

/// Writes base64 of bytes that come one by one, up to `finish`, which pads.
struct Base64Encoder: BitwiseCopyable {
  /// Bytes of the present group of three.
  private var pending = 0
  private var bits: UInt32 = 0

  /// Adds a byte.
  mutating func encode(_ byte: UInt8, into output: inout ByteOutput) {
    bits = bits << 8 | UInt32(byte)
    pending += 1
    guard pending == 3 else { return }
    Self.append(bits >> 18, to: &output)
    Self.append(bits >> 12, to: &output)
    Self.append(bits >> 6, to: &output)
    Self.append(bits, to: &output)
    self = Base64Encoder()
  }

  /// Ends the encoding; what follows begins another.
  mutating func finish(into output: inout ByteOutput) {
    switch pending {
    case 1:
      Self.append(bits >> 2, to: &output)
      Self.append(bits << 4, to: &output)
      output.append("==")
    case 2:
      Self.append(bits >> 10, to: &output)
      Self.append(bits >> 4, to: &output)
      Self.append(bits << 2, to: &output)
      output.append("=")
    default: break
    }
    self = Base64Encoder()
  }

  private static var alphabet: ByteView {
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
  }

  private static func append(_ sixBits: UInt32, to output: inout ByteOutput) {
    output.append(alphabet[Int(sixBits & 63)])
  }
}

/// Writes gRPC messages as base64, each by itself: its five bytes of prefix and what they announce.
struct MessageEncoder: BitwiseCopyable {
  private var encoder = Base64Encoder()
  private var prefixBytes: UInt8 = 0
  private var length: UInt32 = 0
  /// Bytes of the present message that are still to come.
  private var rest: UInt32 = 0

  /// Room that a piece may need: a group for each byte of empty messages is more than any.
  static func room(for bytes: Int) -> Int { bytes / 5 * 8 + (bytes / 3 + 2) * 4 }

  /// Writes a piece.
  mutating func encode(_ bytes: ByteView, into output: inout ByteOutput) {
    for index in 0..<bytes.count {
      let byte = bytes[index]
      encoder.encode(byte, into: &output)
      if rest > 0 {
        rest -= 1
      } else {
        if prefixBytes > 0 { length = length << 8 | UInt32(byte) }
        prefixBytes += 1
        guard prefixBytes == 5 else { continue }
        prefixBytes = 0
        rest = length
        length = 0
      }
      if rest == 0 { encoder.finish(into: &output) }
    }
  }
}
