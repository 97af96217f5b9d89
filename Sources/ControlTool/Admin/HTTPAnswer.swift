/// An answer of HTTP/1.1, read to the connection's end.
package struct HTTPAnswer: Equatable, Sendable {
  package let status: Int
  package let body: [UInt8]

  package var text: String { String(decoding: body, as: UTF8.self) }

  package init(status: Int, body: [UInt8]) {
    self.status = status
    self.body = body
  }

  /// Takes apart what came until the peer closed; nil when it is no whole answer (RFC 9112 §6.3).
  package init?(received bytes: [UInt8]) {
    guard let end = Self.endOfHead(bytes) else { return nil }
    let lines = String(decoding: bytes[..<end], as: UTF8.self).split(
      omittingEmptySubsequences: true, whereSeparator: \.isNewline)
    guard let first = lines.first, first.hasPrefix("HTTP/1."),
      let status = first.split(separator: " ").dropFirst().first.flatMap({ Int($0) })
    else { return nil }
    var length: Int?
    var isChunked = false
    for line in lines.dropFirst() {
      guard let colon = line.firstIndex(of: ":") else { continue }
      let value = Self.trimmed(line[line.index(after: colon)...]).lowercased()
      switch line[..<colon].lowercased() {
      case "content-length": length = Int(value)
      case "transfer-encoding": isChunked = value == "chunked"
      default: break
      }
    }
    let rest = bytes[end...]
    if isChunked {
      guard let body = Self.unchunked(rest) else { return nil }
      self.init(status: status, body: body)
    } else if let length {
      guard length >= 0, rest.count >= length else { return nil }
      self.init(status: status, body: Array(rest.prefix(length)))
    } else {
      self.init(status: status, body: Array(rest))
    }
  }

  private static func endOfHead(_ bytes: [UInt8]) -> Int? {
    let mark = Array("\r\n\r\n".utf8)
    guard bytes.count >= mark.count else { return nil }
    return (0...bytes.count - mark.count).first { bytes[$0...].starts(with: mark) }
      .map { $0 + mark.count }
  }

  private static func trimmed(_ text: Substring) -> Substring {
    var text = text.drop { $0 == " " || $0 == "\t" }
    while let last = text.last, last == " " || last == "\t" { text.removeLast() }
    return text
  }

  /// RFC 9112 §7.1; trailers are of no interest.
  private static func unchunked(_ bytes: ArraySlice<UInt8>) -> [UInt8]? {
    var out: [UInt8] = []
    var rest = bytes
    while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
      let digits = rest[..<end].prefix { $0 != UInt8(ascii: ";") && $0 != UInt8(ascii: "\r") }
      guard let size = Int(String(decoding: digits, as: UTF8.self), radix: 16), size >= 0 else {
        return nil
      }
      rest = rest[(end + 1)...]
      guard size > 0 else { return out }
      guard rest.count >= 2, size <= rest.count - 2 else { return nil }
      out += rest.prefix(size)
      rest = rest.dropFirst(size + 2)
    }
    return nil
  }
}
