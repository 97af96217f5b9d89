import CLinux

/// A piece of memory from a `BlockPool`, for bytes that must stay: a head in use, a partial head, a
/// queue towards a slow peer. Its bytes are addressed by checked offsets.
@safe
@usableFromInline
package struct Block: BitwiseCopyable {
  @usableFromInline @safe struct Header {
    @usableFromInline var next: UnsafeMutableRawPointer?
    @usableFromInline var capacity: Int
    @usableFromInline var used: Int
    // Keeps the bytes behind the header aligned as malloc aligns.
    private let padding = 0

    @usableFromInline init(next: UnsafeMutableRawPointer?, capacity: Int, used: Int) {
      unsafe self.next = next
      self.capacity = capacity
      self.used = used
    }
  }

  @usableFromInline let header: UnsafeMutablePointer<Header>

  /// SAFETY: the memory holds a header and `capacity` bytes after it; `BlockPool` alone makes it.
  init(_ memory: UnsafeMutableRawPointer, capacity: Int) {
    unsafe header = memory.bindMemory(to: Header.self, capacity: 1)
    unsafe header.initialize(to: Header(next: nil, capacity: capacity, used: 0))
  }

  @usableFromInline
  init(existing: UnsafeMutableRawPointer) {
    unsafe header = existing.assumingMemoryBound(to: Header.self)
  }

  var memory: UnsafeMutableRawPointer { unsafe UnsafeMutableRawPointer(header) }

  /// Where the bytes begin, for code that writes through a checked type of its own.
  @inlinable
  package var base: UnsafeMutablePointer<UInt8> {
    unsafe UnsafeMutableRawPointer(header + 1).assumingMemoryBound(to: UInt8.self)
  }

  @inlinable
  package var capacity: Int { unsafe header.pointee.capacity }

  /// How many bytes hold something.
  @inlinable
  package var used: Int {
    get { unsafe header.pointee.used }
    nonmutating set {
      precondition(newValue >= 0 && newValue <= capacity, "used bytes within the block")
      unsafe header.pointee.used = newValue
    }
  }

  /// The block behind this one in a list.
  @inlinable
  package var next: Block? {
    get {
      guard let raw = unsafe header.pointee.next else { return nil }
      return unsafe Block(existing: raw)
    }
    nonmutating set { unsafe header.pointee.next = newValue.map { unsafe $0.rawHeader } }
  }

  @usableFromInline
  var rawHeader: UnsafeMutableRawPointer { unsafe UnsafeMutableRawPointer(header) }

  /// The bytes in use, from `start`.
  @inlinable
  package func bytes(from start: Int = 0) -> Bytes {
    let used = self.used
    precondition(start >= 0 && start <= used, "offset within the bytes in use")
    return unsafe Bytes(base: UnsafePointer(base) + start, count: used &- start)
  }

  /// Appends as much as fits and says how much that was.
  @inlinable
  package func append(_ bytes: Bytes) -> Int {
    let n = min(bytes.count, capacity &- used)
    // SAFETY: `n` fits behind the bytes in use.
    unsafe memmove(base + used, bytes.base, n)
    used &+= n
    return n
  }
}

/// Memory blocks in powers of two, taken and released without a lock: each worker has its own pool.
@usableFromInline
package struct BlockPool: ~Copyable {
  /// The smallest block: the head of an ordinary request with its fields' table.
  @inlinable package static var smallest: Int { 2048 }
  /// The largest: a head of 60 KiB with its table, or a slow peer's queue a piece at a time.
  @inlinable package static var largest: Int { 256 * 1024 }
  private static let classes = 8
  /// Idle memory kept per size. Enough that a steady load never asks the system, and little enough
  /// that a burst is given back.
  private static var keptBytes: Int { 1024 * 1024 }

  private var free: InlineArray<8, Block?> = .init(repeating: nil)
  private var kept: InlineArray<8, Int> = .init(repeating: 0)
  /// Bytes handed out and not yet returned.
  package private(set) var liveBytes = 0

  package init() {}

  /// What is handed out stays with whoever has it.
  deinit {
    for index in 0..<Self.classes {
      var rest = free[index]
      while let block = rest {
        rest = block.next
        unsafe CLinux.free(block.memory)
      }
    }
  }

  private static func sizeClass(_ size: Int) -> Int {
    if size <= smallest { return 0 }
    return Int.bitWidth &- (size &- 1).leadingZeroBitCount &- 11
  }

  /// A block of at least `size` bytes, at most `largest`; empty.
  @usableFromInline
  package mutating func take(_ size: Int = smallest) -> Block {
    precondition(size <= Self.largest, "a block of at most \(Self.largest) bytes")
    let index = Self.sizeClass(size)
    let capacity = Self.smallest << index
    liveBytes &+= capacity
    if let block = free[index] {
      free[index] = block.next
      kept[index] &-= capacity
      block.next = nil
      block.used = 0
      return block
    }
    let bytes = capacity &+ MemoryLayout<Block.Header>.size
    guard let memory = unsafe malloc(bytes) else { preconditionFailure("out of memory") }
    return unsafe Block(memory, capacity: capacity)
  }

  @usableFromInline
  package mutating func release(_ block: Block) {
    let index = Self.sizeClass(block.capacity)
    liveBytes &-= block.capacity
    guard kept[index] < Self.keptBytes else {
      unsafe CLinux.free(block.memory)
      return
    }
    block.next = free[index]
    free[index] = block
    kept[index] &+= block.capacity
  }
}
