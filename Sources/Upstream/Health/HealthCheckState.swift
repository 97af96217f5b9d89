/// What the checks of one host have come to. It is told results and says what they change; it asks
/// nobody.
package struct HealthCheckState {
  /// Why a check failed.
  package enum Failure: Sendable {
    /// The host answered, and not well; whether that counts towards the threshold.
    case answer(isRetriable: Bool)
    /// The connection failed or closed.
    case network
    /// No answer came in time.
    case timeout
    /// A response to a request said so (`x-envoy-immediate-health-check-fail`).
    case passive

    var isOfNetwork: Bool {
      switch self {
      case .network, .timeout: true
      case .answer, .passive: false
      }
    }
  }

  /// What a result does to the host.
  package enum Change: Equatable {
    case none
    /// More results of this kind will change its health.
    case pending
    case changed
  }

  /// Hosts are not used before they were found to be healthy.
  package private(set) var isHealthy = false
  private var isFirst = true
  private var successes: UInt32 = 0
  private var failures: UInt32 = 0
  private let thresholds: HealthCheckConfig.Thresholds

  package init(_ thresholds: HealthCheckConfig.Thresholds) { self.thresholds = thresholds }

  package mutating func succeeded() -> Change {
    failures = 0
    defer { isFirst = false }
    guard !isHealthy else { return .none }
    successes += 1
    // The first result of all is believed at once, so that a start is not held up.
    guard isFirst || successes >= thresholds.healthy else { return .pending }
    isHealthy = true
    successes = 0
    return .changed
  }

  package mutating func failed(_ failure: Failure) -> Change {
    successes = 0
    isFirst = false
    guard isHealthy else { return .none }
    failures += 1
    guard !counts(failure) || failures >= thresholds.unhealthy else { return .pending }
    isHealthy = false
    failures = 0
    return .changed
  }

  /// Whether the failure counts towards the threshold, or is enough by itself.
  private func counts(_ failure: Failure) -> Bool {
    if case .answer(isRetriable: true) = failure { return true }
    return failure.isOfNetwork
  }
}

extension HealthCheckConfig.Intervals {
  /// How long it is until the next check, without chance.
  /// - Parameters:
  ///   - hasTraffic: a connection has been made for a request to the cluster.
  ///   - succeeded: the last check's result.
  package func next(
    hasTraffic: Bool, succeeded: Bool, change: HealthCheckState.Change
  ) -> UInt64 {
    guard hasTraffic else {
      return succeeded && change != .pending ? noTrafficHealthy : noTraffic
    }
    if succeeded { return change == .pending ? healthyEdge : ordinary }
    return change == .pending ? unhealthyEdge : unhealthy
  }

  /// The interval with what chance adds to it.
  package func jittered(_ interval: UInt64, random: UInt64) -> UInt64 {
    var result = interval
    let share = interval / 100 &* jitterPercent &+ interval % 100 &* jitterPercent / 100
    if share > 0 { result &+= random % share }
    if jitter > 0 { result &+= (random >> 20) % jitter }
    return max(1, result)
  }
}
