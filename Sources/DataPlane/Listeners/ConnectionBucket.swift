import Telemetry

/// Tokens for connections, from which all workers draw without a lock. It fills evenly, as Envoy's
/// does: the time at which it was, or will have been, empty stands for what it holds.
struct ConnectionBucket {
  /// All times are in nanoseconds.
  private let perToken: Double
  private let whenFull: Double
  /// The bits of a `Double`.
  private let emptyAt = SharedGauge.allocate()

  /// Times of some months are exact to some nanoseconds only: a token is there when all but this
  /// part of it is.
  private static let rounding = 1e-6

  /// Full at first. `interval` is in nanoseconds, and neither it nor `tokensPerFill` is 0.
  init(maxTokens: UInt32, tokensPerFill: UInt32, interval: UInt64) {
    perToken = Double(interval) / Double(tokensPerFill)
    whenFull = Double(maxTokens) * perToken
    _ = emptyAt.exchange(expected: 0, desired: (-Double.infinity).bitPattern)
  }

  /// Takes a token, if there is one.
  /// - Parameter now: the monotonic clock; workers may be a little apart.
  func take(now: UInt64) -> Bool {
    let now = Double(now)
    var seen = emptyAt.value
    while true {
      let filling = min(whenFull, now - Double(bitPattern: seen))
      guard filling >= perToken * (1 - Self.rounding) else { return false }
      let next = now - (filling - perToken)
      guard let other = emptyAt.exchange(expected: seen, desired: next.bitPattern) else {
        return true
      }
      seen = other
    }
  }
}
