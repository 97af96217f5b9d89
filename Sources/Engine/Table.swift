/// A run of trivial values that someone else owns: configuration's lasts as long as the process, a
/// snapshot's as long as the snapshot.
///
/// `@safe` for the same reason as `Bytes`: every access is checked against `count`, and the life of
/// the memory is the lender's stated promise.
@safe
@usableFromInline
package struct Table<Element: BitwiseCopyable>: BitwiseCopyable {
  @usableFromInline let base: UnsafePointer<Element>?
  @usableFromInline package let count: Int

  /// SAFETY: `base` holds `count` values for as long as the table is used.
  @inlinable
  package init(base: UnsafePointer<Element>?, count: Int) {
    unsafe self.base = base
    self.count = unsafe base == nil ? 0 : count
  }

  @inlinable
  package static var empty: Table { unsafe Table(base: nil, count: 0) }

  @inlinable
  package var isEmpty: Bool { count == 0 }

  @inlinable
  package subscript(index: Int) -> Element {
    @inline(__always) unsafeAddress {
      guard let base = unsafe base, index >= 0, index < count else {
        preconditionFailure("table index within the table")
      }
      return unsafe base + index
    }
  }

  /// The part from `start` up to `end`.
  @inlinable
  package subscript(start: Int, end: Int) -> Table {
    precondition(start >= 0 && start <= end && end <= count, "table range within the table")
    return unsafe Table(base: base.map { unsafe $0 + start }, count: end &- start)
  }

  /// A handle to the value at `index`, for who reads it again and again.
  @inlinable
  package func handle(_ index: Int) -> Ref<Element> {
    guard let base = unsafe base, index >= 0, index < count else {
      preconditionFailure("table index within the table")
    }
    return unsafe Ref(UnsafeMutablePointer(mutating: base + index))
  }

  /// The values as C sees them.
  @inlinable
  package var pointer: UnsafePointer<Element>? { unsafe base }

  /// A copy that lasts until the process ends: configuration.
  package static func immortal(_ elements: some Collection<Element>) -> Table {
    guard !elements.isEmpty else { return .empty }
    let memory = UnsafeMutablePointer<Element>.allocate(capacity: elements.count)
    for (index, element) in elements.enumerated() {
      unsafe (memory + index).initialize(to: element)
    }
    return unsafe Table(base: UnsafePointer(memory), count: elements.count)
  }

  /// The values as an array; for the main thread and for tests.
  package var array: [Element] { (0..<count).map { self[$0] } }
}
