import CLinux
import Engine
import Resources
import Telemetry

/// The listeners of the process: opens those that come, lets a new version take over the sockets of the
/// one before, and frees what was replaced when its last connection has gone. Main thread.
///
/// A listener waits, *warming*, until the routes that its connection managers take by name are there,
/// the configurations of their filters that come by themselves, and the secrets of its TLS; until then the version before it serves. A listener that was replaced or
/// removed accepts nothing more; its clients are told to go by every answer, and closed when the drain
/// time is over. A version that differs from the one before in its filter chains alone takes over the
/// connections of those that are the same.
final class ListenerDirectory {
  /// A version that waits for its routes and secrets.
  private final class Warming {
    let listener: OpenListener
    let replacing: OpenListener?

    init(_ listener: OpenListener, replacing: OpenListener?) {
      self.listener = listener
      self.replacing = replacing
    }
  }

  private unowned let server: Server
  /// Those that accept, static ones first.
  private(set) var active: [OpenListener] = []
  private var warming: [String: Warming] = [:]
  private var draining: [OpenListener] = []
  /// Clients are served.
  private var isLive = false
  private var whenWarm: (() -> Void)?
  private let stats: Stats

  /// `listener_manager.…`
  private struct Stats {
    let added: CounterID
    let modified: CounterID
    let removed: CounterID
    let stopped: CounterID
    let created: CounterID
    let failed: CounterID
    let updatedInPlace: CounterID
    let active: GaugeID
    let warming: GaugeID
    let draining: GaugeID
    let chainsDraining: GaugeID

    init(in store: StatsStore) {
      func counter(_ name: String) -> CounterID {
        store.counter("listener_manager.listener_" + name)
      }
      added = counter("added")
      modified = counter("modified")
      removed = counter("removed")
      stopped = counter("stopped")
      created = counter("create_success")
      failed = counter("create_failure")
      updatedInPlace = counter("in_place_updated")
      active = store.gauge("listener_manager.total_listeners_active")
      warming = store.gauge("listener_manager.total_listeners_warming")
      draining = store.gauge("listener_manager.total_listeners_draining")
      chainsDraining = store.gauge("listener_manager.total_filter_chains_draining")
    }
  }

  init(_ server: Server) {
    self.server = server
    stats = Stats(in: server.config.store)
  }

  private var counters: WorkerStats { server.config.store.main }

  /// The names of those that wait.
  var warmingNames: Set<String> { Set(warming.keys) }

  /// Those that clients do not reach yet, in the order of their names.
  var unready: [OpenListener] {
    (warming.values.map(\.listener) + (isLive ? [] : active)).sorted { $0.name < $1.name }
  }

  func listener(named name: String) -> OpenListener? { active.first { $0.name == name } }

  /// A listener of the bootstrap, before any worker runs.
  func addStatic(_ listener: OpenListener) {
    active.append(listener)
    counters.add(stats.added)
    for (index, worker) in server.workers.enumerated() {
      worker.value.listeners.append(listener.active[index])
      if listener.active[index].value.fd >= 0 { worker.value.countListening(1) }
      counters.add(stats.created)
    }
    tell()
  }

  /// All that the start waits for is there: listeners begin to accept.
  func beginServing() {
    isLive = true
    server.onEveryWorker { worker in
      for listener in worker.value.listeners { listener.start() }
    }
  }

  // MARK: Changes

  /// The version that serves, if one that says this can take over its connections.
  func replaceable(by message: ListenerCompiler.Listener) -> OpenListener? {
    guard isLive, let older = listener(named: message.name),
      older.differsInChainsAlone(from: message)
    else { return nil }
    return older
  }

