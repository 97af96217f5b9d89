import FilterSDK

/// What a response says to someone who decides about another attempt.
struct ResponseFacts {
  var status: Int
  /// From the head; what stands in trailers comes too late.
  var grpcStatus: UInt64?
  /// `x-envoy-ratelimited` is there.
  var isRateLimited = false
  /// The status is one of the retriable ones of the policy or the request.
  var hasRetriableStatus = false
  /// A field is one of the retriable ones of the policy or the request.
  var hasRetriableHeader = false
}

/// Decides about attempts. It is told how one ended and says whether another is wanted and allowed;
/// it does nothing.
struct RetryState: BitwiseCopyable {
  enum Decision: Equatable {
    /// Nothing that the policy would repeat.
    case pass
    /// The policy would, but all retries are spent.
    case limitExceeded
    /// The n-th retry, from 1.
    case retry(number: UInt32)
  }

  var conditions = RetryConditions()
  var remaining: UInt32 = 0
  /// Retries so far.
  private(set) var count: UInt32 = 0

  var hasRetried: Bool { count > 0 }

  /// Whether this way to fail is worth another attempt.
  func isWorthRepeating(_ failure: AttemptFailure, requestStarted: Bool) -> Bool {
    switch failure {
    // More work is the last thing that an exhausted cluster needs.
    case .none, .overflow, .noHealthyHost: return false
    default: break
    }
    // Such an end becomes a 503 or 504, so that these two ask for another attempt as well.
    if !conditions.isDisjoint(with: [.reset, .fiveXX, .gatewayError]) { return true }
    if conditions.contains(.refusedStream), failure == .refusedStream { return true }
    if conditions.contains(.connectFailure), failure == .connect || failure == .connectTimeout {
      return true
    }
    return conditions.contains(.resetBeforeRequest) && !requestStarted
  }

  /// Whether this response is worth another attempt.
  func isWorthRepeating(_ response: ResponseFacts) -> Bool {
    // The upstream is an Envoy that sheds load: only who asks for it may press on.
    if response.isRateLimited { return conditions.contains(.envoyRateLimited) }
    let status = response.status
    if conditions.contains(.fiveXX), (500...599).contains(status) { return true }
    if conditions.contains(.gatewayError), (502...504).contains(status) { return true }
    if conditions.contains(.retriable4XX), status == 409 { return true }
    if conditions.contains(.retriableStatusCodes), response.hasRetriableStatus { return true }
    if conditions.contains(.retriableHeaders), response.hasRetriableHeader { return true }
    return response.grpcStatus.map(isWorthRepeating(grpcStatus:)) ?? false
  }

  private func isWorthRepeating(grpcStatus: UInt64) -> Bool {
    switch grpcStatus {
    case 1: conditions.contains(.grpcCancelled)
    case 4: conditions.contains(.grpcDeadlineExceeded)
    case 8: conditions.contains(.grpcResourceExhausted)
    case 13: conditions.contains(.grpcInternal)
    case 14: conditions.contains(.grpcUnavailable)
    default: false
    }
  }

  /// Takes a retry out of what remains.
  mutating func decide(isWorthRepeating: Bool) -> Decision {
    guard isWorthRepeating else { return .pass }
    guard remaining > 0 else { return .limitExceeded }
    remaining -= 1
    count &+= 1
    return .retry(number: count)
  }
}

/// How long to wait before another attempt.
struct BackOff {
  var baseMilliseconds: UInt64
  var maxMilliseconds: UInt64

  /// Full jitter: anything from 0 up to but not including `(2^number - 1)` times the base, or the
  /// maximum. Callers that failed together do not come back together.
  func milliseconds(beforeRetry number: UInt32, random: UInt64) -> UInt64 {
    // Past 32 retries the maximum has long been reached.
    let steps = (UInt64(1) << UInt64(min(number, 32))) - 1
    let (product, overflow) = steps.multipliedReportingOverflow(by: baseMilliseconds)
    let bound = min(overflow ? UInt64.max : product, maxMilliseconds)
    return bound > 0 ? random % bound : 0
  }

  /// From what an upstream asked for up to half as much again, never less.
  static func milliseconds(askedFor asked: UInt64, random: UInt64) -> UInt64 {
    let jitter = asked / 2
    return jitter > 0 ? asked &+ random % jitter : asked
  }

  /// What a field that says when to come back asks for; nil when it is no number, is past, or is
  /// more than `limit`.
  static func milliseconds(
    resetHeader value: ByteView, isUnixTimestamp: Bool, nowSeconds: UInt64, limit: UInt64
  ) -> UInt64? {
    guard let number = value.decimal else { return nil }
    guard !isUnixTimestamp || number > nowSeconds else { return nil }
    let seconds = isUnixTimestamp ? number - nowSeconds : number
    let (milliseconds, overflow) = seconds.multipliedReportingOverflow(by: 1000)
    // 1 ms and less is no wish: the common back-off spreads callers better.
    guard !overflow, milliseconds > 1, milliseconds <= limit else { return nil }
    return milliseconds
  }
}
