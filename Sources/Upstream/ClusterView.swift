import CLinux
import Engine
import Telemetry

/// Where a request comes from, as its statistics tell them apart.
package enum RequestOrigin: UInt8, BitwiseCopyable {
  case `internal`
  case external
}

/// One cluster as one worker sees it: what never changes, the hosts it has now, and its own turn in
/// the round.
package struct ClusterView: ~Copyable {
  package let config: Ref<ClusterConfig>
  package let stats: Ref<ClusterStats>
  /// Shared with the other workers.
  package let breakers: Ref<CircuitBreakers>
  package let worker: Int
  /// Where this worker counts.
  package let counters: WorkerStats
  /// The latest snapshot; valid until the callback at hand returns.
  package private(set) var hosts: Ref<HostSet>
  /// Called after the hosts have changed: the moment to drop pools of `hosts.value.removed`.
  package var hostsChanged: ((Ref<ClusterView>) -> Void)?

  private var balancer: LoadBalancer
  private var destinations = DestinationTable()
  private var responses = ResponseCounters()
  private var named = NamedStatistics()
  private let registrar: Ref<StatRegistrar>
  /// Number of the snapshot in use, for the publisher to see that older ones are free.
  private let version: Ref<fl_cell>

  init(
    _ shared: ClusterShared, worker: Int, counters: WorkerStats, hosts: Ref<HostSet>,
    version: UInt64, registrar: Ref<StatRegistrar>
  ) {
    config = shared.config
    stats = shared.stats
    breakers = shared.breakers
    self.worker = worker
    self.counters = counters
    self.hosts = hosts
    self.registrar = registrar
    self.version = .configured(fl_cell())
    balancer = LoadBalancer(policy: shared.config.value.balancing)
    var random = Random()
    install(hosts, random: &random)
    announce(version)
  }

  /// A host for one request; nil when the cluster has none.
  package mutating func pick(
    random: inout Random, avoiding attempted: borrowing AttemptedHosts = .none
  ) -> HostPick? {
    guard let pick = balancer.pick(hosts, random: &random, avoiding: attempted) else {
      counters.add(stats.value.connections.noneHealthy)
      return nil
    }
    if pick.isPanic { counters.add(stats.value.balancerPanics) }
    return pick
  }

  /// What the present snapshot says about a host; nil once the host has left.
  package func entry(of host: Ref<Host>) -> HostEntry? {
    host.value.position(worker: worker).map { hosts.value.hosts[$0] }
  }

  /// The host at the address that a request was on its way to (ORIGINAL_DST): made, if there is none
  /// yet. Nil when the address is not known, or there are too many hosts already.
  package mutating func entry(
    at destination: SocketAddress?, random: inout Random
  ) -> HostEntry? {
    guard let options = config.value.destination, var address = destination, address.isKnown,
      !address.isUnix
    else { return noHost() }
    if let port = options.value.port { address.port = port }
    guard let host = destinations.find(address) ?? makeHost(at: address, random: &random) else {
      return noHost()
    }
    host.value.countPick(worker: worker)
    return HostEntry(
      host: host, endpoint: options.value.endpoint, addresses: host.value.destination.table,
      weight: options.value.endpoint.value.weight, priority: 0, health: .healthy, flags: [])
  }

  private func noHost() -> HostEntry? {
    counters.add(stats.value.connections.noneHealthy)
    return nil
  }

  /// Out of line, so that what it retains is not retained by requests to hosts that are known.
  @inline(never)
  private mutating func makeHost(at address: SocketAddress, random: inout Random) -> Ref<Host>? {
    guard destinations.count < ConfigBounds.destinationsPerCluster else { return nil }
    // The name that Envoy gives it.
    let name = "\(config.value.name.string)\(address.description)"
    let host = Bytes.with(name) {
      Ref<Host>.make(hostname: $0, destination: address, workerCount: registrar.value.workers.count)
    }
    destinations.insert(host, random: &random)
    registrar.tell(of: host, in: config)
    return host
  }

  private mutating func install(_ newer: Ref<HostSet>, random: inout Random) {
    for index in 0..<newer.value.removed.count {
      newer.value.removed[index].value.setPosition(nil, worker: worker)
    }
    for index in 0..<newer.value.hosts.count {
      newer.value.hosts[index].host.value.setPosition(index, worker: worker)
    }
    if config.value.destination == nil {
      balancer.adopt(newer, random: &random)
    } else {
      destinations.adopt(newer, random: &random)
    }
    hosts = newer
  }
}

extension Ref where Value == ClusterView {
  /// Takes over a newer snapshot. The worker's thread.
  func adopt(_ newer: Ref<HostSet>, version: UInt64, random: inout Random) {
    value.replaceHosts(newer, random: &random)
    value.hostsChanged?(self)
    value.announce(version)
  }

  /// Counts one response of this cluster.
  /// - Parameter milliseconds: from the end of the request to the end of the response.
  package func countResponse(code: Int, origin: RequestOrigin, milliseconds: UInt64?) {
    value.count(code, .all, milliseconds, self)
    value.count(code, origin == .internal ? .internal : .external, milliseconds, self)
  }

