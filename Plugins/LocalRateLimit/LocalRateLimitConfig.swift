import FilterSDK

extension LocalRateLimitFilter {
  /// `envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit`, for the chain or a route.
  public struct Config: BitwiseCopyable {
    /// nil, which only a chain's may be: everything passes.
    var bucket: TokenBucket?
    /// Each downstream connection has a bucket of this kind.
    var isPerConnection: Bool
    var enabled: RuntimeShare
    var enforced: RuntimeShare
    var status: UInt32
    /// -1: derived from the status.
    var grpcStatus: Int32
    /// Says in responses how much is left.
    var announces: Bool
    var responseEdits: HeaderMutations?
    var unenforcedRequestEdits: HeaderMutations?
    var statistics: Statistics
  }

  struct Statistics: BitwiseCopyable {
    var enabled: Counter
    var enforced: Counter
    var ok: Counter
    var rateLimited: Counter

    init(prefix: String, _ loader: borrowing ConfigLoader) {
      enabled = loader.counter("\(prefix).http_local_rate_limit.enabled")
      enforced = loader.counter("\(prefix).http_local_rate_limit.enforced")
      ok = loader.counter("\(prefix).http_local_rate_limit.ok")
      rateLimited = loader.counter("\(prefix).http_local_rate_limit.rate_limited")
    }
  }

  public static func load(_ node: ConfigNode, _ loader: borrowing ConfigLoader) -> Config? {
    guard let prefix = node.string("stat_prefix"), !prefix.isEmpty else {
      node.error("stat_prefix must be set")
      return nil
    }
    let exhausted = node.bool("rate_limited_as_resource_exhausted") ?? false
    return Config(
      bucket: node.message("token_bucket").flatMap { loadBucket($0, loader) },
      isPerConnection: node.bool("local_rate_limit_per_downstream_connection") ?? false,
      enabled: loader.runtimeShare(node, "filter_enabled") ?? RuntimeShare(fallback: .none),
      enforced: loader.runtimeShare(node, "filter_enforced") ?? RuntimeShare(fallback: .none),
      status: loadStatus(node), grpcStatus: exhausted ? 8 : -1,
      announces: node.enumeration("enable_x_ratelimit_headers") == "DRAFT_VERSION_03",
      responseEdits: loader.headerMutations(node, "response_headers_to_add"),
      unenforcedRequestEdits: loader.headerMutations(
        node, "request_headers_to_add_when_not_enforced"),
      statistics: Statistics(prefix: prefix, loader))
  }

  /// A route without a bucket would switch the limit off in silence.
  public static func loadRoute(_ node: ConfigNode, _ loader: borrowing ConfigLoader) -> Config? {
    guard node.has("token_bucket") else {
      node.error("token_bucket must be set at a route")
      return nil
    }
    return load(node, loader)
  }

  private static func loadBucket(
    _ node: ConfigNode, _ loader: borrowing ConfigLoader
  ) -> TokenBucket? {
    let maxTokens = node.unsigned("max_tokens") ?? 0
    let tokensPerFill = node.unsigned("tokens_per_fill") ?? 1
    let interval = node.nanoseconds("fill_interval") ?? 0
    if maxTokens == 0 { node.error("max_tokens must be at least 1") }
    if tokensPerFill == 0 { node.error("tokens_per_fill must be at least 1") }
    if interval < 50_000_000 { node.error("fill_interval must be at least 50ms") }
    return TokenBucket(
      maxTokens: maxTokens, tokensPerFill: tokensPerFill, fillNanoseconds: interval,
      emptyAt: loader.sharedNumber(TokenBucket.full))
  }

  /// 429 unless another error is configured: who is refused must not look served.
  private static func loadStatus(_ node: ConfigNode) -> UInt32 {
    guard let name = node.message("status")?.enumeration("code") else { return 429 }
    return errorStatuses[name] ?? UInt32(name).flatMap { $0 >= 400 ? $0 : nil } ?? 429
  }

  /// `envoy.type.v3.StatusCode` from 400.
  private static let errorStatuses: [String: UInt32] = [
    "BadRequest": 400, "Unauthorized": 401, "PaymentRequired": 402, "Forbidden": 403,
    "NotFound": 404, "MethodNotAllowed": 405, "NotAcceptable": 406,
    "ProxyAuthenticationRequired": 407, "RequestTimeout": 408, "Conflict": 409, "Gone": 410,
    "LengthRequired": 411, "PreconditionFailed": 412, "PayloadTooLarge": 413, "URITooLong": 414,
    "UnsupportedMediaType": 415, "RangeNotSatisfiable": 416, "ExpectationFailed": 417,
    "MisdirectedRequest": 421, "UnprocessableEntity": 422, "Locked": 423,
    "FailedDependency": 424, "UpgradeRequired": 426, "PreconditionRequired": 428,
    "TooManyRequests": 429, "RequestHeaderFieldsTooLarge": 431, "InternalServerError": 500,
    "NotImplemented": 501, "BadGateway": 502, "ServiceUnavailable": 503, "GatewayTimeout": 504,
    "HTTPVersionNotSupported": 505, "VariantAlsoNegotiates": 506, "InsufficientStorage": 507,
    "LoopDetected": 508, "NotExtended": 510, "NetworkAuthenticationRequired": 511,
  ]
}
