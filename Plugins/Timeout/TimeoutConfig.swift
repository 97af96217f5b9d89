import FilterSDK

extension TimeoutFilter {
  /// `fairlead.filters.http.timeout.v1.Timeout`; at a route, what is absent there is the chain's.
  public struct Config: BitwiseCopyable {
    /// nil: the route's, which a trusted caller may override.
    var timeoutMilliseconds: UInt64?
    /// nil: none here; the connection manager looks after the route's.
    var idleMilliseconds: UInt64?
    var ignoresRequestHeaders: Bool
    /// The fields with which a trusted caller has a say.
    var requestFields: FieldNames?

    /// This configuration, with what `route` sets in its place.
    func overridden(by route: Config) -> Config {
      Config(
        timeoutMilliseconds: route.timeoutMilliseconds ?? timeoutMilliseconds,
        idleMilliseconds: route.idleMilliseconds ?? idleMilliseconds,
        ignoresRequestHeaders: route.ignoresRequestHeaders || ignoresRequestHeaders,
        requestFields: requestFields)
    }
  }

  public static func load(_ node: ConfigNode, _ loader: borrowing ConfigLoader) -> Config? {
    Config(
      timeoutMilliseconds: node.milliseconds("timeout"),
      idleMilliseconds: node.milliseconds("idle_timeout"),
      ignoresRequestHeaders: node.bool("ignore_request_headers") ?? false,
      requestFields: loader.fieldNames([
        "x-envoy-upstream-rq-timeout-alt-response", "x-envoy-expected-rq-timeout-ms",
        "x-envoy-upstream-rq-timeout-ms",
      ]))
  }
}
