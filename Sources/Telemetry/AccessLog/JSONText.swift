/// JSON's escapes, as Envoy writes them into access logs.
///
/// A valid UTF-8 value keeps its characters; quotes, backslashes and control characters are
/// escaped in their short forms. In a value that is not valid UTF-8 every byte beyond ASCII becomes
/// `\u00XX`, and so does every byte that needs an escape: the line stays valid JSON whatever a
/// peer sends.
extension ByteSink {
  /// Appends the inside of a JSON string.
  @inlinable
  package mutating func appendEscaped(_ value: LogBytes) {
    let bytes = unsafe value.buffer
    var plain = 0
    while plain < bytes.count, Self.needsNoEscape(unsafe bytes[plain]) { plain += 1 }
    if plain == bytes.count { return append(value) }
    appendEscapedSlowly(value)
  }

  @inlinable
  package static func needsNoEscape(_ byte: UInt8) -> Bool {
    byte >= 0x20 && byte < 0x7F && byte != UInt8(ascii: "\"") && byte != UInt8(ascii: "\\")
  }

  @usableFromInline
  package mutating func appendEscapedSlowly(_ value: LogBytes) {
    let isValid = Self.isValidUTF8(value)
    for index in 0..<value.count {
      let byte = unsafe value.buffer[index]
      if Self.needsNoEscape(byte) || (isValid && byte >= 0x7F) {
        append(byte)
      } else if isValid {
        appendShortEscape(byte)
      } else {
        appendUnicodeEscape(byte)
      }
    }
  }

  private mutating func appendShortEscape(_ byte: UInt8) {
    switch byte {
    case UInt8(ascii: "\""): append("\\\"")
    case UInt8(ascii: "\\"): append("\\\\")
    case 0x08: append("\\b")
    case 0x09: append("\\t")
    case 0x0A: append("\\n")
    case 0x0C: append("\\f")
    case 0x0D: append("\\r")
    default: appendUnicodeEscape(byte)
    }
  }

  private mutating func appendUnicodeEscape(_ byte: UInt8) {
    append("\\u00")
    appendHexDigit(byte >> 4)
    appendHexDigit(byte & 0xF)
  }

  private mutating func appendHexDigit(_ digit: UInt8) {
    append(digit < 10 ? digit + UInt8(ascii: "0") : digit - 10 + UInt8(ascii: "a"))
  }

  static func isValidUTF8(_ value: LogBytes) -> Bool {
    var index = 0
    while index < value.count {
      let length = characterBytes(at: index, of: value)
      guard length > 0 else { return false }
      index += length
    }
    return true
  }

  /// The bytes of the character that begins there, or 0 where none does. RFC 3629: no overlong forms, no
  /// surrogates, nothing beyond U+10FFFF.
  package static func characterBytes(at index: Int, of value: LogBytes) -> Int {
    let bytes = unsafe value.buffer
    let following: Int
    var second: ClosedRange<UInt8> = 0x80...0xBF
    switch unsafe bytes[index] {
    case ..<0x80: following = 0
    case 0xC2...0xDF: following = 1
    case 0xE0: (following, second) = (2, 0xA0...0xBF)
    case 0xED: (following, second) = (2, 0x80...0x9F)
    case 0xE1...0xEF: following = 2
    case 0xF0: (following, second) = (3, 0x90...0xBF)
    case 0xF4: (following, second) = (3, 0x80...0x8F)
    case 0xF1...0xF3: following = 3
    default: return 0
    }
    guard index + following < bytes.count else { return 0 }
    for offset in 0..<following {
      let range = offset == 0 ? second : 0x80...0xBF
      guard range.contains(unsafe bytes[index + 1 + offset]) else { return 0 }
    }
    return 1 + following
  }
}
