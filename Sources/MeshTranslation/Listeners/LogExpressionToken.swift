/// A word of an expression.
struct LogExpressionToken: Equatable {
  enum Kind {
    case number, text, name, symbol
  }

  let kind: Kind
  /// Of a text, what stands between its quotes.
  let text: String

  typealias Mistake = LogExpression.Mistake

  /// Words that name nothing.
  private static let reserved: Set<String> = [
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
      if Self.isDigit(byte) { return number() }
      if Self.isLetter(byte) {
        let start = at
        while let byte = self.byte, Self.isLetter(byte) || Self.isDigit(byte) { at += 1 }
        let name = String(decoding: bytes[start..<at], as: UTF8.self)
        if name == "in" { return LogExpressionToken(kind: .symbol, text: name) }
        guard !reserved.contains(name) else {
          throw Mistake(message: "'\(name)' is a reserved word")
        }
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

    /// Digits, and what may stand among them: what is not a plain number keeps its text.
    private mutating func number() -> LogExpressionToken {
      let start = at
      while let byte, Self.isDigit(byte) || Self.isLetter(byte) || byte == UInt8(ascii: ".") {
        let isExponent = byte | 0x20 == UInt8(ascii: "e") && bytes[start...].first != 0x30
        at += 1
        if isExponent, let sign = self.byte, [0x2B, 0x2D].contains(sign) { at += 1 }
      }
      return LogExpressionToken(
        kind: .number, text: String(decoding: bytes[start..<at], as: UTF8.self))
    }

    /// What stands in quotes of any kind; nil when there are none here.
    private mutating func text() throws(Mistake) -> String? {
      let start = at
      var isRaw = false
      while let byte, [0x72, 0x52, 0x62, 0x42].contains(byte), at - start < 2 {
        if byte | 0x20 == 0x72 { isRaw = true }
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
        if byte == 0x0A, end.count == 1 { break }
        if byte == 0x5C, !isRaw, at + 1 < bytes.count {
          // Of what is escaped, quotes and backslashes matter to those who read the text.
          if ![0x22, 0x27, 0x5C].contains(bytes[at + 1]) { found.append(byte) }
          at += 1
        }
        found.append(bytes[at])
        at += 1
      }
      throw Mistake(message: "a text does not end")
    }
  }
}
