import Engine
import Telemetry

/// The statistics of one cluster, `cluster.<name>.…`: places that every worker counts at. What is
/// never counted here (health checks, outliers) is not registered.
package struct ClusterStats {
  package let connections: Connections
  package let requests: Requests
  package let retries: Retries
  package let membership: Membership
  package let updates: Updates
  package let normalBreaker: Breaker
  package let highBreaker: Breaker
  /// Requests sent to a host although it is not healthy, because too few are.
  package let balancerPanics: CounterID
  /// `bind_errors`: the source address could not be bound.
  package let bindErrors: CounterID
  /// `original_dst_host_invalid`: a request's field named no address. Only of an ORIGINAL_DST cluster.
  package let invalidDestinations: CounterID?
  /// `upstream.proxyprotocol.v2_tlvs_exceed_max_length`: a header had no room for something. Only of a
  /// cluster whose connections begin with one.
  package let longAnnouncements: CounterID?
  /// Response headers dropped, and responses refused, because of an underscore in a name.
  package let droppedUnderscoreHeaders: CounterID
  package let refusedUnderscoreResponses: CounterID
  /// Source connections paused and resumed, and buffers towards the upstream filled and drained.
  package let pausedReading: CounterID
  package let resumedReading: CounterID
  package let backedUp: CounterID
  package let drained: CounterID
  package let internalRedirectsSucceeded: CounterID
  package let internalRedirectsFailed: CounterID
  /// Only of a cluster that speaks HTTP/2.
  package let http2: Ref<HTTP2Stats>?

  /// `upstream_cx_…`
  package struct Connections {
    package let total: CounterID
    package let active: GaugeID
    package let http1Total: CounterID
    package let http2Total: CounterID
    package let connectFail: CounterID
    package let connectTimeout: CounterID
    package let idleTimeout: CounterID
    package let connectAttemptsExceeded: CounterID
    package let overflow: CounterID
    package let poolOverflow: CounterID
    package let maxRequests: CounterID
    package let maxDurationReached: CounterID
    package let noneHealthy: CounterID
    package let protocolError: CounterID
    package let closeNotify: CounterID
    package let destroy: CounterID
    package let destroyLocal: CounterID
    package let destroyRemote: CounterID
    package let destroyWithActiveRequest: CounterID
    package let destroyLocalWithActiveRequest: CounterID
    package let destroyRemoteWithActiveRequest: CounterID
    package let rxBytesTotal: CounterID
    package let txBytesTotal: CounterID
    package let rxBytesBuffered: GaugeID
    package let txBytesBuffered: GaugeID
    /// Milliseconds from the first attempt to an open connection.
    package let connectTime: HistogramID
    /// Milliseconds a connection lived.
    package let lengthTime: HistogramID
  }

  /// `upstream_rq_…`
  package struct Requests {
    package let total: CounterID
    package let active: GaugeID
    package let activeOverflow: CounterID
    package let pendingTotal: CounterID
    package let pendingActive: GaugeID
    package let pendingOverflow: CounterID
    package let pendingFailureEject: CounterID
    package let cancelled: CounterID
    package let maintenanceMode: CounterID
    package let timeout: CounterID
    package let perTryTimeout: CounterID
    package let perTryIdleTimeout: CounterID
    package let maxDurationReached: CounterID
    package let rxReset: CounterID
    package let txReset: CounterID
    /// Requests one connection carried, recorded when it closes.
    package let perConnection: HistogramID
  }

  /// `upstream_rq_retry…`
  package struct Retries {
    package let total: CounterID
    package let success: CounterID
    package let overflow: CounterID
    package let limitExceeded: CounterID
    package let backoffExponential: CounterID
    package let backoffRateLimited: CounterID
    /// `retry_or_shadow_abandoned`: the body was too large to keep for another attempt.
    package let abandoned: CounterID
  }

  /// `membership_…`
  package struct Membership {
    package let change: CounterID
    /// New hosts that are given the cluster's own transport socket.
    package let transportMatches: CounterID
    package let total: GaugeID
    package let healthy: GaugeID
    package let degraded: GaugeID
    package let excluded: GaugeID
    package let largestWeight: GaugeID
  }

  /// `update_…`: how resolving the cluster's names went.
  package struct Updates {
    package let attempt: CounterID
    package let success: CounterID
    package let failure: CounterID
    /// An update without a load assignment; stays zero without EDS, but dashboards expect it.
    package let empty: CounterID
    /// The answer named the hosts there are.
    package let noRebuild: CounterID
  }

  /// `circuit_breakers.<priority>.…`; set when statistics are read (`CircuitBreakers.refresh`).
  package struct Breaker {
    package let connectionsOpen: GaugeID
    package let poolsOpen: GaugeID
    package let requestsOpen: GaugeID
    package let pendingOpen: GaugeID
    package let retriesOpen: GaugeID
    /// Only where `track_remaining` asks for them.
    package let remaining: Remaining?

    package struct Remaining {
      package let connections: GaugeID
      package let pools: GaugeID
      package let requests: GaugeID
      package let pending: GaugeID
      package let retries: GaugeID
    }
  }

  package func breaker(_ priority: RequestPriority) -> Breaker {
    priority == .high ? highBreaker : normalBreaker
  }
}

