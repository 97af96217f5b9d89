/// Bytes that live elsewhere: in a request's buffer, in a log format, in a scratch area. Valid as
/// long as their owner says; nobody counts references.
@safe
@usableFromInline
package struct LogBytes: @unchecked Sendable {
  // SAFETY: whoever makes a value from a pointer vouches for its memory while the value is in use;
  // every such place is marked `unsafe`. Reading stays inside `count`.
  @usableFromInline
  package let start: UnsafePointer<UInt8>?
  /// How many there are.
  @usableFromInline
  package let count: Int

  /// No bytes at all.
  @inlinable
  package init() {
    unsafe start = nil
    count = 0
  }

  /// The bytes of a buffer that outlives this value.
  @inlinable
  package init(_ buffer: UnsafeBufferPointer<UInt8>) {
    unsafe start = buffer.baseAddress
    count = buffer.count
  }

  /// The bytes at an address that stays valid while this value is in use.
  @inlinable
  package init(start: UnsafePointer<UInt8>?, count: Int) {
    unsafe self.start = start
    self.count = unsafe start == nil ? 0 : count
  }

  /// A text of the program itself.
  @inlinable
  package init(_ text: StaticString) {
    unsafe start = text.utf8Start
    count = text.utf8CodeUnitCount
  }

  /// As a buffer, for comparing and scanning.
  @inlinable
  package var buffer: UnsafeBufferPointer<UInt8> {
    unsafe UnsafeBufferPointer(start: start, count: count)
  }

  /// The first `length` bytes, or all if there are fewer.
  @inlinable
  package func prefix(_ length: Int) -> LogBytes {
    unsafe LogBytes(start: start, count: min(count, length))
  }

  /// A copy, for tests and messages.
  @usableFromInline
  package var text: String { unsafe String(decoding: buffer, as: UTF8.self) }
}
