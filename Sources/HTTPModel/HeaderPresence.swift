/// Which well-known names a head may have, which of them more than once, and where those stand first
/// that every request is asked for again and again.
///
/// It errs on one side only: what is not in `ids` is not in the head. A place is a guess: it is right
/// if the field there has the id and is live, and then no other such field stands before it.
@usableFromInline
package struct HeaderPresence: BitwiseCopyable, Sendable {
  @usableFromInline package internal(set) var ids = HeaderIDSet()
  @usableFromInline package internal(set) var repeated = HeaderIDSet()
  @usableFromInline internal var places = InlineArray<24, UInt8>(repeating: 0)

  /// The ids whose places are kept: pseudo fields, what frames a message, and what says whose it is.
  @inlinable internal static var placed: UInt8 { 24 }

  /// No names.
  @inlinable
  package init() {}

  /// A field with this id stands at `place`, behind all others or in the place of another id.
  @inlinable @inline(__always)
  package mutating func add(_ id: HeaderID, at place: Int) {
    guard !ids.insert(id) else { return addAgain(id, at: place) }
    // A place beyond 255 is kept as another one, where a look finds a different id, or the first.
    if id.rawValue < Self.placed {
      places[Int(id.rawValue)] = UInt8(truncatingIfNeeded: place)
    }
  }

  @usableFromInline
  internal mutating func addAgain(_ id: HeaderID, at place: Int) {
    guard id != .other else { return }
    _ = repeated.insert(id)
    if let first = self.place(of: id), place < first {
      places[Int(id.rawValue)] = UInt8(truncatingIfNeeded: place)
    }
  }

  /// Where the first field with this id stands; nil when that is not kept.
  @inlinable @inline(__always)
  package func place(of id: HeaderID) -> Int? {
    id.rawValue < Self.placed ? Int(places[Int(id.rawValue)]) : nil
  }

  /// One field with this id is no more; whether there are others is known only if there was but one.
  @inlinable
  package mutating func remove(_ id: HeaderID) {
    if id != .other, !repeated.contains(id) { ids = ids - HeaderIDSet(id) }
  }

  /// No field with one of these ids is left.
  @inlinable @inline(__always)
  package mutating func remove(_ gone: HeaderIDSet) {
    ids = ids - gone
    repeated = repeated - gone
  }
}
