import Engine
import Telemetry
import Testing

@testable import Upstream

/// A manager with workers that the test's own thread plays.
final class ClusterBench {
  let main = EventLoop()
  let workers: [EventLoop]
  let store = StatsStore()
  let server: FakeNameServer
  private(set) var manager: ClusterManager

  init(_ cluster: String, workers count: Int = 2) {
    let loop = main
    let server = FakeNameServer(on: loop)
    self.server = server
    workers = (0..<count).map { _ in EventLoop() }
    let yaml = cluster.replacing("NAMESERVER", with: "\(server.address.port)")
    let store = self.store
    manager = ClusterManager(
      CompiledClusters(yaml).all, on: main,
      workers: workers.map { .init(mailbox: $0.mailbox, counters: store.makeWorker()) },
      stats: store)
  }

  func view(_ worker: Int) -> Ref<ClusterView> {
    guard let view = manager.view(cluster: 0, worker: worker) else {
      preconditionFailure("the cluster is active")
    }
    return view
  }

  /// The addresses a worker sees.
  func addresses(_ worker: Int) -> [String] {
    view(worker).value.hosts.value.hosts.array.map { $0.addresses[0].description }
  }

  func deliver() { for worker in workers { worker.turn(waitAtMost: 0) } }

  func counter(_ name: String) -> UInt64 { store.value(store.counter("cluster.c.\(name)")) }
  func gauge(_ name: String) -> Int64 { store.value(store.gauge("cluster.c.\(name)")) }

  /// Turns the main loop and the workers until something holds.
  func turn(until condition: () -> Bool) -> Bool {
    main.turn {
      deliver()
      return condition()
    }
  }
}

@Suite("Clusters at run time")
struct ClusterManagerTests {
  private static let fixed = """
    - name: c
      load_assignment: { cluster_name: c, endpoints: [ { lb_endpoints: [
        { endpoint: { hostname: one, address: { socket_address: { address: 10.0.0.1, port_value: 80 } } } },
        { health_status: DRAINING, endpoint: { address: { socket_address: { address: 10.0.0.2, port_value: 80 } } } },
        { health_status: DEGRADED, load_balancing_weight: 4, endpoint: { address: { socket_address: { address: 10.0.0.1, port_value: 80 } } } } ] } ] }
    """

  private static func named(_ type: String, extra: String = "", names: [String] = ["a.example"])
    -> String
  {
    let endpoints = names.map {
      "{ endpoint: { address: { socket_address: { address: \($0), port_value: 80 } } } }"
    }
    return """
      - name: c
        type: \(type)
        dns_refresh_rate: 0.01s
        \(extra)
        typed_dns_resolver_config:
          name: envoy.network.dns_resolver.cares
          typed_config:
            "@type": type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig
            resolvers: [ { socket_address: { address: 127.0.0.1, port_value: NAMESERVER } } ]
        load_assignment: { cluster_name: c, endpoints: [ { lb_endpoints: [ \(endpoints.joined(separator: ", ")) ] } ] }
      """
  }

  @Test("a STATIC cluster's hosts are there before the loop runs")
  func fixedHosts() {
    let bench = ClusterBench(Self.fixed)
    for worker in 0..<2 {
      #expect(bench.addresses(worker) == ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.1:80"])
    }
    #expect(bench.view(0).value.hosts.value.hosts[0].host.value.hostname.string == "one")
    #expect(bench.counter("membership_change") == 1)
    #expect(bench.gauge("membership_total") == 3)
    #expect(bench.gauge("membership_healthy") == 1)
    #expect(bench.gauge("membership_degraded") == 1)
    #expect(bench.gauge("max_host_weight") == 4)
    var ready = false
    bench.manager.start { ready = true }
    #expect(!ready)
    #expect(bench.turn { ready })
  }

  @Test("an empty cluster has nobody to pick, and counts that")
  func nobody() {
    let bench = ClusterBench("- name: c")
    var random = Random(seed: 1)
    #expect(bench.view(0).value.pick(random: &random) == nil)
    #expect(bench.counter("upstream_cx_none_healthy") == 1)
  }

  @Test("picks in panic are counted")
  func panics() {
    let bench = ClusterBench(Self.fixed.replacing("DEGRADED", with: "UNHEALTHY"))
    var random = Random(seed: 1)
    for _ in 0..<3 { _ = bench.view(1).value.pick(random: &random) }
    #expect(bench.counter("lb_healthy_panic") == 3)
  }

