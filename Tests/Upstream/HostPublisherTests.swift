import Engine
import Glibc
import Telemetry
import Testing

@testable import Upstream

@Suite("Publishing hosts")
struct HostPublisherTests {
  /// Workers on their own threads pick and pin while the main thread keeps replacing hosts. The
  /// address and thread sanitizers' runs of this test are what the handover's safety stands on.
  @Test("workers never see a host or a snapshot that was freed")
  func replacedUnderLoad() {
    let yaml = """
      - name: c
        type: STRICT_DNS
        load_assignment: { cluster_name: c, endpoints: [ { lb_endpoints: [ { endpoint: { address: { socket_address: { address: a.example, port_value: 80 } } } } ] } ] }
      """
    let config = CompiledClusters(yaml).all[0].config
    let store = StatsStore()
    let loops = (0..<2).map { _ in EventLoop() }
    let main = EventLoop()
    let publisher = HostPublisher(config: config, workerCount: loops.count)
    let registrar = Ref.immortal(
      StatRegistrar(
        store: MainThreadOnly(value: store), main: main.mailbox, workers: loops.map(\.mailbox)))
    let shared = ClusterShared(
      config: config, stats: .immortal(ClusterStats(config.value, in: store)),
      breakers: .immortal(CircuitBreakers(config.value)))
    let players = loops.enumerated().map { index, loop in
      let view = Ref.immortal(
        ClusterView(
          shared, worker: index, counters: store.makeWorker(), hosts: publisher.current,
          version: publisher.version, registrar: registrar))
      publisher.attach(view, mailbox: loop.mailbox)
      return Player(view: view, loop: loop, worker: index)
    }
    for player in players { player.start() }
    let endpoint = config.value.endpoints[0]
    for round in 0..<2000 {
      let addresses = (0..<4).compactMap {
        SocketAddress(ip: "10.0.\(round % 7).\($0)", port: UInt16(round % 3 + 1))
      }
      _ = publisher.update(
        addresses.map { .init(endpoint: endpoint, identity: $0, addresses: [$0], hostname: .empty) }
      )
      // The workers' queues stay short, and so does what waits to be freed.
      while players.contains(where: { $0.view.value.adoptedVersion + 8 < publisher.version }) {
        sched_yield()
      }
    }
    for player in players { player.stop() }
    publisher.sweep()
    #expect(!publisher.hasRetired)
    for player in players { #expect(player.picks > 0) }
  }

  @Test("the same hosts again are no change, another order neither")
  func unchanged() {
    let (publisher, endpoint) = makePublisher()
    #expect(publisher.update(wanted(["10.0.0.1", "10.0.0.2"], endpoint)))
    #expect(!publisher.update(wanted(["10.0.0.1", "10.0.0.2"], endpoint)))
    #expect(!publisher.update(wanted(["10.0.0.2", "10.0.0.1"], endpoint)))
    #expect(publisher.update(wanted(["10.0.0.2"], endpoint)))
    #expect(publisher.update([]))
    #expect(!publisher.update([]))
    #expect(publisher.version == 3)
  }

  @Test("a pinned host stays in memory until it is let go")
  func pinned() {
    let (publisher, endpoint) = makePublisher()
    _ = publisher.update(wanted(["10.0.0.1"], endpoint))
    let host = publisher.current.value.hosts[0].host
    host.value.pin(worker: 0)
    _ = publisher.update([])
    publisher.sweep()
    #expect(publisher.hasRetired)
    host.value.add(.requestsTotal, worker: 0)
    #expect(host.value.total(.requestsTotal) == 1)
    host.value.unpin(worker: 0)
    publisher.sweep()
    #expect(!publisher.hasRetired)
  }

  private static let checks = """
    health_checks: [ { timeout: 1s, interval: 1s, unhealthy_threshold: 1, healthy_threshold: 1, tcp_health_check: {} } ]
    """

  @Test("a host whose checks succeed stays when it is dropped, and leaves when they fail")
  func keptByHealth() {
    let (publisher, endpoint) = makePublisher(Self.checks)
    _ = publisher.update(wanted(["10.0.0.1", "10.0.0.2"], endpoint))
    let (first, second) = (publisher.current.value.hosts[0], publisher.current.value.hosts[1])
    #expect(first.flags == .failedActive)
    #expect(publisher.setFlags([], of: first.host) == .changed)
    #expect(publisher.setFlags([], of: first.host) == .unchanged)
    // The second was never found to be healthy.
    #expect(publisher.update([]))
    #expect(publisher.current.value.hosts.count == 1)
    #expect(publisher.current.value.hosts[0].flags == .pendingRemoval)
    #expect(publisher.setFlags(.failedActive, of: second.host) == .unchanged)
    #expect(!publisher.update([]))
    #expect(publisher.update(wanted(["10.0.0.1"], endpoint)))
    #expect(publisher.current.value.hosts[0].host == first.host)
    #expect(publisher.current.value.hosts[0].flags == [])
    #expect(publisher.update([]))
    #expect(publisher.setFlags(.degradedActive, of: first.host) == .changed)
    #expect(publisher.current.value.hosts[0].flags == [.degradedActive, .pendingRemoval])
    #expect(publisher.setFlags(.failedActive, of: first.host) == .left)
    #expect(publisher.current.value.hosts.count == 0)
  }

  @Test("where the cluster says so, a host that is dropped leaves at once")
  func notKept() {
    let (publisher, endpoint) = makePublisher(
      Self.checks + "\nignore_health_on_host_removal: true")
    _ = publisher.update(wanted(["10.0.0.1"], endpoint))
    #expect(publisher.setFlags([], of: publisher.current.value.hosts[0].host) == .changed)
    #expect(publisher.update([]))
    #expect(publisher.current.value.hosts.count == 0)
  }

  @Test("what keeps a host's endpoint is kept as long as the host")
  func keptMemory() {
    final class Owner {}
    let (publisher, endpoint) = makePublisher(Self.checks)
    var owner: Owner? = Owner()
    weak let kept = owner
    _ = publisher.update(wanted(["10.0.0.1"], endpoint), keeping: owner)
    owner = nil
    let host = publisher.current.value.hosts[0].host
    _ = publisher.setFlags([], of: host)
    _ = publisher.update([], keeping: Owner())
    publisher.sweep()
    #expect(kept != nil)
    _ = publisher.setFlags(.failedActive, of: host)
    publisher.sweep()
    #expect(kept == nil)
  }

  private func makePublisher(_ more: String = "") -> (HostPublisher, Ref<EndpointConfig>) {
    let more = more.split(separator: "\n").map { "  " + $0 }.joined(separator: "\n")
    let config = CompiledClusters(
      """
      - name: c
        type: STRICT_DNS
        load_assignment: { cluster_name: c, endpoints: [ { lb_endpoints: [ { endpoint: { address: { socket_address: { address: a.example, port_value: 80 } } } } ] } ] }
      \(more)
      """
    ).all[0].config
    let publisher = HostPublisher(config: config, workerCount: 1)
    return (publisher, config.value.endpoints[0])
  }

  private func wanted(
    _ addresses: [String], _ endpoint: Ref<EndpointConfig>
  ) -> [HostPublisher.Wanted] {
    addresses.compactMap { SocketAddress(ip: $0, port: 80) }.map {
      .init(endpoint: endpoint, identity: $0, addresses: [$0], hostname: .empty)
    }
  }
}

/// A worker's thread that picks hosts, keeps the last one pinned, and counts at it.
private final class Player: @unchecked Sendable {
  // `@unchecked`: after `start`, everything belongs to the thread until `stop` has joined it.
  let view: Ref<ClusterView>
  private let loop: EventLoop
  private let worker: Int
  private(set) var picks = 0
  private var random = Random(seed: 9)
  private var thread = pthread_t()
  private var pinned: Ref<Host>?

  init(view: Ref<ClusterView>, loop: EventLoop, worker: Int) {
    self.view = view
    self.loop = loop
    self.worker = worker
  }

  func start() {
    loop.atBatchEnd(context: Unmanaged.passUnretained(self).toOpaque()) { context, _ in
      Unmanaged<Player>.fromOpaque(context).takeUnretainedValue().play()
    }
    pthread_create(
      &thread, nil,
      { context in
        guard let context else { return nil }
        Unmanaged<Player>.fromOpaque(context).takeUnretainedValue().loop.run()
        return nil
      }, Unmanaged.passUnretained(self).toOpaque())
  }

  private func play() {
    for _ in 0..<10 {
      pinned?.value.add(.requestsActive, -1, worker: worker)
      pinned?.value.unpin(worker: worker)
      pinned = nil
      guard let pick = view.value.pick(random: &random) else { return }
      let host = view.value.hosts.value.hosts[pick.index].host
      host.value.pin(worker: worker)
      host.value.add(.requestsActive, worker: worker)
      pinned = host
      picks += 1
    }
  }

  func stop() {
    loop.mailbox.post { $0.stop() }
    pthread_join(thread, nil)
    pinned?.value.unpin(worker: worker)
  }
}