// MARK: Registering

extension ClusterStats {
  /// Registers everything; main thread.
  package init(_ cluster: ClusterConfig, in store: StatsStore) {
    let names = StatScope(store: store, prefix: "cluster.\(cluster.statName.string).")
    connections = Connections(names)
    requests = Requests(names)
    retries = Retries(names)
    membership = Membership(names)
    updates = Updates(names)
    normalBreaker = Breaker(names, .normal, cluster.defaultLimits)
    highBreaker = Breaker(names, .high, cluster.highLimits)
    balancerPanics = names.counter("lb_healthy_panic")
    bindErrors = names.counter("bind_errors")
    invalidDestinations =
      cluster.destination == nil ? nil : names.counter("original_dst_host_invalid")
    longAnnouncements =
      cluster.announcement == nil
      ? nil : names.counter("upstream.proxyprotocol.v2_tlvs_exceed_max_length")
    droppedUnderscoreHeaders = names.counter("http1.dropped_headers_with_underscores")
    refusedUnderscoreResponses = names.counter(
      "http1.requests_rejected_with_underscores_in_headers")
    pausedReading = names.counter("upstream_flow_control_paused_reading_total")
    resumedReading = names.counter("upstream_flow_control_resumed_reading_total")
    backedUp = names.counter("upstream_flow_control_backed_up_total")
    drained = names.counter("upstream_flow_control_drained_total")
    internalRedirectsSucceeded = names.counter("upstream_internal_redirect_succeeded_total")
    internalRedirectsFailed = names.counter("upstream_internal_redirect_failed_total")
    http2 =
      cluster.http.speaks.mayBeHTTP2
      ? .configured(HTTP2Stats(scope: names.prefix, role: .client, in: store)) : nil
  }
}

/// Registers names behind one prefix.
struct StatScope {
  let store: StatsStore
  let prefix: String

  func counter(_ name: String) -> CounterID { store.counter(prefix + name) }
  func gauge(_ name: String) -> GaugeID { store.gauge(prefix + name) }
  func histogram(_ name: String) -> HistogramID { store.histogram(prefix + name) }
}

extension ClusterStats.Connections {
  fileprivate init(_ names: StatScope) {
    total = names.counter("upstream_cx_total")
    active = names.gauge("upstream_cx_active")
    http1Total = names.counter("upstream_cx_http1_total")
    http2Total = names.counter("upstream_cx_http2_total")
    connectFail = names.counter("upstream_cx_connect_fail")
    connectTimeout = names.counter("upstream_cx_connect_timeout")
    idleTimeout = names.counter("upstream_cx_idle_timeout")
    connectAttemptsExceeded = names.counter("upstream_cx_connect_attempts_exceeded")
    overflow = names.counter("upstream_cx_overflow")
    poolOverflow = names.counter("upstream_cx_pool_overflow")
    maxRequests = names.counter("upstream_cx_max_requests")
    maxDurationReached = names.counter("upstream_cx_max_duration_reached")
    noneHealthy = names.counter("upstream_cx_none_healthy")
    protocolError = names.counter("upstream_cx_protocol_error")
    closeNotify = names.counter("upstream_cx_close_notify")
    destroy = names.counter("upstream_cx_destroy")
    destroyLocal = names.counter("upstream_cx_destroy_local")
    destroyRemote = names.counter("upstream_cx_destroy_remote")
    destroyWithActiveRequest = names.counter("upstream_cx_destroy_with_active_rq")
    destroyLocalWithActiveRequest = names.counter("upstream_cx_destroy_local_with_active_rq")
    destroyRemoteWithActiveRequest = names.counter("upstream_cx_destroy_remote_with_active_rq")
    rxBytesTotal = names.counter("upstream_cx_rx_bytes_total")
    txBytesTotal = names.counter("upstream_cx_tx_bytes_total")
    rxBytesBuffered = names.gauge("upstream_cx_rx_bytes_buffered")
    txBytesBuffered = names.gauge("upstream_cx_tx_bytes_buffered")
    connectTime = names.histogram("upstream_cx_connect_ms")
    lengthTime = names.histogram("upstream_cx_length_ms")
  }
}

