import CLinux

/// A view of bytes that someone else owns. It must not outlive the call that lent it, unless its
/// owner says otherwise (configuration: for ever; a head's fields: as long as the head).
///
/// `@safe` because every access is checked against `count`; what the type cannot check, the life of
/// the memory, is the lender's stated promise.
@safe
@usableFromInline
package struct Bytes: BitwiseCopyable {
  @usableFromInline package let base: UnsafePointer<UInt8>
  @usableFromInline package let count: Int

  @inlinable
  package init(base: UnsafePointer<UInt8>, count: Int) {
    unsafe self.base = base
    self.count = count
  }

  /// A literal, which lives as long as the program.
  @inlinable
  package init(_ text: StaticString) {
    unsafe self.init(base: text.utf8Start, count: text.utf8CodeUnitCount)
  }

  @inlinable
  package static var empty: Bytes { Bytes("") }

  @inlinable
  package var isEmpty: Bool { count == 0 }

  /// The byte at `index`.
  @inlinable
  package subscript(index: Int) -> UInt8 {
    @inline(__always) get {
      precondition(index >= 0 && index < count, "byte index within the view")
      return unsafe base[index]
    }
  }

  /// The part of the view from `start` up to `end`.
  @inlinable
  package subscript(start: Int, end: Int) -> Bytes {
    @inline(__always) get {
      precondition(start >= 0 && start <= end && end <= count, "byte range within the view")
      return unsafe Bytes(base: base + start, count: end &- start)
    }
  }

  @inlinable
  package func dropFirst(_ n: Int) -> Bytes { self[n, count] }

  @inlinable
  package func prefix(_ n: Int) -> Bytes { self[0, min(n, count)] }

  @inlinable
  package static func == (a: Bytes, b: Bytes) -> Bool {
    // SAFETY: both views hold at least `count` bytes.
    unsafe a.count == b.count && memcmp(a.base, b.base, a.count) == 0
  }

  @inlinable
  package static func == (a: Bytes, b: StaticString) -> Bool { a == Bytes(b) }

  @inlinable
  package static func != (a: Bytes, b: StaticString) -> Bool { !(a == Bytes(b)) }

  /// Less than 0, 0, or more: which of the two comes first in the order of their bytes.
  package func compare(_ other: Bytes) -> Int {
    // SAFETY: both views hold at least the bytes that are compared.
    let order = unsafe memcmp(base, other.base, min(count, other.count))
    return order != 0 ? Int(order) : count - other.count
  }

  @inlinable
  package func hasPrefix(_ other: Bytes) -> Bool {
    unsafe count >= other.count && memcmp(base, other.base, other.count) == 0
  }

  @inlinable
  package func hasSuffix(_ other: Bytes) -> Bool {
    // SAFETY: the offset is not negative, because `count >= other.count` was asked first.
    unsafe count >= other.count
      && memcmp(base + (count - other.count), other.base, other.count) == 0
  }

  /// Equality for ASCII letters of either case.
  @inlinable
  package func equalsIgnoringCase(_ other: Bytes) -> Bool {
    guard count == other.count else { return false }
    var index = 0
    while index < count {
      guard unsafe ASCII.lower(base[index]) == ASCII.lower(other.base[index]) else { return false }
      index &+= 1
    }
    return true
  }

  @inlinable
  package func equalsIgnoringCase(_ other: StaticString) -> Bool {
    equalsIgnoringCase(Bytes(other))
  }

  @inlinable
  package func hasPrefixIgnoringCase(_ other: Bytes) -> Bool {
    count >= other.count && self[0, other.count].equalsIgnoringCase(other)
  }

  @inlinable
  package func hasSuffixIgnoringCase(_ other: Bytes) -> Bool {
    count >= other.count && self[count - other.count, count].equalsIgnoringCase(other)
  }

  /// Where `byte` first stands at or after `start`.
  @inlinable
  package func firstIndex(of byte: UInt8, from start: Int = 0) -> Int? {
    guard start < count else { return nil }
    precondition(start >= 0, "search starts within the view")
    // SAFETY: `start` is inside the view and the length ends with it.
    guard let hit = unsafe memchr(base + start, Int32(byte), count - start) else { return nil }
    return unsafe UnsafeRawPointer(hit) - UnsafeRawPointer(base)
  }

  /// Where `needle` first stands. Quadratic at worst: for short needles.
  package func range(of needle: Bytes) -> Int? {
    // SAFETY: the call reads the two views only.
    guard let hit = unsafe fl_memmem(base, count, needle.base, needle.count) else { return nil }
    return unsafe UnsafeRawPointer(hit) - UnsafeRawPointer(base)
  }

  /// Without blanks and tabs at either end (RFC 9110 §5.6.3).
  @inlinable
  package var trimmed: Bytes {
    var start = 0
    var end = count
    while start < end, ASCII.isBlank(self[start]) { start &+= 1 }
    while end > start, ASCII.isBlank(self[end &- 1]) { end &-= 1 }
    return self[start, end]
  }

  /// A decimal number without sign, or nil when there is anything else, or too much of it.
  @inlinable
  package var decimal: Int? {
    guard count > 0, count <= 18 else { return nil }
    var value = 0
    var index = 0
    while index < count {
      let digit = self[index] &- 48
      guard digit <= 9 else { return nil }
      value = value &* 10 &+ Int(digit)
      index &+= 1
    }
    return value
  }

  /// The bytes as text; for messages and tests, never on the request path.
  package var string: String {
    unsafe String(decoding: UnsafeBufferPointer(start: base, count: count), as: UTF8.self)
  }

  /// The bytes as an array of its own; never on the request path.
  package var copy: [UInt8] {
    unsafe Array(UnsafeBufferPointer(start: base, count: count))
  }

  /// A copy that lasts until the process ends: configuration text.
  package static func immortal(_ text: String) -> Bytes { immortal(Array(text.utf8)) }

  /// A copy that lasts until the process ends.
  package static func immortal(_ utf8: [UInt8]) -> Bytes {
    let memory = UnsafeMutablePointer<UInt8>.allocate(capacity: max(utf8.count, 1))
    for index in utf8.indices { unsafe memory[index] = utf8[index] }
    return unsafe Bytes(base: UnsafePointer(memory), count: utf8.count)
  }

  /// Lends `text` as a view for the duration of `body`.
  package static func with<Result>(_ text: String, _ body: (Bytes) -> Result) -> Result {
    var copy = text
    return copy.withUTF8 { buffer in
      guard let base = buffer.baseAddress else { return body(.empty) }
      return body(unsafe Bytes(base: base, count: buffer.count))
    }
  }
}

/// ASCII classes, without tables of the C library and its locale.
@usableFromInline
package enum ASCII {
  @inlinable @inline(__always)
  package static func lower(_ byte: UInt8) -> UInt8 {
    byte &- 65 < 26 ? byte | 32 : byte
  }

  @inlinable @inline(__always)
  package static func isBlank(_ byte: UInt8) -> Bool { byte == 32 || byte == 9 }

  @inlinable @inline(__always)
  package static func isDigit(_ byte: UInt8) -> Bool { byte &- 48 < 10 }

  /// The value of a hexadecimal digit, or 255.
  @inlinable @inline(__always)
  package static func hex(_ byte: UInt8) -> UInt8 {
    if byte &- 48 < 10 { return byte &- 48 }
    let letter = (byte | 32) &- 97
    return letter < 6 ? letter &+ 10 : 255
  }
}