  /// Takes over a listener that is new, or another version of one that there is. The reason when that
  /// is not possible.
  /// - Parameter inPlace: it has what is unchanged from the version that serves.
  func put(_ compiled: CompiledListener, inPlace: Bool) -> String? {
    let name = compiled.config.value.name.string
    let older = listener(named: name)
    let address = compiled.config.value.address
    let isTaken = (active + warming.values.map(\.listener)).contains {
      $0.name != name && $0.config.value.bindsToPort && compiled.config.value.bindsToPort
        && $0.config.value.address == address && (address.isUnix || address.port != 0)
    }
    guard !isTaken else {
      counters.add(stats.failed)
      return "another listener is at \(address.description)"
    }
    let listener: OpenListener
    do throws(Server.BindError) {
      // The same place: the workers' sockets go from one version to the next.
      let staysThere = older.map { $0.config.value.takesSamePlace(as: compiled.config.value) }
      listener = try server.open(compiled, inPlaceOf: staysThere == true ? older : nil)
    } catch {
      counters.add(stats.failed)
      return error.reason
    }
    let isKnown = older != nil || warming[name] != nil
    counters.add(isKnown ? stats.modified : stats.added)
    if inPlace { counters.add(stats.updatedInPlace) }
    if let waiting = warming.removeValue(forKey: name) { discard(waiting.listener) }
    older?.isReplacedInPlace = inPlace
    warm(listener, replacing: older)
    return nil
  }

  /// The listener of this name is no more.
  func remove(_ name: String) {
    if let waiting = warming.removeValue(forKey: name) { discard(waiting.listener) }
    counters.add(stats.removed)
    if let index = active.firstIndex(where: { $0.name == name }) {
      let older = active.remove(at: index)
      older.isReplacedInPlace = false
      post(nil, replacing: older)
      drain(older)
    }
    tell()
    tellIfWarm()
  }

  /// Calls `body` once no listener is warming.
  func whenWarm(_ body: @escaping () -> Void) {
    whenWarm = body
    tellIfWarm()
  }

  private func tellIfWarm() {
    guard warming.isEmpty, let body = whenWarm else { return }
    whenWarm = nil
    body()
  }

  /// Waits for the listener's routes and secrets, then has it serve.
  private func warm(_ listener: OpenListener, replacing older: OpenListener?) {
    let entry = Warming(listener, replacing: older)
    warming[listener.name] = entry
    tell()
    var left = 1
    let ready = { [weak self, weak entry] in
      left -= 1
      guard left == 0, let self, let entry, warming[entry.listener.name] === entry else { return }
      warming[entry.listener.name] = nil
      activate(entry.listener, replacing: entry.replacing)
    }
    let chains = ownChains(of: listener)
    server.giveRoutes(to: chains.compactMap(\.manager)) {
      left += 1
      $0.whenInitialized(ready)
    }
    for subscription in server.filters.follow(chains.compactMap(\.manager)) {
      left += 1
      subscription.whenInitialized(ready)
    }
    left += 1
    server.secrets.whenSettled(chains.compactMap(\.security), ready)
    ready()
  }

  private func activate(_ listener: OpenListener, replacing older: OpenListener?) {
    if let older, let index = active.firstIndex(where: { $0 === older }) {
      active[index] = listener
    } else {
      active.append(listener)
    }
    for _ in listener.active { counters.add(stats.created) }
    let chains = ownChains(of: listener, besides: older)
    // Routes first: what is posted first is done first.
    server.snapshots.publishNow()
    post(listener, replacing: older, managers: chains.compactMap(\.manager))
    if let older {
      if older.isReplacedInPlace {
        let kept = Set(listener.chains.map(ObjectIdentifier.init))
        older.chains.removeAll { kept.contains(ObjectIdentifier($0)) }
      }
      drain(older)
    }
    tell()
    tellIfWarm()
  }

  /// The chains that no other version has.
  private func ownChains(
    of listener: OpenListener, besides another: OpenListener? = nil
  ) -> [ChainVersion] {
    var others = active + warming.values.map(\.listener) + draining
    if let another { others.append(another) }
    let taken = Set(
      others.filter { $0 !== listener }.flatMap(\.chains).map(ObjectIdentifier.init))
    return listener.chains.filter { !taken.contains(ObjectIdentifier($0)) }
  }

  /// Tells every worker.
  /// - Parameter managers: those of the newer version's own chains.
  private func post(
    _ newer: OpenListener?, replacing older: OpenListener?, managers: [CompiledManager] = []
  ) {
    let starts = isLive
    let kept = older?.isReplacedInPlace == true ? newer?.chains.map(\.chain) : nil
    for (index, link) in server.links.enumerated() {
      let change = ListenerChange(
        worker: server.workers[index], newer: newer?.active[index], older: older?.active[index],
        managers: managers, kept: kept ?? [], movesPending: kept != nil, starts: starts)
      link.mailbox.post { _ in change.apply() }
    }
  }

