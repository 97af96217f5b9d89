import CFilterABI
import CLinux
import Engine
import HTTPModel
import ResourceModel
import Resources
import Telemetry
import Upstream

/// What the command line says about the process.
package struct ServerOptions: Sendable {
  /// Worker threads; nil: one per core.
  package var concurrency: Int?
  /// Seconds from the beginning of a drain to the exit.
  package var drainSeconds = 600
  /// The rest is for `/server_info` to show.
  package var version = ""
  package var configPath = ""
  package var configYAML = ""
  package var logLevel = ""
  package var componentLogLevel = ""
  package var logPath = ""
  package var serviceNode = ""
  package var serviceCluster = ""
  package var serviceZone = ""
  /// Where resources of the control plane are kept for the next process; empty: nowhere.
  package var xdsCache = ""
  /// How the process gets a certificate of its own; nil: it gets none.
  package var ownCertificate: OwnCertificate.Options?

  package init() {}
}

/// The process: one main thread with DNS, administration and signals, and the workers.
package final class Server {
  let config: ServerConfig
  let options: ServerOptions
  let loop = EventLoop()
  let startedAt = fl_monotonic_ns()
  private(set) var workers: [Ref<Worker>] = []
  /// In the same order: what this thread may use of them while they run.
  private(set) var links: [WorkerLink] = []
  private(set) var threads: [pthread_t] = []
  private(set) var clusters: ClusterManager?
  private(set) lazy var listeners = ListenerDirectory(self)
  private(set) lazy var healthChecks = HealthChecks(config, on: loop)
  /// What tells of files that are replaced.
  private(set) lazy var watcher = FileWatcher(on: loop)
  private(set) lazy var snapshots = SnapshotKeeper(self)
  private(set) lazy var routes = RouteDirectory(self)
  private(set) lazy var secrets = SecretDirectory(self)
  private(set) lazy var filters = FilterDirectory(self)
  /// The stream to the control plane, if the bootstrap names one.
  private(set) lazy var controlPlane = makeControlPlane()
  private var isControlPlaneStarted = false
  private var applicationProbe: ApplicationProbe?
  private(set) var clusterDiscovery: ClusterDiscovery?
  private(set) var listenerDiscovery: ListenerDiscovery?
  /// The most fields that any connection manager allows in a head.
  private(set) lazy var maxRequestFields = config.maxFields
  let healthCheckFailed = Ref<fl_cell>.immortal(fl_cell())
  private var admin: AdminServer?
  /// The state, but for what `/healthcheck/fail` makes of it.
  private var stage = State.preInitializing
  private var flushTimer = TimerID.none
  /// When a drain that ends the process must be over.
  var drainDeadline: UInt64 = 0
  /// Steps of a drain that wait for their time.
  var delayedCalls: [DelayedCall] = []
  private var watchdog: Watchdog?
  private let overloadLevels = OverloadLevels()
  private var overloadMonitor: OverloadMonitor?
  private(set) var certificateWatcher: CertificateWatcher?
  private(set) var ownCertificate: OwnCertificate?
  lazy var gauges = ServerGauges(store: config.store)

  /// Envoy's names and numbers (`server.state`).
  enum State: Int {
    case live = 0
    case draining = 1
    case preInitializing = 2
    case initializing = 3

    var name: String {
      switch self {
      case .live: "LIVE"
      case .draining: "DRAINING"
      case .preInitializing: "PRE_INITIALIZING"
      case .initializing: "INITIALIZING"
      }
    }
  }

  /// What `/ready` and `server.state` tell.
  var state: State {
    let failsHealthChecks = unsafe fl_flag_get(healthCheckFailed.pointer) != 0
    return stage == .live && failsHealthChecks ? .draining : stage
  }

  /// Why the server cannot start.
  package struct StartError: Error, CustomStringConvertible {
    package let description: String
  }

  package init(_ config: ServerConfig, options: ServerOptions) {
    self.config = config
    self.options = options
  }

  deinit {
    // The configuration outlives the server, and its TLS configurations go with it.
    config.tls.onAdd = { _, _ in }
    config.tls.onRemove = { _, _ in }
    config.tls.find = { _ in nil }
  }

  /// Starts everything and runs until the end; the exit status.
  package func run() throws(StartError) -> Int32 {
    fl_install_crash_report()
    fl_prepare_thread_for_crash()
    _ = fl_raise_descriptor_limit()
    for (number, source) in config.tls.all { secrets.follow(source, number) }
    let count = max(1, options.concurrency ?? Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))))
    makeWorkers(count)
    try openListeners()
    try startLogs()
    Signals.install(on: loop.mailbox)
    for index in workers.indices { startThread(index) }
    if config.bootstrap.hasAdmin { admin = try AdminServer(self) }
    scheduleFlush()
    watchdog = Watchdog(self)
    certificateWatcher = CertificateWatcher(self)
    ownCertificate = options.ownCertificate.map { OwnCertificate($0, on: loop) }
    ownCertificate?.start()
    stage = .initializing
    if let clusters { followChanges(of: clusters) }
    startControlPlaneEarly()
    clusters?.start { [weak self] in self?.fetchEndpoints() }
    unsafe loop.atBatchEnd(context: Unmanaged.passUnretained(self).toOpaque()) { raw, _ in
      unsafe Unmanaged<Server>.fromOpaque(raw).takeUnretainedValue().handleSignals()
    }
    loop.run()
    finish()
    return 0
  }

  // MARK: Starting

  private func makeWorkers(_ count: Int) {
    let machine =
      ListenSocket.machineAddress() ?? SocketAddress(ip: "127.0.0.1", port: 0) ?? SocketAddress()
    let main = MainHandle(server: self)
    let mailbox = loop.mailbox
    let shared = Ref<SharedState>.immortal(
      SharedState(
        machineAddress: machine, callManager: config.callManager,
        healthCheckFailed: healthCheckFailed, overload: overloadLevels,
        bound: config.overload.connectionLimit.map { ConnectionBound(limit: $0) },
        snapshotReleased: { version in
          mailbox.post { _ in main.server.snapshots.released(version) }
        },
        hostAskedToBeLeft: { host in
          mailbox.post { _ in main.server.healthChecks.failedPassively(host: host) }
        }))
    let loops = (0..<count).map { _ in EventLoop() }
    let stats = (0..<count).map { _ in config.store.makeWorker() }
    let manager = ClusterManager(
      config.clusters.map(\.compiled), places: config.context.places, on: loop,
      workers: zip(loops, stats).map { .init(mailbox: $0.mailbox, counters: $1) },
      stats: config.store, checker: { [unowned self] in healthChecks.checker(of: $0) },
      whenSettled: { [unowned self] cluster, body in
        secrets.whenSettled(cluster.value.securities.map(Int.init), body)
      })
    clusters = manager
    for manager in config.managers {
      if case .fixed(let table) = manager.routes {
        snapshots.setRoutes(RouteVersion(table), of: manager.place)
      } else {
        // None yet: nothing is found.
        snapshots.setRoutes(nil, of: manager.place)
      }
    }
    let first = snapshots.makeFirst(manager, workers: count)
    for index in 0..<count {
      guard let writer = config.logWriter else { preconditionFailure("a server has a log writer") }
      let worker = Ref<Worker>.immortal(
        Worker(
          loop: loops[index], index: index, stats: stats[index], maxFields: config.maxFields,
          snapshot: first[index], shared: shared,
          logs: writer.makeProducer(stats[index])))
      for manager in config.managers { worker.addFilterPlaces(of: manager) }
      for (number, source) in config.tls.all {
        worker.value.tls.places.set(
          source.makePlace(
            config.store, main: loop.mailbox, own: loops[index].mailbox, worker: stats[index]),
          at: number)
      }
      for cluster in manager.active.compactMap(\.self) {
        worker.followHosts(of: cluster.views[index])
      }
      workers.append(worker)
      links.append(WorkerLink(worker))
      unsafe loops[index].atBatchEnd(context: worker.raw) { raw, _ in
        unsafe Ref<Worker>(raw: raw).endOfBatch()
      }
    }
  }

  /// Binds every listener on every worker before any thread runs: a port that is taken ends the
  /// start, not a request.
  private func openListeners() throws(StartError) {
    for (listener, chains) in zip(config.listeners, config.chains) {
      do throws(BindError) {
        listeners.addStatic(try open(CompiledListener(config: listener, chains: chains)))
      } catch {
        throw StartError(
          description: "listener '\(listener.value.name.string)': \(error.reason)")
      }
    }
  }

  private func startLogs() throws(StartError) {
    do throws(LogOpenError) {
      try config.logWriter?.start()
    } catch {
      throw StartError(description: error.description)
    }
  }

  private func startThread(_ index: Int) {
    var thread = pthread_t()
    let context = unsafe workers[index].raw
    let status = unsafe pthread_create(
      &thread, nil,
      { raw in
        guard let raw = unsafe raw else { return nil }
        let worker = unsafe Ref<Worker>(raw: raw)
        fl_block_signals()
        fl_prepare_thread_for_crash()
        _ = unsafe fl_set_thread_name("wrk:worker_\(worker.value.index)")
        worker.value.loop.run()
        worker.value.logs.flush(now: 0, everything: true)
        return nil
      }, context)
    precondition(status == 0, "a thread can be started")
    threads.append(thread)
  }

  var clusterNames: Set<String> { clusters?.names ?? [] }

  /// The bootstrap has a cluster of this name.
  func isStatic(cluster name: String) -> Bool {
    config.clusters.contains { $0.compiled.name == name }
  }

  /// The bootstrap has a listener of this name.
  func isStatic(listener name: String) -> Bool {
    config.listeners.contains { $0.value.name.string == name }
  }

  /// Workers have to have room for what these allow.
  func noteFields(of managers: [CompiledManager]) {
    maxRequestFields = max(maxRequestFields, managers.map { $0.manager.value.maxFields }.max() ?? 0)
  }

  /// Clusters and TLS configurations that come from now on reach the workers.
  private func followChanges(of manager: ClusterManager) {
    manager.onView = { [unowned self] view, worker in workers[worker].followHosts(of: view) }
    manager.onChange = { [unowned self] left in snapshots.clustersChanged(without: left) }
    config.tls.onAdd = { [unowned self] number, source in
      certificateWatcher?.follow(source)
      for (worker, link) in zip(workers, links) {
        let handle = WorkerHandle(worker)
        let place = TLSPlaceHandle(
          ref: source.makePlace(
            config.store, main: loop.mailbox, own: link.mailbox, worker: link.stats))
        link.mailbox.post { _ in handle.worker.value.tls.places.set(place.ref, at: number) }
      }
      secrets.follow(source, number)
    }
    config.tls.find = { [unowned self] in secrets.secret($0) }
    config.tls.onRemove = { [unowned self] number, source in
      secrets.leave(source, number)
      onEveryWorker { $0.value.tls.places.remove(number) }
    }
  }

  /// Clusters of the bootstrap may wait for secrets of the control plane: its stream begins when its own
  /// cluster is warm then, whatever the others wait for.
  private func startControlPlaneEarly() {
    let isWanted = config.tls.all.contains { _, source in
      source.secretKeys.contains { $0.source.configSourceSpecifier.map(\.isADS) ?? false }
    }
    guard isWanted, let name = config.controlPlane?.cluster else { return }
    clusters?.cluster(named: name)?.onceWarm { [weak self] in self?.startControlPlane() }
  }

  private func startControlPlane() {
    guard !isControlPlaneStarted else { return }
    isControlPlaneStarted = true
    controlPlane?.start()
  }

  /// Every cluster that resolves names knows its hosts, or has failed to learn them: those follow whose
  /// hosts are sent, then the clusters that come by themselves, as in Envoy.
  private func fetchEndpoints() {
    guard let clusters else { return }
    startControlPlane()
    var left = 1
    let fetched = { [weak self] in
      left -= 1
      if left == 0 { self?.fetchClusters() }
    }
    for cluster in config.clusters where cluster.compiled.config.value.discovery == .assigned {
      guard let active = clusters.cluster(named: cluster.compiled.name) else { continue }
      left += 1
      EndpointSubscription.follow(cluster.message, active, for: self, whenInitialized: fetched)
    }
    fetched()
  }

  private func fetchClusters() {
    guard let clusters, config.bootstrap.dynamicResources.hasCdsConfig else { return fetchRoutes() }
    let discovery = ClusterDiscovery(config.bootstrap.dynamicResources.cdsConfig, for: self)
    clusterDiscovery = discovery
    discovery.start { [weak self] in
      clusters.whenWarm { self?.fetchRoutes() }
    }
  }

  /// Every cluster knows its hosts, or has failed to learn them: routes are fetched.
  private func fetchRoutes() {
    var left = 1
    let fetched = { [weak self] in
      left -= 1
      if left == 0 { self?.becameReady() }
    }
    for manager in config.managers {
      guard let subscription = routes.follow(manager) else { continue }
      left += 1
      _ = subscription.add(manager)
      subscription.whenInitialized(fetched)
    }
    for subscription in routes.all { subscription.start() }
    for subscription in filters.follow(config.managers) {
      left += 1
      subscription.whenInitialized(fetched)
    }
    for (number, source) in config.tls.all where source.isDownstream {
      left += 1
      secrets.whenSettled([number], fetched)
    }
    if config.bootstrap.dynamicResources.hasLdsConfig {
      let discovery = ListenerDiscovery(config.bootstrap.dynamicResources.ldsConfig, for: self)
      listenerDiscovery = discovery
      left += 1
      discovery.start { [weak self] in self?.listeners.whenWarm(fetched) }
    }
    fetched()
  }

  /// A listener's connection managers get their routes, or follow those that they take by name.
  /// - Parameter following: called with each subscription that they follow.
  func giveRoutes(to managers: [CompiledManager], following: (RouteSubscription) -> Void) {
    for manager in managers {
      guard let subscription = routes.follow(manager) else {
        if case .fixed(let table) = manager.routes {
          snapshots.setRoutes(RouteVersion(table, memories: manager.memory), of: manager.place)
        }
        continue
      }
      snapshots.setRoutes(
        RouteVersion(snapshots.noRoutes, memories: manager.memory), of: manager.place)
      for reason in subscription.add(manager) {
        ProcessLog.shared.warning(.config, "RDS for '\(subscription.name)': \(reason)")
      }
      following(subscription)
      subscription.start()
    }
  }

  /// Nothing serves by these any more.
  func takeRoutes(from managers: [CompiledManager]) {
    for manager in managers {
      routes.leave(manager)
      filters.leave(manager)
      snapshots.setRoutes(nil, of: manager.place)
    }
    snapshots.publishLater()
  }

  /// For a worker to tell that it has no connection of a listener any more.
  func listenerGone(_ listener: OpenListener) -> @Sendable () -> Void {
    let main = MainHandle(server: self)
    let listener = OpenListenerHandle(listener: listener)
    let mailbox = loop.mailbox
    return { mailbox.post { _ in main.server.listeners.released(listener.listener) } }
  }

  /// Has every worker do something, and then the main thread.
  func onEveryWorker(
    _ body: @escaping @Sendable (Ref<Worker>) -> Void, then: @escaping () -> Void
  ) {
    let rest = Countdown(from: links.count, then)
    let mailbox = loop.mailbox
    onEveryWorker { worker in
      body(worker)
      mailbox.post { _ in rest.count() }
    }
  }

  /// All that was to be fetched is there, or was given up for now: listeners open.
  private func becameReady() {
    stage = .live
    // Before the first connection can come.
    overloadMonitor = OverloadMonitor(self, overloadLevels)
    // Workers know everything before the first client comes.
    snapshots.publishNow()
    listeners.beginServing()
    probeApplication()
    ProcessLog.shared.log(.info, .main, "all dependencies initialized; listening")
    // Reading a configuration takes more code than serving: 8 MB of 15 were resident for that alone.
    fl_release_code_pages()
  }

  /// Checks the application, where the control plane is to know how it is.
  private func probeApplication() {
    guard let readiness = config.readiness, let controlPlane else { return }
    let probe = ApplicationProbe(
      readiness, on: loop, place: readiness.security.map(healthChecks.makePlace),
      isProxyReady: { [weak self] in self?.state == .live },
      report: { health in
        if case .unready(let reason) = health {
          ProcessLog.shared.warning(.config, "the application is not ready: \(reason)")
        } else {
          ProcessLog.shared.info(.config, "the application is ready")
        }
        controlPlane.report(health)
      })
    applicationProbe = probe
    probe.start()
  }

  // MARK: Statistics

  private func scheduleFlush() {
    let interval =
      config.bootstrap.hasStatsFlushInterval
      ? config.bootstrap.statsFlushInterval.milliseconds
      : UInt64(Defaults.statsFlushInterval.components.seconds) * 1000
    // SAFETY: the server lives as long as its loop runs.
    unsafe flushTimer = loop.after(
      milliseconds: max(interval, 1), context: Unmanaged.passUnretained(self).toOpaque()
    ) { raw, _ in
      let server = unsafe Unmanaged<Server>.fromOpaque(raw).takeUnretainedValue()
      server.config.store.latchIntervals()
      server.scheduleFlush()
    }
  }

  /// Brings up to date what is not counted where it happens.
  func refreshGauges() {
    clusters?.refreshGauges()
    gauges.refresh(self)
  }

  private func handleSignals() {
    let came = Signals.take()
    guard came != 0 else { return }
    if came & Signals.reopen != 0 { reopenLogs() }
    if came & Signals.terminate != 0 { requestEnd() }
    if came & Signals.terminateAgain != 0 { requestEnd() }
  }

  // MARK: Ending

  /// From here on the process only waits for its clients to go.
  func beginEnding() { stage = .draining }

  var isEnding: Bool { stage == .draining }

  private func finish() {
    watchdog?.stop()
    for link in links {
      link.mailbox.post { loop in loop.stop() }
    }
    for thread in threads { _ = pthread_join(thread, nil) }
    // What workers have said last, such as which hosts they have made, is taken over and given back.
    loop.turn(waitAtMost: 0)
    config.logWriter?.stop()
    for listener in listeners.active where listener.address.isUnix {
      let path = listener.address.ip
      if !path.hasPrefix("@") { _ = unsafe unlink(path) }
    }
    ProcessLog.shared.log(.info, .main, "exiting")
  }

  /// SIGUSR1: logs are opened again under their names.
  func reopenLogs() {
    config.logWriter?.reopen()
    if let problem = ProcessLog.shared.reopen() { ProcessLog.shared.log(.error, .file, problem) }
  }
}

