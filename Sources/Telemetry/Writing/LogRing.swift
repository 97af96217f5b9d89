import CLinux

/// A queue of addresses from one thread to one other, without locks.
@safe
struct LogRing: @unchecked Sendable {
  // SAFETY: one thread pushes and one pops; each cell is written before the index that shows it is
  // published with release, and read after that index was read with acquire. Memory is freed by the
  // `LogWriter`, after both threads ended.
  private let cells: UnsafeMutablePointer<UInt64>

  /// More than the blocks that can be under way, so that pushing never fails.
  static let capacity = 2048
  /// The indices lie on cache lines of their own, so that the two threads do not slow each other.
  private static let popped = 0
  private static let pushed = 8
  private static let slots = 16

  init() {
    unsafe cells = allocateCells(Self.slots + Self.capacity)
  }

  func deallocate() { unsafe freeCells(cells) }

  /// Appends at the end; false when the ring is full.
  func push(_ value: UInt64) -> Bool {
    let end = unsafe telemetry_load(cells + Self.pushed)
    let start = unsafe telemetry_load_acquire(cells + Self.popped)
    guard end &- start < UInt64(Self.capacity) else { return false }
    unsafe telemetry_store(cells + Self.slots + Int(end % UInt64(Self.capacity)), value)
    unsafe telemetry_store_release(cells + Self.pushed, end &+ 1)
    return true
  }

  /// Takes from the front; nil when the ring is empty.
  func pop() -> UInt64? {
    let start = unsafe telemetry_load(cells + Self.popped)
    let end = unsafe telemetry_load_acquire(cells + Self.pushed)
    guard start != end else { return nil }
    let value = unsafe telemetry_load(cells + Self.slots + Int(start % UInt64(Self.capacity)))
    unsafe telemetry_store_release(cells + Self.popped, start &+ 1)
    return value
  }
}
