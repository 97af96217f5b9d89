/// Durations as proto3's JSON mapping writes them.
enum DurationText {
  /// Seconds and nanoseconds of `1.5s`; nothing for anything else, and nothing below zero, because
  /// no field means a time that has passed.
  static func parse(_ text: String) -> (seconds: Int64, nanoseconds: Int32)? {
    var rest = text.utf8[...]
    guard rest.popLast() == UInt8(ascii: "s") else { return nil }
    let parts = rest.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
    guard parts.count <= 2, let whole = parts.first, let seconds = digits(whole, atMost: 12) else {
      return nil
    }
    guard parts.count == 2 else { return (seconds, 0) }
    guard var nanoseconds = digits(parts[1], atMost: 9) else { return nil }
    for _ in parts[1].count..<9 { nanoseconds *= 10 }
    return (seconds, Int32(truncatingIfNeeded: nanoseconds))
  }

  private static func digits(_ text: Substring.UTF8View.SubSequence, atMost length: Int) -> Int64? {
    guard !text.isEmpty, text.count <= length else { return nil }
    var value: Int64 = 0
    for byte in text {
      guard byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") else { return nil }
      value = value * 10 + Int64(byte - UInt8(ascii: "0"))
    }
    return value
  }
}

/// Base64 as proto3's JSON mapping takes it: either alphabet, with or without padding.
enum Base64 {
  static func decode(_ text: String) -> [UInt8]? {
    var digits = Array(text.utf8)
    let padding = digits.reversed().prefix { $0 == UInt8(ascii: "=") }.count
    guard padding <= 2, padding == 0 || digits.count.isMultiple(of: 4) else { return nil }
    digits.removeLast(padding)
    guard digits.count % 4 != 1 else { return nil }
    var out: [UInt8] = []
    var held: UInt32 = 0
    var bits = 0
    for byte in digits {
      guard let digit = value(of: byte) else { return nil }
      held = held << 6 | digit
      bits += 6
      if bits >= 8 {
        bits -= 8
        out.append(UInt8(truncatingIfNeeded: held >> UInt32(bits)))
      }
    }
    return out
  }

  private static func value(of byte: UInt8) -> UInt32? {
    switch byte {
    case UInt8(ascii: "A")...UInt8(ascii: "Z"): UInt32(byte - UInt8(ascii: "A"))
    case UInt8(ascii: "a")...UInt8(ascii: "z"): UInt32(byte - UInt8(ascii: "a") + 26)
    case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt32(byte - UInt8(ascii: "0") + 52)
    case UInt8(ascii: "+"), UInt8(ascii: "-"): 62
    case UInt8(ascii: "/"), UInt8(ascii: "_"): 63
    default: nil
    }
  }
}
