/// A word of an expression.
struct LogExpressionToken: Equatable {
  enum Kind {
    case number, text, name, symbol
  }

  let kind: Kind
  /// Of a text, what stands between its quotes.
  let text: String

  typealias Mistake = LogExpression.Mistake

  /// Words that name nothing, but for fields.
  static let reserved: Set<String> = [
    "as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop",
    "package", "namespace", "return", "var", "void", "while",
  ]
  private static let symbols = [
    "||", "&&", "<=", ">=", "==", "!=", "<", ">", "!", "+", "-", "*", "/", "%", "?", ":", ".",
    ",", "(", ")", "[", "]", "{", "}",
  ].map { (text: $0, bytes: Array($0.utf8)) }

  /// The words of a text.
  static func all(of text: String) throws(Mistake) -> [LogExpressionToken] {
    var scanner = Scanner(bytes: Array(text.utf8))
    var found: [LogExpressionToken] = []
    while let token = try scanner.next() { found.append(token) }
    return found
  }

  private struct Scanner {
    let bytes: [UInt8]
    var at = 0

    private var byte: UInt8? { at < bytes.count ? bytes[at] : nil }

    private func starts(with text: [UInt8]) -> Bool { bytes[at...].starts(with: text) }

    mutating func next() throws(Mistake) -> LogExpressionToken? {
      skipSpace()
      guard let byte else { return nil }
      if let text = try text() { return LogExpressionToken(kind: .text, text: text) }
      if Self.isDigit(byte) { return try number() }
      if byte == UInt8(ascii: "."), at + 1 < bytes.count, Self.isDigit(bytes[at + 1]) {
        return try number()
      }
      if Self.isLetter(byte) {
        let start = at
        while let byte = self.byte, Self.isLetter(byte) || Self.isDigit(byte) { at += 1 }
        let name = String(decoding: bytes[start..<at], as: UTF8.self)
        if name == "in" { return LogExpressionToken(kind: .symbol, text: name) }
        return LogExpressionToken(kind: .name, text: name)
      }
      for symbol in symbols where starts(with: symbol.bytes) {
        at += symbol.bytes.count
        return LogExpressionToken(kind: .symbol, text: symbol.text)
      }
      throw Mistake(message: "byte \(at) begins nothing that can be read")
    }

    private mutating func skipSpace() {
      while let byte {
        if [0x20, 0x09, 0x0A, 0x0C, 0x0D].contains(byte) {
          at += 1
        } else if starts(with: Array("//".utf8)) {
          while let byte = self.byte, byte != 0x0A { at += 1 }
        } else {
          return
        }
      }
    }

    private static func isDigit(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) }

    private static func isLetter(_ byte: UInt8) -> Bool {
      (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte) || byte == UInt8(ascii: "_")
    }

    // MARK: Numbers

    private mutating func skipDigits() -> Int {
      let start = at
      while let byte, Self.isDigit(byte) { at += 1 }
      return at - start
    }

    private static func isHexadecimal(_ byte: UInt8) -> Bool {
      isDigit(byte) || (0x61...0x66).contains(byte | 0x20)
    }

    /// A number as it is written; of those that are no whole numbers the text may be anything.
    private mutating func number() throws(Mistake) -> LogExpressionToken {
      let start = at
      if starts(with: Array("0x".utf8)), at + 2 < bytes.count, Self.isHexadecimal(bytes[at + 2]) {
        at += 2
        let digits = at
        while let byte, Self.isHexadecimal(byte) { at += 1 }
        return try whole(String(decoding: bytes[digits..<at], as: UTF8.self), radix: 16)
      }
      _ = skipDigits()
      let digits = String(decoding: bytes[start..<at], as: UTF8.self)
      var isWhole = true
      if byte == UInt8(ascii: "."), at + 1 < bytes.count, Self.isDigit(bytes[at + 1]) {
        at += 1
        _ = skipDigits()
        isWhole = false
      }
      if let byte, byte | 0x20 == UInt8(ascii: "e") {
        let mark = at
        at += 1
        if let sign = self.byte, [0x2B, 0x2D].contains(sign) { at += 1 }
        if skipDigits() > 0 { isWhole = false } else { at = mark }
      }
      return isWhole
        ? try whole(digits, radix: 10) : LogExpressionToken(kind: .number, text: "fraction")
    }