  @Test("every address of a STRICT_DNS name becomes a host, and ready waits for the first answer")
  func strict() {
    let bench = ClusterBench(Self.named("STRICT_DNS", extra: "dns_lookup_family: ALL"))
    bench.server.zone["a.example"] = .init(v4: ["10.0.0.1", "10.0.0.2"], v6: ["fd00::1"])
    var ready = false
    bench.manager.start { ready = true }
    #expect(bench.turn { ready })
    #expect(bench.turn { bench.addresses(1).count == 3 })
    #expect(bench.addresses(1) == ["[fd00::1]:80", "10.0.0.1:80", "10.0.0.2:80"])
    #expect(bench.view(0).value.hosts.value.hosts[0].host.value.hostname.string == "a.example")
    #expect(bench.turn { bench.counter("update_success") >= 3 })
    #expect(bench.counter("update_no_rebuild") >= 2)
    #expect(bench.counter("membership_change") == 1)
  }

  @Test("hosts that stay keep their identity, new ones join, old ones leave")
  func identity() {
    let bench = ClusterBench(Self.named("STRICT_DNS"))
    bench.server.zone["a.example"] = .init(v4: ["10.0.0.1", "10.0.0.2"])
    bench.manager.start {}
    #expect(bench.turn { bench.addresses(0).count == 2 })
    let before = bench.view(0).value.hosts.value.hosts.array
    #expect(before[1].host.value.position(worker: 0) == 1)
    var removed: [String] = []
    bench.view(0).value.hostsChanged = { view in
      removed = view.value.hosts.value.removed.array.map { "\($0.value.id)" }
    }
    before[0].host.value.pin(worker: 0)
    bench.server.zone["a.example"] = .init(v4: ["10.0.0.3", "10.0.0.2"])
    #expect(bench.turn { bench.addresses(0) == ["10.0.0.2:80", "10.0.0.3:80"] })
    let after = bench.view(0).value.hosts.value.hosts.array
    #expect(after[0].host == before[1].host)
    #expect(after[0].host.value.position(worker: 0) == 0)
    #expect(removed == ["\(before[0].host.value.id)"])
    #expect(before[0].host.value.position(worker: 0) == nil)
    #expect(bench.view(0).value.entry(of: before[0].host) == nil)
    #expect(bench.view(0).value.entry(of: after[1].host)?.addresses[0].ip == "10.0.0.3")
    before[0].host.value.unpin(worker: 0)
  }

  @Test("a server's failure leaves the last hosts, an unknown name takes them away")
  func strictFailure() {
    let bench = ClusterBench(Self.named("STRICT_DNS", extra: "dns_lookup_family: V4_ONLY"))
    bench.server.zone["a.example"] = .init(v4: ["10.0.0.1"])
    bench.manager.start {}
    #expect(bench.turn { bench.addresses(0).count == 1 })
    bench.server.behaviour = .refuse(code: 2)
    #expect(bench.turn { bench.counter("update_failure") >= 2 })
    #expect(bench.addresses(0).count == 1)
    bench.server.behaviour = .refuse(code: 3)
    #expect(bench.turn { bench.addresses(0).isEmpty })
    bench.server.behaviour = .answer
    #expect(bench.turn { bench.addresses(0).count == 1 })
  }

