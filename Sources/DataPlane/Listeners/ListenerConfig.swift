import Engine
import Telemetry

/// A listener's configuration, compiled. Times are milliseconds, and 0 means no limit.
struct ListenerConfig {
  let name: Bytes
  let address: SocketAddress
  /// Bound to every address of the machine, or takes connections to any: a connection's own end has to be
  /// asked for.
  let isWildcard: Bool
  let options: ListenSocket.Options
  let bufferLimit: Int
  /// In the configured order; each looks at a connection before its chain is chosen.
  let filters: Table<ListenerFilter>
  let filtersTimeout: UInt64
  /// When the filters take too long, the connection goes on with what is known of it.
  let continuesOnTimeout: Bool
  let chains: ChainMatcher
  /// False: connections come from other listeners only.
  let bindsToPort: Bool
  /// A redirected connection goes to the listener for the address that it was meant for.
  let usesOriginalDestination: Bool
  let isInbound: Bool
  let acceptsPerTurn: Int
  /// Connections of this listener.
  let bound: ConnectionBound
  /// The process's bound is not for its connections.
  let ignoresGlobalBound: Bool
  let stats: Ref<ListenerStats>
  /// Told of every connection when it ends.
  let accessLogs: Table<Ref<AccessLog>>

  /// Nothing has to be read before the chain is known.
  var decidesAtOnce: Bool { filters.isEmpty }
}

/// A filter chain of a listener, compiled: what becomes of a connection that it takes.
struct NetworkChain {
  let name: Bytes
  /// Its transport socket; nil for plain bytes.
  let security: ChainSecurity?
  /// Those in front of the last one.
  let filters: NetworkFilters
  let terminal: Terminal

  /// The last network filter.
  enum Terminal {
    case http(HTTPTerminal)
    case tcp(Ref<TCPProxy>)
    case echo
    case directResponse(Bytes)
  }
}

/// A filter chain's TLS.
struct ChainSecurity: BitwiseCopyable {
  /// Its number among the TLS configurations.
  let place: Int
  /// Milliseconds that a handshake may take; 0 means no limit.
  let handshakeLimit: UInt64
}

/// An HTTP connection manager at the end of a chain, with what the listener counts for it.
struct HTTPTerminal: BitwiseCopyable {
  let manager: Ref<ConnectionManager>
  let stats: Ref<ListenerHTTPStats>
}

/// `listener.<address>.http.<stat_prefix>.…`
struct ListenerHTTPStats {
  let rqCompleted: CounterID
  let rqClasses: InlineArray<5, CounterID>

  init(scope: String, managerPrefix: String, in store: StatsStore) {
    let http = "\(scope)http.\(managerPrefix)."
    rqCompleted = store.counter(http + "downstream_rq_completed")
    rqClasses = InlineArray { store.counter(http + "downstream_rq_\($0 + 1)xx") }
  }
}

/// `listener.<address>.…`
struct ListenerStats {
  let cxTotal: CounterID
  let cxActive: GaugeID
  let cxDestroy: CounterID
  let cxLength: HistogramID
  let cxOverflow: CounterID
  let cxGlobalOverflow: CounterID
  let cxOverloadReject: CounterID
  let pendingActive: GaugeID
  let pendingTimeout: CounterID
  let filterRemoteClose: CounterID
  let filterError: CounterID
  let noChain: CounterID
  let handshakeTimeout: CounterID

  /// - Parameter scope: ends with a dot.
  init(scope: String, in store: StatsStore) {
    cxTotal = store.counter(scope + "downstream_cx_total")
    cxActive = store.gauge(scope + "downstream_cx_active")
    cxDestroy = store.counter(scope + "downstream_cx_destroy")
    cxLength = store.histogram(scope + "downstream_cx_length_ms")
    cxOverflow = store.counter(scope + "downstream_cx_overflow")
    cxGlobalOverflow = store.counter(scope + "downstream_global_cx_overflow")
    cxOverloadReject = store.counter(scope + "downstream_cx_overload_reject")
    pendingActive = store.gauge(scope + "downstream_pre_cx_active")
    pendingTimeout = store.counter(scope + "downstream_pre_cx_timeout")
    filterRemoteClose = store.counter(scope + "downstream_listener_filter_remote_close")
    filterError = store.counter(scope + "downstream_listener_filter_error")
    handshakeTimeout = store.counter(
      scope + "downstream_cx_transport_socket_connect_timeout")
    noChain = store.counter(scope + "no_filter_chain_match")
  }
}
