import Engine
import Telemetry

/// A network filter in front of a chain's last one, compiled: it may refuse a connection.
enum NetworkFilter: BitwiseCopyable {
  case connectionLimit(Ref<ConnectionLimit>)
  case rateLimit(Ref<RateLimit>)
  case access(Ref<AccessFilter>)

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

  /// `envoy.filters.network.local_ratelimit`: how many connections begin in a time, in the whole
  /// process.
  struct RateLimit {
    let bucket: Ref<ConnectionBucket>
    let limited: CounterID

    init(_ bucket: Ref<ConnectionBucket>, prefix: String, in store: StatsStore) {
      self.bucket = bucket
      limited = store.counter("local_rate_limit.\(prefix).rate_limited")
    }
  }

  /// How a filter turns a connection away.
  struct Refusal {
    /// Milliseconds for which the connection is kept before it is closed.
    var delay: UInt64 = 0
    var flags = ResponseFlags()
    /// `%DOWNSTREAM_LOCAL_CLOSE_REASON%`
    let reason: StaticString
  }
}

/// The filters in front of a chain's last one, and what they have taken for a connection.
struct NetworkFilters {
  let all: Table<NetworkFilter>
  /// What becomes of a connection that may go on, if it is not settled by then.
  let demand: ConnectionAccess.Phase

  init(_ filters: [NetworkFilter]) {
    all = .configured(filters)
    var demand = ConnectionAccess.Phase.settled
    for case .access(let filter) in filters where demand != .watched {
      demand = filter.value.isContinuous ? .watched : .waiting
    }
    self.demand = demand
  }

  /// Somebody wants to know what the client says, before anything else does.
  var beginning: ConnectionAccess.Phase { demand == .settled ? .settled : .waiting }

  /// Lets each filter have its turn, in the configured order; nil when all let the connection pass.
  /// - Parameter now: the monotonic clock, in nanoseconds.
  func refuse(_ stats: WorkerStats, now: UInt64) -> NetworkFilter.Refusal? {
    for index in 0..<all.count {
      guard let refusal = all[index].refuse(stats, now: now) else { continue }
      release(first: index, stats)
      return refusal
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

extension NetworkFilter {
  fileprivate func refuse(_ stats: WorkerStats, now: UInt64) -> Refusal? {
    switch self {
    case .connectionLimit(let limit):
      guard limit.value.open.tryAcquire(limit: limit.value.limit) else {
        stats.add(limit.value.limited)
        return Refusal(delay: limit.value.delay, reason: "over_connection_limit")
      }
      stats.gaugeAdd(limit.value.active, 1)
      return nil
    case .rateLimit(let limit):
      guard !limit.value.bucket.value.take(now: now) else { return nil }
      stats.add(limit.value.limited)
      return Refusal(
        flags: .upstreamRetryLimitExceeded, reason: "local_ratelimit_close_over_limit")
    case .access: return nil
    }
  }
}
