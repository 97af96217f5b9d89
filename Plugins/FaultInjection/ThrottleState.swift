/// Paces a body. It is told how much wants to pass and says how long that must wait; what has passed
/// is paid for in time by what follows.
struct ThrottleState: BitwiseCopyable, Equatable {
  let bytesPerSecond: UInt64
  /// Until when everything that has passed is paid for, in nanoseconds.
  private var paidAt: UInt64 = 0

  /// What may pass at once after a silence: Envoy's slice of time, so that short bodies are on time.
  private static let sliceNanoseconds: UInt64 = 50_000_000

  init(kibibytesPerSecond: UInt64) {
    let (rate, overflow) = kibibytesPerSecond.multipliedReportingOverflow(by: 1024)
    bytesPerSecond = overflow ? .max : max(1, rate)
  }

  /// How many milliseconds a piece of `count` bytes waits; 0: not at all.
  mutating func delayMilliseconds(count: Int, now: UInt64) -> UInt64 {
    // A piece that costs centuries waits centuries: the stream's other bounds end it.
    let (units, isHuge) = UInt64(clamping: count).multipliedReportingOverflow(by: 1_000_000_000)
    let cost = isHuge ? UInt64.max : units / bytesPerSecond
    let (sum, overflow) = max(paidAt, now).addingReportingOverflow(cost)
    paidAt = overflow ? .max : sum
    let wait = paidAt - now
    guard wait > Self.sliceNanoseconds else { return 0 }
    // Rounded up: a body that is early would exceed its rate.
    return (wait - Self.sliceNanoseconds - 1) / 1_000_000 + 1
  }
}
