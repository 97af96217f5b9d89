import Engine
import Telemetry

/// A network filter in front of a chain's last one, compiled: it may refuse a connection.
enum NetworkFilter: BitwiseCopyable {
  case connectionLimit(Ref<ConnectionLimit>)

  /// `envoy.filters.network.connection_limit`: how many connections are open at once, in the whole
  /// process.
  struct ConnectionLimit {
    let limit: UInt64
    /// How long a refused connection is kept, so that whoever comes back at once has to wait;
    /// milliseconds.
    let delay: UInt64
    let open = SharedGauge.allocate()
    let limited: CounterID
    let active: GaugeID

    init(limit: UInt64, delay: UInt64, prefix: String, in store: StatsStore) {
      self.limit = limit
      self.delay = delay
      let scope = "connection_limit.\(prefix)."
      limited = store.counter(scope + "limited_connections")
      active = store.gauge(scope + "active_connections")
    }
  }
}

/// The filters in front of a chain's last one, and what they have taken for a connection.
struct NetworkFilters {
  let all: Table<NetworkFilter>

  /// Lets each filter have its turn; nil when all let the connection pass, or for how many
  /// milliseconds it is kept before it is closed.
  func refuse(_ stats: WorkerStats) -> UInt64? {
    for index in 0..<all.count {
      guard case .connectionLimit(let limit) = all[index] else { continue }
      guard limit.value.open.tryAcquire(limit: limit.value.limit) else {
        stats.add(limit.value.limited)
        release(first: index, stats)
        return limit.value.delay
      }
      stats.gaugeAdd(limit.value.active, 1)
    }
    return nil
  }

  /// A connection that had passed is closed.
  func release(_ stats: WorkerStats) { release(first: all.count, stats) }

  private func release(first count: Int, _ stats: WorkerStats) {
    for index in 0..<count {
      guard case .connectionLimit(let limit) = all[index] else { continue }
      limit.value.open.release()
      stats.gaugeAdd(limit.value.active, -1)
    }
  }
}
