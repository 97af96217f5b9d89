public import Synchronization

/// Memory that a configuration's lists, texts and shared numbers live in: handed out while loading,
/// given back all at once when the configuration is unloaded. So a configuration can be made of
/// plain values, and nothing that a request reads counts references.
@safe
public final class ConfigMemory {
  private var blocks: [UnsafeMutableRawPointer] = unsafe []

  init() {}

  func allocate<Value: ~Copyable>(_ type: Value.Type, count: Int) -> UnsafeMutablePointer<Value> {
    // SAFETY: nobody keeps a pointer into a configuration beyond `unload`, by the door's rules.
    let block = UnsafeMutableRawPointer.allocate(
      byteCount: max(1, MemoryLayout<Value>.stride * count),
      alignment: max(16, MemoryLayout<Value>.alignment))
    unsafe blocks.append(block)
    return unsafe block.bindMemory(to: Value.self, capacity: count)
  }

  deinit {
    while let block = unsafe blocks.popLast() { unsafe block.deallocate() }
  }
}

/// A list that belongs to a configuration. Reading it touches no reference count.
@safe @frozen
public struct StaticList<Element: BitwiseCopyable>: BitwiseCopyable {
  @usableFromInline let start: UnsafePointer<Element>?
  public let count: Int

  /// An empty list.
  @inlinable public init() {
    unsafe start = nil
    count = 0
  }

  init(_ elements: [Element], in memory: ConfigMemory) {
    let copy = unsafe memory.allocate(Element.self, count: elements.count)
    unsafe copy.initialize(from: elements, count: elements.count)
    unsafe start = UnsafePointer(copy)
    count = elements.count
  }

  @inlinable public var isEmpty: Bool { count == 0 }

  /// The element at `index`, which must be in bounds.
  @inlinable public subscript(index: Int) -> Element {
    precondition(index >= 0 && index < count, "an element of the list")
    // SAFETY: the configuration owns `count` initialised elements and outlives its streams.
    return unsafe start.unsafelyUnwrapped[index]
  }

  @inlinable public func contains(where isWanted: (Element) -> Bool) -> Bool {
    for index in 0..<count where isWanted(self[index]) { return true }
    return false
  }
}

/// A value that the host keeps alive as long as the stream, such as a route's configuration.
@safe @frozen
public struct Lent<Value: BitwiseCopyable>: BitwiseCopyable {
  @usableFromInline let pointer: UnsafePointer<Value>

  @unsafe @inlinable init(_ pointer: UnsafePointer<Value>) { unsafe self.pointer = pointer }

  /// The value itself. SAFETY: configurations are immutable and outlive the streams that use them.
  @inlinable public var value: Value {
    @inline(__always) unsafeAddress { unsafe pointer }
  }
}

/// A number that many streams share: those of all workers, beside a configuration, for limits that
/// hold per process; or those of one connection.
@safe @frozen
public struct SharedNumber: BitwiseCopyable {
  @usableFromInline let cell: UnsafePointer<Atomic<UInt64>>

  /// Alone on its cache line, so that counting here slows nobody who reads its neighbours.
  private struct Cell: ~Copyable {
    let value: Atomic<UInt64>
    let padding: (UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0, 0, 0, 0)

    init(_ value: UInt64) { self.value = Atomic(value) }
  }

  init(_ value: UInt64, in memory: ConfigMemory) {
    let cell = unsafe memory.allocate(Cell.self, count: 1)
    unsafe cell.initialize(to: Cell(value))
    unsafe self.init(UnsafeRawPointer(cell))
  }

  /// SAFETY: an aligned number at this place, which outlives the streams that use it. An atomic is
  /// laid out as its number is.
  @unsafe @inlinable init(_ place: UnsafeRawPointer) {
    unsafe cell = place.assumingMemoryBound(to: Atomic<UInt64>.self)
  }

  @inlinable public var value: UInt64 {
    // SAFETY: an atomic in memory that its owner keeps; it needs no deinitialisation.
    unsafe cell.pointee.load(ordering: .relaxed)
  }

  /// Adds and returns the sum, wrapping.
  @inlinable @discardableResult
  public func add(_ amount: UInt64) -> UInt64 {
    unsafe cell.pointee.wrappingAdd(amount, ordering: .relaxed).newValue
  }

  /// Subtracts and returns the difference, wrapping.
  @inlinable @discardableResult
  public func subtract(_ amount: UInt64) -> UInt64 {
    unsafe cell.pointee.wrappingSubtract(amount, ordering: .relaxed).newValue
  }

  @inlinable public func store(_ value: UInt64) {
    unsafe cell.pointee.store(value, ordering: .relaxed)
  }

  /// Replaces `expected` by `desired`. nil: done; otherwise what stands there.
  @inlinable public func exchange(expected: UInt64, desired: UInt64) -> UInt64? {
    let (done, original) = unsafe cell.pointee.weakCompareExchange(
      expected: expected, desired: desired, ordering: .acquiringAndReleasing)
    return done ? nil : original
  }
}