/// The server, carried through other threads back to its own.
///
/// `@unchecked`: opened only in messages to the main loop; the thread sanitizer's end-to-end run would
/// catch another use.
private struct MainHandle: @unchecked Sendable {
  unowned let server: Server
}

/// A listener that is only carried along, in messages that come back to the main loop.
private struct OpenListenerHandle: @unchecked Sendable {
  let listener: OpenListener
}

/// Counts workers that have done their part.
///
/// `@unchecked`: touched by the main thread only.
private final class Countdown: @unchecked Sendable {
  private var left: Int
  private let then: () -> Void

  init(from count: Int, _ then: @escaping () -> Void) {
    left = count
    self.then = then
  }

  func count() {
    left -= 1
    if left == 0 { then() }
  }
}

/// A place for TLS connections on its way to its worker.
///
/// `@unchecked`: only that worker uses it from then on.
private struct TLSPlaceHandle: @unchecked Sendable {
  let ref: Ref<TLSPlace>
}

/// A worker on its way to its own thread.
///
/// `@unchecked`: opened only in messages to that worker's loop; the thread sanitizer's end-to-end run
/// would catch another use.
struct WorkerHandle: @unchecked Sendable {
  let worker: Ref<Worker>

  init(_ worker: Ref<Worker>) { self.worker = worker }
}

extension Ref where Value == Worker {
  /// After every wake-up.
  fileprivate func endOfBatch() {
    sendSessions()
    value.output.flush(on: value.loop)
    if value.logs.hasPending { value.logs.flush(now: value.loop.now / 1_000_000) }
  }
}
