import Glibc
import Testing

@testable import Telemetry

@Suite("Statistics store")
struct StatsStoreTests {
  @Test("what workers count is added up under one name")
  func countersAddUp() {
    let store = StatsStore()
    let first = store.makeWorker()
    let id = store.counter("cluster.c.upstream_rq_total")
    let second = store.makeWorker()
    first.add(id)
    second.add(id, 41)
    #expect(store.value(id) == 42)
    #expect(store.counter("cluster.c.upstream_rq_total") == id)
  }

  @Test("a gauge is the sum of its parts, and used once it was set, even to zero")
  func gauges() {
    let store = StatsStore()
    let worker = store.makeWorker()
    let id = store.gauge("cluster.c.upstream_cx_active")
    let untouched = store.gauge("cluster.c.upstream_rq_active")
    worker.gaugeAdd(id, 3)
    store.main.gaugeAdd(id, -5)
    #expect(store.value(id) == -2)
    store.main.gaugeSet(id, 0)
    worker.gaugeSet(id, 0)
    #expect(store.value(id) == 0)
    #expect(store.isUsed(.gauge, id.index))
    #expect(!store.isUsed(.gauge, untouched.index))
  }

  @Test("ids registered after the workers started have memory in every worker")
  func lateRegistration() {
    let store = StatsStore()
    let worker = store.makeWorker()
    var last = CounterID.discarded
    for index in 0..<(StatLayout.pageCells + 10) {
      last = store.counter("c.\(index)")
      worker.add(last, UInt64(index))
    }
    #expect(store.value(last) == UInt64(StatLayout.pageCells + 9))
    #expect(store.value(store.counter("c.\(StatLayout.pageCells - 1)")) == 4095)
    #expect(store.value(store.counter("c.\(StatLayout.pageCells)")) == 4096)
  }

  @Test("an id beyond all memory counts nothing and touches nothing")
  func strangeID() {
    let store = StatsStore()
    store.main.add(CounterID(index: .max))
    store.main.record(HistogramID(index: 1 << 20), 5)
    #expect(store.value(CounterID(index: .max)) == 0)
  }

  @Test("names that the matcher excludes share the discarding place")
  func matcher() {
    var options = StatsOptions()
    options.keeps = { !$0.hasPrefix("cluster.") }
    let store = StatsStore(options: options)
    #expect(store.counter("cluster.c.x") == .discarded)
    #expect(store.counter("http.p.x") != .discarded)
  }

  @Test(
    "colons and outer dots leave names as in Envoy",
    arguments: [
      ("listener.127.0.0.1:80.x", "listener.127.0.0.1_80.x"), ("a::b", "a_b"), ("a://b", "a_b"),
      (".a.", "a"), ("plain.name", "plain.name"), ("a:::b", "a__b"),
    ])
  func sanitizing(name: String, expected: String) {
    #expect(StatNames.sanitized(name) == expected)
  }

  @Test("removed names free their places, and a new name starts at zero")
  func removal() {
    let store = StatsStore()
    let worker = store.makeWorker()
    let counter = store.counter("cluster.a.x")
    let histogram = store.histogram("cluster.a.ms")
    let kept = store.counter("cluster.ab.x")
    worker.add(counter, 7)
    worker.record(histogram, 7)
    worker.add(kept, 1)
    store.remove(prefix: "cluster.a.")
    let next = store.counter("cluster.z.x")
    let nextHistogram = store.histogram("cluster.z.ms")
    #expect(next == counter)
    #expect(nextHistogram == histogram)
    #expect(store.value(next) == 0)
    #expect(store.snapshot(nextHistogram).count == 0)
    #expect(store.value(kept) == 1)
  }

  @Test("a reset counter counts from zero without its worker knowing")
  func reset() {
    let store = StatsStore()
    let worker = store.makeWorker()
    let id = store.counter("a")
    worker.add(id, 5)
    store.resetCounters()
    #expect(store.value(id) == 0)
    worker.add(id, 2)
    #expect(store.value(id) == 2)
  }

  @Test("workers write while the main thread reads and registers, and nothing is lost")
  func concurrentWriters() {
    let store = StatsStore()
    let counter = store.counter("a")
    let gauge = store.gauge("g")
    let histogram = store.histogram("h")
    let shared = SharedGauge.allocate()
    defer { shared.deallocate() }
    let rounds: UInt64 = 20_000
    let threads = (0..<3).map { _ in
      let stats = store.makeWorker()
      return TestThread {
        for round in 0..<rounds {
          stats.add(counter)
          stats.gaugeAdd(gauge, 1)
          stats.record(histogram, round)
          stats.gaugeAdd(gauge, -1)
          if shared.tryAcquire(limit: 2) { shared.release() }
        }
      }
    }
    for round in 0..<200 {
      _ = store.value(counter)
      _ = store.snapshot(histogram).count
      _ = store.counter("late.\(round)")
      store.latchIntervals()
    }
    for thread in threads { thread.join() }
    #expect(store.value(counter) == 3 * rounds)
    #expect(store.value(gauge) == 0)
    #expect(store.snapshot(histogram).count == 3 * rounds)
    #expect(store.snapshot(histogram).sum == 3 * (rounds * (rounds - 1) / 2))
    #expect(shared.value == 0)
  }
}

@Suite("Shared gauge")
struct SharedGaugeTests {
  @Test("a limit admits as many as it says, and one more after a release")
  func limit() {
    let gauge = SharedGauge.allocate()
    defer { gauge.deallocate() }
    #expect(gauge.tryAcquire(limit: 2))
    #expect(gauge.tryAcquire(limit: 2))
    #expect(!gauge.tryAcquire(limit: 2))
    gauge.release()
    #expect(gauge.tryAcquire(limit: 2))
    #expect(gauge.value == 2)
    #expect(!gauge.tryAcquire(limit: 0))
  }

  @Test("many threads never exceed the limit together")
  func contended() {
    let held = SharedGauge.allocate()
    let admitted = SharedGauge.allocate()
    defer {
      held.deallocate()
      admitted.deallocate()
    }
    let threads = (0..<4).map { _ in
      TestThread {
        for _ in 0..<10_000 where held.tryAcquire(limit: 1000) { admitted.add(1) }
      }
    }
    for thread in threads { thread.join() }
    #expect(held.value == 1000)
    #expect(admitted.value == 1000)
  }
}
