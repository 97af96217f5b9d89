/// What a scalar means before anything is known about the field it is for.
///
/// The rules are those by which Envoy reads YAML (yaml-cpp's): quotes make a string, `yes`, `on`
/// and `y` are booleans, `0x10` and `010` are sixteen and eight.
enum YAMLScalar: Equatable {
  case null
  case bool(Bool)
  case integer(Int64)
  /// Any other number, by its value.
  case number(Double)
  case string

  init(_ node: YAMLDocument.Node) {
    guard node.isPlain else {
      self = .string
      return
    }
    self = Self.startsNumber(node.text) ? Self.number(node.text) : Self.word(node.text)
  }

  /// No number begins with another byte, and no word with one of these: most scalars are told apart
  /// by their first byte.
  private static func startsNumber(_ text: String) -> Bool {
    guard let first = text.utf8.first else { return false }
    return first >= UInt8(ascii: "0") && first <= UInt8(ascii: "9") || first == UInt8(ascii: "-")
      || first == UInt8(ascii: "+") || first == UInt8(ascii: ".")
  }

  private static func number(_ text: String) -> YAMLScalar {
    if let integer = integer(text) { return .integer(integer) }
    if let number = decimal(text) { return .number(number) }
    return .string
  }

  private static func word(_ text: String) -> YAMLScalar {
    switch text {
    case "", "~", "null", "Null", "NULL": .null
    default: bool(text).map(YAMLScalar.bool) ?? .string
    }
  }

  /// `true`, `True` and `TRUE`, but not `tRue`.
  private static func bool(_ text: String) -> Bool? {
    guard text.utf8.count <= 5 else { return nil }
    let lower = text.lowercased()
    guard text == lower || text == text.uppercased() || text == lower.capitalizingFirst else {
      return nil
    }
    switch lower {
    case "y", "yes", "true", "on": return true
    case "n", "no", "false", "off": return false
    default: return nil
    }
  }

  private static func integer(_ text: String) -> Int64? {
    var digits = text[...]
    var sign = ""
    if let first = digits.first, first == "-" || first == "+" {
      sign = String(first)
      digits = digits.dropFirst()
    }
    // A second sign is not a digit, though the standard library's reader would take it.
    guard let first = digits.utf8.first, first >= UInt8(ascii: "0"), first <= UInt8(ascii: "9")
    else { return nil }
    if digits.hasPrefix("0x") || digits.hasPrefix("0X") {
      let hexadecimal = digits.dropFirst(2)
      guard hexadecimal.utf8.first != UInt8(ascii: "-"), hexadecimal.first != "+" else {
        return nil
      }
      return Int64(sign + hexadecimal, radix: 16)
    }
    if digits.utf8.count > 1, digits.hasPrefix("0") { return Int64(sign + digits, radix: 8) }
    return Int64(sign + digits, radix: 10)
  }

  /// A decimal number with or without fraction and exponent; neither hexadecimal nor a word.
  static func decimal(_ text: String) -> Double? {
    let allowed = text.utf8.allSatisfy { byte in
      (byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9")) || byte == UInt8(ascii: ".")
        || byte == UInt8(ascii: "-") || byte == UInt8(ascii: "+")
        || byte | 0x20 == UInt8(ascii: "e")
    }
    guard allowed, let value = Double(text), value.isFinite else { return nil }
    return value
  }
}

extension String {
  fileprivate var capitalizingFirst: String { prefix(1).uppercased() + dropFirst() }
}
