import CFilterABI

/// What becomes of the chain after a callback.
@frozen
public enum Verdict: UInt32 {
  /// The next filter's turn.
  case `continue` = 0
  /// The chain waits here until `resumeRequest` or `resumeResponse`; what arrives meanwhile is held
  /// back by flow control.
  case stop = 1
  /// The chain waits until the whole body has come, at most the buffer limit; the body callback is
  /// then called once with all of it.
  case buffer = 2
  /// Body callbacks only: this piece goes no further.
  case drop = 3
  /// The filter replied or reset the stream. `StreamContext.reply` returns it.
  case replied = 4
  /// Response head only, from a `ReplayingFilter`: throw this attempt away and run the filters
  /// behind this one again, after the delay given to `replay(afterMilliseconds:)`.
  case replay = 5
}

/// A header field. Names are lower-case.
@frozen
public struct Field: BitwiseCopyable {
  public var name: ByteView
  public var value: ByteView

  @inlinable public init(_ name: ByteView, _ value: ByteView) {
    self.name = name
    self.value = value
  }
}

/// A response flag that a filter may set; the access log shows Envoy's letters.
@frozen
public enum ResponseFlag: UInt32 {
  /// DI
  case delayInjected = 0
  /// FI
  case faultInjected = 1
  /// RL
  case rateLimited = 2
  /// UAEX
  case unauthorized = 3
  /// URX
  case retriesSpent = 4
  /// UT
  case upstreamTimeout = 5
  /// LH
  case failedHealthCheck = 6
  /// SI
  case streamIdleTimeout = 7
  /// IH
  case invalidRequest = 8
  /// UO
  case upstreamOverflow = 9
}

/// A counter of the stream's cluster that filters keep.
@frozen
public enum ClusterCounter: UInt32 {
  case timeout = 0
  case perTryTimeout = 1
  case perTryIdleTimeout = 2
  case retry = 3
  case retrySuccess = 4
  case retryOverflow = 5
  case retryLimitExceeded = 6
  case retryBackoffExponential = 7
  case retryBackoffRateLimited = 8
}
