import CLinux

/// A number that all workers change together: what Envoy limits per process, such as the requests
/// a circuit breaker admits. It has a cache line to itself, so that two busy limits do not slow
/// each other down.
///
/// The value is a handle, copied freely and used from any thread. Whoever allocated it deallocates
/// it, once nobody can use it any more.
@safe
@usableFromInline
package struct SharedGauge: @unchecked Sendable {
  // SAFETY: every access is atomic; the owner keeps the memory for as long as handles are in use.
  // `SharedGaugeTests` runs it on several threads under the thread sanitizer.
  @usableFromInline let cell: UnsafeMutablePointer<UInt64>

  private static let cacheLineBytes = 64

  /// Takes a cache line of its own.
  @usableFromInline
  package static func allocate() -> SharedGauge {
    let raw = UnsafeMutableRawPointer.allocate(
      byteCount: cacheLineBytes, alignment: cacheLineBytes)
    // The value, and whether it has ever been anything but zero.
    let cell = unsafe raw.bindMemory(to: UInt64.self, capacity: 2)
    unsafe cell.initialize(repeating: 0, count: 2)
    return unsafe SharedGauge(cell: cell)
  }

  private init(cell: UnsafeMutablePointer<UInt64>) {
    unsafe self.cell = cell
  }

  /// Gives the cache line back. No handle may be used afterwards.
  @usableFromInline
  package func deallocate() {
    unsafe UnsafeMutableRawPointer(cell).deallocate()
  }

  /// Adds one unless `limit` is reached. Says whether it did.
  @inlinable
  package func tryAcquire(limit: UInt64) -> Bool {
    let admitted = unsafe telemetry_add_below(cell, limit)
    if admitted, unsafe telemetry_load(cell + 1) == 0 { unsafe telemetry_store(cell + 1, 1) }
    return admitted
  }

  /// Adds one whatever the value is.
  @inlinable
  package func acquire() {
    if unsafe telemetry_fetch_add(cell, 1) == 0 { unsafe telemetry_store(cell + 1, 1) }
  }

  /// It has been acquired at least once.
  @inlinable
  package var wasUsed: Bool { unsafe telemetry_load(cell + 1) != 0 }

  /// Takes back what one `acquire` or successful `tryAcquire` added.
  @inlinable
  package func release() {
    unsafe _ = telemetry_fetch_add(cell, UInt64.max)
  }

  /// Adds `change`, which may be negative.
  @inlinable
  package func add(_ change: Int64) {
    unsafe _ = telemetry_fetch_add(cell, UInt64(bitPattern: change))
  }

  /// Makes it `desired` if it is `expected`. nil when it was, and else what it is.
  package func exchange(expected: UInt64, desired: UInt64) -> UInt64? {
    var seen = expected
    return unsafe telemetry_compare_exchange(cell, &seen, desired) ? nil : seen
  }

  /// The value at some moment during the call.
  @inlinable
  package var value: UInt64 {
    unsafe telemetry_load(cell)
  }
}
