import Telemetry
import Testing

@testable import Upstream

@Suite("Circuit breakers")
struct CircuitBreakersTests {
  typealias Operation = (CircuitBreaker) -> Bool

  @Test("each limit admits its number and not one more", arguments: [0, 1, 5])
  func limits(limit: UInt64) {
    var limits = BreakerLimits()
    limits.connections = limit
    limits.pendingRequests = limit
    limits.requests = limit
    limits.retries = limit
    let breaker = CircuitBreaker(limits: limits)
    let kinds: [(Operation, (CircuitBreaker) -> Void)] = [
      ({ $0.admitConnection() }, { $0.releaseConnection() }),
      ({ $0.admitPending() }, { $0.releasePending() }),
      ({ $0.admitRequest() }, { $0.releaseRequest() }),
      ({ $0.admitRetry() }, { $0.releaseRetry() }),
    ]
    for (admit, release) in kinds {
      for _ in 0..<limit { #expect(admit(breaker)) }
      #expect(!admit(breaker))
      guard limit > 0 else { continue }
      release(breaker)
      #expect(admit(breaker))
      #expect(!admit(breaker))
    }
  }

  @Test("a host's first connection is admitted beyond the limit, and counted")
  func firstConnection() {
    var limits = BreakerLimits()
    limits.connections = 1
    let breaker = CircuitBreaker(limits: limits)
    #expect(breaker.admitConnection())
    breaker.admitFirstConnection()
    #expect(breaker.activeConnections == 2)
    breaker.releaseConnection()
    #expect(!breaker.admitConnection())
  }

  @Test(
    "a retry budget follows what runs and waits, but not below its minimum",
    arguments: [(0, 0, 3), (10, 5, 3), (16, 4, 4), (50, 50, 20), (99, 0, 19)])
  func budget(running: Int, waiting: Int, expected: UInt64) {
    var limits = BreakerLimits()
    limits.retries = 0
    limits.retryBudget = RetryBudget()
    let breaker = CircuitBreaker(limits: limits)
    for _ in 0..<running { _ = breaker.admitRequest() }
    for _ in 0..<waiting { _ = breaker.admitPending() }
    #expect(breaker.retryLimit == expected)
    for _ in 0..<expected { #expect(breaker.admitRetry()) }
    #expect(!breaker.admitRetry())
  }

  @Test("gauges tell what is open and, where asked for, what remains")
  func gauges() {
    let cluster = CompiledClusters(
      """
      - name: c
        circuit_breakers: { thresholds: [ { max_connections: 2, max_requests: 1, track_remaining: true } ] }
      """
    ).first
    let store = StatsStore()
    let stats = ClusterStats(cluster, in: store)
    let breakers = CircuitBreakers(cluster)
    let prefix = "cluster.c.circuit_breakers."
    func gauge(_ name: String) -> Int64 { store.value(store.gauge(prefix + name)) }
    breakers.refresh(stats, in: store.main)
    #expect(gauge("default.cx_open") == 0)
    #expect(gauge("default.remaining_cx") == 2)
    #expect(gauge("default.remaining_retries") == 3)
    #expect(breakers[.normal].admitConnection())
    #expect(breakers[.normal].admitRequest())
    breakers.refresh(stats, in: store.main)
    #expect(gauge("default.cx_open") == 0)
    #expect(gauge("default.remaining_cx") == 1)
    #expect(gauge("default.rq_open") == 1)
    #expect(gauge("high.rq_open") == 0)
    #expect(breakers[.normal].admitConnection())
    breakers[.normal].admitFirstConnection()
    breakers.refresh(stats, in: store.main)
    #expect(gauge("default.cx_open") == 1)
    #expect(gauge("default.remaining_cx") == 0)
  }
}
