import Engine
import Telemetry

/// One priority's circuit breakers of one cluster: how much of everything runs in the whole process,
/// and how much may.
///
/// Every successful `admit…` is undone by one `release…`; a refusal is the caller's to count
/// (`upstream_cx_overflow` and its kind) and to answer with `UO`.
package struct CircuitBreaker {
  package let limits: BreakerLimits
  private let connections = SharedGauge.allocate()
  private let pending = SharedGauge.allocate()
  private let requests = SharedGauge.allocate()
  private let retries = SharedGauge.allocate()

  init(limits: BreakerLimits) { self.limits = limits }

  /// Nobody may use it any more.
  fileprivate func deallocate() {
    for gauge in [connections, pending, requests, retries] { gauge.deallocate() }
  }

  package func admitConnection() -> Bool { connections.tryAcquire(limit: limits.connections) }

  /// A host without any connection gets its first one beyond the limit, as in Envoy: otherwise the
  /// requests that wait for it would wait for ever.
  package func admitFirstConnection() { connections.acquire() }

  package func releaseConnection() { connections.release() }

  package func admitPending() -> Bool { pending.tryAcquire(limit: limits.pendingRequests) }

  package func releasePending() { pending.release() }

  package func admitRequest() -> Bool { requests.tryAcquire(limit: limits.requests) }

  package func releaseRequest() { requests.release() }

  package func admitRetry() -> Bool { retries.tryAcquire(limit: retryLimit) }

  package func releaseRetry() { retries.release() }

  /// How many retries may be waiting or running now.
  package var retryLimit: UInt64 {
    guard let budget = limits.retryBudget else { return limits.retries }
    let running = Double(requests.value &+ pending.value)
    return max(budget.minimumConcurrency, UInt64(budget.percent / 100 * running))
  }

  package var activeConnections: UInt64 { connections.value }
  package var pendingRequests: UInt64 { pending.value }
  package var activeRequests: UInt64 { requests.value }
  package var activeRetries: UInt64 { retries.value }

  /// Writes the gauges as they are now.
  fileprivate func refresh(_ gauges: ClusterStats.Breaker, in stats: WorkerStats) {
    let connections = self.connections.value
    let pending = self.pending.value
    let requests = self.requests.value
    let retries = self.retries.value
    // As in Envoy, a gauge is set when its resource is first used, and nothing that is not in use
    // is open, whatever its limit.
    func tell(_ gauge: GaugeID, _ shared: SharedGauge, _ used: UInt64, _ limit: UInt64) {
      if shared.wasUsed { stats.gaugeSet(gauge, used > 0 && used >= limit ? 1 : 0) }
    }
    tell(gauges.connectionsOpen, self.connections, connections, limits.connections)
    tell(gauges.pendingOpen, self.pending, pending, limits.pendingRequests)
    tell(gauges.requestsOpen, self.requests, requests, limits.requests)
    tell(gauges.retriesOpen, self.retries, retries, retryLimit)
    if self.connections.wasUsed { stats.gaugeSet(gauges.poolsOpen, 0) }
    guard let remaining = gauges.remaining else { return }
    func left(_ limit: UInt64, _ used: UInt64) -> Int64 { Int64(clamping: max(limit, used) - used) }
    stats.gaugeSet(remaining.connections, left(limits.connections, connections))
    stats.gaugeSet(remaining.pending, left(limits.pendingRequests, pending))
    stats.gaugeSet(remaining.requests, left(limits.requests, requests))
    // A budget has no fixed number left, and Envoy shows none.
    stats.gaugeSet(
      remaining.retries, limits.retryBudget == nil ? left(limits.retries, retries) : 0)
    // Pools are not limited: Envoy's default for their number.
    stats.gaugeSet(remaining.pools, Int64(UInt32.max))
  }
}

/// Both priorities' circuit breakers of a cluster, shared by all workers.
package struct CircuitBreakers {
  package let normal: CircuitBreaker
  package let high: CircuitBreaker

  package init(_ cluster: ClusterConfig) {
    normal = CircuitBreaker(limits: cluster.defaultLimits)
    high = CircuitBreaker(limits: cluster.highLimits)
  }

  /// Gives the counts' memory back. Nobody may use them any more.
  func deallocate() {
    normal.deallocate()
    high.deallocate()
  }

  package subscript(priority: RequestPriority) -> CircuitBreaker {
    @inline(__always) get { priority == .high ? high : normal }
  }

  /// Writes the gauges of both. Main thread, before statistics are read: a gauge that was kept with
  /// every request would cost every request.
  package func refresh(_ stats: ClusterStats, in store: WorkerStats) {
    normal.refresh(stats.normalBreaker, in: store)
    high.refresh(stats.highBreaker, in: store)
  }
}