  // MARK: Ends

  /// It never served: only its sockets are to be closed.
  private func discard(_ listener: OpenListener) {
    for active in listener.active where active.value.fd >= 0 { _ = CLinux.close(active.value.fd) }
    server.takeRoutes(from: ownChains(of: listener).compactMap(\.manager))
  }

  private func drain(_ listener: OpenListener) {
    if !listener.isReplacedInPlace { counters.add(stats.stopped) }
    draining.append(listener)
    for manager in ownChains(of: listener).compactMap(\.manager) { server.filters.freeze(manager) }
    tell()
    for (index, link) in server.links.enumerated() {
      let handle = ActiveListenerHandle(ref: listener.active[index])
      let gone = server.listenerGone(listener)
      link.mailbox.post { _ in handle.ref.retire(gone) }
    }
    server.later(UInt64(clamping: max(0, server.options.drainSeconds)) &* 1000) { [weak listener] in
      guard let listener else { return }
      $0.listeners.endDrain(of: listener)
    }
  }

  /// The drain time is over: what is left of its clients is closed.
  private func endDrain(of listener: OpenListener) {
    guard draining.contains(where: { $0 === listener }) else { return }
    for (index, link) in server.links.enumerated() {
      let handle = ActiveListenerHandle(ref: listener.active[index])
      link.mailbox.post { _ in handle.ref.closeConnections() }
    }
  }

  /// A worker has no connection of a draining listener any more.
  func released(_ listener: OpenListener) {
    listener.holders -= 1
    guard listener.holders == 0 else { return }
    let managers = ownChains(of: listener).compactMap(\.manager)
    let places = managers.map(\.place)
    server.onEveryWorker { worker in
      for place in places { worker.value.filterPlaces.remove(place) }
    } then: { [weak self] in
      guard let self else { return }
      draining.removeAll { $0 === listener }
      tell()
      // Whatever a stream may still look into is kept by its snapshot.
      server.takeRoutes(from: managers)
    }
  }

  private func tell() {
    counters.gaugeSet(stats.active, Int64(active.count))
    counters.gaugeSet(stats.warming, Int64(warming.count))
    let whole = draining.count { !$0.isReplacedInPlace }
    counters.gaugeSet(stats.draining, Int64(whole))
    let chains = draining.filter(\.isReplacedInPlace).reduce(0) { $0 + $1.chains.count }
    counters.gaugeSet(stats.chainsDraining, Int64(chains))
  }
}

extension ListenerConfig {
  /// A new version can take over this one's sockets.
  fileprivate func takesSamePlace(as newer: ListenerConfig) -> Bool {
    bindsToPort && newer.bindsToPort && address == newer.address
      && options.reusePort == newer.options.reusePort
      && options.transparent == newer.options.transparent
      && options.freebind == newer.options.freebind && options.backlog == newer.options.backlog
      && options.more.isSame(as: newer.options.more)
  }
}

/// A worker's part of a change of listeners, on its way to the worker.
///
/// `@unchecked`: made by the main thread and opened only by the worker's.
private struct ListenerChange: @unchecked Sendable {
  let worker: Ref<Worker>
  let newer: Ref<ActiveListener>?
  let older: Ref<ActiveListener>?
  let managers: [CompiledManager]
  /// Chains whose connections go from the older version to the newer one.
  let kept: [Ref<NetworkChain>]
  /// Connections whose chain is not chosen yet go there too.
  let movesPending: Bool
  let starts: Bool

  /// The worker's thread.
  func apply() {
    for manager in managers { worker.addFilterPlaces(of: manager) }
    if let older { worker.value.listeners.removeAll { $0 == older } }
    guard let newer else { return }
    worker.value.listeners.append(newer)
    if newer.value.fd >= 0 { worker.value.countListening(1) }
    if let older, newer.value.fd < 0, newer.value.config.value.bindsToPort {
      newer.takeSocket(of: older)
    }
    if let older, movesPending { newer.takeConnections(of: older, through: kept) }
    if starts { newer.start() }
  }
}

/// A listener of a worker on its way there.
///
/// `@unchecked`: opened only in messages to that worker.
private struct ActiveListenerHandle: @unchecked Sendable {
  let ref: Ref<ActiveListener>
}
