import FilterSDK

/// Reads base64 that comes in any pieces. Padding ends one encoding and another may begin, because a
/// client may encode each message by itself.
struct Base64Decoder: BitwiseCopyable {
  /// Characters of the present group of four, padding included.
  private(set) var pending = 0
  private var bits: UInt32 = 0
  private var padding = 0

  /// Room that the bytes of a piece may need, with those of a group that it ends.
  static func room(for characters: Int) -> Int { (characters / 4 + 1) * 3 }

  /// Reads a piece; false for what is not base64.
  mutating func decode(_ bytes: ByteView, into output: inout ByteOutput) -> Bool {
    for index in 0..<bytes.count {
      if bytes[index] == UInt8(ascii: "=") {
        // RFC 4648 §3.2: only the last two of four; and §3.5: what they leave over is nothing.
        let left = bits & (pending == 2 ? 0xF : 0x3)
        guard pending >= 2, padding > 0 || left == 0 else { return false }
        padding += 1
        bits <<= 6
      } else {
        guard padding == 0, let value = Self.value(bytes[index]) else { return false }
        bits = bits << 6 | UInt32(value)
      }
      pending += 1
      if pending == 4 { finishGroup(into: &output) }
    }
    return true
  }

  private mutating func finishGroup(into output: inout ByteOutput) {
    output.append(UInt8(truncatingIfNeeded: bits >> 16))
    if padding < 2 { output.append(UInt8(truncatingIfNeeded: bits >> 8)) }
    if padding < 1 { output.append(UInt8(truncatingIfNeeded: bits)) }
    self = Base64Decoder()
  }

  private static func value(_ character: UInt8) -> UInt8? {
    switch character {
    case UInt8(ascii: "A")...UInt8(ascii: "Z"): character - 65
    case UInt8(ascii: "a")...UInt8(ascii: "z"): character - 71
    case UInt8(ascii: "0")...UInt8(ascii: "9"): character + 4
    case UInt8(ascii: "+"): 62
    case UInt8(ascii: "/"): 63
    default: nil
    }
  }
}
