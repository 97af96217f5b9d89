import Engine

/// The protocol that a plain connection's first bytes announce.
package enum HTTPOpening: BitwiseCopyable {
  case http10
  case http11
  /// The preface of HTTP/2 by prior knowledge (RFC 9113 §3.4).
  case http2

  /// As `application_protocols` of a filter chain names it.
  package var name: Bytes {
    switch self {
    case .http10: Bytes("http/1.0")
    case .http11: Bytes("http/1.1")
    case .http2: Bytes("h2c")
    }
  }

  private static let preface: StaticString = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

  /// Reads a request line, or HTTP/2's preface.
  /// - Parameter limit: a longer request line is nobody's.
  package static func inspect(_ bytes: Bytes, limit: Int) -> Inspected<HTTPOpening> {
    let preface = Bytes(Self.preface)
    let shared = min(bytes.count, preface.count)
    if bytes[0, shared] == preface[0, shared] {
      return shared == preface.count ? .found(.http2) : .incomplete
    }
    guard isMethod(bytes) else { return .absent }
    guard let end = bytes.prefix(limit).firstIndex(of: 10) else {
      return bytes.count < limit ? .incomplete : .absent
    }
    let line = end > 0 && bytes[end - 1] == 13 ? bytes[0, end - 1] : bytes[0, end]
    if line.hasSuffix(Bytes(" HTTP/1.1")) { return .found(.http11) }
    if line.hasSuffix(Bytes(" HTTP/1.0")) { return .found(.http10) }
    return .absent
  }

  /// It begins as a method does: a token, and a space behind it (RFC 9110 §9.1).
  private static func isMethod(_ bytes: Bytes) -> Bool {
    var index = 0
    while index < bytes.count, index < longestMethod {
      let byte = bytes[index]
      if byte == 32 { return index > 0 }
      guard byte > 32, byte < 127, byte != UInt8(ascii: ":"), byte != UInt8(ascii: "/") else {
        return false
      }
      index += 1
    }
    return index < longestMethod
  }

  /// No registered method is longer (`UPDATEREDIRECTREF` has 17 letters).
  private static let longestMethod = 32
}
