import Engine

/// Reads the part of a path before the query and writes it in canonical form.
struct SegmentReader {
  let path: Bytes
  /// `%2F` and `%5C` are read as the slashes they stand for.
  let unescapesSlashes: Bool

  private static let slash = UInt8(ascii: "/")
  private static let backslash = UInt8(ascii: "\\")
  private static let percent = UInt8(ascii: "%")
  private static let dot = UInt8(ascii: ".")

  /// Writes the path with nothing but slashes unescaped.
  func copy(into writer: inout ByteWriter) {
    var index = 0
    while index < path.count {
      let escaped = unescapesSlashes ? Self.escapedSlash(in: path, at: index) : nil
      writer.append(escaped ?? path[index])
      index &+= escaped == nil ? 1 : 3
    }
  }

  /// Removes dot segments, decodes unreserved characters, turns backslashes into slashes and
  /// escapes what must be. False when there is something that no path may contain.
  func canonicalize(into writer: inout ByteWriter) -> Bool {
    // Where a percent sign stands that begins no escape, in what was written.
    var stray: Int?
    var index = 0
    while index < path.count {
      let byte = path[index]
      if let length = slashLength(at: index) {
        writer.append(Self.slash)
        index &+= length
      } else if let length = dotLength(at: index) {
        index = writeDot(at: index, length, into: &writer, &stray)
      } else if byte == Self.percent {
        guard writeEscape(at: &index, into: &writer, &stray) else { return false }
      } else if PathCharacter.isPlain(byte) {
        writer.append(byte)
        index &+= 1
      } else if PathCharacter.isEscaped(byte) {
        writeEscaped(byte, into: &writer)
        index &+= 1
      } else {
        return false
      }
    }
    return true
  }

  // MARK: Dots

  /// Writes a dot, or takes the dot segment away that begins here. Says where to read on.
  private func writeDot(
    at index: Int, _ length: Int, into writer: inout ByteWriter, _ stray: inout Int?
  ) -> Int {
    let written = writer.written
    let next = index &+ length
    guard written.count > 0, written[written.count &- 1] == Self.slash else {
      writer.append(Self.dot)
      return next
    }
    if let rest = segmentEnd(at: next) { return rest }
    if let second = dotLength(at: next), let rest = segmentEnd(at: next &+ second) {
      removeLastSegment(from: &writer)
      if let at = stray, at >= writer.count { stray = nil }
      return rest
    }
    writer.append(Self.dot)
    return next
  }

  /// Where the next segment starts, if one ends at `index`.
  private func segmentEnd(at index: Int) -> Int? {
    index == path.count ? index : slashLength(at: index).map { index &+ $0 }
  }

  /// `/a/b/` becomes `/a/`; the root stays.
  private func removeLastSegment(from writer: inout ByteWriter) {
    let written = writer.written
    var end = written.count &- 1
    guard end > 0 else { return }
    end &-= 1
    while end > 0, written[end] != Self.slash { end &-= 1 }
    writer.truncate(to: end &+ 1)
  }

  // MARK: Escapes

  /// Writes what begins with the percent sign at `index`, and moves on. False for `%00`.
  private func writeEscape(
    at index: inout Int, into writer: inout ByteWriter, _ stray: inout Int?
  ) -> Bool {
    guard let value = escapedByte(at: index) else {
      // Browsers let these pass, and so does Envoy.
      stray = writer.count
      writer.append(Self.percent)
      index &+= 1
      return true
    }
    let next = index &+ 3
    if PathCharacter.isUnreserved(value) {
      writer.append(value)
      repair(&stray, in: &writer, next: next)
    } else {
      guard value != 0 else { return false }
      writer.append(path[index, next])
    }
    index = next
    return true
  }

  /// Decoding may complete an escape with a percent sign that began none (`%%32e` would become
  /// `%2e`, a dot for the next reader). That sign is written as `%25` then.
  private func repair(_ stray: inout Int?, in writer: inout ByteWriter, next: Int) {
    guard let at = stray else { return }
    let written = writer.written
    let follower = written.count &- at &- 1
    guard follower == 1 || follower == 2 else { return }
    let first = written[at &+ 1]
    let second = follower == 2 ? written[at &+ 2] : next < path.count ? path[next] : 0
    guard ASCII.hex(first) != 255, ASCII.hex(second) != 255 else { return }
    writer.truncate(to: at &+ 1)
    writer.append("25")
    writer.append(first)
    if follower == 2 { writer.append(second) }
    stray = nil
  }

  private func writeEscaped(_ byte: UInt8, into writer: inout ByteWriter) {
    let digits = Bytes("0123456789ABCDEF")
    writer.append(Self.percent)
    writer.append(digits[Int(byte >> 4)])
    writer.append(digits[Int(byte & 15)])
  }

  // MARK: Reading

  /// How many bytes make up the slash that stands here, if one does.
  private func slashLength(at index: Int) -> Int? {
    guard index < path.count else { return nil }
    let byte = path[index]
    if byte == Self.slash || byte == Self.backslash { return 1 }
    return unescapesSlashes && Self.escapedSlash(in: path, at: index) != nil ? 3 : nil
  }

  /// How many bytes make up the dot that stands here, if one does.
  private func dotLength(at index: Int) -> Int? {
    guard index < path.count else { return nil }
    if path[index] == Self.dot { return 1 }
    return escapedByte(at: index) == Self.dot ? 3 : nil
  }

  private func escapedByte(at index: Int) -> UInt8? { Self.escapedByte(in: path, at: index) }

  private static func escapedByte(in path: Bytes, at index: Int) -> UInt8? {
    guard index &+ 2 < path.count, path[index] == percent else { return nil }
    let high = ASCII.hex(path[index &+ 1])
    let low = ASCII.hex(path[index &+ 2])
    return high == 255 || low == 255 ? nil : high << 4 | low
  }

  /// The slash or backslash that is written as an escape at `index`.
  static func escapedSlash(in path: Bytes, at index: Int) -> UInt8? {
    guard let byte = escapedByte(in: path, at: index) else { return nil }
    return byte == slash || byte == backslash ? byte : nil
  }
}
