import Telemetry

/// Why we, and not the client, have ended a connection: what `%DOWNSTREAM_LOCAL_CLOSE_REASON%` shows,
/// in Envoy's words.
enum LocalCloseReason: BitwiseCopyable {
  /// Nothing more was to come after the last answer, or a drain.
  case drained
  /// What the client said was not HTTP.
  case codecError
  /// It stayed idle before it said anything.
  case idle
  /// It reached `max_connection_duration` before it said anything.
  case maxDuration
  /// It did not close its side within `delayed_close_timeout`.
  case delayedCloseTimeout
  case handshakeTimeout
  case pingTimeout
  /// Rules of access refused it.
  case accessDenied
  /// The others are `tcp_proxy`'s.
  case sessionIdle
  case sessionMaxDuration
  case connectFailed
  case noHealthyUpstream
  case overflow
  case noCluster

  private var text: StaticString {
    switch self {
    case .drained: "deferred_close_on_drained_connection"
    // Envoy goes on with its parser's own words.
    case .codecError: "codec_error"
    case .idle: "on_idle_timeout"
    case .maxDuration: "duration_timeout"
    case .delayedCloseTimeout: "triggered_delayed_close_timeout"
    case .handshakeTimeout: "transport_socket_timeout"
    case .pingTimeout: "http2_ping_timeout"
    case .accessDenied: "rbac_deny_close"
    case .sessionIdle: "tcp_session_idle_timeout"
    case .sessionMaxDuration: "max_connection_duration_reached"
    case .connectFailed: "tcp_initializion_failure:0"
    case .noHealthyUpstream: "tcp_initializion_failure:1"
    case .overflow: "tcp_initializion_failure:2"
    case .noCluster: "tcp_initializion_failure:3"
    }
  }

  var logValue: LogValue { .bytes(LogBytes(text)) }
}