extension ClusterStats.Requests {
  fileprivate init(_ names: StatScope) {
    total = names.counter("upstream_rq_total")
    active = names.gauge("upstream_rq_active")
    activeOverflow = names.counter("upstream_rq_active_overflow")
    pendingTotal = names.counter("upstream_rq_pending_total")
    pendingActive = names.gauge("upstream_rq_pending_active")
    pendingOverflow = names.counter("upstream_rq_pending_overflow")
    pendingFailureEject = names.counter("upstream_rq_pending_failure_eject")
    cancelled = names.counter("upstream_rq_cancelled")
    maintenanceMode = names.counter("upstream_rq_maintenance_mode")
    timeout = names.counter("upstream_rq_timeout")
    perTryTimeout = names.counter("upstream_rq_per_try_timeout")
    perTryIdleTimeout = names.counter("upstream_rq_per_try_idle_timeout")
    maxDurationReached = names.counter("upstream_rq_max_duration_reached")
    rxReset = names.counter("upstream_rq_rx_reset")
    txReset = names.counter("upstream_rq_tx_reset")
    perConnection = names.histogram("upstream_rq_per_cx")
  }
}

extension ClusterStats.Retries {
  fileprivate init(_ names: StatScope) {
    total = names.counter("upstream_rq_retry")
    success = names.counter("upstream_rq_retry_success")
    overflow = names.counter("upstream_rq_retry_overflow")
    limitExceeded = names.counter("upstream_rq_retry_limit_exceeded")
    backoffExponential = names.counter("upstream_rq_retry_backoff_exponential")
    backoffRateLimited = names.counter("upstream_rq_retry_backoff_ratelimited")
    abandoned = names.counter("retry_or_shadow_abandoned")
  }
}

extension ClusterStats.Membership {
  fileprivate init(_ names: StatScope) {
    change = names.counter("membership_change")
    transportMatches = names.counter("default.total_match_count")
    total = names.gauge("membership_total")
    healthy = names.gauge("membership_healthy")
    degraded = names.gauge("membership_degraded")
    excluded = names.gauge("membership_excluded")
    largestWeight = names.gauge("max_host_weight")
  }
}

extension ClusterStats.Updates {
  fileprivate init(_ names: StatScope) {
    attempt = names.counter("update_attempt")
    success = names.counter("update_success")
    failure = names.counter("update_failure")
    empty = names.counter("update_empty")
    noRebuild = names.counter("update_no_rebuild")
  }
}

extension ClusterStats.Breaker {
  fileprivate init(_ names: StatScope, _ priority: RequestPriority, _ limits: BreakerLimits) {
    let scope = "circuit_breakers.\(priority.statName)."
    connectionsOpen = names.gauge(scope + "cx_open")
    poolsOpen = names.gauge(scope + "cx_pool_open")
    requestsOpen = names.gauge(scope + "rq_open")
    pendingOpen = names.gauge(scope + "rq_pending_open")
    retriesOpen = names.gauge(scope + "rq_retry_open")
    remaining =
      limits.tracksRemaining
      ? Remaining(
        connections: names.gauge(scope + "remaining_cx"),
        pools: names.gauge(scope + "remaining_cx_pools"),
        requests: names.gauge(scope + "remaining_rq"),
        pending: names.gauge(scope + "remaining_pending"),
        retries: names.gauge(scope + "remaining_retries")) : nil
  }
}
