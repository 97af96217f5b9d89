import CLinux
import Engine
import HTTPModel

/// Why a head was refused (RFC 9112). Each case says what the peer sees.
package enum HTTP1Error: Equatable {
  /// Not the grammar of a request or status line. 400.
  case startLine
  /// A byte that no target may hold. 400 (RFC 9112 §3.2).
  case target
  /// A version other than HTTP/1.0 and HTTP/1.1. 505 for another HTTP version, else 400.
  case version
  /// A field that the grammar does not allow: bad name, blank before the colon, control byte, folded
  /// line, bare CR or LF. 400 (RFC 9112 §5, §2.2).
  case field
  /// More bytes than the listener's `max_request_headers_kb`. 431.
  case headTooLarge
  /// More fields than `max_headers_count`. 431.
  case tooManyFields
  /// Not a number, several, or together with Transfer-Encoding: a smuggling attempt. 400 (§6.3).
  case contentLength
  /// Not a list that ends in exactly one `chunked`, or sent with HTTP/1.0. 400 (§6.1).
  case transferEncoding
  /// A transfer coding that we do not speak. 501 (§6.1).
  case unsupportedTransferEncoding
  /// A chunk's size line, data or trailers are malformed. 400 (§7.1).
  case chunk
  /// Trailers beyond `Limits.trailerBytes`. 431.
  case trailersTooLarge
}

/// The outcome of a look at bytes that may hold a head.
package enum HeadOutcome {
  /// The head is whole and took this many bytes.
  case complete(Int)
  /// More bytes are needed.
  case incomplete
  case invalid(HTTP1Error)
}

