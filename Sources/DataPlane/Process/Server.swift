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
  private(set) var listeners: [OpenListener] = []
  /// What tells of files that are replaced.
  private(set) lazy var watcher = FileWatcher(on: loop)
  private(set) lazy var snapshots = SnapshotKeeper(self)
  private(set) lazy var routes = RouteDirectory(self)
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
  private var certificateWatcher: CertificateWatcher?
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

  /// A listener with a socket for each worker.
  struct OpenListener {
    let config: Ref<ListenerConfig>
    let address: SocketAddress
    var active: [Ref<ActiveListener>]
  }

  /// Why the server cannot start.
  package struct StartError: Error, CustomStringConvertible {
    package let description: String
  }

  package init(_ config: ServerConfig, options: ServerOptions) {
    self.config = config
    self.options = options
  }

  /// Starts everything and runs until the end; the exit status.
  package func run() throws(StartError) -> Int32 {
    fl_install_crash_report()
    fl_prepare_thread_for_crash()
    _ = fl_raise_descriptor_limit()
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
    stage = .initializing
    clusters?.start { [weak self] in self?.fetchRoutes() }
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
        }))
    let loops = (0..<count).map { _ in EventLoop() }
    let stats = (0..<count).map { _ in config.store.makeWorker() }
    let manager = ClusterManager(
      config.clusters, on: loop,
      workers: zip(loops, stats).map { .init(mailbox: $0.mailbox, counters: $1) },
      stats: config.store)
    clusters = manager
    for manager in config.managers {
      if case .fixed(let table) = manager.routes {
        snapshots.setRoutes(RouteVersion(table), of: manager.place)
      } else {
        // None yet: nothing is found.
        snapshots.setRoutes(nil, of: manager.place)
      }
    }
    let first = snapshots.makeFirst((0..<count).map { views(worker: $0) })
    let byCluster = Table.immortal(config.tls.byCluster.map { Int32($0) })
    for index in 0..<count {
      guard let writer = config.logWriter else { preconditionFailure("a server has a log writer") }
      let worker = Ref<Worker>.immortal(
        Worker(
          loop: loops[index], index: index, stats: stats[index], maxFields: config.maxFields,
          snapshot: first[index], shared: shared,
          logs: writer.makeProducer(stats[index])))
      worker.value.filterPlaces = config.managers.map {
        FilterWorkers.make($0.manager.value.chain, $0.filters, on: worker)
      }
      worker.value.tls.places = config.tls.places(
        config.store, main: loop.mailbox, own: loops[index].mailbox, worker: stats[index])
      worker.value.tls.byCluster = byCluster
      worker.followHosts()
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
    for listener in config.listeners {
      var open = OpenListener(config: listener, address: listener.value.address, active: [])
      var address = listener.value.address
      for worker in workers {
        guard listener.value.bindsToPort else {
          open.active.append(.immortal(ActiveListener(config: listener, worker: worker, fd: -1)))
          continue
        }
        let fd = try bind(listener, address, sharing: open.active.first?.value.fd)
        // Port 0: the kernel chose one for the first worker, and the others join it there.
        if address.port == 0, !address.isUnix { address = ListenSocket.localAddress(of: fd) }
        open.active.append(
          .immortal(ActiveListener(config: listener, worker: worker, fd: fd)))
      }
      listeners.append(
        OpenListener(config: listener, address: address, active: open.active))
      for (index, worker) in workers.enumerated() {
        worker.value.listeners.append(open.active[index])
        if open.active[index].value.fd >= 0 { worker.value.countListening(1) }
      }
    }
  }

  private func bind(
    _ listener: Ref<ListenerConfig>, _ address: SocketAddress, sharing first: Int32?
  ) throws(StartError) -> Int32 {
    // Without SO_REUSEPORT, and for a Unix path, all workers accept from one socket.
    if let first, address.isUnix || !listener.value.options.reusePort { return dup(first) }
    let fd = ListenSocket.open(address, listener.value.options)
    guard fd >= 0 else {
      let reason = unsafe String(cString: strerror(-fd))
      throw StartError(
        description: "listener '\(listener.value.name.string)': cannot bind "
          + "\(address.description): \(reason)")
    }
    return fd
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

  private func views(worker: Int) -> [Ref<ClusterView>?] {
    (0..<config.clusters.count).map { clusters?.view(cluster: $0, worker: worker) }
  }

  /// Every worker's view of every cluster, by their places.
  var clusterViews: [[Ref<ClusterView>?]] { workers.indices.map { views(worker: $0) } }

  var clusterNames: Set<String> {
    Set((0..<config.clusters.count).map { config.clusters[$0].value.name.string })
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
    fetched()
  }

  /// All that was to be fetched is there, or was given up for now: listeners open.
  private func becameReady() {
    stage = .live
    // Before the first connection can come.
    overloadMonitor = OverloadMonitor(self, overloadLevels)
    for (worker, link) in zip(workers, links) {
      let handle = WorkerHandle(worker)
      link.mailbox.post { _ in
        for listener in handle.worker.value.listeners { listener.start() }
      }
    }
    ProcessLog.shared.log(.info, .main, "all dependencies initialized; listening")
    // Reading a configuration takes more code than serving: 8 MB of 15 were resident for that alone.
    fl_release_code_pages()
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
    config.logWriter?.stop()
    for listener in listeners where listener.address.isUnix {
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
