/// How protobuf's JSON writes bytes (RFC 4648 §4; also §5, which parsers have to accept).
enum Base64 {
  /// The bytes; nil when the text is no such thing.
  static func decode(_ text: String) -> [UInt8]? {
    var out: [UInt8] = []
    var word: UInt32 = 0
    var bits: UInt32 = 0
    var digits = Substring(text)
    while digits.hasSuffix("=") { digits.removeLast() }
    for byte in digits.utf8 {
      guard let sextet = sextet(byte) else { return nil }
      word = (word << 6 | sextet) & 0xffff
      bits += 6
      guard bits >= 8 else { continue }
      bits -= 8
      out.append(UInt8(truncatingIfNeeded: word >> bits))
    }
    return out
  }

  private static func sextet(_ byte: UInt8) -> UInt32? {
    switch byte {
    case UInt8(ascii: "A")...UInt8(ascii: "Z"): UInt32(byte - UInt8(ascii: "A"))
    case UInt8(ascii: "a")...UInt8(ascii: "z"): UInt32(byte - UInt8(ascii: "a")) + 26
    case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt32(byte - UInt8(ascii: "0")) + 52
    case UInt8(ascii: "+"), UInt8(ascii: "-"): 62
    case UInt8(ascii: "/"), UInt8(ascii: "_"): 63
    default: nil
    }
  }
}
