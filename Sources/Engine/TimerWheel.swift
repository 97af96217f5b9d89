/// Names one armed timer. A stale name is harmless.
@usableFromInline
package struct TimerID: BitwiseCopyable, Equatable {
  @usableFromInline var index: Int32
  @usableFromInline var generation: UInt32

  /// Names no timer.
  @inlinable package static var none: TimerID { TimerID(index: -1, generation: 0) }

  /// The name as a number, for those who cannot hold the type; never 0.
  package var ticket: UInt64 {
    UInt64(generation) << 32 | UInt64(UInt32(bitPattern: index &+ 1))
  }

  /// The name that `ticket` gave.
  package init(ticket: UInt64) {
    index = Int32(truncatingIfNeeded: ticket & 0xFFFF_FFFF) &- 1
    generation = UInt32(truncatingIfNeeded: ticket >> 32)
  }

  @inlinable
  init(index: Int32, generation: UInt32) {
    self.index = index
    self.generation = generation
  }
}

/// What a timer calls: a function without captures, the context it was armed with, and a tag.
package typealias TimerCallback = @convention(c) (UnsafeMutableRawPointer, UInt64) -> Void

/// A hierarchical timing wheel (Varghese and Lauck, 1987): arming, cancelling and firing cost the
/// same however many timers there are. Four levels of 256 slots, a millisecond a tick, reach 49
/// days; anything longer is cut to that.
@safe
package struct TimerWheel: ~Copyable {
  @safe private struct Node {
    var next: Int32 = -1
    var previous: Int32 = -1
    var slot: Int32 = -1
    var generation: UInt32 = 0
    var deadline: UInt64 = 0
    var callback: TimerCallback?
    var context: UnsafeMutableRawPointer?
    var tag: UInt64 = 0
  }

  private static let slotBits = 8
  private static let slots = 256
  private static let levels = 4

  // SAFETY: `nodes` holds `capacity` nodes and is only indexed with values below `capacity`;
  // `heads` holds one entry per slot and level, `occupied` one bit for each of those.
  private var nodes: UnsafeMutablePointer<Node>
  private var capacity: Int
  private var freeHead: Int32 = -1
  private let heads: UnsafeMutablePointer<Int32>
  private let occupied: UnsafeMutablePointer<UInt64>
  private var tick: UInt64
  /// Timers armed.
  @usableFromInline package private(set) var count = 0

  /// - Parameter now: milliseconds on the clock that `advance` will be told.
  package init(now: UInt64) {
    tick = now
    capacity = 256
    unsafe nodes = .allocate(capacity: capacity)
    unsafe heads = .allocate(capacity: Self.slots * Self.levels)
    unsafe heads.initialize(repeating: -1, count: Self.slots * Self.levels)
    unsafe occupied = .allocate(capacity: Self.slots * Self.levels / 64)
    unsafe occupied.initialize(repeating: 0, count: Self.slots * Self.levels / 64)
    for index in (0..<capacity).reversed() {
      unsafe (nodes + index).initialize(to: Node(next: freeHead))
      freeHead = Int32(truncatingIfNeeded: index)
    }
  }

  deinit {
    unsafe nodes.deallocate()
    unsafe heads.deallocate()
    unsafe occupied.deallocate()
  }

  /// Arms a timer that fires at the first `advance` to `deadline` (milliseconds) or later.
  package mutating func arm(
    at deadline: UInt64, tag: UInt64 = 0, context: UnsafeMutableRawPointer,
    _ callback: @escaping TimerCallback
  ) -> TimerID {
    if freeHead < 0 { grow() }
    let index = freeHead
    let node = unsafe nodes + Int(index)
    freeHead = unsafe node.pointee.next
    unsafe node.pointee.deadline = max(deadline, tick &+ 1)
    unsafe node.pointee.callback = callback
    unsafe node.pointee.context = context
    unsafe node.pointee.tag = tag
    count &+= 1
    link(index)
    return TimerID(index: index, generation: unsafe node.pointee.generation)
  }

  /// Disarms; nothing happens when the timer has fired or been cancelled already.
  package mutating func cancel(_ id: TimerID) {
    guard id.index >= 0, Int(id.index) < capacity else { return }
    let node = unsafe nodes + Int(id.index)
    guard unsafe node.pointee.generation == id.generation, unsafe node.pointee.slot >= 0 else {
      return
    }
    unlink(id.index)
    release(id.index)
  }

  /// Moves time on, firing what is due, earliest tick first. A timer armed meanwhile fires a tick
  /// later at the earliest, so this ends.
  ///
  /// `advance` must be called through a handle that callbacks may use too: it keeps no state in
  /// locals across a callback but the time.
  package static func advance(_ wheel: Ref<TimerWheel>, to now: UInt64) {
    while let due = wheel.value.nextDue(notAfter: now) {
      unsafe due.callback(due.context, due.tag)
    }
  }

  @safe private struct Due {
    let callback: TimerCallback
    let context: UnsafeMutableRawPointer
    let tag: UInt64
  }

  private mutating func nextDue(notAfter now: UInt64) -> Due? {
    while true {
      let slot = Int(truncatingIfNeeded: tick & 255)
      let index = unsafe heads[slot]
      if index >= 0 {
        let node = unsafe nodes + Int(index)
        unlink(index)
        guard let callback = unsafe node.pointee.callback,
          let context = unsafe node.pointee.context
        else { preconditionFailure("an armed timer has a callback") }
        let tag = unsafe node.pointee.tag
        release(index)
        return unsafe Due(callback: callback, context: context, tag: tag)
      }
      guard tick < now else { return nil }
      step(towards: now)
    }
  }

  /// Milliseconds until something may be due: at most `limit`, exact for the near future.
  package func delay(limit: UInt64) -> UInt64 {
    guard count > 0 else { return limit }
    if unsafe heads[Int(truncatingIfNeeded: tick & 255)] >= 0 { return 0 }
    let start = Int(truncatingIfNeeded: tick & 255)
    let next = nextOccupied(level: 0, from: start + 1)
    let distance = next.map { UInt64($0 - start) } ?? (256 &- (tick & 255))
    return min(distance, limit)
  }

  /// Straight to the next tick that can matter: the start of the next slot in use, or of the lap
  /// after which slots that lie behind are next.
  private mutating func step(towards now: UInt64) {
    var next = now
    for level in 0..<Self.levels {
      let shift = UInt64(Self.slotBits * level)
      let position = Int(truncatingIfNeeded: (tick >> shift) & 255)
      if let slot = nextOccupied(level: level, from: position + 1) {
        next = ((tick >> shift) &+ UInt64(slot - position)) << shift
        break
      }
      if nextOccupied(level: level, from: 0) != nil {
        next = (((tick >> shift) | 255) &+ 1) << shift
        break
      }
    }
    tick = min(now, next)
    if tick & 255 == 0 { cascade(level: 1) }
  }

  private mutating func cascade(level: Int) {
    guard level < Self.levels else { return }
    let slot = Int(truncatingIfNeeded: (tick >> UInt64(Self.slotBits * level)) & 255)
    // A lower level wraps when a higher one moves on: that one first, so that its timers fall through.
    if slot == 0 { cascade(level: level + 1) }
    let bucket = level * Self.slots + slot
    while unsafe heads[bucket] >= 0 {
      let index = unsafe heads[bucket]
      unlink(index)
      link(index)
    }
  }

  private func nextOccupied(level: Int, from start: Int) -> Int? {
    var slot = start
    while slot < Self.slots {
      let word = unsafe occupied[level * 4 + slot / 64] >> UInt64(slot % 64)
      if word != 0 { return slot + word.trailingZeroBitCount }
      slot = (slot / 64 + 1) * 64
    }
    return nil
  }

  private mutating func link(_ index: Int32) {
    let node = unsafe nodes + Int(index)
    let deadline = unsafe node.pointee.deadline
    let ahead = deadline > tick ? deadline &- tick : 0
    let level =
      ahead < 1 << 8 ? 0 : ahead < 1 << 16 ? 1 : ahead < 1 << 24 ? 2 : 3
    let capped = ahead < 1 << 32 ? deadline : tick &+ (1 << 32 - 1)
    let slot = Int(truncatingIfNeeded: (capped >> UInt64(Self.slotBits * level)) & 255)
    let bucket = level * Self.slots + slot
    let head = unsafe heads[bucket]
    unsafe node.pointee.slot = Int32(truncatingIfNeeded: bucket)
    unsafe node.pointee.next = head
    unsafe node.pointee.previous = -1
    if head >= 0 { unsafe nodes[Int(head)].previous = index }
    unsafe heads[bucket] = index
    unsafe occupied[bucket / 64] |= 1 << UInt64(bucket % 64)
  }

  private mutating func unlink(_ index: Int32) {
    let node = unsafe nodes + Int(index)
    let bucket = Int(unsafe node.pointee.slot)
    let next = unsafe node.pointee.next
    let previous = unsafe node.pointee.previous
    if previous >= 0 {
      unsafe nodes[Int(previous)].next = next
    } else {
      unsafe heads[bucket] = next
    }
    if next >= 0 { unsafe nodes[Int(next)].previous = previous }
    if unsafe heads[bucket] < 0 { unsafe occupied[bucket / 64] &= ~(1 << UInt64(bucket % 64)) }
    unsafe node.pointee.slot = -1
  }

  private mutating func release(_ index: Int32) {
    let node = unsafe nodes + Int(index)
    unsafe node.pointee.generation &+= 1
    unsafe node.pointee.next = freeHead
    freeHead = index
    count &-= 1
  }

  private mutating func grow() {
    let larger = UnsafeMutablePointer<Node>.allocate(capacity: capacity * 2)
    unsafe larger.moveInitialize(from: nodes, count: capacity)
    unsafe nodes.deallocate()
    unsafe nodes = larger
    for index in (capacity..<capacity * 2).reversed() {
      unsafe (nodes + index).initialize(to: Node(next: freeHead))
      freeHead = Int32(truncatingIfNeeded: index)
    }
    capacity *= 2
  }
}