    private mutating func whole(
      _ digits: String, radix: Int
    ) throws(Mistake) -> LogExpressionToken {
      let value = UInt64(digits, radix: radix)
      if let byte, byte | 0x20 == UInt8(ascii: "u") {
        at += 1
        guard value != nil else { throw Mistake(message: "\(digits)u is too large a number") }
        return LogExpressionToken(kind: .number, text: "unsigned")
      }
      guard let value, value <= UInt64(Int64.max) else {
        throw Mistake(message: "\(digits) is too large a number")
      }
      return LogExpressionToken(kind: .number, text: String(value))
    }

    // MARK: Texts

    /// What stands in quotes of any kind; nil when there are none here.
    private mutating func text() throws(Mistake) -> String? {
      let start = at
      var isRaw = false
      var isBytes = false
      if let byte, byte | 0x20 == UInt8(ascii: "b") {
        isBytes = true
        at += 1
      }
      if let byte, byte | 0x20 == UInt8(ascii: "r") {
        isRaw = true
        at += 1
      }
      guard let quote = byte, quote == 0x22 || quote == 0x27 else {
        at = start
        return nil
      }
      let long = [quote, quote, quote]
      let end = starts(with: long) ? long : [quote]
      at += end.count
      var found: [UInt8] = []
      while let byte {
        if starts(with: end) {
          at += end.count
          return String(decoding: found, as: UTF8.self)
        }
        if [0x0A, 0x0D].contains(byte), end.count == 1 { break }
        at += 1
        if byte == 0x5C, !isRaw {
          found += try escaped(isBytes: isBytes)
        } else {
          found.append(byte)
        }
      }
      throw Mistake(message: "a text does not end")
    }

    private static let escapes: [UInt8: UInt8] = [
      UInt8(ascii: "a"): 7, UInt8(ascii: "b"): 8, UInt8(ascii: "f"): 12, UInt8(ascii: "n"): 10,
      UInt8(ascii: "r"): 13, UInt8(ascii: "t"): 9, UInt8(ascii: "v"): 11,
    ]

    /// What a backslash and what follows stand for.
    private mutating func escaped(isBytes: Bool) throws(Mistake) -> [UInt8] {
      let mistake = Mistake(message: "a backslash in a text has no meaning; write \\\\ for one")
      guard let byte else { throw mistake }
      at += 1
      if let single = Self.escapes[byte] { return [single] }
      switch byte {
      case 0x22, 0x27, 0x5C, 0x60, UInt8(ascii: "?"): return [byte]
      case UInt8(ascii: "x"), UInt8(ascii: "X"):
        return try scalar(digits: 2, radix: 16, isBytes, mistake)
      case UInt8(ascii: "u") where !isBytes: return try scalar(digits: 4, radix: 16, false, mistake)
      case UInt8(ascii: "U") where !isBytes: return try scalar(digits: 8, radix: 16, false, mistake)
      case UInt8(ascii: "0")...UInt8(ascii: "3"):
        at -= 1
        return try scalar(digits: 3, radix: 8, isBytes, mistake)
      default: throw mistake
      }
    }

    private mutating func scalar(
      digits: Int, radix: Int, _ isByte: Bool, _ mistake: Mistake
    ) throws(Mistake) -> [UInt8] {
      guard at + digits <= bytes.count,
        bytes[at..<(at + digits)].allSatisfy(Self.isHexadecimal),
        let value = UInt32(String(decoding: bytes[at..<(at + digits)], as: UTF8.self), radix: radix)
      else { throw mistake }
      at += digits
      if isByte { return [UInt8(truncatingIfNeeded: value)] }
      guard let scalar = Unicode.Scalar(value) else { throw mistake }
      return Array(String(Character(scalar)).utf8)
    }
  }
}
