import FilterSDK

/// A bucket of tokens that all workers draw from without a lock: the time at which it was, or will
/// have been, empty stands for what it holds. It fills evenly, as Envoy's does.
struct TokenBucket: BitwiseCopyable {
  let maxTokens: Double
  let tokensPerNanosecond: Double
  /// The bits of a `Double` in nanoseconds.
  var emptyAt: SharedNumber

  /// What `emptyAt` holds for a bucket that has been filling for ever.
  static let full = (-Double.infinity).bitPattern

  init(maxTokens: UInt64, tokensPerFill: UInt64, fillNanoseconds: UInt64, emptyAt: SharedNumber) {
    self.maxTokens = Double(maxTokens)
    tokensPerNanosecond = Double(tokensPerFill) / Double(max(1, fillNanoseconds))
    self.emptyAt = emptyAt
  }

  /// Takes a token, if there is one.
  func take(now: UInt64) -> Bool {
    let now = Double(now)
    var seen = emptyAt.value
    while true {
      let held = tokens(emptyAt: Double(bitPattern: seen), now: now)
      guard held >= 1 else { return false }
      let next = now - (held - 1) / tokensPerNanosecond
      guard let other = emptyAt.exchange(expected: seen, desired: next.bitPattern) else {
        return true
      }
      seen = other
    }
  }

  /// Whole tokens that are there.
  func remaining(now: UInt64) -> UInt64 {
    let held = tokens(emptyAt: Double(bitPattern: emptyAt.value), now: Double(now))
    return UInt64(max(0, held))
  }

  /// Seconds until there is a token, rounded up; 0 when there is one.
  func secondsUntilNext(now: UInt64) -> UInt64 {
    let held = tokens(emptyAt: Double(bitPattern: emptyAt.value), now: Double(now))
    guard held < 1 else { return 0 }
    let seconds = ((1 - held) / tokensPerNanosecond / 1_000_000_000).rounded(.up)
    return UInt64(min(seconds, 1e15))
  }

  /// Workers read their clocks at different times, so that `now` may be a little early.
  private func tokens(emptyAt: Double, now: Double) -> Double {
    min(maxTokens, (now - emptyAt) * tokensPerNanosecond)
  }
}
