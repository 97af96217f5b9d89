/// What a `Pool` can hold: a value that can be blank, and that counts its turns in the slot.
@usableFromInline
package protocol Pooled: ~Copyable {
  init()
  /// Grows by one with every release, so that a `Weak` handle notices.
  var generation: UInt32 { get set }
  /// Links free slots.
  var nextFree: Ref<Self>? { get set }
}

/// Slots for values of one type, taken and released in constant time. Memory comes in pages and is
/// kept: a slot that was busy once is warm the next time, and a stale handle still points at a slot.
package struct Pool<Value: Pooled & ~Copyable>: ~Copyable {
  private var free: Ref<Value>?
  private var pageCount: Int
  /// The first slot of each page.
  private var pages: [Ref<Value>] = []
  /// Slots in use.
  package private(set) var live = 0

  /// - Parameter pageCount: slots allocated at a time.
  package init(pageCount: Int = 64) { self.pageCount = pageCount }

  /// A slot whose value has been reset.
  @inline(__always)
  package mutating func take() -> Ref<Value> {
    if free == nil { grow() }
    guard let slot = free else { preconditionFailure("a page was just added") }
    free = slot.value.nextFree
    slot.value.nextFree = nil
    live &+= 1
    return slot
  }

  /// Gives the slot back. The value must have released what it held.
  @inline(__always)
  package mutating func release(_ slot: Ref<Value>) {
    slot.value.generation &+= 1
    slot.value.nextFree = free
    free = slot
    live &-= 1
  }

  /// Calls `body` with every slot, in use or not.
  package func withEach(_ body: (Ref<Value>) -> Void) {
    for page in pages {
      // SAFETY: a page has this many slots, and its pool never moves or frees them.
      for index in 0..<pageCount { body(unsafe Ref(page.pointer + index)) }
    }
  }

  private mutating func grow() {
    let page = UnsafeMutablePointer<Value>.allocate(capacity: pageCount)
    pages.append(unsafe Ref(page))
    for index in (0..<pageCount).reversed() {
      // SAFETY: `index` is inside the page just allocated.
      let slot = unsafe page + index
      unsafe slot.initialize(to: Value())
      let handle = unsafe Ref(slot)
      handle.value.nextFree = free
      free = handle
    }
  }
}

/// A handle that knows when its slot has been released since.
@usableFromInline
package struct Weak<Value: Pooled & ~Copyable>: BitwiseCopyable {
  @usableFromInline package let slot: Ref<Value>
  @usableFromInline package let generation: UInt32

  @inlinable
  package init(_ slot: Ref<Value>) {
    self.slot = slot
    generation = slot.value.generation
  }

  /// The handle, if the slot still serves the same value.
  @inlinable
  package var ref: Ref<Value>? { slot.value.generation == generation ? slot : nil }
}
