import Engine

/// Memory of a fixed size that its owner fills, changes and frees: what a snapshot and a balancer are
/// made of. Indexing is checked and touches no reference count.
@safe
struct Buffer<Element: BitwiseCopyable>: ~Copyable {
  // SAFETY: holds `count` initialized values; freed once, in `deinit`.
  private let base: UnsafeMutablePointer<Element>?
  let count: Int

  init(_ elements: [Element]) {
    count = elements.count
    guard !elements.isEmpty else {
      unsafe base = nil
      return
    }
    let memory = UnsafeMutablePointer<Element>.allocate(capacity: elements.count)
    for index in elements.indices { unsafe (memory + index).initialize(to: elements[index]) }
    unsafe base = memory
  }

  deinit { unsafe base?.deallocate() }

  subscript(index: Int) -> Element {
    @inline(__always) unsafeAddress { unsafe UnsafePointer(address(index)) }
    @inline(__always) unsafeMutableAddress { unsafe address(index) }
  }

  @inline(__always)
  private func address(_ index: Int) -> UnsafeMutablePointer<Element> {
    guard let base = unsafe base, index >= 0, index < count else {
      preconditionFailure("buffer index within the buffer")
    }
    return unsafe base + index
  }

  /// The values as a table, valid as long as the buffer.
  var table: Table<Element> {
    unsafe Table(base: base.map { unsafe UnsafePointer($0) }, count: count)
  }
}