/// Reads the head of one message where it lies: names are lower-cased in place, and fields become
/// offsets. One parser serves a whole worker; what it found is valid until it reads the next head.
///
/// Strict on purpose: what two parsers could read in two ways is refused.
@safe
package struct HTTP1HeadParser: ~Copyable {
  // SAFETY: holds `capacity` entries; `count` never exceeds it.
  private var fields: UnsafeMutablePointer<HeaderEntry>
  /// Fields that it has room for.
  package let capacity: Int
  /// Fields found.
  package private(set) var count = 0
  // SAFETY: one value, as long as the parser lives.
  /// Which they are.
  private let known: UnsafeMutablePointer<HeaderPresence>
  /// Where the request's method or the response's reason ends, and the target's place.
  package private(set) var method = 0..<0
  package private(set) var target = 0..<0
  package private(set) var reason = 0..<0
  package private(set) var status = 0
  /// The minor version: 0 or 1.
  package private(set) var minor = 1
  /// Bytes of empty lines before a request line: offsets count from the start line.
  package private(set) var start = 0

  private let tokens: UnsafeMutablePointer<UInt8>

  /// - Parameter capacity: fields that any configuration of this worker may allow.
  package init(capacity: Int) {
    self.capacity = capacity
    unsafe fields = .allocate(capacity: capacity)
    unsafe known = .allocate(capacity: 1)
    unsafe known.initialize(to: HeaderPresence())
    unsafe tokens = unsafe Self.makeTokenTable()
  }

  deinit {
    unsafe fields.deallocate()
    unsafe known.deallocate()
    unsafe tokens.deallocate()
  }

  /// The fields found.
  package var found: ParsedFields {
    unsafe ParsedFields(UnsafePointer(fields), count: count, known: UnsafePointer(known))
  }

  /// Lower-case forms of the bytes of a token (RFC 9110 §5.6.2), and 0 for all others.
  private static func makeTokenTable() -> UnsafeMutablePointer<UInt8> {
    let table = UnsafeMutablePointer<UInt8>.allocate(capacity: 256)
    unsafe table.initialize(repeating: 0, count: 256)
    for byte in UInt8(ascii: "a")...UInt8(ascii: "z") {
      unsafe table[Int(byte)] = byte
      unsafe table[Int(byte) - 32] = byte
    }
    for byte in UInt8(ascii: "0")...UInt8(ascii: "9") { unsafe table[Int(byte)] = byte }
    for byte in "!#$%&'*+-.^_`|~".utf8 { unsafe table[Int(byte)] = byte }
    return unsafe table
  }

  /// Reads a request head from the first `n` bytes.
  package mutating func parseRequest(
    _ bytes: UnsafeMutablePointer<UInt8>, _ n: Int, maxFields: Int
  ) -> HeadOutcome {
    count = 0
    var p = 0
    while p < n, unsafe bytes[p] == 13 || bytes[p] == 10 {
      guard unsafe bytes[p] == 13, p < Limits.leadingEmptyLines * 2 else {
        return .invalid(.startLine)
      }
      guard p + 1 < n else { return .incomplete }
      guard unsafe bytes[p + 1] == 10 else { return .invalid(.startLine) }
      p += 2
    }
    start = p
    while p < n, unsafe tokens[Int(bytes[p])] != 0 { p &+= 1 }
    guard p < n else { return .incomplete }
    guard unsafe bytes[p] == 32, p > start else { return .invalid(.startLine) }
    method = 0..<(p &- start)
    p &+= 1
    let targetStart = p
    p = unsafe fl_scan_target(bytes, p, n)
    guard p < n else { return .incomplete }
    guard unsafe bytes[p] == 32, p > targetStart else {
      return unsafe .invalid(Self.isControl(bytes[p]) ? .target : .startLine)
    }
    target = (targetStart &- start)..<(p &- start)
    guard p &+ 11 <= n else { return unsafe checkPartial(bytes + p, n &- p, " HTTP/0.0\r") }
    var versionOutcome = unsafe parseVersion(bytes + (p &+ 1))
    if versionOutcome == .version,
      unsafe Bytes(base: UnsafePointer(bytes) + start, count: method.count) == "PRI"
    {
      // The beginning of HTTP/2's preface (RFC 9113 §3.4): no request in any version of ours.
      versionOutcome = .startLine
    }
    guard versionOutcome == nil, unsafe bytes[p &+ 9] == 13, unsafe bytes[p &+ 10] == 10 else {
      return .invalid(versionOutcome ?? .startLine)
    }
    return unsafe parseFields(bytes, from: p &+ 11, n, maxFields: maxFields)
  }

  /// A byte that cannot be the end of a target, however the line goes on.
  private static func isControl(_ byte: UInt8) -> Bool {
    byte < 32 && byte != 9 && byte != 10 && byte != 13 || byte == 127
  }

  /// Reads a response head from the first `n` bytes.
  package mutating func parseResponse(
    _ bytes: UnsafeMutablePointer<UInt8>, _ n: Int, maxFields: Int
  ) -> HeadOutcome {
    count = 0
    start = 0
    guard n >= 13 else { return unsafe checkPartial(bytes, n, "HTTP/0.0 000") }
    if let error = unsafe parseVersion(bytes) { return .invalid(error) }
    // RFC 9112 §4: exactly three digits between single blanks; the reason may be empty.
    let hundreds = unsafe bytes[9] &- 48
    let tens = unsafe bytes[10] &- 48
    let ones = unsafe bytes[11] &- 48
    guard unsafe bytes[8] == 32, hundreds >= 1, hundreds <= 5, tens <= 9, ones <= 9,
      unsafe bytes[12] == 32 || bytes[12] == 13
    else { return .invalid(.startLine) }
    status = Int(hundreds) &* 100 &+ Int(tens) &* 10 &+ Int(ones)
    var p = unsafe bytes[12] == 32 ? 13 : 12
    let reasonStart = p
    p = unsafe fl_find_control(bytes, p, n)
    reason = reasonStart..<p
    guard p &+ 1 < n else {
      return unsafe p < n && bytes[p] != 13 ? .invalid(.startLine) : .incomplete
    }
    guard unsafe bytes[p] == 13, unsafe bytes[p &+ 1] == 10 else { return .invalid(.startLine) }
    return unsafe parseFields(bytes, from: p &+ 2, n, maxFields: maxFields)
  }

  /// Reads a trailer section (RFC 9112 §7.1.2): fields up to an empty line.
  package mutating func parseTrailers(
    _ bytes: UnsafeMutablePointer<UInt8>, _ n: Int, maxFields: Int
  ) -> HeadOutcome {
    count = 0
    start = 0
    return unsafe parseFields(bytes, from: 0, n, maxFields: maxFields)
  }

  /// `HTTP/1.0` or `HTTP/1.1` stands here; else why not.
  private mutating func parseVersion(_ bytes: UnsafeMutablePointer<UInt8>) -> HTTP1Error? {
    let text = unsafe Bytes(base: UnsafePointer(bytes), count: 8)
    if text == "HTTP/1.1" {
      minor = 1
      return nil
    }
    guard text.hasPrefix(Bytes("HTTP/1.")) else {
      let isHTTP = text.hasPrefix(Bytes("HTTP/"))
      return isHTTP && ASCII.isDigit(text[5]) && text[6] == 46 && ASCII.isDigit(text[7])
        ? .version : .startLine
    }
    minor = Int(text[7]) - 48
    guard minor == 0 || minor == 1 else {
      return ASCII.isDigit(text[7]) ? .version : .startLine
    }
    return nil
  }

  /// Refuses at once what can no longer become a start line, so that nobody waits for it, not even
  /// behind an empty line: a `0` of `pattern` is any digit.
  private func checkPartial(
    _ bytes: UnsafeMutablePointer<UInt8>, _ n: Int, _ pattern: StaticString
  ) -> HeadOutcome {
    let pattern = Bytes(pattern)
    var index = 0
    while index < min(n, pattern.count) {
      let byte = unsafe bytes[index]
      let wanted = pattern[index]
      guard wanted == UInt8(ascii: "0") ? ASCII.isDigit(byte) : byte == wanted else {
        return .invalid(.startLine)
      }
      index += 1
    }
    return .incomplete
  }

  @inline(__always)
  private mutating func parseFields(
    _ bytes: UnsafeMutablePointer<UInt8>, from first: Int, _ n: Int, maxFields: Int
  ) -> HeadOutcome {
    var p = first
    unsafe known.pointee = HeaderPresence()
    while true {
      guard p &+ 1 < n else {
        return unsafe p < n && (bytes[p] == 10 || ASCII.isBlank(bytes[p]))
          ? .invalid(.field) : .incomplete
      }
      if unsafe bytes[p] == 13 {
        return unsafe bytes[p &+ 1] == 10 ? .complete(p &+ 2) : .invalid(.field)
      }
      let nameStart = p
      var lineEnd = 0
      p = unsafe fl_scan_field_line(bytes, p, n, &lineEnd)
      guard p < n else { return .incomplete }
      // The other bytes of a token are rare in names.
      while case let lower = unsafe tokens[Int(bytes[p])], lower != 0 {
        unsafe bytes[p] = lower
        p &+= 1
        guard p < n else { return .incomplete }
      }
      guard unsafe bytes[p] == 58, p > nameStart, p &- nameStart <= Int(UInt16.max) else {
        return .invalid(.field)
      }
      let nameEnd = p
      p &+= 1
      while p < n, unsafe ASCII.isBlank(bytes[p]) { p &+= 1 }
      let valueStart = p
      p = lineEnd
      guard p < n else { return .incomplete }
      guard unsafe bytes[p] == 13 else { return .invalid(.field) }
      guard p &+ 1 < n else { return .incomplete }
      guard unsafe bytes[p &+ 1] == 10 else { return .invalid(.field) }
      var valueEnd = p
      while valueEnd > valueStart, unsafe ASCII.isBlank(bytes[valueEnd &- 1]) { valueEnd &-= 1 }
      p &+= 2
      guard count < maxFields, count < capacity else { return .invalid(.tooManyFields) }
      let name = unsafe Bytes(base: UnsafePointer(bytes) + nameStart, count: nameEnd &- nameStart)
      let id = HeaderID.of(name)
      unsafe known.pointee.add(id, at: count)
      unsafe (fields + count).initialize(
        to: HeaderEntry(
          id: id, nameOffset: UInt32(truncatingIfNeeded: nameStart &- start),
          nameLength: UInt16(truncatingIfNeeded: name.count),
          valueOffset: UInt32(truncatingIfNeeded: valueStart &- start),
          valueLength: UInt32(truncatingIfNeeded: valueEnd &- valueStart),
          isWritten: valueStart == nameEnd &+ 2 && bytes[nameEnd &+ 1] == 32
            && valueEnd == p &- 2))
      count &+= 1
    }
  }
}

