import Testing

@testable import Upstream

@Suite("What health checks come to")
struct HealthCheckStateTests {
  private typealias Change = HealthCheckState.Change

  private func state(unhealthy: UInt32 = 2, healthy: UInt32 = 3) -> HealthCheckState {
    HealthCheckState(.init(unhealthy: unhealthy, healthy: healthy))
  }

  private func wellState() -> HealthCheckState {
    var state = state()
    _ = state.succeeded()
    return state
  }

  @Test("the first success of all makes a host healthy at once")
  func first() {
    var state = state()
    #expect(!state.isHealthy)
    let change = state.succeeded()
    #expect(change == .changed)
    #expect(state.isHealthy)
  }

  @Test("after a failure it takes as many successes in a row as the threshold says")
  func recovery() {
    var state = state()
    var changes = [state.failed(.network)]
    for _ in 0..<2 { changes.append(state.succeeded()) }
    changes.append(state.failed(.network))
    for _ in 0..<3 { changes.append(state.succeeded()) }
    #expect(
      changes == [Change.none, .pending, .pending, .none, .pending, .pending, .changed])
  }

  @Test(
    "failures that may pass take as many in a row as the threshold says",
    arguments: [
      HealthCheckState.Failure.network, .timeout, .answer(isRetriable: true),
    ])
  func passing(failure: HealthCheckState.Failure) {
    var state = wellState()
    let once = state.failed(failure)
    let between = state.succeeded()
    let again = state.failed(failure)
    let last = state.failed(failure)
    #expect([once, between, again, last] == [Change.pending, .none, .pending, .changed])
    #expect(!state.isHealthy)
  }

  @Test(
    "an answer that says no is enough by itself",
    arguments: [HealthCheckState.Failure.answer(isRetriable: false), .passive])
  func certain(failure: HealthCheckState.Failure) {
    var state = wellState()
    let change = state.failed(failure)
    #expect(change == .changed)
  }

  @Test("the next check comes sooner or later by what the last ones said")
  func intervals() {
    let intervals = HealthCheckConfig.Intervals(
      ordinary: 1, unhealthy: 2, healthyEdge: 3, unhealthyEdge: 4, noTraffic: 5,
      noTrafficHealthy: 6, initialJitter: 0, jitter: 0, jitterPercent: 0)
    func next(_ hasTraffic: Bool, _ succeeded: Bool, _ change: Change) -> UInt64 {
      intervals.next(hasTraffic: hasTraffic, succeeded: succeeded, change: change)
    }
    #expect(next(true, true, .none) == 1)
    #expect(next(true, true, .changed) == 1)
    #expect(next(true, false, .none) == 2)
    #expect(next(true, true, .pending) == 3)
    #expect(next(true, false, .pending) == 4)
    #expect(next(false, false, .none) == 5)
    #expect(next(false, true, .pending) == 5)
    #expect(next(false, true, .none) == 6)
  }

  @Test("chance adds less than the jitter and its percentage")
  func jitter() {
    let intervals = HealthCheckConfig.Intervals(
      ordinary: 1, unhealthy: 1, healthyEdge: 1, unhealthyEdge: 1, noTraffic: 1,
      noTrafficHealthy: 1, initialJitter: 0, jitter: 100, jitterPercent: 10)
    for random: UInt64 in [0, 1, 99, 1 << 20, UInt64.max, 0x1234_5678_9ABC] {
      let result = intervals.jittered(1000, random: random)
      #expect(result >= 1000 && result < 1200)
    }
    #expect(intervals.jittered(0, random: 0) == 1)
    #expect(intervals.jittered(UInt64(1) << 40, random: .max) >= UInt64(1) << 40)
  }

  @Test("flags are told in Envoy's words and order")
  func flags() {
    #expect(HostFlags([]).text == "healthy")
    #expect(
      HostFlags([.timedOut, .failedActive, .degradedEDS]).text
        == "/failed_active_hc/degraded_eds_health/active_hc_timeout")
    #expect(HostFlags([.degradedActive, .failedEDS]).health == .unhealthy)
    #expect(HostFlags.degradedActive.health == .degraded)
    #expect(HostFlags.pendingActive.health == .healthy)
  }
}
