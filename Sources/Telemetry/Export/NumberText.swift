import CLinux

/// Numbers in the forms in which Envoy prints them.
enum NumberText {
  /// The shortest digits that read back as the same number: `51.5`, `3`, `1.0142857142857142`.
  static func shortest(_ value: Double) -> String {
    let text = value.description
    return text.hasSuffix(".0") ? String(text.dropLast(2)) : text
  }

  /// `printf`'s `%g` with this many significant digits.
  static func general(_ value: Double, digits: Int32 = 6) -> String {
    // The longest: a sign, 32 digits, a point, an exponent.
    unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: 64) { buffer in
      guard let base = buffer.baseAddress else { return "" }
      // SAFETY: the length given is the buffer's, and `snprintf` ends the text within it.
      _ = unsafe telemetry_print_general(base, 64, value, digits)
      return unsafe String(cString: base)
    }
  }

  /// A JSON number as Envoy writes bounds: scientific where that is shorter (`3e+05`).
  static func json(_ value: Double) -> String {
    let plain = shortest(value)
    for digits in Int32(1)...17 {
      let text = general(value, digits: digits)
      guard text.count < plain.count else { break }
      if Double(text) == value { return text }
    }
    return plain
  }
}

extension [UInt8] {
  /// Appends a text's UTF-8.
  mutating func append(_ text: String) { append(contentsOf: text.utf8) }

  /// Appends a text as a JSON string with its quotes.
  mutating func appendJSON(_ text: String) {
    append(UInt8(ascii: "\""))
    for byte in text.utf8 {
      switch byte {
      case UInt8(ascii: "\""): append("\\\"")
      case UInt8(ascii: "\\"): append("\\\\")
      case ..<0x20:
        append("\\u00")
        let digits = String(byte, radix: 16)
        append(digits.count < 2 ? "0" + digits : digits)
      default: append(byte)
      }
    }
    append(UInt8(ascii: "\""))
  }
}
