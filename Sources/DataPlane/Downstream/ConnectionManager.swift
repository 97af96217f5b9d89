import Engine
import HTTPCodec
import HTTPModel
import Routing
import Telemetry
import Upstream

/// An HTTP connection manager's configuration, compiled: plain values and handles, read by every
/// worker. Times are milliseconds, and 0 means no limit.
struct ConnectionManager {
  /// What clients may speak.
  enum Codec {
    /// What they begin with.
    case auto
    case http1
    case http2
  }

  enum ServerHeader {
    case overwrite
    case appendIfAbsent
    case passThrough
  }

  enum Underscores {
    case allow
    case reject
    case drop
  }

  let statPrefix: Bytes
  /// Its place among the connection managers of the configuration.
  let index: Int
  let stats: Ref<ConnectionManagerStats>
  let chain: Ref<FilterChain>
  let accessLogs: Table<Ref<AccessLog>>
  let localReplies: Ref<LocalReplyConfig>?

  let codec: Codec
  let http2: HTTP2Options
  let http2Keepalive: HTTP2Keepalive
  let http2Stats: Ref<HTTP2Stats>

  // Limits
  let maxHeadBytes: Int
  let maxFields: Int
  let bufferLimit: Int
  let maxRequestsPerConnection: UInt32
  let connectionIdleTimeout: UInt64
  let maxConnectionDuration: UInt64
  let maxStreamDuration: UInt64
  let streamIdleTimeout: UInt64
  let requestTimeout: UInt64
  let requestHeadersTimeout: UInt64
  let drainTimeout: UInt64
  let delayedCloseTimeout: UInt64

  // Requests
  let usesRemoteAddress: Bool
  let trustedHops: UInt32
  let skipsForwardedFor: Bool
  let appendsForwardedPort: Bool
  let internalAddresses: AddressRanges
  let certificateForwarding: CertificateForwarding
  let generatesRequestID: Bool
  let preservesRequestID: Bool
  let pathRules: PathNormalizer
  let stripsAnyPort: Bool
  let stripsMatchingPort: Bool
  let stripsTrailingDot: Bool
  /// Some of the three above is on.
  var changesHost: Bool { stripsAnyPort || stripsMatchingPort || stripsTrailingDot }
  let allowsAbsoluteURL: Bool
  let acceptsHTTP10: Bool
  let defaultHost: Bytes
  let underscores: Underscores
  let proxies100Continue: Bool
  /// A request that is bad, but whose end is known, does not end the connection.
  let staysOpenAfterError: Bool
  /// Trailers pass in both directions instead of being dropped.
  let passesTrailers: Bool
  let addsUserAgent: Bool
  let upgrades: Table<Upgrade>
  let nodeID: Bytes
  let nodeCluster: Bytes

  // Responses
  let serverHeader: ServerHeader
  /// `server`, with our name.
  let serverLine: FieldLine?
  /// The router's `dynamic_stats`: answers are counted by status for each cluster.
  let countsAnswers: Bool
  /// The router's `strict_check_headers`.
  let strictHeaders: Table<StrictHeader>
  let via: Bytes
  let returnsRequestID: Bool

  /// An upgrade that is allowed unless a route says otherwise.
  struct Upgrade: BitwiseCopyable {
    let type: Bytes
    let isEnabled: Bool
  }
}

/// The statistics of one connection manager: `http.<stat_prefix>.…`.
struct ConnectionManagerStats {
  let cxTotal: CounterID
  let cxHTTP1Total: CounterID
  let cxHTTP2Total: CounterID
  let cxActive: GaugeID
  let cxHTTP1Active: GaugeID
  let cxHTTP2Active: GaugeID
  let cxSSLTotal: CounterID
  let cxSSLActive: GaugeID
  let cxLength: HistogramID
  let cxDestroy: CounterID
  let cxDestroyLocal: CounterID
  let cxDestroyRemote: CounterID
  let cxDestroyActive: CounterID
  let cxDestroyLocalActive: CounterID
  let cxDestroyRemoteActive: CounterID
  let cxIdleTimeout: CounterID
  let cxMaxDuration: CounterID
  let cxMaxRequests: CounterID
  let cxDelayedClose: CounterID
  let cxDrainClose: CounterID
  let cxOverloadDisableKeepalive: CounterID
  let rqOverloadClose: CounterID
  let cxProtocolError: CounterID
  let cxReceivedBytes: CounterID
  let cxSentBytes: CounterID
  let rqTotal: CounterID
  let rqHTTP1Total: CounterID
  let rqHTTP2Total: CounterID
  let tooManyPrematureResets: CounterID
  let rqActive: GaugeID
  let rqCompleted: CounterID
  let rqClasses: InlineArray<5, CounterID>
  let rqTime: HistogramID
  let rqTimeout: CounterID
  let rqMaxDuration: CounterID
  let rqHeaderTimeout: CounterID
  let rqIdleTimeout: CounterID
  let rqTooLarge: CounterID
  let rqRxReset: CounterID
  let rqTxReset: CounterID
  let rqNonRelativePath: CounterID
  let rqFailedNormalization: CounterID
  let rqRedirectedNormalized: CounterID
  let rqUpgradeRefused: CounterID
  let rqDirectResponse: CounterID
  let rqRedirect: CounterID
  let rqEarlyResponse: CounterID
  let rqRejected: CounterID
  let rqUpgrades: CounterID
  let redirectBadLocation: CounterID
  let redirectUnsafeScheme: CounterID
  let redirectTooMany: CounterID
  let redirectNoRoute: CounterID
  let healthCheck: CounterID
  let routedTotal: CounterID
  let noRoute: CounterID
  let noCluster: CounterID
  let underscoreDropped: CounterID
  let underscoreRejected: CounterID
  let pausedReading: CounterID
  let resumedReading: CounterID

