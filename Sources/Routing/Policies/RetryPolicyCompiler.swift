import CFilterABI
import Engine
import ResourceModel
import Resources

/// Compiles `envoy.config.route.v3.RetryPolicy` into the form that modules read.
package enum RetryPolicyCompiler {
  /// The policy, for ever. Mistakes go to `diagnostics`.
  package static func compile(
    _ message: Envoy_Config_Route_V3_RetryPolicy, at path: ConfigPath, _ diagnostics: Diagnostics
  ) -> Ref<fl_retry_policy> {
    var policy = unsafe fl_retry_policy()
    unsafe policy.retry_on = conditions(message.retryOn, at: path.field("retry_on"), diagnostics)
    unsafe policy.has_num_retries = message.hasNumRetries
    unsafe policy.num_retries =
      message.hasNumRetries ? message.numRetries.value : UInt32(Defaults.retries)
    unsafe policy.per_try_timeout_ms =
      message.hasPerTryTimeout ? message.perTryTimeout.milliseconds : 0
    unsafe policy.per_try_idle_timeout_ms =
      message.hasPerTryIdleTimeout ? message.perTryIdleTimeout.milliseconds : 0
    unsafe setBackOff(message.retryBackOff, in: &policy)
    unsafe setHeaders(message, at: path, in: &policy, diagnostics)
    unsafe setRateLimited(message.rateLimitedRetryBackOff, in: &policy)
    // The only predicate that the configuration may name.
    unsafe policy.avoid_previous_hosts = !message.retryHostPredicate.isEmpty
    unsafe policy.host_selection_attempts =
      message.hostSelectionRetryMaxAttempts > 0
      ? UInt32(clamping: message.hostSelectionRetryMaxAttempts)
      : UInt32(Defaults.hostSelectionAttempts)
    return unsafe .configured(policy)
  }

  // MARK: Parts

  private static func conditions(
    _ text: String, at path: ConfigPath, _ diagnostics: Diagnostics
  ) -> UInt32 {
    var bits: UInt32 = 0
    for part in text.split(separator: ",") {
      let name = String(part.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed())
      if let bit = names[name] {
        bits |= bit
      } else {
        diagnostics.warning(
          at: path,
          "'\(name)' is not a condition and has no effect"
            + Suggestion.phrase(for: name, among: names.keys.sorted()))
      }
    }
    return bits
  }

  private static func setBackOff(
    _ backOff: Envoy_Config_Route_V3_RetryPolicy.RetryBackOff, in policy: inout fl_retry_policy
  ) {
    // A base of less than a millisecond is one.
    let base =
      backOff.hasBaseInterval
      ? max(backOff.baseInterval.milliseconds, 1) : Defaults.retryBaseInterval.wholeMilliseconds
    unsafe policy.base_interval_ms = base
    unsafe policy.max_interval_ms =
      backOff.hasMaxInterval
      ? max(backOff.maxInterval.milliseconds, 1)
      : base &* UInt64(Defaults.retryMaxIntervalFactor)
  }

  private static func setHeaders(
    _ message: Envoy_Config_Route_V3_RetryPolicy, at path: ConfigPath,
    in policy: inout fl_retry_policy, _ diagnostics: Diagnostics
  ) {
    let codes = Table.configured(message.retriableStatusCodes)
    unsafe policy.retriable_status_codes = unsafe codes.pointer
    unsafe policy.retriable_status_code_count = codes.count
    let response = HeaderMatchers(
      message.retriableHeaders, .any, at: path.field("retriable_headers"), diagnostics)
    if !response.isEmpty {
      unsafe policy.retriable_headers = unsafe UnsafeRawPointer(Ref.configured(response).raw)
    }
    let request = HeaderMatchers(
      message.retriableRequestHeaders, .any, at: path.field("retriable_request_headers"),
      diagnostics)
    if !request.isEmpty {
      unsafe policy.retriable_request_headers = unsafe UnsafeRawPointer(Ref.configured(request).raw)
    }
  }

  private static func setRateLimited(
    _ backOff: Envoy_Config_Route_V3_RetryPolicy.RateLimitedRetryBackOff,
    in policy: inout fl_retry_policy
  ) {
    let headers = unsafe backOff.resetHeaders.map { header in
      let name = Bytes.configured(header.name.lowercased())
      return unsafe fl_reset_header(
        name: fl_bytes(data: name.base, count: name.count),
        unix_timestamp: header.format == .unixTimestamp)
    }
    unsafe policy.reset_headers = unsafe Table.configured(headers).pointer
    unsafe policy.reset_header_count = unsafe headers.count
    unsafe policy.reset_max_interval_ms =
      backOff.hasMaxInterval
      ? backOff.maxInterval.milliseconds : Defaults.rateLimitedRetryMaxInterval.wholeMilliseconds
  }

  /// Names in `retry_on`, and in the fields x-envoy-retry-on and x-envoy-retry-grpc-on.
  private static let names: [String: UInt32] = [
    "5xx": UInt32(FL_RETRY_5XX),
    "gateway-error": UInt32(FL_RETRY_GATEWAY_ERROR),
    "reset": UInt32(FL_RETRY_RESET),
    "reset-before-request": UInt32(FL_RETRY_RESET_BEFORE_REQUEST),
    "connect-failure": UInt32(FL_RETRY_CONNECT_FAILURE),
    "envoy-ratelimited": UInt32(FL_RETRY_ENVOY_RATELIMITED),
    "retriable-4xx": UInt32(FL_RETRY_RETRIABLE_4XX),
    "refused-stream": UInt32(FL_RETRY_REFUSED_STREAM),
    "retriable-status-codes": UInt32(FL_RETRY_RETRIABLE_STATUS_CODES),
    "retriable-headers": UInt32(FL_RETRY_RETRIABLE_HEADERS),
    "http3-post-connect-failure": UInt32(FL_RETRY_HTTP3_POST_CONNECT_FAILURE),
    "cancelled": UInt32(FL_RETRY_GRPC_CANCELLED),
    "deadline-exceeded": UInt32(FL_RETRY_GRPC_DEADLINE_EXCEEDED),
    "internal": UInt32(FL_RETRY_GRPC_INTERNAL),
    "resource-exhausted": UInt32(FL_RETRY_GRPC_RESOURCE_EXHAUSTED),
    "unavailable": UInt32(FL_RETRY_GRPC_UNAVAILABLE),
  ]
}
