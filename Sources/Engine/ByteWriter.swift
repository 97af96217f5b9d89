import CLinux

/// Appends to memory of a fixed size and remembers whether everything fitted.
///
/// `@safe` because nothing is written past `capacity`: what does not fit is dropped and `overflowed`
/// says so.
@safe
@usableFromInline
package struct ByteWriter: ~Copyable {
  @usableFromInline let base: UnsafeMutablePointer<UInt8>
  @usableFromInline let capacity: Int
  /// Bytes written so far.
  @usableFromInline package private(set) var count = 0
  /// Something did not fit; what was written before it stands.
  package private(set) var overflowed = false

  /// SAFETY: `base` holds `capacity` bytes for as long as the writer lives.
  @inlinable
  package init(base: UnsafeMutablePointer<UInt8>, capacity: Int) {
    unsafe self.base = base
    self.capacity = capacity
  }

  @inlinable
  package var written: Bytes { unsafe Bytes(base: UnsafePointer(base), count: count) }

  @inlinable
  package var remaining: Int { capacity &- count }

  @inlinable @inline(__always)
  package mutating func append(_ byte: UInt8) {
    guard count < capacity else { return setOverflowed() }
    unsafe base[count] = byte
    advance(1)
  }

  /// Two bytes, without the price of a copy.
  @inlinable @inline(__always)
  package mutating func append(_ first: UInt8, _ second: UInt8) {
    guard capacity &- count >= 2 else { return setOverflowed() }
    unsafe base[count] = first
    unsafe base[count &+ 1] = second
    advance(2)
  }

  @inlinable @inline(__always)
  package mutating func append(_ bytes: Bytes) {
    guard bytes.count <= capacity &- count else { return setOverflowed() }
    // SAFETY: it fits, as was just asked, and a view never overlaps what is written here.
    unsafe fl_copy(base + count, bytes.base, bytes.count)
    advance(bytes.count)
  }

  @inlinable @inline(__always)
  package mutating func append(_ text: StaticString) { append(Bytes(text)) }

  package mutating func append(text: String) {
    for byte in text.utf8 { append(byte) }
  }

  /// A decimal number.
  package mutating func append(decimal value: Int) {
    guard value >= 0 else {
      append(UInt8(ascii: "-"))
      return appendUnsigned(UInt64(bitPattern: Int64(value)) == 1 << 63 ? 1 << 63 : UInt64(-value))
    }
    appendUnsigned(UInt64(value))
  }

  private mutating func appendUnsigned(_ value: UInt64) {
    var divisor: UInt64 = 1
    while value / divisor >= 10 { divisor &*= 10 }
    while divisor > 0 {
      append(UInt8(truncatingIfNeeded: 48 &+ value / divisor % 10))
      divisor /= 10
    }
  }

  /// A hexadecimal number without leading zeros, as chunk sizes are written.
  package mutating func append(hexadecimal value: Int) {
    var shift = 60
    var started = false
    while shift >= 0 {
      let digit = UInt8(truncatingIfNeeded: (value >> shift) & 15)
      if digit != 0 || started || shift == 0 {
        started = true
        append(digit < 10 ? 48 &+ digit : 87 &+ digit)
      }
      shift -= 4
    }
  }

  /// Forgets everything after the first `count` bytes.
  package mutating func truncate(to count: Int) {
    precondition(count >= 0 && count <= self.count, "a shorter length")
    self.count = count
  }

  @usableFromInline @inline(__always)
  mutating func advance(_ n: Int) { count &+= n }

  @usableFromInline
  mutating func setOverflowed() { overflowed = true }
}
