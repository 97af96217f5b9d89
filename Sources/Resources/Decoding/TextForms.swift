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

  /// The same of Go's form, such as `1h30m`, `1.5s` or `250ms`: numbers, each with its unit, of the
  /// units h, m, s, ms, us and ns.
  static func parseGo(_ text: String) -> (seconds: Int64, nanoseconds: Int32)? {
    guard text != "0" else { return (0, 0) }
    var rest = text.utf8[...]
    var total: Int64 = 0
    guard !rest.isEmpty else { return nil }
    while !rest.isEmpty {
      let number = rest.prefix { ($0 >= 48 && $0 <= 57) || $0 == UInt8(ascii: ".") }
      rest = rest.dropFirst(number.count)
      let unit = rest.prefix { $0 >= UInt8(ascii: "a") && $0 <= UInt8(ascii: "z") }
      rest = rest.dropFirst(unit.count)
      guard let factor = goUnits[String(Substring(unit))], let part = scaled(number, by: factor)
      else { return nil }
      let (sum, overflows) = total.addingReportingOverflow(part)
      guard !overflows else { return nil }
      total = sum
    }
    return (total / 1_000_000_000, Int32(truncatingIfNeeded: total % 1_000_000_000))
  }

  /// Nanoseconds in each of Go's units.
  private static let goUnits: [String: Int64] = [
    "h": 3_600_000_000_000, "m": 60_000_000_000, "s": 1_000_000_000, "ms": 1_000_000, "us": 1_000,
    "ns": 1,
  ]

  /// `1.5` of a unit, in nanoseconds; what is below one is cut off.
  private static func scaled(_ number: Substring.UTF8View.SubSequence, by factor: Int64) -> Int64? {
    let parts = number.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
    guard parts.count <= 2, let whole = digits(parts[0], atMost: 9) else { return nil }
    let (scaled, overflows) = whole.multipliedReportingOverflow(by: factor)
    guard !overflows else { return nil }
    guard parts.count == 2 else { return scaled }
    guard let fraction = digits(parts[1], atMost: 9) else { return nil }
    let share = Double(fraction) / Double.tenTo(parts[1].count)
    return scaled + Int64(share * Double(factor))
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

extension Double {
  /// A power of ten, of few digits.
  fileprivate static func tenTo(_ digits: Int) -> Double {
    (0..<digits).reduce(1) { power, _ in power * 10 }
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
