import Engine

/// Brings the path of a request into one form, so that every rule sees what the upstream will see:
/// `normalize_path`, `merge_slashes` and `path_with_escaped_slashes_action` of the connection
/// manager, as Envoy 1.40 does it (RFC 3986 §6.2.2 with the WHATWG's forgiveness).
///
/// The query is not touched.
package struct PathNormalizer: BitwiseCopyable {
  /// What becomes of `%2F` and `%5C`.
  package enum EscapedSlashes: BitwiseCopyable {
    case keep
    case reject
    /// The client is sent to the path without them.
    case redirect
    /// As if they had been written out.
    case unescape
  }

  /// What the connection manager does next.
  package enum Outcome: BitwiseCopyable {
    /// The path is in its form already; nothing was written.
    case unchanged
    /// The writer holds the path to use.
    case changed
    /// 400, `path_normalization_failed`; the writer may hold the path for the log.
    case rejected
    /// 307 to the path in the writer.
    case redirect
  }

  private let normalizes: Bool
  private let mergesSlashes: Bool
  private let escapedSlashes: EscapedSlashes

  package init(normalizes: Bool, mergesSlashes: Bool, escapedSlashes: EscapedSlashes) {
    self.normalizes = normalizes
    self.mergesSlashes = mergesSlashes
    self.escapedSlashes = escapedSlashes
  }

  /// Nothing is to be done for nearly every path there is, which is seen without any memory.
  package func isInForm(_ path: Bytes) -> Bool {
    guard path.count > 0, path[0] == UInt8(ascii: "/") else { return true }
    return !Self.mayChange(path[0, path.firstIndex(of: UInt8(ascii: "?")) ?? path.count])
  }

  /// Decides what becomes of `path`. `writer` must be empty, and hold three times the path's
  /// bytes: the most that escaping makes of one.
  package func apply(to path: Bytes, writingTo writer: inout ByteWriter) -> Outcome {
    // `*` and the authority of CONNECT have no segments.
    guard path.count > 0, path[0] == UInt8(ascii: "/") else { return .unchanged }
    let query = path.firstIndex(of: UInt8(ascii: "?")) ?? path.count
    let segments = path[0, query]
    guard Self.mayChange(segments) else { return .unchanged }
    let hasEscapedSlash = escapedSlashes != .keep && Self.containsEscapedSlash(segments)
    let reader = SegmentReader(path: segments, unescapesSlashes: hasEscapedSlash)
    if hasEscapedSlash, escapedSlashes == .reject {
      // The log shows what was seen in it, as Envoy's does.
      reader.copy(into: &writer)
      writer.append(path.dropFirst(query))
      return .rejected
    }
    if normalizes {
      guard reader.canonicalize(into: &writer) else {
        writer.truncate(to: 0)
        return .rejected
      }
    } else {
      reader.copy(into: &writer)
    }
    if mergesSlashes { Self.mergeSlashes(in: &writer) }
    guard !writer.overflowed else { return .rejected }
    if writer.written == segments { return .unchanged }
    writer.append(path.dropFirst(query))
    guard !writer.overflowed else { return .rejected }
    return hasEscapedSlash && escapedSlashes == .redirect ? .redirect : .changed
  }

  /// False for nearly every path there is: nothing but plain characters, no two slashes, and no
  /// segment that starts with a dot.
  private static func mayChange(_ path: Bytes) -> Bool {
    var previous: UInt8 = 0
    var index = 0
    while index < path.count {
      let byte = path[index]
      guard PathCharacter.isPlain(byte) else { return true }
      if previous == UInt8(ascii: "/"), byte == previous || byte == UInt8(ascii: ".") {
        return true
      }
      previous = byte
      index &+= 1
    }
    return false
  }

  private static func containsEscapedSlash(_ path: Bytes) -> Bool {
    var start = 0
    while let percent = path.firstIndex(of: UInt8(ascii: "%"), from: start) {
      if SegmentReader.escapedSlash(in: path, at: percent) != nil { return true }
      start = percent &+ 1
    }
    return false
  }

  /// Makes one slash of several. A path of nothing but slashes keeps two, as in Envoy, which joins
  /// the segments between a leading and a trailing slash.
  private static func mergeSlashes(in writer: inout ByteWriter) {
    let path = writer.written
    let slash = UInt8(ascii: "/")
    var kept = 0
    var isOnlySlashes = true
    while kept < path.count, path[kept] == slash { kept &+= 1 }
    if kept < path.count { isOnlySlashes = false }
    writer.truncate(to: 0)
    guard !isOnlySlashes else { return writer.append(path.count > 1 ? "//" : "/") }
    // Reading stays ahead of writing in the same memory.
    var previous: UInt8 = 0
    var index = 0
    while index < path.count {
      let byte = path[index]
      if byte != slash || previous != slash { writer.append(byte) }
      previous = byte
      index &+= 1
    }
  }
}

/// What a character means in a path, as Envoy's URL library has it: one bit for each of ASCII.
enum PathCharacter {
  /// Stays as it is: unreserved characters, most of the delimiters, and the slash.
  static func isPlain(_ byte: UInt8) -> Bool {
    isMember(byte, 0x2FFF_FFD2_0000_0000, 0x47FF_FFFE_AFFF_FFFF)
  }

  /// Its escaped form is replaced by itself: letters, digits, `-._~` (RFC 3986 §2.3).
  static func isUnreserved(_ byte: UInt8) -> Bool {
    isMember(byte, 0x03FF_6000_0000_0000, 0x47FF_FFFE_87FF_FFFE)
  }

  /// Is written as `%XX`: quotation marks, angle brackets, ``^`{|}``.
  static func isEscaped(_ byte: UInt8) -> Bool {
    isMember(byte, 0x5000_0004_0000_0000, 0x3800_0001_4000_0000)
  }

  @inline(__always)
  private static func isMember(_ byte: UInt8, _ low: UInt64, _ high: UInt64) -> Bool {
    byte < 128 && (byte < 64 ? low : high) >> UInt64(byte & 63) & 1 != 0
  }
}
