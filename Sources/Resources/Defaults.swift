/// What a field means when nobody wrote it. Everything that an operator may change stands here with
/// its default, and nowhere else; what nobody should change is in the `Limits` of each target.
///
/// The values are Envoy's, so that a configuration means the same in both.
package enum Defaults {
  // MARK: Bootstrap

  /// `stats_flush_interval`: how often histograms close an interval.
  package static let statsFlushInterval = Duration.seconds(5)
  /// `watchdogs`, `miss_timeout`: a stall that is counted.
  package static let watchdogMiss = Duration.milliseconds(200)
  /// `watchdogs`, `megamiss_timeout`: a stall that is counted as long.
  package static let watchdogMegamiss = Duration.milliseconds(1000)

  // MARK: Resources that are sent

  /// `initial_fetch_timeout`: how long the start, or what warms, waits for a first answer.
  package static let initialFetchTimeout = Duration.seconds(15)

  // MARK: Listener

  /// `per_connection_buffer_limit_bytes`, of listeners and of clusters.
  package static let connectionBufferLimitBytes = 1024 * 1024
  /// `tcp_backlog_size`: as much as the kernel gives (net.core.somaxconn).
  package static let tcpBacklogSize = Int32.max
  /// `listener_filters_timeout`: how long a client may take to say what its filter chain depends on.
  package static let listenerFiltersTimeout = Duration.seconds(15)
  /// `max_client_hello_size` of the TLS inspector.
  package static let clientHelloBytes = 16 * 1024
  /// `max_connections_to_accept_per_socket_event`: the worker's other connections get their turn in
  /// between.
  package static let acceptsPerTurn = 64
  /// `enable_reuse_port`: each worker has its own queue of new connections.
  package static let enableReusePort = true

  // MARK: Network filters

  /// `idle_timeout` of a TCP proxy: a session without a byte in either direction.
  package static let tcpIdleTimeout = Duration.seconds(3600)
  /// `max_connect_attempts` of a TCP proxy.
  package static let maxConnectAttempts: UInt32 = 1
  /// The longest `response` of a direct response.
  package static let directResponseBytes = 64 * 1024

  // MARK: TLS

  /// `max_session_keys`: sessions a cluster keeps for resumption.
  package static let maxSessionKeys = 1

  // MARK: HTTP connection manager

  /// `common_http_protocol_options.idle_timeout`, of listeners and of clusters: a connection
  /// without a request.
  package static let connectionIdleTimeout = Duration.seconds(3600)
  /// `stream_idle_timeout`: a request without a byte in either direction.
  package static let streamIdleTimeout = Duration.seconds(300)
  /// `drain_timeout`: from the announcement of the end to the end.
  package static let drainTimeout = Duration.seconds(5)
  /// `delayed_close_timeout`: how long the peer has to read our last answer.
  package static let delayedCloseTimeout = Duration.seconds(1)
  /// `max_request_headers_kb`, and `max_response_headers_kb` of a cluster that speaks HTTP/2.
  package static let maxHeadersKilobytes = 60
  /// `max_response_headers_kb` of a cluster that speaks HTTP/1.
  package static let maxHTTP1ResponseHeadersKilobytes = 80
  /// `max_headers_count`.
  package static let maxHeadersCount = 100
  /// `server_name`.
  package static let serverName = "envoy"
  /// `generate_request_id`.
  package static let generateRequestID = true

  // MARK: HTTP/2

  /// `hpack_table_size`.
  package static let http2HeaderTableSize: UInt32 = 4096
  /// `max_concurrent_streams`, of listeners and of clusters.
  package static let http2ConcurrentStreams: UInt32 = 1024
  /// `initial_stream_window_size`.
  package static let http2StreamWindow: UInt32 = 16 * 1024 * 1024
  /// `initial_connection_window_size`.
  package static let http2ConnectionWindow: UInt32 = 24 * 1024 * 1024
  /// `max_outbound_frames`: frames that wait for a peer that does not read.
  package static let http2OutboundFrames: UInt32 = 10_000
  /// `max_outbound_control_frames`.
  package static let http2OutboundControlFrames: UInt32 = 1000
  /// `max_consecutive_inbound_frames_with_empty_payload`.
  package static let http2EmptyFrames: UInt32 = 1
  /// `max_inbound_priority_frames_per_stream`.
  package static let http2PriorityFramesPerStream: UInt32 = 100
  /// `max_inbound_window_update_frames_per_data_frame_sent`.
  package static let http2WindowUpdatesPerDataFrame: UInt32 = 10
  /// `connection_keepalive.interval_jitter`, in per cent.
  package static let http2KeepaliveJitter = 15.0

  // MARK: Route

  /// `max_direct_response_body_size_bytes` of a route configuration.
  package static let maxDirectResponseBodyBytes = 4096
  /// `validate_clusters` of a route configuration that is part of a listener.
  package static let validateClusters = true
  /// `timeout` of a route.
  package static let routeTimeout = Duration.seconds(15)
  /// `num_retries` of a retry policy.
  package static let retries = 1
  /// `retry_back_off.base_interval`.
  package static let retryBaseInterval = Duration.milliseconds(25)
  /// `retry_back_off.max_interval`, in base intervals.
  package static let retryMaxIntervalFactor = 10
  /// `rate_limited_retry_back_off.max_interval`.
  package static let rateLimitedRetryMaxInterval = Duration.seconds(300)
  /// `host_selection_retry_max_attempts`.
  package static let hostSelectionAttempts = 1
  /// `max_internal_redirects`.
  package static let internalRedirects = 1

  // MARK: Cluster

  /// `connect_timeout`.
  package static let connectTimeout = Duration.seconds(5)
  /// `dns_refresh_rate`, where the answer's own time to live is not respected.
  package static let dnsRefreshRate = Duration.seconds(5)
  /// `cleanup_interval` of an ORIGINAL_DST cluster: how long a host to which nothing goes is kept.
  package static let cleanupInterval = Duration.seconds(5)
  /// `http_header_name` of an ORIGINAL_DST cluster that uses one.
  package static let originalDestinationHeader = "x-envoy-original-dst-host"
  /// `load_balancing_weight` of an endpoint.
  package static let endpointWeight = 1
  /// `choice_count` of the least-request load balancer.
  package static let leastRequestChoices = 2
  /// `active_request_bias` of the least-request load balancer.
  package static let activeRequestBias = 1.0
  /// `max_connections`, `max_pending_requests` and `max_requests` of a circuit breaker.
  package static let circuitBreakerRequests = 1024
  /// `max_retries` of a circuit breaker.
  package static let circuitBreakerRetries = 3
  /// `retry_budget.budget_percent`.
  package static let retryBudgetPercent = 20.0
  /// `retry_budget.min_retry_concurrency`.
  package static let minRetryConcurrency = 3
  /// `healthy_panic_threshold`, in percent.
  package static let healthyPanicThreshold = 50
  /// `no_traffic_interval` of a health check, in milliseconds.
  package static let healthCheckNoTrafficInterval: UInt64 = 60_000
  /// `happy_eyeballs_config.first_address_family_count`.
  package static let firstAddressFamilyCount = 1
}

extension Duration {
  /// In milliseconds, rounded down.
  package var wholeMilliseconds: UInt64 {
    let (seconds, attoseconds) = components
    return UInt64(max(seconds, 0)) &* 1000
      &+ UInt64(max(attoseconds, 0) / 1_000_000_000_000_000)
  }
}
