import CLinux
import Engine
import ResourceModel
import Resources
import Telemetry

/// Looks from the main loop whether every worker comes back to its loop in time, and names the one
/// that does not. The main loop's own stalls show in how late it comes to look.
final class Watchdog {
  private unowned let server: Server
  private let mainLimits: Limits
  private let workerLimits: Limits
  private let interval: UInt64
  private var expected: UInt64 = 0
  private let everyWorker: Counters
  private let mainThread: Counters
  private let mainThreadOfServer: Counters
  private var workers: [Watched] = []

  /// What counts as a stall and as a long one, in nanoseconds.
  private struct Limits {
    let miss: UInt64
    let megaMiss: UInt64

    init(_ message: Envoy_Config_Bootstrap_V3_Watchdog) {
      let missDefault = UInt64(Defaults.watchdogMiss / .milliseconds(1))
      let megaMissDefault = UInt64(Defaults.watchdogMegamiss / .milliseconds(1))
      let miss = message.hasMissTimeout ? message.missTimeout.milliseconds : missDefault
      let megaMiss =
        message.hasMegamissTimeout ? message.megamissTimeout.milliseconds : megaMissDefault
      self.miss = miss &* 1_000_000
      self.megaMiss = megaMiss &* 1_000_000
    }
  }

  /// `….watchdog_miss` and `….watchdog_mega_miss`.
  private struct Counters {
    let miss: CounterID
    let megaMiss: CounterID

    init(_ scope: String, in store: StatsStore) {
      miss = store.counter("\(scope).watchdog_miss")
      megaMiss = store.counter("\(scope).watchdog_mega_miss")
    }
  }

  /// One worker, and what has been told about the wake-up that it is busy with.
  private struct Watched {
    let counters: Counters
    var wakeUp: UInt64 = 0
    var isMissed = false
    var isMegaMissed = false
  }

  init(_ server: Server) {
    self.server = server
    let store = server.config.store
    let watchdogs = server.config.bootstrap.watchdogs
    mainLimits = Limits(watchdogs.mainThreadWatchdog)
    workerLimits = Limits(watchdogs.workerWatchdog)
    // Half the time that is tolerated, so that a stall is seen before it is twice as long.
    interval = max(min(mainLimits.miss, workerLimits.miss) / 2, 10_000_000)
    everyWorker = Counters("workers", in: store)
    mainThread = Counters("main_thread", in: store)
    mainThreadOfServer = Counters("server.main_thread", in: store)
    workers = server.workers.indices.map {
      Watched(counters: Counters("server.worker_\($0)", in: store))
    }
    schedule()
  }

  private func schedule() {
    expected = fl_monotonic_ns() &+ interval
    // SAFETY: the server keeps its watchdog for as long as the loop runs.
    _ = unsafe server.loop.after(
      milliseconds: interval / 1_000_000, context: Unmanaged.passUnretained(self).toOpaque()
    ) { raw, _ in unsafe Unmanaged<Watchdog>.fromOpaque(raw).takeUnretainedValue().look() }
  }

  private func look() {
    let now = fl_monotonic_ns()
    lookAtMainThread(now)
    for index in workers.indices { look(at: index, now) }
    schedule()
  }

  private func lookAtMainThread(_ now: UInt64) {
    let late = now > expected ? now - expected : 0
    guard late > mainLimits.miss else { return }
    count(\.miss, mainThread, mainThreadOfServer)
    if late > mainLimits.megaMiss { count(\.megaMiss, mainThread, mainThreadOfServer) }
    ProcessLog.shared.warning(.main, "main thread was busy for \(late / 1_000_000) ms")
  }

  private func look(at index: Int, _ now: UInt64) {
    let since = server.links[index].busyTime
    guard since != 0, now > since else { return }
    if workers[index].wakeUp != since {
      workers[index].wakeUp = since
      workers[index].isMissed = false
      workers[index].isMegaMissed = false
    }
    let busy = now - since
    if busy > workerLimits.miss, !workers[index].isMissed {
      workers[index].isMissed = true
      count(\.miss, everyWorker, workers[index].counters)
      ProcessLog.shared.warning(
        .main, "worker_\(index) is busy for \(busy / 1_000_000) ms with one wake-up")
    }
    if busy > workerLimits.megaMiss, !workers[index].isMegaMissed {
      workers[index].isMegaMissed = true
      count(\.megaMiss, everyWorker, workers[index].counters)
      ProcessLog.shared.error(
        .main, "worker_\(index) is stuck: busy for \(busy / 1_000_000) ms with one wake-up")
    }
  }

  private func count(_ which: KeyPath<Counters, CounterID>, _ first: Counters, _ second: Counters) {
    server.config.store.main.add(first[keyPath: which])
    server.config.store.main.add(second[keyPath: which])
  }
}
