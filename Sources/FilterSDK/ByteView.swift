public import CFilterABI

/// Bytes that somebody else owns: the host's, a configuration's, or the program's.
///
/// SAFETY: a view that a callback was lent is valid until that callback returns, or until the head
/// or body that it came from is changed; it must not be kept. One of a configuration lasts as long
/// as the configuration, one made from a literal for ever. Not `Sendable`.
@safe @frozen
public struct ByteView: BitwiseCopyable, ExpressibleByStringLiteral {
  @usableFromInline let start: UnsafePointer<UInt8>?
  /// How many bytes there are.
  public let count: Int

  /// No bytes.
  @inlinable public init() {
    unsafe start = nil
    count = 0
  }

  /// The program's own bytes.
  @inlinable public init(stringLiteral text: StaticString) {
    unsafe start = text.utf8Start
    count = text.utf8CodeUnitCount
  }

  @unsafe @inlinable public init(start: UnsafePointer<UInt8>?, count: Int) {
    unsafe self.start = start
    self.count = count
  }

  @unsafe @inlinable public init(_ bytes: fl_bytes) {
    unsafe start = bytes.data
    count = unsafe bytes.count
  }

  /// The same bytes, as C sees them.
  @inlinable public var raw: fl_bytes {
    @inline(__always) get { unsafe fl_bytes(data: start, count: count) }
  }

  @inlinable public var isEmpty: Bool { count == 0 }

  /// The byte at `index`, which must be in bounds.
  @inlinable public subscript(index: Int) -> UInt8 {
    precondition(index >= 0 && index < count, "a byte within the view")
    return unsafe start.unsafelyUnwrapped[index]
  }

  /// The bytes of `range`, which must be in bounds.
  @inlinable public subscript(range: Range<Int>) -> ByteView {
    precondition(range.lowerBound >= 0 && range.upperBound <= count, "a range within the view")
    guard !range.isEmpty else { return ByteView() }
    return unsafe ByteView(
      start: start.unsafelyUnwrapped + range.lowerBound, count: range.count)
  }
}

extension ByteView: Equatable {
  @inlinable public static func == (a: ByteView, b: ByteView) -> Bool {
    guard a.count == b.count else { return false }
    for index in 0..<a.count where a[index] != b[index] { return false }
    return true
  }

  /// Equal but for the case of ASCII letters.
  @inlinable public func equalsIgnoringCase(_ other: ByteView) -> Bool {
    guard count == other.count else { return false }
    for index in 0..<count where self[index].lowercased != other[index].lowercased { return false }
    return true
  }

  @inlinable public func hasPrefix(_ prefix: ByteView) -> Bool {
    count >= prefix.count && self[0..<prefix.count] == prefix
  }
}

extension UInt8 {
  @inlinable var lowercased: UInt8 { self >= 0x41 && self <= 0x5A ? self | 0x20 : self }
}

extension ByteView {
  /// The number written here in decimal digits and nothing else; nil for anything else, or for
  /// more than 64 bits.
  @inlinable public var decimal: UInt64? {
    guard count > 0 else { return nil }
    var value: UInt64 = 0
    for index in 0..<count {
      let digit = self[index] &- 0x30
      guard digit < 10 else { return nil }
      let (tens, overflow) = value.multipliedReportingOverflow(by: 10)
      let (sum, carry) = tens.addingReportingOverflow(UInt64(digit))
      guard !overflow, !carry else { return nil }
      value = sum
    }
    return value
  }

  /// Without spaces and tabs at either end.
  @inlinable public var trimmed: ByteView {
    var lower = 0
    var upper = count
    while lower < upper, self[lower] == 0x20 || self[lower] == 0x09 { lower += 1 }
    while upper > lower, self[upper - 1] == 0x20 || self[upper - 1] == 0x09 { upper -= 1 }
    return self[lower..<upper]
  }

  /// Calls `body` with each piece between commas, trimmed; empty pieces are left out. `body`
  /// returns whether to go on.
  @inlinable public func forEachListItem(_ body: (ByteView) -> Bool) {
    var start = 0
    for index in 0...count where index == count || self[index] == UInt8(ascii: ",") {
      let item = self[start..<index].trimmed
      start = index + 1
      if !item.isEmpty, !body(item) { return }
    }
  }

  /// Calls `body` with the number's decimal digits.
  @inlinable public static func withDecimal<Result>(
    _ number: UInt64, _ body: (ByteView) -> Result
  ) -> Result {
    unsafe withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 20) { digits in
      var rest = number
      var first = 20
      repeat {
        first -= 1
        unsafe digits[first] = UInt8(truncatingIfNeeded: 0x30 + rest % 10)
        rest /= 10
      } while rest > 0
      // SAFETY: `first` is at least 0 because 64 bits have at most twenty digits.
      let start = unsafe digits.baseAddress.unsafelyUnwrapped + first
      return unsafe body(ByteView(start: UnsafePointer(start), count: 20 - first))
    }
  }
}

extension String {
  /// A copy, with what is not UTF-8 replaced. It allocates: not for the request path.
  public init(_ bytes: ByteView) {
    self = unsafe String(
      decoding: UnsafeBufferPointer(start: bytes.start, count: bytes.count), as: UTF8.self)
  }

  /// Calls `body` with this text's bytes.
  public func withByteView<Result>(_ body: (ByteView) -> Result) -> Result {
    var copy = self
    return copy.withUTF8 { utf8 in
      unsafe body(ByteView(start: utf8.baseAddress, count: utf8.count))
    }
  }
}
