import Engine
import HTTPCodec
import Telemetry

/// `http2.…` of the process for clients' connections, `cluster.<name>.http2.…` for those to endpoints.
package struct HTTP2Stats {
  package let headerOverflow: CounterID
  package let messagingError: CounterID
  package let rxReset: CounterID
  package let txReset: CounterID
  package let trailers: CounterID
  package let goAwaySent: CounterID
  package let keepaliveTimeout: CounterID
  package let txFlushTimeout: CounterID
  /// Connections so far, under the name of the library that reads them, as in Envoy.
  package let connections: CounterID
  package let streamsActive: GaugeID
  package let emptyFrames: CounterID
  package let continuations: CounterID
  package let priorityFrames: CounterID
  package let windowUpdates: CounterID
  package let controlFrames: CounterID
  package let outboundFrames: CounterID
  package let provokedResets: CounterID
  package let headerBomb: CounterID
  package let resets: CounterID

  package init(scope: String, role: HTTP2Options.Role, in store: StatsStore) {
    func counter(_ name: String) -> CounterID { store.counter(scope + "http2." + name) }
    headerOverflow = counter("header_overflow")
    messagingError = counter("rx_messaging_error")
    rxReset = counter("rx_reset")
    txReset = counter("tx_reset")
    trailers = counter("trailers")
    goAwaySent = counter("goaway_sent")
    keepaliveTimeout = counter("keepalive_timeout")
    txFlushTimeout = counter("tx_flush_timeout")
    let side = role == .server ? "downstream" : "upstream"
    connections = counter("nghttp2_\(side)_connections")
    streamsActive = store.gauge(scope + "http2.streams_active")
    emptyFrames = counter("inbound_empty_frames_flood")
    priorityFrames = counter("inbound_priority_frames_flood")
    windowUpdates = counter("inbound_window_update_frames_flood")
    controlFrames = counter("outbound_control_flood")
    outboundFrames = counter("outbound_flood")
    // Bounds that Envoy has not, or counts elsewhere.
    continuations = counter("inbound_continuation_frames_flood")
    provokedResets = counter("provoked_resets_flood")
    headerBomb = counter("header_bomb")
    resets = counter("premature_resets_flood")
  }

  /// What a peer that went too far is counted as; nil where nothing is.
  package func counter(of offence: HTTP2Budget.Offence) -> CounterID? {
    switch offence {
    case .emptyFrames: emptyFrames
    case .continuations: continuations
    case .priorityFrames: priorityFrames
    case .windowUpdates: windowUpdates
    case .controlFrames: controlFrames
    case .outboundFrames: outboundFrames
    case .provokedResets: provokedResets
    case .headerBomb: headerBomb
    case .resets: resets
    case .none, .messaging, .streamState: nil
    }
  }
}
