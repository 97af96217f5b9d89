/// When a workload asks for its next certificate. Told what happened and when, it says how long to wait; it
/// does nothing.
///
/// A certificate is renewed at half of its life, a hundredth of it sooner or later, so that workloads which
/// began together do not ask together for ever (Istio: SECRET_GRACE_PERIOD_RATIO and …_JITTER).
package struct RenewalState: Equatable {
  /// The end of the certificate at hand, in seconds since 1970; nil: there is none.
  package private(set) var end: Int?
  /// Attempts that failed since the last that did not.
  package private(set) var failures = 0

  private static let firstRetry: UInt64 = 1000
  private static let lastRetry: UInt64 = 60_000
  /// The least: nobody is asked more often, however short the lives.
  private static let least: UInt64 = 100
  /// Beyond a day the clock may have been set, or the authority have other wishes.
  private static let most: UInt64 = 90 * 86_400 * 1000

  package init() {}

  /// There is a certificate; milliseconds until the next is asked for.
  /// - Parameters:
  ///   - end: of its life, in seconds since 1970.
  ///   - random: any number.
  package mutating func issued(until end: Int, at now: Int, random: UInt64) -> UInt64 {
    self.end = end
    failures = 0
    let life = UInt64(clamping: min(max(0, end - now), Int(Self.most / 1000))) * 1000
    // From 49 to 51 parts of a hundred.
    let wait = life / 100 * 49 + (life / 50 == 0 ? 0 : random % (life / 50 + 1))
    return max(wait, Self.least)
  }

  /// There is none; milliseconds until the next attempt.
  package mutating func failed(at now: Int, random: UInt64) -> UInt64 {
    let doublings = min(failures, 6)
    failures = min(failures + 1, 1000)
    var longest = min(Self.firstRetry << UInt64(doublings), Self.lastRetry)
    // What is left of the life at hand is for several attempts more.
    if let end, end > now { longest = min(longest, UInt64(clamping: end - now) * 1000 / 8) }
    longest = max(longest, 2 * Self.least)
    return longest / 2 + random % (longest / 2 + 1)
  }
}
