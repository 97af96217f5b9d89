import Engine
import Telemetry

/// A `tcp_proxy`, compiled. Times are milliseconds, and 0 means no limit.
struct TCPProxy {
  let clusters: Clusters
  let idleTimeout: UInt64
  let maxDuration: UInt64
  let maxConnectAttempts: UInt32
  /// The server's name in the client's TLS greeting names the cluster (`sni_cluster`).
  let takesClusterFromServerName: Bool
  let accessLogs: Table<Ref<AccessLog>>
  let stats: Ref<Stats>

  /// Where connections go.
  enum Clusters {
    case one(Bytes)
    case weighted(Table<Weighted>, total: UInt64)
  }

  struct Weighted: BitwiseCopyable {
    let name: Bytes
    /// The sum of its weight and those before it.
    let bound: UInt64
  }

  /// `tcp.<stat_prefix>.…`
  struct Stats {
    let cxTotal: CounterID
    let cxNoRoute: CounterID
    let cxReceivedBytes: CounterID
    let cxSentBytes: CounterID
    let pausedReading: CounterID
    let resumedReading: CounterID
    let idleTimeout: CounterID
    let maxDuration: CounterID
    let flushTotal: CounterID
    let flushActive: GaugeID

    init(prefix: String, in store: StatsStore) {
      let scope = "tcp.\(prefix)."
      cxTotal = store.counter(scope + "downstream_cx_total")
      cxNoRoute = store.counter(scope + "downstream_cx_no_route")
      cxReceivedBytes = store.counter(scope + "downstream_cx_rx_bytes_total")
      cxSentBytes = store.counter(scope + "downstream_cx_tx_bytes_total")
      pausedReading = store.counter(scope + "downstream_flow_control_paused_reading_total")
      resumedReading = store.counter(scope + "downstream_flow_control_resumed_reading_total")
      idleTimeout = store.counter(scope + "idle_timeout")
      maxDuration = store.counter(scope + "max_downstream_connection_duration")
      flushTotal = store.counter(scope + "upstream_flush_total")
      flushActive = store.gauge(scope + "upstream_flush_active")
    }
  }

  /// The cluster for one connection.
  /// - Parameter random: drawn for this connection.
  func cluster(random: UInt64) -> Bytes {
    switch clusters {
    case .one(let name): return name
    case .weighted(let all, let total):
      let point = random % max(total, 1)
      for index in 0..<all.count where point < all[index].bound { return all[index].name }
      return .empty
    }
  }
}
