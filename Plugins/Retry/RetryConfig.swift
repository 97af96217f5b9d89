import FilterSDK

extension RetryFilter {
  /// `fairlead.filters.http.retry.v1.Retry`; at a route, what is absent there is the chain's.
  public struct Config: BitwiseCopyable {
    /// nil: the route's, or its virtual host's.
    var policy: RetryPolicy?
    /// nil: what the stream may buffer.
    var bodyLimit: UInt64?
    var ignoresRequestHeaders: Bool
    /// The fields with which a trusted caller has a say.
    var requestFields: FieldNames?

    /// This configuration, with what `route` sets in its place.
    func overridden(by route: Config) -> Config {
      Config(
        policy: route.policy ?? policy, bodyLimit: route.bodyLimit ?? bodyLimit,
        ignoresRequestHeaders: route.ignoresRequestHeaders || ignoresRequestHeaders,
        requestFields: requestFields)
    }
  }

  public static func load(_ node: ConfigNode, _ loader: borrowing ConfigLoader) -> Config? {
    Config(
      policy: loader.retryPolicy(node, "retry_policy"),
      bodyLimit: node.unsigned("request_buffer_limit_bytes"),
      ignoresRequestHeaders: node.bool("ignore_request_headers") ?? false,
      requestFields: loader.fieldNames([
        "x-envoy-retry-on", "x-envoy-retry-grpc-on", "x-envoy-max-retries",
        "x-envoy-upstream-rq-per-try-timeout-ms", "x-envoy-retriable-status-codes",
        "x-envoy-retriable-header-names",
      ]))
  }
}

extension RetryConditions {
  /// `x-envoy-retry-on`. Unknown names are ignored, as in Envoy.
  init(retryOn text: ByteView) {
    var conditions = RetryConditions()
    text.forEachListItem { name in
      if name == "5xx" { conditions.insert(.fiveXX) }
      if name == "gateway-error" { conditions.insert(.gatewayError) }
      if name == "reset" { conditions.insert(.reset) }
      if name == "reset-before-request" { conditions.insert(.resetBeforeRequest) }
      if name == "connect-failure" { conditions.insert(.connectFailure) }
      if name == "envoy-ratelimited" { conditions.insert(.envoyRateLimited) }
      if name == "retriable-4xx" { conditions.insert(.retriable4XX) }
      if name == "refused-stream" { conditions.insert(.refusedStream) }
      if name == "retriable-status-codes" { conditions.insert(.retriableStatusCodes) }
      if name == "retriable-headers" { conditions.insert(.retriableHeaders) }
      if name == "http3-post-connect-failure" { conditions.insert(.http3PostConnectFailure) }
      return true
    }
    self = conditions
  }

  /// `x-envoy-retry-grpc-on`. Unknown names are ignored, as in Envoy.
  init(retryGRPCOn text: ByteView) {
    var conditions = RetryConditions()
    text.forEachListItem { name in
      if name == "cancelled" { conditions.insert(.grpcCancelled) }
      if name == "deadline-exceeded" { conditions.insert(.grpcDeadlineExceeded) }
      if name == "internal" { conditions.insert(.grpcInternal) }
      if name == "resource-exhausted" { conditions.insert(.grpcResourceExhausted) }
      if name == "unavailable" { conditions.insert(.grpcUnavailable) }
      return true
    }
    self = conditions
  }
}
