import Engine
import Telemetry

/// All clusters of the process, as the main thread runs them: makes what workers share, gives each
/// worker its views, keeps DNS clusters' hosts up to date, and frees what was replaced.
package final class ClusterManager {
  /// What the manager needs of a worker. The loops exist before their threads run.
  package struct Worker {
    package let mailbox: Mailbox
    package let counters: WorkerStats

    package init(mailbox: Mailbox, counters: WorkerStats) {
      self.mailbox = mailbox
      self.counters = counters
    }
  }

  /// One cluster's main-thread state.
  private struct Entry {
    let shared: ClusterShared
    let publisher: HostPublisher
    let dns: DNSCluster?
    let views: [Ref<ClusterView>]
  }

  package let clusters: ClusterDirectory
  private let loop: EventLoop
  private let counters: WorkerStats
  private var entries: [Entry] = []
  private var sweepTimer = TimerID.none
  private var uninitializedCount = 0
  private var whenReady: (() -> Void)?

  /// How long replaced memory waits for workers before it is looked at again, in milliseconds.
  private static let sweepInterval: UInt64 = 1000

  package init(
    _ clusters: ClusterDirectory, on loop: EventLoop, workers: [Worker], stats: StatsStore
  ) {
    self.clusters = clusters
    self.loop = loop
    counters = stats.main
    let registrar = Ref.immortal(
      StatRegistrar(
        store: MainThreadOnly(value: stats), main: loop.mailbox, workers: workers.map(\.mailbox)))
    var resolvers = ResolverPool(loop: loop)
    var lastID: UInt32 = 0
    for index in 0..<clusters.count {
      entries.append(
        makeEntry(clusters[index], workers, stats, registrar, &resolvers) {
          lastID &+= 1
          return lastID
        })
    }
  }

  deinit {
    loop.cancel(sweepTimer)
    for entry in entries { entry.dns?.stop() }
  }

  private func makeEntry(
    _ config: Ref<ClusterConfig>, _ workers: [Worker], _ stats: StatsStore,
    _ registrar: Ref<StatRegistrar>, _ resolvers: inout ResolverPool,
    nextID: @escaping () -> UInt32
  ) -> Entry {
    let shared = ClusterShared(
      config: config, stats: .immortal(ClusterStats(config.value, in: stats)),
      breakers: .immortal(CircuitBreakers(config.value)))
    let publisher = HostPublisher(config: config, workerCount: workers.count, nextID: nextID)
    if config.value.discovery == .fixed { _ = publish(Self.fixedHosts(config), publisher, shared) }
    let views = workers.enumerated().map { index, worker in
      let view = Ref.immortal(
        ClusterView(
          shared, worker: index, counters: worker.counters, hosts: publisher.current,
          version: publisher.version, registrar: registrar))
      publisher.attach(view, mailbox: worker.mailbox)
      return view
    }
    guard config.value.discovery != .fixed else {
      return Entry(shared: shared, publisher: publisher, dns: nil, views: views)
    }
    let dns = DNSCluster(
      config: config, resolver: resolvers.resolver(for: config.value.dns.resolver), loop: loop,
      stats: shared.stats, counters: counters
    ) { [weak self] hosts in self?.publish(hosts, publisher, shared) ?? false }
    return Entry(shared: shared, publisher: publisher, dns: dns, views: views)
  }

  private static func fixedHosts(_ config: Ref<ClusterConfig>) -> [HostPublisher.Wanted] {
    config.value.endpoints.array.compactMap { endpoint in
      let addresses = endpoint.value.addresses.array
      guard let first = addresses.first else { return nil }
      return .init(
        endpoint: endpoint, identity: first, addresses: addresses,
        hostname: endpoint.value.hostname)
    }
  }

  private func publish(
    _ hosts: [HostPublisher.Wanted], _ publisher: HostPublisher, _ shared: ClusterShared
  ) -> Bool {
    guard publisher.update(hosts) else { return false }
    let set = publisher.current
    let membership = shared.stats.value.membership
    counters.add(membership.change)
    counters.add(membership.transportMatches, UInt64(publisher.addedCount))
    counters.gaugeSet(membership.total, Int64(set.value.hosts.count))
    counters.gaugeSet(membership.healthy, Int64(set.value.healthyCount))
    counters.gaugeSet(membership.degraded, Int64(set.value.degradedCount))
    counters.gaugeSet(membership.largestWeight, Int64(set.value.largestWeight))
    scheduleSweep()
    return true
  }

  // MARK: Running

  /// Begins to resolve names.
  /// - Parameter whenReady: called once every cluster knows its hosts or has failed to learn them;
  ///   listeners open then. Never called from within this call.
  package func start(whenReady: @escaping () -> Void) {
    self.whenReady = whenReady
    uninitializedCount = 1
    for entry in entries {
      guard let dns = entry.dns else { continue }
      uninitializedCount += 1
      dns.whenInitialized = { [weak self] in self?.initialized() }
      dns.start()
    }
    DeferredAnswer.deliver(on: loop) { [weak self] in self?.initialized() }
  }

  private func initialized() {
    uninitializedCount -= 1
    guard uninitializedCount == 0 else { return }
    whenReady?()
    whenReady = nil
  }

  /// Looks once in a while for memory that every worker has let go of, while there is some.
  private func scheduleSweep() {
    guard sweepTimer == .none, entries.contains(where: \.publisher.hasRetired) else { return }
    // SAFETY: `deinit` cancels the timer.
    unsafe sweepTimer = loop.after(
      milliseconds: Self.sweepInterval, context: Unmanaged.passUnretained(self).toOpaque()
    ) { context, _ in
      let manager = unsafe Unmanaged<ClusterManager>.fromOpaque(context).takeUnretainedValue()
      manager.sweepTimer = .none
      for entry in manager.entries { entry.publisher.sweep() }
      manager.scheduleSweep()
    }
  }

  // MARK: Reading

  /// A worker's view of a cluster. It lasts as long as the process.
  package func view(cluster: Int, worker: Int) -> Ref<ClusterView> {
    entries[cluster].views[worker]
  }

  /// A worker's views of all clusters, by their places.
  package func views(worker: Int) -> Table<Ref<ClusterView>> {
    .immortal(entries.map { $0.views[worker] })
  }

  /// The hosts that were published last; for the main thread, until it returns to its loop.
  package func hosts(cluster: Int) -> Ref<HostSet> { entries[cluster].publisher.current }

  package func stats(cluster: Int) -> Ref<ClusterStats> { entries[cluster].shared.stats }

  package func breakers(cluster: Int) -> Ref<CircuitBreakers> { entries[cluster].shared.breakers }

  /// Brings the circuit breakers' gauges up to date; before statistics are read.
  package func refreshGauges() {
    for entry in entries {
      entry.shared.breakers.value.refresh(entry.shared.stats.value, in: counters)
    }
  }
}

/// One resolver for all clusters with the same options.
private struct ResolverPool {
  let loop: EventLoop
  private var known: [(options: ResolverOptions, resolver: DNSResolver)] = []

  init(loop: EventLoop) { self.loop = loop }

  mutating func resolver(for options: ResolverOptions) -> DNSResolver {
    if let match = known.first(where: { $0.options == options }) { return match.resolver }
    let resolver = DNSResolver(loop: loop, options: options)
    known.append((options, resolver))
    return resolver
  }
}
