import CLinux

/// The memory of one version of a configured resource: whatever compilers lay out while it is open,
/// given back at once when no worker can see that version any more.
///
/// Compilers ask for memory by `.configured` and need not know whose it is: it comes from what is open
/// on their thread, and where nothing is, it lasts as long as the process, as the static
/// configuration's does.
@safe
package final class ResourceMemory {
  // SAFETY: blocks that this object allocated; freed once, in `deinit`.
  private var blocks: [UnsafeMutableRawPointer] = unsafe []
  /// Where the next piece comes from, and how much is left there.
  private var next: UnsafeMutableRawPointer?
  private var left = 0
  private var blockBytes = ResourceMemory.firstBlockBytes
  private var endings: [() -> Void] = []
  private var kept: [AnyObject] = []
  /// Bytes taken from the allocator.
  package private(set) var byteCount = 0

  /// Most resources are small: blocks begin at this size and double.
  private static let firstBlockBytes = 1024
  private static let largestBlockBytes = 64 * 1024
  /// What every piece is aligned to, unless it asks for more.
  private static let alignment = 16

  package init() {}

  deinit {
    for ending in endings.reversed() { ending() }
    while let block = unsafe blocks.popLast() { unsafe block.deallocate() }
  }

  /// Has everything that `body` lays out come from here. The calling thread only.
  package func whileOpen<Result>(_ body: () -> Result) -> Result {
    let outer = unsafe fl_open_memory_get()
    // SAFETY: this object lives at least as long as the call.
    unsafe fl_open_memory_set(Unmanaged.passUnretained(self).toOpaque())
    defer { unsafe fl_open_memory_set(outer) }
    return body()
  }

  /// Calls `body` when the open memory is given back; never, when none is open.
  package static func atEnd(_ body: @escaping () -> Void) { open?.endings.append(body) }

  /// Keeps an object as long as the open memory, or else as long as the process.
  package static func keep(_ object: AnyObject) {
    guard let open else {
      _ = unsafe Unmanaged.passRetained(object)
      return
    }
    open.kept.append(object)
  }

  /// Memory of whatever is open on this thread.
  static func allocate<Value: ~Copyable>(
    _ type: Value.Type, count: Int
  ) -> UnsafeMutablePointer<Value> {
    guard let open else { return unsafe immortal(count) }
    let bytes = max(1, MemoryLayout<Value>.stride * count)
    return unsafe open.take(bytes, alignment: MemoryLayout<Value>.alignment)
      .bindMemory(to: Value.self, capacity: count)
  }

  /// What nothing is open for is never given back. The leak check knows it by this function's name.
  @inline(never)
  private static func immortal<Value: ~Copyable>(_ count: Int) -> UnsafeMutablePointer<Value> {
    .allocate(capacity: count)
  }

  private static var open: ResourceMemory? {
    // SAFETY: set by `whileOpen`, which is still on this thread's stack.
    unsafe fl_open_memory_get().map {
      unsafe Unmanaged<ResourceMemory>.fromOpaque($0).takeUnretainedValue()
    }
  }

  private func take(_ bytes: Int, alignment: Int) -> UnsafeMutableRawPointer {
    let size = (bytes + Self.alignment - 1) & ~(Self.alignment - 1)
    // A piece that would waste a block, or wants to stand alone, gets one of its own.
    guard size <= Self.largestBlockBytes / 4, alignment <= Self.alignment else {
      return unsafe block(size, alignment: max(alignment, Self.alignment))
    }
    if size > left {
      while blockBytes < size { blockBytes *= 2 }
      unsafe next = block(blockBytes, alignment: Self.alignment)
      left = blockBytes
      blockBytes = min(blockBytes * 2, Self.largestBlockBytes)
    }
    guard let piece = unsafe next else { preconditionFailure("a block was just added") }
    unsafe next = piece + size
    left -= size
    return unsafe piece
  }

  private func block(_ bytes: Int, alignment: Int) -> UnsafeMutableRawPointer {
    let block = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: alignment)
    unsafe blocks.append(block)
    byteCount += bytes
    return unsafe block
  }
}

extension Ref where Value: ~Copyable {
  /// A value that lasts as long as the resource that is being compiled.
  package static func configured(_ value: consuming Value) -> Ref<Value> {
    let pointer = unsafe ResourceMemory.allocate(Value.self, count: 1)
    unsafe pointer.initialize(to: value)
    // SAFETY: the memory is given back after this, and nobody reads the value any more.
    ResourceMemory.atEnd { unsafe pointer.deinitialize(count: 1) }
    return unsafe Ref(pointer)
  }
}

extension Ref where Value: BitwiseCopyable {
  /// A value that lasts as long as the resource that is being compiled.
  package static func configured(_ value: consuming Value) -> Ref<Value> {
    let pointer = unsafe ResourceMemory.allocate(Value.self, count: 1)
    unsafe pointer.initialize(to: value)
    return unsafe Ref(pointer)
  }
}

extension Table {
  /// A copy that lasts as long as the resource that is being compiled.
  package static func configured(_ elements: some Collection<Element>) -> Table {
    guard !elements.isEmpty else { return .empty }
    let memory = unsafe ResourceMemory.allocate(Element.self, count: elements.count)
    for (index, element) in elements.enumerated() {
      unsafe (memory + index).initialize(to: element)
    }
    return unsafe Table(base: UnsafePointer(memory), count: elements.count)
  }
}

extension Bytes {
  /// A copy that lasts as long as the resource that is being compiled.
  package static func configured(_ text: String) -> Bytes { configured(Array(text.utf8)) }

  /// A copy that lasts as long as the resource that is being compiled.
  package static func configured(_ utf8: [UInt8]) -> Bytes {
    let memory = unsafe ResourceMemory.allocate(UInt8.self, count: max(utf8.count, 1))
    for index in utf8.indices { unsafe memory[index] = utf8[index] }
    return unsafe Bytes(base: UnsafePointer(memory), count: utf8.count)
  }

  /// One copy of all of these in order, which lasts as long as the resource that is being compiled.
  package static func configured(_ pieces: [Bytes]) -> Bytes {
    let count = pieces.reduce(0) { $0 + $1.count }
    let memory = unsafe ResourceMemory.allocate(UInt8.self, count: max(count, 1))
    var end = unsafe memory
    for piece in pieces {
      // SAFETY: the memory holds the bytes of all pieces.
      unsafe end.initialize(from: piece.base, count: piece.count)
      unsafe end += piece.count
    }
    return unsafe Bytes(base: UnsafePointer(memory), count: count)
  }
}