  @Test("a LOGICAL_DNS host is another one with other addresses, and outlives empty answers")
  func logical() {
    let bench = ClusterBench(Self.named("LOGICAL_DNS", extra: "dns_lookup_family: ALL"))
    bench.server.zone["a.example"] = .init(v4: ["10.0.0.1", "10.0.0.2"], v6: ["fd00::1"])
    bench.manager.start {}
    #expect(bench.turn { bench.addresses(0).count == 1 })
    let host = bench.view(0).value.hosts.value.hosts[0]
    #expect(
      host.addresses.array.map(\.description) == ["[fd00::1]:80", "10.0.0.1:80", "10.0.0.2:80"])
    let identity = host.host
    bench.server.zone["a.example"] = .init(v4: ["10.0.0.9"])
    #expect(bench.turn { bench.addresses(0) == ["10.0.0.9:80"] })
    #expect(bench.view(0).value.hosts.value.hosts[0].host != identity)
    bench.server.zone["a.example"] = .init()
    #expect(bench.turn { bench.counter("update_failure") >= 1 })
    #expect(bench.addresses(0) == ["10.0.0.9:80"])
  }

  @Test("the refresh follows the TTL where that is asked for")
  func respectsTTL() {
    let bench = ClusterBench(Self.named("STRICT_DNS", extra: "respect_dns_ttl: true"))
    bench.server.zone["a.example"] = .init(v4: ["10.0.0.1"], ttl: 600)
    bench.manager.start {}
    #expect(bench.turn { bench.addresses(0).count == 1 })
    for _ in 0..<10 { bench.main.turn(waitAtMost: 10) }
    #expect(bench.counter("update_attempt") == 1)
  }

  @Test("an unreachable name does not keep the proxy from getting ready")
  func readyAfterFailure() {
    let bench = ClusterBench(
      Self.named("STRICT_DNS", extra: "dns_failure_refresh_rate: { base_interval: 10s }"))
    bench.server.behaviour = .refuse(code: 2)
    var ready = false
    bench.manager.start { ready = true }
    #expect(bench.turn { ready })
    #expect(bench.counter("update_failure") == 1)
  }

  @Test("two names with one address are two hosts")
  func sharedAddress() {
    let bench = ClusterBench(Self.named("STRICT_DNS", names: ["a.example", "b.example"]))
    bench.server.zone["a.example"] = .init(v4: ["10.0.0.1", "10.0.0.1"])
    bench.server.zone["b.example"] = .init(v4: ["10.0.0.1"])
    bench.manager.start {}
    #expect(bench.turn { bench.addresses(0) == ["10.0.0.1:80", "10.0.0.1:80"] })
  }

  @Test("responses are counted by code, class and origin, from the first one on")
  func responses() {
    let bench = ClusterBench("- name: c")
    for worker in 0..<2 {
      for (code, origin) in [(200, RequestOrigin.external), (200, .internal), (503, .external)] {
        bench.view(worker).countResponse(code: code, origin: origin, milliseconds: 5)
        bench.main.turn(waitAtMost: 0)
        bench.deliver()
        bench.view(worker).countResponse(code: code, origin: origin, milliseconds: nil)
      }
      bench.view(worker).countResponse(code: 999, origin: .external, milliseconds: nil)
    }
    #expect(bench.turn { bench.counter("upstream_rq_completed") == 14 })
    #expect(bench.counter("upstream_rq_200") == 8)
    #expect(bench.counter("upstream_rq_2xx") == 8)
    #expect(bench.counter("internal.upstream_rq_200") == 4)
    #expect(bench.counter("external.upstream_rq_503") == 4)
    #expect(bench.counter("external.upstream_rq_completed") == 10)
    let times = bench.store.snapshot(bench.store.histogram("cluster.c.upstream_rq_time"))
    #expect(times.count == 6)
  }

  @Test("names that requests bring are counted, on every worker and from the first time on")
  func namedStatistics() {
    let bench = ClusterBench("- name: c")
    for _ in 0..<3 {
      for worker in 0..<2 {
        bench.view(worker).count(2, named: Bytes("grpc.s.M.total"))
        bench.view(worker).record(7, named: Bytes("grpc.s.M.upstream_rq_time"))
      }
      bench.main.turn(waitAtMost: 0)
      bench.deliver()
    }
    #expect(bench.turn { bench.counter("grpc.s.M.total") == 12 })
    let times = bench.store.histogram("cluster.c.grpc.s.M.upstream_rq_time")
    #expect(bench.store.snapshot(times).count == 6)
  }

  @Test("a cluster takes so many names and no more, and longer ones not at all")
  func namedStatisticsEnd() {
    let bench = ClusterBench("- name: c", workers: 1)
    let view = bench.view(0)
    let longest = String(repeating: "n", count: ConfigBounds.namedStatisticBytes)
    view.count(1, named: .immortal(longest))
    view.count(1, named: .immortal(longest + "n"))
    for number in 0...ConfigBounds.namedStatistics {
      view.count(1, named: .immortal("name.\(number)"))
    }
    #expect(bench.turn { bench.counter(longest) == 1 })
    #expect(bench.counter(longest + "n") == 0)
    let last = ConfigBounds.namedStatistics
    #expect(bench.turn { bench.counter("name.\(last - 2)") == 1 })
    // The longest name is one of them.
    #expect(bench.counter("name.\(last - 1)") == 0)
    bench.deliver()
    view.count(1, named: Bytes("name.0"))
    view.count(1, named: Bytes("late"))
    bench.main.turn(waitAtMost: 0)
    #expect(bench.counter("name.0") == 2)
    #expect(bench.counter("late") == 0)
  }

  @Test("a statistic that is not kept is asked for once")
  func discarded() throws {
    let main = EventLoop()
    let worker = EventLoop()
    var options = StatsOptions()
    options.keeps = { _ in false }
    let store = StatsStore(options: options)
    let manager = ClusterManager(
      CompiledClusters("- name: c").all, on: main,
      workers: [.init(mailbox: worker.mailbox, counters: store.makeWorker())], stats: store)
    let view = try #require(manager.view(cluster: 0, worker: 0))
    for _ in 0..<3 {
      view.countResponse(code: 200, origin: .external, milliseconds: 1)
      main.turn(waitAtMost: 0)
      worker.turn(waitAtMost: 0)
    }
    // Six statistics, each counted by the main thread the one time that it was asked.
    #expect(store.value(CounterID.discarded) == 6)
  }
}
