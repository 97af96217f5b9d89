import CLinux
import Engine
import ResourceModel
import Resources
import Telemetry

/// Looks whether the main thread and every worker come back to their loops in time, and names the
/// one that does not. On a thread of its own: whoever is stuck cannot say so.
///
/// `@unchecked`: between `start` and `stop` only its own thread touches what changes here; the thread
/// sanitizer's end-to-end run would catch another use.
final class Watchdog: @unchecked Sendable {
  private let loop = EventLoop()
  private let stats: WorkerStats
  private let interval: UInt64
  private var watched: [Watched]
  private var thread = pthread_t()

  /// How long a thread may be busy, in nanoseconds.
  private struct Limits {
    /// A stall.
    let miss: UInt64
    /// A long one.
    let megaMiss: UInt64
    /// One that nobody can wait for; 0 for never.
    let kill: UInt64

    init(_ message: Envoy_Config_Bootstrap_V3_Watchdog) {
      let missDefault = UInt64(Defaults.watchdogMiss / .milliseconds(1))
      let megaMissDefault = UInt64(Defaults.watchdogMegamiss / .milliseconds(1))
      let miss = message.hasMissTimeout ? message.missTimeout.milliseconds : missDefault
      let megaMiss =
        message.hasMegamissTimeout ? message.megamissTimeout.milliseconds : megaMissDefault
      self.miss = miss &* 1_000_000
      self.megaMiss = megaMiss &* 1_000_000
      kill = message.killTimeout.milliseconds &* 1_000_000
    }
  }

  /// `….watchdog_miss` and `….watchdog_mega_miss`: of all threads of a kind, and of one.
  private struct Counters {
    let misses: [CounterID]
    let megaMisses: [CounterID]

    init(_ scopes: [String], in store: StatsStore) {
      misses = scopes.map { store.counter("\($0).watchdog_miss") }
      megaMisses = scopes.map { store.counter("\($0).watchdog_mega_miss") }
    }
  }

  /// One thread, and what has been told about the wake-up that it is busy with.
  private struct Watched {
    let name: String
    let thread: pthread_t
    let busySince: Ref<fl_cell>
    let limits: Limits
    let counters: Counters
    var wakeUp: UInt64 = 0
    var isMissed = false
    var isMegaMissed = false
  }

  /// Begins to watch. Called on the main thread, with all workers running.
  init(_ server: Server) {
    let store = server.config.store
    let message = server.config.bootstrap.watchdogs
    let mainLimits = Limits(message.mainThreadWatchdog)
    let workerLimits = Limits(message.workerWatchdog)
    // Half the time that is tolerated, so that a stall is seen before it is twice as long.
    interval = max(min(mainLimits.miss, workerLimits.miss) / 2, 10_000_000)
    watched = [
      Watched(
        name: "main thread", thread: pthread_self(),
        busySince: server.loop.state.value.busySince, limits: mainLimits,
        counters: Counters(["main_thread", "server.main_thread"], in: store))
    ]
    for (index, link) in server.links.enumerated() {
      watched.append(
        Watched(
          name: "worker_\(index)", thread: server.threads[index], busySince: link.busySince,
          limits: workerLimits,
          counters: Counters(["workers", "server.worker_\(index)"], in: store)))
    }
    stats = store.makeWorker()
    start()
  }

  private func start() {
    schedule()
    // SAFETY: `stop` waits for the thread before the server lets go of its watchdog.
    let status = unsafe pthread_create(
      &thread, nil,
      { raw in
        guard let raw = unsafe raw else { return nil }
        fl_block_signals()
        fl_prepare_thread_for_crash()
        _ = unsafe fl_set_thread_name("watchdog")
        unsafe Unmanaged<Watchdog>.fromOpaque(raw).takeUnretainedValue().loop.run()
        return nil
      }, Unmanaged.passUnretained(self).toOpaque())
    precondition(status == 0, "a thread can be started")
  }

  /// Ends the thread.
  func stop() {
    loop.mailbox.post { loop in loop.stop() }
    _ = pthread_join(thread, nil)
  }

  private func schedule() {
    // SAFETY: the loop runs no longer than this object lives.
    _ = unsafe loop.after(
      milliseconds: interval / 1_000_000, context: Unmanaged.passUnretained(self).toOpaque()
    ) { raw, _ in unsafe Unmanaged<Watchdog>.fromOpaque(raw).takeUnretainedValue().look() }
  }

  private func look() {
    let now = fl_monotonic_ns()
    for index in watched.indices { look(at: index, now) }
    schedule()
  }

  private func look(at index: Int, _ now: UInt64) {
    let since = unsafe fl_flag_get(watched[index].busySince.pointer)
    guard since != 0, now > since else { return }
    if watched[index].wakeUp != since {
      watched[index].wakeUp = since
      watched[index].isMissed = false
      watched[index].isMegaMissed = false
    }
    let busy = now - since
    let (name, limits) = (watched[index].name, watched[index].limits)
    if busy > limits.miss, !watched[index].isMissed {
      watched[index].isMissed = true
      for counter in watched[index].counters.misses { stats.add(counter) }
      tell(.warning, "\(name) is busy for \(busy / 1_000_000) ms with one wake-up")
    }
    if busy > limits.megaMiss, !watched[index].isMegaMissed {
      watched[index].isMegaMissed = true
      for counter in watched[index].counters.megaMisses { stats.add(counter) }
      tell(.error, "\(name) is stuck: busy for \(busy / 1_000_000) ms with one wake-up")
    }
    if limits.kill > 0, busy > limits.kill {
      tell(.critical, "\(name) is stuck for \(busy / 1_000_000) ms: ending the process")
      // In that thread, so that the crash report names it and its stream.
      _ = pthread_kill(watched[index].thread, SIGABRT)
    }
  }

  private func tell(_ level: ProcessLogLevel, _ message: String) {
    ProcessLog.shared.log(level, .main, message)
  }
}