  init(prefix: String, in store: StatsStore) {
    let scope = "http.\(prefix)."
    func counter(_ name: String) -> CounterID { store.counter(scope + name) }
    cxTotal = counter("downstream_cx_total")
    cxHTTP1Total = counter("downstream_cx_http1_total")
    cxHTTP2Total = counter("downstream_cx_http2_total")
    cxActive = store.gauge(scope + "downstream_cx_active")
    cxHTTP1Active = store.gauge(scope + "downstream_cx_http1_active")
    cxHTTP2Active = store.gauge(scope + "downstream_cx_http2_active")
    cxSSLTotal = counter("downstream_cx_ssl_total")
    cxSSLActive = store.gauge(scope + "downstream_cx_ssl_active")
    cxLength = store.histogram(scope + "downstream_cx_length_ms")
    cxDestroy = counter("downstream_cx_destroy")
    cxDestroyLocal = counter("downstream_cx_destroy_local")
    cxDestroyRemote = counter("downstream_cx_destroy_remote")
    cxDestroyActive = counter("downstream_cx_destroy_active_rq")
    cxDestroyLocalActive = counter("downstream_cx_destroy_local_active_rq")
    cxDestroyRemoteActive = counter("downstream_cx_destroy_remote_active_rq")
    cxIdleTimeout = counter("downstream_cx_idle_timeout")
    cxMaxDuration = counter("downstream_cx_max_duration_reached")
    cxMaxRequests = counter("downstream_cx_max_requests_reached")
    cxDelayedClose = counter("downstream_cx_delayed_close_timeout")
    cxDrainClose = counter("downstream_cx_drain_close")
    cxOverloadDisableKeepalive = counter("downstream_cx_overload_disable_keepalive")
    rqOverloadClose = counter("downstream_rq_overload_close")
    cxProtocolError = counter("downstream_cx_protocol_error")
    cxReceivedBytes = counter("downstream_cx_rx_bytes_total")
    cxSentBytes = counter("downstream_cx_tx_bytes_total")
    rqTotal = counter("downstream_rq_total")
    rqHTTP1Total = counter("downstream_rq_http1_total")
    rqHTTP2Total = counter("downstream_rq_http2_total")
    tooManyPrematureResets = counter("downstream_rq_too_many_premature_resets")
    rqActive = store.gauge(scope + "downstream_rq_active")
    rqCompleted = counter("downstream_rq_completed")
    rqClasses = InlineArray { counter("downstream_rq_\($0 + 1)xx") }
    rqTime = store.histogram(scope + "downstream_rq_time")
    rqTimeout = counter("downstream_rq_timeout")
    rqMaxDuration = counter("downstream_rq_max_duration_reached")
    rqHeaderTimeout = counter("downstream_rq_header_timeout")
    rqIdleTimeout = counter("downstream_rq_idle_timeout")
    rqTooLarge = counter("downstream_rq_too_large")
    rqRxReset = counter("downstream_rq_rx_reset")
    rqTxReset = counter("downstream_rq_tx_reset")
    rqNonRelativePath = counter("downstream_rq_non_relative_path")
    rqFailedNormalization = counter("downstream_rq_failed_path_normalization")
    rqRedirectedNormalized = counter("downstream_rq_redirected_with_normalized_path")
    rqUpgradeRefused = counter("downstream_rq_ws_on_non_ws_route")
    rqDirectResponse = counter("rq_direct_response")
    rqRedirect = counter("rq_redirect")
    rqEarlyResponse = counter("downstream_rq_response_before_rq_complete")
    rqRejected = counter("downstream_rq_rejected_via_ip_detection")
    rqUpgrades = counter("downstream_cx_upgrades_total")
    redirectBadLocation = counter("passthrough_internal_redirect_bad_location")
    redirectUnsafeScheme = counter("passthrough_internal_redirect_unsafe_scheme")
    redirectTooMany = counter("passthrough_internal_redirect_too_many_redirects")
    redirectNoRoute = counter("passthrough_internal_redirect_no_route")
    healthCheck = counter("tracing.health_check")
    routedTotal = counter("rq_total")
    noRoute = counter("no_route")
    noCluster = counter("no_cluster")
    underscoreDropped = store.counter("http1.dropped_headers_with_underscores")
    underscoreRejected = store.counter("http1.requests_rejected_with_underscores_in_headers")
    pausedReading = counter("downstream_flow_control_paused_reading_total")
    resumedReading = counter("downstream_flow_control_resumed_reading_total")
  }
}
