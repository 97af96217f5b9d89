import FilterSDK

extension HealthCheckFilter {
  /// `envoy.extensions.filters.http.health_check.v3.HealthCheck`.
  public struct Config: BitwiseCopyable {
    /// Which requests are health checks; nil: all.
    var headers: HeaderMatchers?
    /// Health checks go to the application, unless the proxy knows the answer.
    var passesThrough: Bool
    var cache: AnswerCache?
    var clusters: StaticList<NeededHealth>
    var statistics: Statistics
  }

  /// How much of a cluster must be healthy.
  struct NeededHealth: BitwiseCopyable {
    var cluster: ByteView
    /// Whole percent, as in Envoy.
    var percent: UInt64
  }

  struct Statistics: BitwiseCopyable {
    var requestTotal: Counter
    var ok: Counter
    var failed: Counter
    var cachedResponse: Counter
    var clusterNotFound: Counter
    var clusterEmpty: Counter
    var clusterUnhealthy: Counter
    var degraded: Counter

    init(_ loader: borrowing ConfigLoader) {
      requestTotal = loader.counter("health_check.request_total", .connectionManager)
      ok = loader.counter("health_check.ok", .connectionManager)
      failed = loader.counter("health_check.failed", .connectionManager)
      cachedResponse = loader.counter("health_check.cached_response", .connectionManager)
      clusterNotFound = loader.counter("health_check.failed_cluster_not_found", .connectionManager)
      clusterEmpty = loader.counter("health_check.failed_cluster_empty", .connectionManager)
      clusterUnhealthy = loader.counter("health_check.failed_cluster_unhealthy", .connectionManager)
      degraded = loader.counter("health_check.degraded", .connectionManager)
    }
  }

  public static func load(_ node: ConfigNode, _ loader: borrowing ConfigLoader) -> Config? {
    guard let passesThrough = node.bool("pass_through_mode") else {
      node.error("pass_through_mode must be set")
      return nil
    }
    let cacheMilliseconds = node.milliseconds("cache_time") ?? 0
    if !passesThrough, cacheMilliseconds > 0 {
      node.error("cache_time must not be set when pass_through_mode is off")
    }
    let clusters = node.map("cluster_min_healthy_percentages").map { name, percent in
      NeededHealth(
        cluster: loader.text(name),
        percent: UInt64(max(0, min(100, percent.number("value") ?? 0))))
    }
    if passesThrough, !clusters.isEmpty {
      node.error("cluster_min_healthy_percentages must not be set when pass_through_mode is on")
    }
    return Config(
      headers: loader.headerMatchers(node, "headers"), passesThrough: passesThrough,
      cache: cacheMilliseconds > 0
        ? AnswerCache(milliseconds: cacheMilliseconds, cell: loader.sharedNumber()) : nil,
      clusters: loader.list(clusters), statistics: Statistics(loader))
  }
}