/// Looks for the end of a head in bytes that come in pieces, each byte once, and refuses line breaks
/// that no head may hold: so a peer cannot make us wait for an end that will not come, nor read the
/// same bytes again and again.
package struct HeadScanner: BitwiseCopyable {
  private var scanned = 0
  private var lineStart = 0

  package init() {}

  /// What the first `bytes.count` bytes hold, given that earlier calls saw a prefix of them.
  package mutating func scan(_ bytes: Bytes) -> HeadOutcome {
    while let newline = bytes.firstIndex(of: 10, from: scanned) {
      guard newline > 0, bytes[newline - 1] == 13 else { return .invalid(.field) }
      let lineLength = newline - 1 - lineStart
      scanned = newline + 1
      let isEmpty = lineLength == 0
      let isLeading = isEmpty && lineStart <= Limits.leadingEmptyLines * 2 && onlyEmptyLines(bytes)
      lineStart = newline + 1
      if isEmpty && !isLeading { return .complete(newline + 1) }
    }
    scanned = bytes.count
    return .incomplete
  }

  private func onlyEmptyLines(_ bytes: Bytes) -> Bool {
    var index = 0
    while index < lineStart {
      if bytes[index] != 13 && bytes[index] != 10 { return false }
      index += 1
    }
    return true
  }
}
