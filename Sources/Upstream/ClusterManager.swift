import Engine
import Telemetry

/// All clusters of the process, as the main thread runs them: makes what workers share, gives each
/// worker its views, warms clusters before they take the place of others, and frees what was replaced
/// when no worker can see it any more.
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

  package let places: ClusterPlaces
  /// By place.
  package private(set) var active: [ActiveCluster?] = []
  /// Those that do not know their hosts yet, by name; each takes the place of the active one of its
  /// name when it does.
  package private(set) var warming: [String: ActiveCluster] = [:]
  /// Those that were replaced or removed, and may still be in use.
  private var leaving: [ActiveCluster] = []
  /// Called when the active clusters have changed, with those that are no longer among them.
  package var onChange: ([ActiveCluster]) -> Void = { _ in }
  /// Called with every view that is made, before its worker sees it.
  package var onView: (Ref<ClusterView>, Int) -> Void = { _, _ in }
  private let makeChecker: (ActiveCluster) -> (any HostChecker)?
  private let whenSettled: (Ref<ClusterConfig>, @escaping () -> Void) -> Void
  private let around: ActiveCluster.Surroundings
  private var resolvers: ResolverPool
  private var sweepTimer = TimerID.none
  private var whenReady: (() -> Void)?
  private let counters: Counters

  /// `cluster_manager.…`
  private struct Counters {
    let added: CounterID
    let modified: CounterID
    let removed: CounterID
    let updated: CounterID
    let active: GaugeID
    let warming: GaugeID

    init(in store: StatsStore) {
      added = store.counter("cluster_manager.cluster_added")
      modified = store.counter("cluster_manager.cluster_modified")
      removed = store.counter("cluster_manager.cluster_removed")
      updated = store.counter("cluster_manager.cluster_updated")
      active = store.gauge("cluster_manager.active_clusters")
      warming = store.gauge("cluster_manager.warming_clusters")
    }
  }

  /// How long replaced memory waits for workers before it is looked at again, in milliseconds.
  private static let sweepInterval: UInt64 = 1000

  /// - Parameters:
  ///   - clusters: those of the static configuration.
  ///   - checker: makes what checks the hosts of a cluster, where they are to be checked.
  ///   - whenSettled: calls back when what a cluster needs besides its hosts is there, or was given up
  ///     for now: the secrets of its TLS.
  package init(
    _ clusters: [CompiledCluster], places: ClusterPlaces = ClusterPlaces(), on loop: EventLoop,
    workers: [Worker], stats: StatsStore,
    checker: @escaping (ActiveCluster) -> (any HostChecker)? = { _ in nil },
    whenSettled: @escaping (Ref<ClusterConfig>, @escaping () -> Void) -> Void = { $1() }
  ) {
    makeChecker = checker
    self.whenSettled = whenSettled
    self.places = places
    counters = Counters(in: stats)
    around = .init(
      loop: loop, workers: workers, stats: stats,
      registrar: .immortal(
        StatRegistrar(
          store: MainThreadOnly(value: stats), main: loop.mailbox,
          workers: workers.map(\.mailbox))))
    resolvers = ResolverPool(loop: loop)
    for cluster in clusters { install(make(cluster)) }
    tell()
  }

  deinit {
    around.loop.cancel(sweepTimer)
    for cluster in active { cluster?.stop() }
    for cluster in warming.values { cluster.stop() }
  }

  private func make(_ compiled: CompiledCluster) -> ActiveCluster {
    let cluster = ActiveCluster(compiled, around)
    cluster.onPublish = { [weak self] in self?.scheduleSweep() }
    cluster.checker = makeChecker(cluster)
    cluster.whenSettled = { [whenSettled, config = compiled.config] in whenSettled(config, $0) }
    for (worker, view) in cluster.views.enumerated() { onView(view, worker) }
    switch compiled.config.value.discovery {
    case .fixed: cluster.beganWithHosts()
    case .strictDNS, .logicalDNS:
      cluster.resolve(
        with: resolvers.resolver(for: compiled.config.value.dns.resolver), on: around.loop)
    case .assigned: break
    case .originalDestination: cluster.followDestinations(around)
    }
    return cluster
  }

  // MARK: Running

  /// Begins to resolve names.
  /// - Parameter whenReady: called once every cluster but those of EDS knows its hosts or has failed to
  ///   learn them. Never called from within this call.
  package func start(whenReady: @escaping () -> Void) {
    var left = 1
    let one = {
      left -= 1
      if left == 0 { whenReady() }
    }
    for cluster in active.compactMap(\.self) {
      guard cluster.dns != nil || cluster.checker != nil || !cluster.isWarm,
        cluster.config.value.discovery != .assigned
      else { continue }
      left += 1
      cluster.onceWarm(one)
      cluster.dns?.start()
    }
    DeferredAnswer.deliver(on: around.loop) { one() }
  }

  /// Takes over a cluster that is new, or another version of one that there is; the old version serves
  /// until the new one knows its hosts.
  package func put(_ compiled: CompiledCluster) -> ActiveCluster {
    let store = around.stats.main
    let isKnown = cluster(named: compiled.name) != nil || warming[compiled.name] != nil
    store.add(isKnown ? counters.modified : counters.added)
    if let older = warming.removeValue(forKey: compiled.name) { drop(older) }
    let cluster = make(compiled)
    if cluster.isWarm {
      replace(with: cluster)
    } else {
      warming[cluster.name] = cluster
      cluster.whenWarm = { [weak self, unowned cluster] in
        guard let self, warming[cluster.name] === cluster else { return }
        warming[cluster.name] = nil
        replace(with: cluster)
        tellIfWarm()
      }
      cluster.dns?.start()
    }
    tell()
    return cluster
  }

  /// The cluster of this name is no more. Its connections are closed as they fall idle.
  package func remove(_ name: String) {
    if let older = warming.removeValue(forKey: name) { drop(older) }
    if let place = places.place(of: name), active.indices.contains(place),
      let older = active[place]
    {
      active[place] = nil
      leave(older)
      onChange([older])
    }
    around.stats.main.add(counters.removed)
    tell()
    tellIfWarm()
  }

  /// Calls `body` once no cluster is warming.
  package func whenWarm(_ body: @escaping () -> Void) {
    whenReady = body
    tellIfWarm()
  }

  private func tellIfWarm() {
    guard warming.isEmpty, let body = whenReady else { return }
    whenReady = nil
    body()
  }

  private func replace(with cluster: ActiveCluster) {
    let older = install(cluster)
    if let older { leave(older) }
    around.stats.main.add(counters.updated)
    onChange(older.map { [$0] } ?? [])
    tell()
  }

  /// Puts a cluster into its name's place; what was there.
  @discardableResult
  private func install(_ cluster: ActiveCluster) -> ActiveCluster? {
    let place = places.hold(cluster.name)
    while active.count <= place { active.append(nil) }
    let older = active[place]
    cluster.place = place
    cluster.inUse = .init { [weak self, unowned cluster] in self?.retire(cluster) }
    active[place] = cluster
    return older
  }

  private func leave(_ cluster: ActiveCluster) {
    cluster.stop()
    leaving.append(cluster)
    // Snapshots hold it on, as long as a stream may look into it.
    cluster.inUse = nil
  }

  /// It never came into use.
  private func drop(_ cluster: ActiveCluster) {
    cluster.stop()
    cluster.whenWarm = nil
    leaving.append(cluster)
    retire(cluster)
  }

  /// Nobody looks into the cluster any more: its hosts leave, and then it is freed.
  private func retire(_ cluster: ActiveCluster) {
    cluster.retire()
    scheduleSweep()
  }

  private func tell() {
    let store = around.stats.main
    store.gaugeSet(counters.active, Int64(active.count { $0 != nil }))
    store.gaugeSet(counters.warming, Int64(warming.count))
  }

  // MARK: Memory

  /// Something waits to be freed.
  private var hasRetired: Bool {
    active.contains { $0?.publisher.hasRetired ?? false } || !leaving.isEmpty
  }

  /// Looks once in a while for memory that every worker has let go of, while there is some.
  private func scheduleSweep() {
    guard sweepTimer == .none, hasRetired else { return }
    // SAFETY: `deinit` cancels the timer.
    unsafe sweepTimer = around.loop.after(
      milliseconds: Self.sweepInterval, context: Unmanaged.passUnretained(self).toOpaque()
    ) { context, _ in
      let manager = unsafe Unmanaged<ClusterManager>.fromOpaque(context).takeUnretainedValue()
      manager.sweepTimer = .none
      manager.sweep()
      manager.scheduleSweep()
    }
  }

  private func sweep() {
    for cluster in active { cluster?.publisher.sweep() }
    var gone: [ActiveCluster] = []
    leaving.removeAll { cluster in
      guard cluster.publisher.isRetired else { return false }
      cluster.publisher.sweep()
      guard !cluster.publisher.hasRetired else { return false }
      gone.append(cluster)
      return true
    }
    if !gone.isEmpty { forget(gone) }
  }

  /// The last that is done for clusters: their statistics go when no other version counts at them.
  private func forget(_ gone: [ActiveCluster]) {
    let others = active.compactMap(\.self) + Array(warming.values) + leaving
    let counted = Set(others.map { $0.config.value.statName.string })
    let names = Set(gone.map { $0.config.value.statName.string }).subtracting(counted)
    around.stats.remove(scopes: Set(names.map { "cluster.\($0)." }))
    for place in gone.compactMap(\.place) { places.release(place) }
  }

  // MARK: Reading

  /// The active cluster of this name.
  package func cluster(named name: String) -> ActiveCluster? {
    guard let place = places.place(of: name), active.indices.contains(place) else { return nil }
    return active[place]
  }

  /// The names of all active clusters.
  package var names: Set<String> { Set(active.compactMap { $0?.name }) }

  /// A worker's view of a cluster.
  package func view(cluster: Int, worker: Int) -> Ref<ClusterView>? {
    active.indices.contains(cluster) ? active[cluster]?.views[worker] : nil
  }

  /// Brings the circuit breakers' gauges up to date; before statistics are read.
  package func refreshGauges() {
    for cluster in active { cluster?.refreshGauges() }
  }
}

/// One resolver for all clusters with the same options.
private struct ResolverPool {
  let loop: EventLoop
  private var known: [(options: ResolverOptions, resolver: DNSResolver)] = []

  init(loop: EventLoop) { self.loop = loop }

  mutating func resolver(for options: ResolverOptions) -> DNSResolver {
    if let match = known.first(where: { $0.options == options }) { return match.resolver }
    var options = options
    // The resolver outlives the cluster whose options these are.
    options.servers = .immortal(options.servers.array)
    let resolver = DNSResolver(loop: loop, options: options)
    known.append((options, resolver))
    return resolver
  }
}
