public import CFilterABI

/// Why an attempt ended without a response of the upstream.
@frozen
public enum AttemptFailure: UInt32 {
  case none = 0
  case connect = 1
  case connectTimeout = 2
  /// The upstream reset or closed the connection.
  case reset = 3
  case overflow = 4
  case protocolError = 5
  case perTryTimeout = 6
  case perTryIdleTimeout = 7
  case noHealthyHost = 8
  case refusedStream = 9
  /// The cluster's `max_stream_duration` was reached.
  case maxDuration = 10
}

/// The latest attempt, as its end looks from the filter that may replay it.
@frozen
public struct Attempt: BitwiseCopyable {
  /// 1 for the first.
  public var number: UInt32
  public var failure: AttemptFailure
  /// Any byte of the request may have reached the upstream.
  public var requestStarted: Bool
  /// A response head came from the upstream.
  public var responseStarted: Bool
  /// The request's body, if it has one, can be sent again.
  public var bodyRetained: Bool
  /// A filter or the router made the response.
  public var isLocalReply: Bool

  @inlinable init(_ raw: fl_attempt) {
    number = raw.number
    // A failure that a newer host knows and we do not is the kind that is repeated least.
    failure = AttemptFailure(rawValue: raw.failure) ?? .overflow
    requestStarted = raw.request_started
    responseStarted = raw.response_started
    bodyRetained = raw.body_retained
    isLocalReply = raw.local_reply
  }
}

/// For a `ReplayingFilter`.
extension StreamContext {
  /// Keeps a copy of the request's body, up to this many bytes. Call it on the request's head.
  @inlinable public func retainBody(limit: UInt64) {
    unsafe Host.table.retain_body.unsafelyUnwrapped(stream, limit)
  }

  /// The latest attempt.
  @inlinable public var attempt: Attempt {
    var raw = fl_attempt()
    unsafe Host.table.attempt.unsafelyUnwrapped(stream, &raw)
    return Attempt(raw)
  }

  /// The verdict that runs the filters behind this one again, after a while.
  @inlinable public func replay(afterMilliseconds delay: UInt64) -> Verdict {
    unsafe Host.table.replay_after.unsafelyUnwrapped(stream, delay)
    return .replay
  }

  /// Ends the running attempt: the filter's response callback sees the local reply.
  @inlinable public func failAttempt(_ failure: AttemptFailure) {
    unsafe Host.table.fail_attempt.unsafelyUnwrapped(
      stream, fl_failure(rawValue: failure.rawValue))
  }

  /// Asks for a place among the retries that the cluster allows at a time; given back when the
  /// attempt ends.
  @inlinable public func admitRetry() -> Bool {
    unsafe Host.table.admit_retry.unsafelyUnwrapped(stream)
  }

  /// Later attempts avoid hosts that were tried, choosing again at most this many times.
  @inlinable public func avoidPreviousHosts(attempts: UInt32) {
    unsafe Host.table.avoid_previous_hosts.unsafelyUnwrapped(stream, attempts)
  }
}
