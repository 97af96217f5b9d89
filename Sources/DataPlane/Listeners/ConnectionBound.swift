import Telemetry

/// How many connections may be open at once, counted by all workers together.
struct ConnectionBound {
  let limit: UInt64
  private let open = SharedGauge.allocate()

  init(limit: UInt64) { self.limit = limit }

  /// Takes a place, if there is one.
  func enter() -> Bool { open.tryAcquire(limit: limit) }

  /// Takes a place in any case.
  func enterAnyway() { open.acquire() }

  /// Gives a place back.
  func leave() { open.release() }

  /// Nobody names it any more.
  func deallocate() { open.deallocate() }
}
