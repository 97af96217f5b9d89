/// Some well-known names, written `.keepAlive | .upgrade`: two constants, so that asking a head for
/// any of them is two instructions.
@usableFromInline
package struct HeaderIDSet: BitwiseCopyable, Sendable {
  @usableFromInline internal var low: UInt64
  @usableFromInline internal var high: UInt64

  /// No names.
  @inlinable @inline(__always)
  package init() {
    low = 0
    high = 0
  }

  @inlinable @inline(__always)
  package init(_ id: HeaderID) {
    let bit = UInt64(1) &<< UInt64(id.rawValue & 63)
    low = id.rawValue < 64 ? bit : 0
    high = id.rawValue < 64 ? 0 : bit
  }

  @inlinable @inline(__always)
  package static func | (a: HeaderIDSet, b: HeaderID) -> HeaderIDSet { a | HeaderIDSet(b) }

  @inlinable @inline(__always)
  package static func | (a: HeaderIDSet, b: HeaderIDSet) -> HeaderIDSet {
    var union = a
    union.low |= b.low
    union.high |= b.high
    return union
  }

  /// The names of `a` that are not in `b`.
  @inlinable @inline(__always)
  package static func - (a: HeaderIDSet, b: HeaderIDSet) -> HeaderIDSet {
    var rest = a
    rest.low &= ~b.low
    rest.high &= ~b.high
    return rest
  }

  /// Adds a name; true when it was there already.
  @inlinable @inline(__always)
  package mutating func insert(_ id: HeaderID) -> Bool {
    let bit = UInt64(1) &<< UInt64(id.rawValue & 63)
    if id.rawValue < 64 {
      guard low & bit == 0 else { return true }
      low |= bit
    } else {
      guard high & bit == 0 else { return true }
      high |= bit
    }
    return false
  }

  @inlinable @inline(__always)
  package func contains(_ id: HeaderID) -> Bool { intersects(HeaderIDSet(id)) }

  @inlinable @inline(__always)
  package func intersects(_ other: HeaderIDSet) -> Bool {
    (low & other.low) | (high & other.high) != 0
  }
}

extension HeaderID {
  @inlinable @inline(__always)
  package static func | (a: HeaderID, b: HeaderID) -> HeaderIDSet { HeaderIDSet(a) | b }
}
