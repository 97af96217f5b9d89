import Engine
import Testing

@testable import Upstream

@Suite("Hosts by their address")
struct DestinationTableTests {
  private func address(_ number: Int) -> SocketAddress {
    SocketAddress(ip: "10.0.\(number / 250).\(number % 250)", port: 80) ?? SocketAddress()
  }

  private func makeHost(_ number: Int) -> Ref<Host> {
    .make(hostname: .empty, destination: address(number), workerCount: 1)
  }

  /// A snapshot that lets go of hosts.
  private func snapshot(without removed: [Ref<Host>]) -> Ref<HostSet> {
    .make(HostSet(cluster: CompiledClusters(original).all[0].config, members: [], removed: removed))
  }

  @Test("whatever joins and leaves, each host is found at its own address, and no other")
  func likeADictionary() {
    var random = Random(seed: 7)
    var table = DestinationTable()
    var model: [Int: Ref<Host>] = [:]
    for _ in 0..<3000 {
      let number = Int(random.next(below: 200))
      if let host = model[number] {
        let left = snapshot(without: [host])
        table.adopt(left, random: &random)
        left.free()
        host.free()
        model[number] = nil
      } else {
        let host = makeHost(number)
        table.insert(host, random: &random)
        model[number] = host
      }
      let probe = Int(random.next(below: 200))
      let found = table.find(address(probe))
      #expect(found == model[probe])
    }
    let count = table.count
    #expect(count == model.count)
    for (number, host) in model {
      let found = table.find(address(number))
      #expect(found == host)
      host.free()
    }
  }

  @Test("a host that leaves does not take another one at its address with it")
  func twins() {
    var random = Random(seed: 1)
    var table = DestinationTable()
    let (mine, other) = (makeHost(1), makeHost(1))
    table.insert(mine, random: &random)
    let left = snapshot(without: [other])
    table.adopt(left, random: &random)
    let found = table.find(address(1))
    #expect(found == mine)
    for host in [mine, other] { host.free() }
    left.free()
  }

  @Test("addresses with another port or zone are other places")
  func places() {
    var random = Random(seed: 1)
    var table = DestinationTable()
    let host = makeHost(1)
    table.insert(host, random: &random)
    var elsewhere = address(1)
    elsewhere.port = 81
    let found = table.find(elsewhere)
    #expect(found == nil)
    host.free()
  }
}

private let original = "- { name: c, type: ORIGINAL_DST, lb_policy: CLUSTER_PROVIDED }"

@Suite("ORIGINAL_DST clusters")
struct DestinationClusterTests {
  private static let quick = """
    - name: c
      type: ORIGINAL_DST
      lb_policy: CLUSTER_PROVIDED
      cleanup_interval: 0.03s
      original_dst_lb_config: { upstream_port_override: 99 }
    """

  private func entry(_ bench: ClusterBench, _ worker: Int, _ ip: String) -> HostEntry? {
    var random = Random(seed: UInt64(worker))
    return bench.view(worker).value.entry(at: SocketAddress(ip: ip, port: 80), random: &random)
  }

  @Test("a worker's host is there at once, and for the other workers soon")
  func shared() throws {
    let bench = ClusterBench(original)
    let mine = try #require(entry(bench, 0, "10.0.0.1"))
    #expect(mine.addresses[0].description == "10.0.0.1:80")
    #expect(mine.host.value.hostname.string == "c10.0.0.1:80")
    #expect(bench.turn { bench.addresses(1) == ["10.0.0.1:80"] })
    let theirs = try #require(entry(bench, 1, "10.0.0.1"))
    #expect(theirs.host == mine.host)
    #expect(bench.gauge("membership_total") == 1)
    #expect(bench.counter("membership_change") == 1)
    // Hosts that come close together are published together, and count one by one.
    let version = bench.manager.cluster(named: "c")?.publisher.version ?? 0
    _ = entry(bench, 0, "10.0.0.2")
    _ = entry(bench, 1, "10.0.0.3")
    _ = entry(bench, 1, "10.0.0.4")
    #expect(bench.turn { bench.gauge("membership_total") == 4 })
    #expect(bench.counter("membership_change") == 4)
    #expect((bench.manager.cluster(named: "c")?.publisher.version ?? 0) <= version + 2)
  }

  @Test("a request without a destination, or to a Unix socket, has no host, and that is counted")
  func nowhere() {
    let bench = ClusterBench(original)
    var random = Random(seed: 1)
    let unknown = bench.view(0).value.entry(at: nil, random: &random)
    #expect(unknown == nil)
    let local = bench.view(0).value.entry(at: SocketAddress(unixPath: "@x"), random: &random)
    #expect(local == nil)
    #expect(bench.counter("upstream_cx_none_healthy") == 2)
  }

  @Test("a host that nobody chooses leaves, one with connections stays")
  func cleanup() throws {
    let bench = ClusterBench(Self.quick)
    let busy = try #require(entry(bench, 0, "10.0.0.1"))
    #expect(busy.addresses[0].port == 99)
    busy.host.value.add(.connectionsActive, worker: 0)
    _ = entry(bench, 1, "10.0.0.2")
    #expect(bench.turn { bench.gauge("membership_total") == 2 })
    #expect(bench.turn { bench.addresses(0) == ["10.0.0.1:99"] })
    let again = try #require(entry(bench, 0, "10.0.0.1"))
    #expect(again.host == busy.host)
    busy.host.value.add(.connectionsActive, -1, worker: 0)
    #expect(bench.turn { bench.gauge("membership_total") == 0 && bench.addresses(0).isEmpty })
    // Whoever goes there now finds a new host.
    #expect(entry(bench, 0, "10.0.0.1") != nil)
    #expect(bench.turn { bench.gauge("membership_total") == 1 })
  }

  @Test("a worker keeps at most so many hosts")
  func bounded() {
    let bench = ClusterBench(original, workers: 1)
    for number in 0..<ConfigBounds.destinationsPerCluster {
      #expect(entry(bench, 0, "10.1.\(number / 250).\(number % 250)") != nil)
    }
    #expect(entry(bench, 0, "10.2.0.1") == nil)
    #expect(entry(bench, 0, "10.1.0.1") != nil)
    #expect(
      bench.turn { bench.gauge("membership_total") == ConfigBounds.destinationsPerCluster })
  }

  @Test("a cluster that is removed frees the hosts that were still on their way")
  func removed() throws {
    let bench = ClusterBench(original)
    bench.manager.start {}
    _ = entry(bench, 0, "10.0.0.1")
    let late = try #require(entry(bench, 0, "10.0.0.2"))
    late.host.value.pin(worker: 0)
    bench.main.turn(waitAtMost: 0)
    bench.manager.remove("c")
    late.host.value.add(.requestsTotal, worker: 0)
    #expect(late.host.value.total(.requestsTotal) == 1)
    late.host.value.unpin(worker: 0)
  }
}
