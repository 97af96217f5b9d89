/// A handle to a value that lives in memory which is never unmapped: a slot of a `Pool`, or one
/// allocation that lasts as long as the process.
///
/// Copying a handle touches no reference count, and using it asks no exclusivity check: this is how
/// the request path names its connections and streams. Handles that may outlive their value's turn
/// in the slot travel as `Weak`, which carries the slot's generation.
@safe
@usableFromInline
package struct Ref<Value: ~Copyable>: BitwiseCopyable {
  @usableFromInline package let pointer: UnsafeMutablePointer<Value>

  @inlinable
  package init(_ pointer: UnsafeMutablePointer<Value>) { unsafe self.pointer = pointer }

  /// The value itself. SAFETY: slots are never unmapped, and one thread owns each of them.
  @inlinable
  package var value: Value {
    @inline(__always) unsafeAddress { unsafe UnsafePointer(pointer) }
    @inline(__always) nonmutating unsafeMutableAddress { unsafe pointer }
  }

  /// The handle as C sees it.
  @inlinable
  package var raw: UnsafeMutableRawPointer { unsafe UnsafeMutableRawPointer(pointer) }

  /// The handle that `raw` gave. SAFETY: `raw` came from a `Ref` of the same type.
  @inlinable
  package init(raw: UnsafeMutableRawPointer) {
    unsafe self.pointer = raw.assumingMemoryBound(to: Value.self)
  }
}

extension Ref where Value: ~Copyable {
  /// Memory for one value that lasts until the process ends.
  package static func immortal(_ value: consuming Value) -> Ref<Value> {
    let pointer = UnsafeMutablePointer<Value>.allocate(capacity: 1)
    unsafe pointer.initialize(to: value)
    return unsafe Ref(pointer)
  }
}

extension Ref where Value: ~Copyable {
  /// Undoes `immortal`: the value is gone, and so is its memory.
  /// SAFETY: the caller knows that nobody else has the handle any more.
  package func destroy() {
    let memory = unsafe pointer
    unsafe memory.deinitialize(count: 1)
    unsafe memory.deallocate()
  }
}

extension Ref: Equatable where Value: ~Copyable {
  @inlinable
  package static func == (a: Ref, b: Ref) -> Bool { unsafe a.pointer == b.pointer }
}
