/// Appends to memory of a fixed size. What does not fit is not written and sets `isFull`; nothing
/// ever allocates.
@safe
@usableFromInline
package struct ByteSink {
  // SAFETY: the maker owns `capacity` bytes at `base` for as long as it uses the sink; every write
  // is checked against the capacity.
  @usableFromInline
  package let base: UnsafeMutablePointer<UInt8>
  @usableFromInline
  package let capacity: Int
  /// How many bytes have been written.
  @usableFromInline
  package internal(set) var count: Int
  /// Whether something did not fit.
  @usableFromInline
  package internal(set) var isFull = false

  /// Writes into memory that outlives the sink.
  @inlinable
  package init(base: UnsafeMutablePointer<UInt8>, capacity: Int) {
    unsafe self.base = base
    self.capacity = capacity
    count = 0
  }

  /// What has been written. Valid until the sink's memory changes.
  @inlinable @inline(__always)
  package var bytes: LogBytes { unsafe LogBytes(start: base, count: count) }

  /// What has been written since `mark`, an earlier `count`.
  @inlinable
  package func bytes(since mark: Int) -> LogBytes {
    unsafe LogBytes(start: base + min(mark, count), count: count - min(mark, count))
  }

  /// The last byte written.
  @inlinable
  package var last: UInt8? { count > 0 ? unsafe base[count - 1] : nil }

  /// Takes back everything since `mark`, an earlier `count`.
  @inlinable @inline(__always)
  package mutating func rewind(to mark: Int) {
    count = min(count, max(0, mark))
    isFull = false
  }

  @inlinable @inline(__always)
  package mutating func append(_ byte: UInt8) {
    guard count < capacity else {
      isFull = true
      return
    }
    unsafe base[count] = byte
    count += 1
  }

  @inlinable @inline(__always)
  package mutating func append(_ bytes: LogBytes) {
    guard let start = unsafe bytes.start else { return }
    guard bytes.count <= capacity - count else {
      isFull = true
      return
    }
    unsafe (base + count).update(from: start, count: bytes.count)
    count += bytes.count
  }

  @inlinable @inline(__always)
  package mutating func append(_ text: StaticString) {
    append(LogBytes(text))
  }

  /// How much `appendWords` reads.
  @usableFromInline
  package static let wordsBytes = 16

  /// Appends up to 16 bytes from where 16 can be read.
  @inlinable @inline(__always)
  package mutating func appendWords(_ start: UnsafePointer<UInt8>, count length: Int) {
    guard capacity - count >= Self.wordsBytes else {
      return append(unsafe LogBytes(start: start, count: length))
    }
    let from = unsafe UnsafeRawPointer(start)
    let to = unsafe UnsafeMutableRawPointer(base + count)
    let first = unsafe from.loadUnaligned(as: UInt64.self)
    let second = unsafe from.loadUnaligned(fromByteOffset: 8, as: UInt64.self)
    unsafe to.storeBytes(of: first, as: UInt64.self)
    unsafe to.storeBytes(of: second, toByteOffset: 8, as: UInt64.self)
    count += length
  }

  /// Appends a number in decimal digits.
  @inlinable
  package mutating func appendDecimal(_ number: Int64) {
    if number < 0 { append(UInt8(ascii: "-")) }
    appendDecimal(number.magnitude)
  }

  /// Appends a number in decimal digits.
  @inlinable
  package mutating func appendDecimal(_ number: UInt64) {
    // 20 digits hold the largest.
    guard capacity - count >= 20 else { return appendDecimalSlowly(number) }
    var length = 1
    var bound: UInt64 = 10
    while number >= bound && length < 19 {
      length += 1
      bound &*= 10
    }
    if number >= 10_000_000_000_000_000_000 { length = 20 }
    var rest = number
    var position = count + length
    repeat {
      position -= 1
      let (quotient, digit) = rest.quotientAndRemainder(dividingBy: 10)
      unsafe base[position] = UInt8(truncatingIfNeeded: digit) + 0x30
      rest = quotient
    } while position > count
    count += length
  }

  /// Near the end of the memory: digit by digit, each of them checked.
  @usableFromInline
  package mutating func appendDecimalSlowly(_ number: UInt64) {
    if number >= 10 { appendDecimalSlowly(number / 10) }
    append(UInt8(truncatingIfNeeded: number % 10) + 0x30)
  }

  /// Appends the first `digits` of the nine digits of a second's nanoseconds.
  @inlinable
  package mutating func appendFraction(nanoseconds: UInt32, digits: Int) {
    guard digits != 3 else {
      // The usual form; divisions by constants cost little.
      let milliseconds = nanoseconds / 1_000_000
      append(UInt8(truncatingIfNeeded: milliseconds / 100 % 10) + 0x30)
      append(UInt8(truncatingIfNeeded: milliseconds / 10 % 10) + 0x30)
      return append(UInt8(truncatingIfNeeded: milliseconds % 10) + 0x30)
    }
    var divisor: UInt32 = 100_000_000
    for _ in 0..<min(9, digits) {
      append(UInt8(truncatingIfNeeded: nanoseconds / divisor % 10) + 0x30)
      divisor = max(1, divisor / 10)
    }
  }

  /// Lets C write at the end; `write` gets the place and the room there, and says how much it used.
  mutating func appendRaw(_ write: (UnsafeMutablePointer<UInt8>, Int) -> Int) {
    let used = unsafe write(base + count, capacity - count)
    count += max(0, min(used, capacity - count))
  }
}