  /// Counts a response of an upstream that says `x-envoy-upstream-canary: true`, beside the others.
  package func countCanary(code: Int, milliseconds: UInt64?) {
    value.count(code, .canary, milliseconds, self)
  }

  /// Counts an interim response: by its status and class, not among those that are complete.
  package func countInterim(code: Int, origin: RequestOrigin) {
    countResponse(code: code, origin: origin, milliseconds: nil)
  }

  /// Counts a response in whose place another attempt is made.
  package func countRetried(code: Int) { value.count(code, .retry, nil, self) }

  /// Adds to `cluster.<name>.<statistic>`, a counter that may not have been there before.
  package func count(_ amount: UInt64, named name: Bytes) {
    value.count(amount, .counter, name, self)
  }

  /// The same for a histogram.
  package func record(_ number: UInt64, named name: Bytes) {
    value.count(number, .histogram, name, self)
  }
}

extension ClusterView {
  fileprivate mutating func replaceHosts(_ newer: Ref<HostSet>, random: inout Random) {
    install(newer, random: &random)
  }

  fileprivate func announce(_ version: UInt64) {
    // Released: everything this worker did with older snapshots comes before.
    unsafe fl_flag_set_release(self.version.pointer, version)
  }

  /// The number of the latest snapshot that the worker has taken over. Main thread.
  var adoptedVersion: UInt64 { unsafe fl_flag_get_acquire(version.pointer) }

  fileprivate mutating func count(
    _ code: Int, _ family: ResponseCounters.Family, _ milliseconds: UInt64?,
    _ view: Ref<ClusterView>
  ) {
    let registrar = self.registrar
    responses.count(code: code, family: family, milliseconds: milliseconds, stats: counters) {
      registrar.register($0, for: view)
    }
  }

  fileprivate mutating func count(
    _ number: UInt64, _ kind: NamedStatistics.Kind, _ name: Bytes, _ view: Ref<ClusterView>
  ) {
    let registrar = self.registrar
    named.count(number, kind, name, stats: counters) { registrar.register($0, for: view) }
  }

  mutating func learn(_ registration: ResponseCounters.Registration, id: UInt32) {
    responses.learn(registration, id: id)
  }

  mutating func learn(_ registration: NamedStatistics.Registration, id: UInt32?) {
    named.learn(registration, id: id)
  }
}

/// What all workers' views of a cluster have in common.
struct ClusterShared: BitwiseCopyable {
  let config: Ref<ClusterConfig>
  let stats: Ref<ClusterStats>
  let breakers: Ref<CircuitBreakers>
}

/// Gets statistics and hosts registered on the main thread by workers that need one for the first
/// time.
struct StatRegistrar {
  let store: MainThreadOnly<StatsStore>
  let ledger = MainThreadOnly(value: NamedStatisticsLedger())
  let destinations = MainThreadOnly(value: DestinationLedger())
  let main: Mailbox
  let workers: [Mailbox]
}

extension Ref where Value == StatRegistrar {
  /// Out of line, so that what it retains is not retained by every request that needs none of it.
  @inline(never)
  func register(_ registration: ResponseCounters.Registration, for view: Ref<ClusterView>) {
    let view = Handover(view)
    let prefix = "cluster.\(view.ref.value.config.value.statName.string)."
    let store = value.store
    let worker = value.workers[view.ref.value.worker]
    value.main.post { _ in
      let id = registration.perform(prefix: prefix, in: store.value)
      worker.post { _ in view.ref.value.learn(registration, id: id) }
    }
  }

  @inline(never)
  func register(_ registration: NamedStatistics.Registration, for view: Ref<ClusterView>) {
    let view = Handover(view)
    let prefix = "cluster.\(view.ref.value.config.value.statName.string)."
    let store = value.store
    let ledger = value.ledger
    let worker = value.workers[view.ref.value.worker]
    value.main.post { _ in
      let id =
        ledger.value.admits(registration.name, of: prefix)
        ? registration.perform(prefix: prefix, in: store.value) : nil
      worker.post { _ in view.ref.value.learn(registration, id: id) }
    }
  }
}

extension Ref where Value == StatRegistrar {
  /// A worker has made a host of this cluster. The main thread hears it before it hears that the
  /// worker has let go of the cluster, so that it knows all hosts that it has to free.
  func tell(of host: Ref<Host>, in cluster: Ref<ClusterConfig>) {
    let host = Handover(host)
    let cluster = Handover(cluster)
    let destinations = value.destinations
    value.main.post { _ in destinations.value.arrived(host.ref, in: cluster.ref) }
  }
}

/// A handle on its way to another thread.
///
/// `@unchecked`: the sender stops using what only the receiver may use; `HostPublisherTests` runs
/// publisher and workers under the thread sanitizer.
struct Handover<Value: ~Copyable>: @unchecked Sendable {
  let ref: Ref<Value>

  init(_ ref: Ref<Value>) { self.ref = ref }
}

/// An object of the main thread that others only carry along in messages to it.
///
/// `@unchecked`: opened by nobody but the main loop's own callbacks; `HostPublisherTests` runs
/// publisher and workers under the thread sanitizer.
struct MainThreadOnly<Value: AnyObject>: @unchecked Sendable {
  let value: Value
}
