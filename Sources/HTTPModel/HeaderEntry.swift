/// One field of a head, as offsets into the head's memory.
@usableFromInline
package struct HeaderEntry: BitwiseCopyable {
  @usableFromInline package var nameOffset: UInt32
  @usableFromInline package var valueOffset: UInt32
  @usableFromInline package var valueLength: UInt32
  @usableFromInline package var nameLength: UInt16
  @usableFromInline package var id: HeaderID
  @usableFromInline internal var marks: UInt8

  /// - Parameter isWritten: the text from the name to the value's end is the field's line as HTTP/1.1
  ///   writes it: `name: value` and CRLF, the name in lower case.
  @inlinable @inline(__always)
  package init(
    id: HeaderID, nameOffset: UInt32, nameLength: UInt16, valueOffset: UInt32,
    valueLength: UInt32, isWritten: Bool
  ) {
    self.nameOffset = nameOffset
    self.valueOffset = valueOffset
    self.valueLength = valueLength
    self.nameLength = nameLength
    self.id = id
    marks = (isWritten ? Self.written : 0) | (id.isPseudo ? Self.pseudo : 0)
  }

  @inlinable internal static var removed: UInt8 { 1 }
  @inlinable internal static var written: UInt8 { 2 }
  @inlinable internal static var pseudo: UInt8 { 4 }

  /// A removed field keeps its place, so that positions stay valid while someone iterates.
  @inlinable @inline(__always)
  package var isRemoved: Bool { marks & Self.removed != 0 }

  /// The field is there, and its text is its line: those that follow each other leave in one copy.
  @inlinable @inline(__always)
  internal var isLine: Bool { marks == Self.written }

  /// Not written as a line: it has been removed, or stands in the start line.
  @inlinable @inline(__always)
  internal var isUnwritten: Bool { marks & (Self.removed | Self.pseudo) != 0 }
}

/// Fields that a parser found, for `HeaderMap.load`: valid until it reads the next head.
@safe
package struct ParsedFields {
  // SAFETY: these point to `count` entries, and to what they are, for as long as the parser does not
  // go on.
  internal let entries: UnsafePointer<HeaderEntry>
  package let count: Int
  /// The ids among the entries.
  internal let known: UnsafePointer<HeaderPresence>

  package init(
    _ entries: UnsafePointer<HeaderEntry>, count: Int, known: UnsafePointer<HeaderPresence>
  ) {
    unsafe self.entries = entries
    self.count = count
    unsafe self.known = known
  }

  package var isEmpty: Bool { count == 0 }
}
