import Engine

/// Trivial values side by side in memory that is never freed: how compiled configuration is laid
/// out, so that reading it touches no reference count.
///
/// `@safe` because every access is checked against `count`, and the memory lasts for ever.
@safe
package struct FlatArray<Element: BitwiseCopyable>: BitwiseCopyable {
  private let base: UnsafeMutablePointer<Element>
  package let count: Int

  /// A copy of `elements` that lasts until the process ends.
  package init(immortal elements: [Element]) {
    unsafe base = .allocate(capacity: max(elements.count, 1))
    for index in elements.indices {
      unsafe (base + index).initialize(to: elements[index])
    }
    count = elements.count
  }

  @inlinable
  package var isEmpty: Bool { count == 0 }

  package subscript(index: Int) -> Element {
    @inline(__always) get {
      precondition(index >= 0 && index < count, "an index of the array")
      return unsafe base[index]
    }
  }

  /// A handle to one element.
  package func handle(_ index: Int) -> Ref<Element> {
    precondition(index >= 0 && index < count, "an index of the array")
    return unsafe Ref(base + index)
  }

  /// The elements as C sees them.
  package var pointer: UnsafePointer<Element> { unsafe UnsafePointer(base) }
}
