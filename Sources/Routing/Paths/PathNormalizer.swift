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

  /// Nothing is to be done for nearly every path there is, whatever the rules: it has plain
  /// characters only, no two slashes, no segment that starts with a dot, and no fragment.
  package static func isPlain(_ path: Bytes) -> Bool {
    let end = plainEnd(of: path)
    if end == path.count { return end > 0 && path[0] == UInt8(ascii: "/") }
    return end > 0 && path[0] == UInt8(ascii: "/") && path[end] == UInt8(ascii: "?")
      && path.firstIndex(of: UInt8(ascii: "#"), from: end) == nil
  }

  /// Decides what becomes of `path`. `writer` must be empty, and hold three times the path's
  /// bytes: the most that escaping makes of one.
  package func apply(to path: Bytes, writingTo writer: inout ByteWriter) -> Outcome {
    // `*` and the authority of CONNECT have no segments.
    guard path.count > 0, path[0] == UInt8(ascii: "/") else { return .unchanged }
    let query = path.firstIndex(of: UInt8(ascii: "?")) ?? path.count
    let segments = path[0, query]
    guard Self.plainEnd(of: segments) < segments.count else { return .unchanged }
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

  /// Where the first character stands that is not plain, or that is a second slash or the dot at a
  /// segment's beginning.
  @inline(__always)
  private static func plainEnd(of path: Bytes) -> Int {
    let classes = unsafe PathCharacter.classes
    var needed = PathCharacter.plain
    var index = 0
    while index < path.count {
      let found = classes.value[Int(path[index])]
      guard found & needed == needed else { break }
      needed =
        found & PathCharacter.slash == 0
        ? PathCharacter.plain : PathCharacter.plain | PathCharacter.startsSegment
      index &+= 1
    }
    return index
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

  static let plain: UInt8 = 1
  static let slash: UInt8 = 2
  /// May stand behind a slash.
  static let startsSegment: UInt8 = 4

  /// For each byte, which of these it is.
  nonisolated(unsafe) static let classes = Ref<InlineArray<256, UInt8>>.immortal(
    InlineArray { index in
      let byte = UInt8(truncatingIfNeeded: index)
      var found: UInt8 = isPlain(byte) ? plain : 0
      if byte == UInt8(ascii: "/") {
        found |= slash
      } else if byte != UInt8(ascii: ".") {
        found |= startsSegment
      }
      return found
    })

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
