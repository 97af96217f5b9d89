public import CFilterABI

/// What is worth another attempt (`retry_on`).
@frozen
public struct RetryConditions: OptionSet, BitwiseCopyable, Sendable {
  public let rawValue: UInt32
  @inlinable public init(rawValue: UInt32) { self.rawValue = rawValue }

  @inlinable public static var fiveXX: Self { Self(rawValue: 1 << 0) }
  @inlinable public static var gatewayError: Self { Self(rawValue: 1 << 1) }
  @inlinable public static var reset: Self { Self(rawValue: 1 << 2) }
  @inlinable public static var resetBeforeRequest: Self { Self(rawValue: 1 << 3) }
  @inlinable public static var connectFailure: Self { Self(rawValue: 1 << 4) }
  @inlinable public static var envoyRateLimited: Self { Self(rawValue: 1 << 5) }
  @inlinable public static var retriable4XX: Self { Self(rawValue: 1 << 6) }
  @inlinable public static var refusedStream: Self { Self(rawValue: 1 << 7) }
  @inlinable public static var retriableStatusCodes: Self { Self(rawValue: 1 << 8) }
  @inlinable public static var retriableHeaders: Self { Self(rawValue: 1 << 9) }
  @inlinable public static var http3PostConnectFailure: Self { Self(rawValue: 1 << 10) }
  @inlinable public static var grpcCancelled: Self { Self(rawValue: 1 << 16) }
  @inlinable public static var grpcDeadlineExceeded: Self { Self(rawValue: 1 << 17) }
  @inlinable public static var grpcInternal: Self { Self(rawValue: 1 << 18) }
  @inlinable public static var grpcResourceExhausted: Self { Self(rawValue: 1 << 19) }
  @inlinable public static var grpcUnavailable: Self { Self(rawValue: 1 << 20) }

  /// All that look at `grpc-status`.
  @inlinable public static var anyGRPC: Self { Self(rawValue: 0x1F << 16) }
}

/// A checked `envoy.config.route.v3.RetryPolicy`, with its defaults.
///
/// SAFETY: a configuration owns it, the filter's or the route's, and outlives the stream.
@safe @frozen
public struct RetryPolicy: BitwiseCopyable {
  @usableFromInline let raw: UnsafePointer<fl_retry_policy>

  @unsafe @inlinable init(_ raw: UnsafePointer<fl_retry_policy>) { unsafe self.raw = raw }

  @inlinable public var conditions: RetryConditions {
    unsafe RetryConditions(rawValue: raw.pointee.retry_on)
  }

  /// 1 unless configured.
  @inlinable public var numberOfRetries: UInt32 {
    unsafe raw.pointee.has_num_retries ? raw.pointee.num_retries : 1
  }

  @inlinable public var perTryMilliseconds: UInt64 { unsafe raw.pointee.per_try_timeout_ms }
  @inlinable public var perTryIdleMilliseconds: UInt64 {
    unsafe raw.pointee.per_try_idle_timeout_ms
  }
  @inlinable public var baseIntervalMilliseconds: UInt64 { unsafe raw.pointee.base_interval_ms }
  @inlinable public var maxIntervalMilliseconds: UInt64 { unsafe raw.pointee.max_interval_ms }

  @inlinable public func isRetriable(status: Int) -> Bool {
    for index in 0..<(unsafe raw.pointee.retriable_status_code_count)
    where Int(unsafe raw.pointee.retriable_status_codes[index]) == status {
      return true
    }
    return false
  }

  /// Fields of a response that make it retriable.
  @inlinable public var retriableHeaders: HeaderMatchers? {
    guard let matchers = unsafe raw.pointee.retriable_headers else { return nil }
    return unsafe HeaderMatchers(matchers)
  }

  /// Fields without one of which a request is not retried.
  @inlinable public var retriableRequestHeaders: HeaderMatchers? {
    guard let matchers = unsafe raw.pointee.retriable_request_headers else { return nil }
    return unsafe HeaderMatchers(matchers)
  }

  /// Calls `body` with each field that may say when to come back, in order; it returns whether to
  /// go on.
  @inlinable public func forEachResetHeader(
    _ body: (_ name: ByteView, _ isUnixTimestamp: Bool) -> Bool
  ) {
    for index in 0..<(unsafe raw.pointee.reset_header_count) {
      let header = unsafe raw.pointee.reset_headers[index]
      guard unsafe body(ByteView(header.name), header.unix_timestamp) else { return }
    }
  }

  @inlinable public var resetMaxIntervalMilliseconds: UInt64 {
    unsafe raw.pointee.reset_max_interval_ms
  }

  /// How often to choose again when the host was tried before; nil: any host will do.
  @inlinable public var avoidsPreviousHosts: UInt32? {
    unsafe raw.pointee.avoid_previous_hosts ? raw.pointee.host_selection_attempts : nil
  }
}
