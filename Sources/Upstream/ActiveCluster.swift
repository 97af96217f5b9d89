import Engine
import Telemetry

/// A cluster's configuration, compiled, with the memory that it is laid out in.
package struct CompiledCluster {
  package let name: String
  package let config: Ref<ClusterConfig>
  package let memory: ResourceMemory

  package init(name: String, config: Ref<ClusterConfig>, memory: ResourceMemory) {
    self.name = name
    self.config = config
    self.memory = memory
  }
}

/// The endpoints of an EDS cluster as they were sent, with the memory that they are laid out in.
package final class Assignment {
  let endpoints: [Ref<EndpointConfig>]
  private let memory: ResourceMemory

  package init(endpoints: [Ref<EndpointConfig>], memory: ResourceMemory) {
    self.endpoints = endpoints
    self.memory = memory
  }
}

/// One version of a cluster with all that the process keeps for it. Main thread; the views are its
/// workers'.
package final class ActiveCluster {
  package let name: String
  package let config: Ref<ClusterConfig>
  /// By worker.
  package let views: [Ref<ClusterView>]
  let shared: ClusterShared
  let publisher: HostPublisher
  fileprivate(set) var dns: DNSCluster?
  private var destinations: DestinationCluster?
  /// Everything but hosts and their snapshots.
  private let memory: ResourceMemory
  private let counters: WorkerStats
  /// New hosts that are given a transport socket by each of the matches.
  private let matches: [CounterID]
  /// Held by whoever may still look into a view: the manager, as long as the cluster is the one of its
  /// name, and snapshots.
  package internal(set) var inUse: InUse?
  /// Checks its hosts' health, where the configuration asks for it.
  var checker: (any HostChecker)?
  /// Calls back when what it needs besides hosts is there.
  var whenSettled: (@escaping () -> Void) -> Void = { $0() }
  private var isSettling = false
  /// It knows its hosts, or has failed to learn them, has what it needs besides, and has checked its
  /// hosts once.
  package internal(set) var isWarm = false
  var whenWarm: (() -> Void)?
  /// Whoever sends the endpoints of an EDS cluster; let go when the cluster leaves.
  package var follower: AnyObject?
  /// Where it stands among the active clusters, once it does.
  var place: Int?
  var onPublish: () -> Void = {}

  /// Tells when nobody looks into a cluster's views any more.
  package final class InUse {
    private let onEnd: () -> Void

    init(_ onEnd: @escaping () -> Void) { self.onEnd = onEnd }

    deinit { onEnd() }
  }

  /// What a manager lends to all its clusters.
  struct Surroundings {
    let loop: EventLoop
    let workers: [ClusterManager.Worker]
    let stats: StatsStore
    let registrar: Ref<StatRegistrar>
  }

  init(_ compiled: CompiledCluster, _ around: Surroundings) {
    name = compiled.name
    config = compiled.config
    memory = compiled.memory
    counters = around.stats.main
    let config = self.config
    let publisher = HostPublisher(config: config, workerCount: around.workers.count)
    self.publisher = publisher
    if config.value.discovery == .fixed {
      // Before there are views: they begin with these hosts.
      _ = publisher.update(Self.wanted(config.value.endpoints.array))
    }
    let (shared, views) = compiled.memory.whileOpen {
      let breakers = CircuitBreakers(config.value)
      ResourceMemory.atEnd { breakers.deallocate() }
      let shared = ClusterShared(
        config: config, stats: .configured(ClusterStats(config.value, in: around.stats)),
        breakers: .configured(breakers))
      let views = around.workers.enumerated().map { index, worker in
        Ref.configured(
          ClusterView(
            shared, worker: index, counters: worker.counters, hosts: publisher.current,
            version: publisher.version, registrar: around.registrar))
      }
      return (shared, views)
    }
    self.shared = shared
    self.views = views
    let scope = "cluster.\(config.value.statName.string)."
    matches = config.value.socketMatches.array.map {
      around.stats.counter(
        scope + ClusterCompiler.withoutColons($0.value.name.string) + ".total_match_count")
    }
    for (view, worker) in zip(views, around.workers) {
      publisher.attach(view, mailbox: worker.mailbox)
    }
  }

  /// Follows the names of a DNS cluster.
  func resolve(with resolver: DNSResolver, on loop: EventLoop) {
    dns = DNSCluster(
      config: config, resolver: resolver, loop: loop, stats: shared.stats, counters: counters
    ) { [unowned self] hosts in publish(hosts) }
    dns?.whenInitialized = { [unowned self] in warmed() }
  }

  /// Takes over the hosts that workers make for an ORIGINAL_DST cluster: there is nothing to wait for.
  func followDestinations(_ around: Surroundings) {
    let destinations = DestinationCluster(config: config, publisher: publisher, loop: around.loop)
    destinations.onChange = { [unowned self] changes in
      countMembers(changes: changes)
      onPublish()
    }
    around.registrar.value.destinations.value.follow(destinations)
    self.destinations = destinations
    warmed()
  }

  /// A STATIC cluster has the hosts that it names from the beginning.
  func beganWithHosts() {
    if publisher.version > 0 { countMembers() }
    warmed()
  }

  /// Takes over the endpoints that were sent for an EDS cluster. Says whether they had changed.
  package func assign(_ assignment: Assignment) -> Bool {
    let hasChanged = publish(Self.wanted(assignment.endpoints), keeping: assignment)
    if !hasChanged { counters.add(shared.stats.value.updates.noRebuild) }
    warmed()
    return hasChanged
  }

  /// It knows its hosts, or has failed to learn them: there is nothing more to wait for, but for what it
  /// needs besides, and that those are checked which are to be.
  package func warmed() {
    guard !isWarm, !isSettling else { return }
    isSettling = true
    whenSettled { [weak self] in self?.settled() }
  }

  private func settled() {
    guard let checker else { return becomeWarm() }
    checker.onceChecked { [weak self] in self?.becomeWarm() }
  }

  private func becomeWarm() {
    guard !isWarm else { return }
    isWarm = true
    whenWarm?()
    whenWarm = nil
  }

  /// Calls `body` when the cluster is warm: at once, if it is.
  package func onceWarm(_ body: @escaping () -> Void) {
    guard !isWarm else { return body() }
    let before = whenWarm
    whenWarm = {
      before?()
      body()
    }
  }

  func stop() {
    checker?.stop()
    checker = nil
    dns?.stop()
    dns = nil
    follower = nil
  }

  /// Nobody looks into it any more: all hosts leave.
  func retire() {
    destinations?.stop()
    publisher.retire()
  }

  private static func wanted(_ endpoints: [Ref<EndpointConfig>]) -> [HostPublisher.Wanted] {
    var seen: [String: Int] = [:]
    return endpoints.compactMap { endpoint in
      let addresses = endpoint.value.addresses.array
      guard let first = addresses.first else { return nil }
      // Two endpoints with one address are two hosts.
      let identity = "\(first.description) \(endpoint.value.hostname.string)"
      let twin = seen[identity, default: 0]
      seen[identity] = twin + 1
      return .init(
        endpoint: endpoint, key: .init(place: twin, identity: identity), addresses: addresses,
        hostname: endpoint.value.hostname)
    }
  }

  private func publish(_ hosts: [HostPublisher.Wanted], keeping: AnyObject? = nil) -> Bool {
    guard publisher.update(hosts, keeping: keeping) else { return false }
    countMembers()
    onPublish()
    return true
  }

  private func countMembers(changes: Int = 1) {
    let membership = shared.stats.value.membership
    counters.add(membership.change, UInt64(changes))
    for endpoint in publisher.added {
      let match = config.value.match(of: endpoint)
      counters.add(match.map { matches[$0] } ?? membership.transportMatches)
    }
    tellMembership()
    checker?.follow(publisher.current)
  }

  /// Publishes what health checks have found of a host.
  package func setFlags(_ flags: HostFlags, of host: Ref<Host>) {
    switch publisher.setFlags(flags, of: host) {
    case .unchanged: return
    case .changed: tellMembership()
    case .left: countMembers()
    }
    onPublish()
  }

  private func tellMembership() {
    let set = publisher.current
    let membership = shared.stats.value.membership
    counters.gaugeSet(membership.total, Int64(set.value.hosts.count))
    counters.gaugeSet(membership.healthy, Int64(set.value.healthyCount))
    counters.gaugeSet(membership.degraded, Int64(set.value.degradedCount))
    counters.gaugeSet(membership.excluded, Int64(set.value.excludedCount))
    counters.gaugeSet(membership.largestWeight, Int64(set.value.largestWeight))
  }

  // MARK: Reading

  /// The hosts that were published last; for the main thread, until it returns to its loop.
  package var hosts: Ref<HostSet> { publisher.current }

  package var stats: Ref<ClusterStats> { shared.stats }

  package var breakers: Ref<CircuitBreakers> { shared.breakers }

  /// Brings the circuit breakers' gauges up to date.
  func refreshGauges() {
    shared.breakers.value.refresh(shared.stats.value, in: counters)
  }
}
