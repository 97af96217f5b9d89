public import CFilterABI

/// Timeouts of the matched route; 0 disables.
@frozen
public struct RouteTimeouts: BitwiseCopyable {
  public var routeMilliseconds: UInt64
  public var perTryMilliseconds: UInt64
  public var perTryIdleMilliseconds: UInt64
  /// `respect_expected_rq_timeout` of the router.
  public var respectsExpectedTimeout: Bool
  /// `suppress_envoy_headers` of the router.
  public var suppressesEnvoyHeaders: Bool

  @inlinable init(_ raw: fl_timeouts) {
    routeMilliseconds = raw.route_ms
    perTryMilliseconds = raw.per_try_ms
    perTryIdleMilliseconds = raw.per_try_idle_ms
    respectsExpectedTimeout = raw.respect_expected_timeout
    suppressesEnvoyHeaders = raw.suppress_envoy_headers
  }
}

/// Hosts of a cluster.
@frozen
public struct ClusterHealth: BitwiseCopyable {
  public var total: UInt32
  public var healthy: UInt32
  public var degraded: UInt32

  @inlinable init(total: UInt32, healthy: UInt32, degraded: UInt32) {
    self.total = total
    self.healthy = healthy
    self.degraded = degraded
  }
}

extension StreamContext {
  /// The most specific configuration of this filter for the matched route. It lives as long as the
  /// stream, and longer than any callback.
  @inlinable public func routeConfig<Filter: RouteConfigurable>(
    of filter: Filter.Type
  ) -> Lent<Filter.RouteConfig>? {
    guard let raw = unsafe Host.table.route_config.unsafelyUnwrapped(stream) else { return nil }
    // SAFETY: the host returns what this filter's `load_route` gave it, a `RouteConfig`.
    return unsafe Lent(raw.assumingMemoryBound(to: Filter.RouteConfig.self))
  }

  /// Calls `body` with this filter's configuration at every level that has one, from the most
  /// specific to the least.
  @inlinable public func forEachRouteConfig<Filter: RouteConfigurable>(
    of filter: Filter.Type, _ body: (Lent<Filter.RouteConfig>) -> Void
  ) {
    var index = 0
    while let raw = unsafe Host.table.route_config_at.unsafelyUnwrapped(stream, index) {
      // SAFETY: as in `routeConfig`.
      unsafe body(Lent(raw.assumingMemoryBound(to: Filter.RouteConfig.self)))
      index += 1
    }
  }

  /// All zero when there is no route.
  @inlinable public var routeTimeouts: RouteTimeouts {
    guard let raw = unsafe Host.table.route_timeouts.unsafelyUnwrapped(stream) else {
      return RouteTimeouts(fl_timeouts())
    }
    return unsafe RouteTimeouts(raw.pointee)
  }

  /// The route's retry policy, or its virtual host's; nil when there is none.
  @inlinable public var routeRetryPolicy: RetryPolicy? {
    guard let raw = unsafe Host.table.route_retry_policy.unsafelyUnwrapped(stream) else {
      return nil
    }
    return unsafe RetryPolicy(raw)
  }

  /// How many hosts of a cluster can be used; nil when there is no such cluster.
  @inlinable public func health(ofCluster name: ByteView) -> ClusterHealth? {
    var health = ClusterHealth(total: 0, healthy: 0, degraded: 0)
    guard
      unsafe Host.table.cluster_health.unsafelyUnwrapped(
        stream, name.raw, &health.total, &health.healthy, &health.degraded)
    else { return nil }
    return health
  }
}
