/// How long to wait before the next attempt: a random time below a bound that doubles, as Envoy's
/// streams to a control plane do, so that a restarted one is not met by everybody at once.
package struct RPCBackoff {
  private let base: UInt64
  private let most: UInt64
  private var bound: UInt64

  /// Milliseconds; Envoy's defaults for discovery.
  package init(base: UInt64 = 500, most: UInt64 = 30_000) {
    precondition(base > 0 && base <= most, "a bound that can grow")
    self.base = base
    self.most = most
    bound = base
  }

  /// Milliseconds until the next attempt, from a random number.
  package mutating func next(random: UInt64) -> UInt64 {
    let wait = random % bound
    bound = bound > most / 2 ? most : bound * 2
    return wait
  }

  /// The peer is well again: the next failure begins anew.
  package mutating func reset() { bound = base }
}
