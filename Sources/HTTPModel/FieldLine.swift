import Engine

/// A field as HTTP/1.1 writes it, `name: value` and CRLF, put together once for all the heads that it
/// is added to. It is as long-lived as its text.
@usableFromInline
package struct FieldLine: BitwiseCopyable {
  @usableFromInline package let text: Bytes
  @usableFromInline package let id: HeaderID
  @usableFromInline internal let nameLength: UInt16

  /// - Parameters:
  ///   - text: the line with its CRLF, the name in lower case.
  ///   - nameLength: the bytes before `: `.
  package init(_ text: Bytes, id: HeaderID, nameLength: Int) {
    precondition(
      nameLength <= Int(UInt16.max) && nameLength &+ 4 <= text.count, "a name, and a line with it")
    self.text = text
    self.id = id
    self.nameLength = UInt16(truncatingIfNeeded: nameLength)
  }

  /// A line that lasts as long as the resource that is being compiled. Nil when the name is too long
  /// for a head. `name` must be lower-case.
  package static func configured(_ name: Bytes, id: HeaderID, _ value: Bytes) -> FieldLine? {
    guard name.count <= Int(UInt16.max) else { return nil }
    let text = Bytes.configured([name, Bytes(": "), value, Bytes("\r\n")])
    return FieldLine(text, id: id, nameLength: name.count)
  }

  @inlinable
  package var name: Bytes { text[0, Int(nameLength)] }

  @inlinable
  package var value: Bytes { text[Int(nameLength) &+ 2, text.count &- 2] }

  /// The entry of this line in a head where it begins at `start`.
  @inlinable @inline(__always)
  internal func entry(at start: Int) -> HeaderEntry {
    let valueStart = start &+ Int(nameLength) &+ 2
    return HeaderEntry(
      id: id, nameOffset: UInt32(truncatingIfNeeded: start), nameLength: nameLength,
      valueOffset: UInt32(truncatingIfNeeded: valueStart),
      valueLength: UInt32(truncatingIfNeeded: text.count &- Int(nameLength) &- 4),
      isWritten: true)
  }
}
