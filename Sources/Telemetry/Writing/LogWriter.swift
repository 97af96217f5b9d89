import CLinux
import Glibc
import Synchronization

/// The thread that writes logs, and the main thread's hold on it.
///
/// Workers fill blocks and pass them on; the thread writes them. A log that takes no bytes (a full
/// disk, a stopped reader) costs lines of that log, which are counted, and nobody's time.
package final class LogWriter: Sendable {
  /// What the main thread and the writer's thread share. Neither holds it for long.
  struct Shared {
    var files: [LogFile] = []
    var producers: [LogProducer] = []
    var wantsReopen = false
    var wantsStop = false
  }

  let shared = Mutex(Shared())
  let bell: LogBell
  let counters: LogCounters
  /// The writer's thread's own statistics.
  let stats: WorkerStats
  /// Where the proxy's own complaints go: a line when a log starts to fail.
  let report: @Sendable (String) -> Void
  private let thread = Mutex<pthread_t?>(nil)

  /// A writer without its thread. `report` is called on the writer's thread.
  package init(
    _ store: StatsStore, report: @escaping @Sendable (String) -> Void = { _ in }
  ) throws(LogOpenError) {
    guard let bell = LogBell() else {
      throw LogOpenError(description: "no descriptor is left for the log writer")
    }
    self.bell = bell
    counters = LogCounters(store)
    stats = store.makeWorker()
    self.report = report
  }

  deinit {
    shared.withLock { shared in
      for file in shared.files { file.close() }
      for producer in shared.producers { producer.deallocate() }
    }
    bell.deallocate()
  }

  /// Opens a log, or finds it where it is open already: two listeners may share one file.
  package func open(_ destination: LogDestination) throws(LogOpenError) -> LogTargetID {
    let known = shared.withLock { $0.files.firstIndex { $0.destination == destination } }
    if let known { return LogTargetID(index: UInt32(known)) }
    let file = try LogFile(destination)
    let index = shared.withLock { shared -> Int? in
      guard shared.files.count < LogProducer.targetLimit else { return nil }
      shared.files.append(file)
      return shared.files.count - 1
    }
    guard let index else {
      file.close()
      throw LogOpenError(description: "more than \(LogProducer.targetLimit) logs are configured")
    }
    return LogTargetID(index: UInt32(index))
  }

  /// A worker's end. It is freed with the writer.
  package func makeProducer(_ stats: WorkerStats) -> LogProducer {
    let producer = LogProducer(stats: stats, counters: counters, bell: bell)
    shared.withLock { $0.producers.append(producer) }
    return producer
  }

  /// Starts the thread.
  package func start() throws(LogOpenError) {
    let loop = unsafe Unmanaged.passRetained(LogWriterLoop(self)).toOpaque()
    var created = pthread_t()
    // SAFETY: the thread takes over the reference; it ends before `stop` returns.
    let status = unsafe pthread_create(
      &created, nil,
      { argument in
        if let argument = unsafe argument {
          unsafe Unmanaged<LogWriterLoop>.fromOpaque(argument).takeRetainedValue().run()
        }
        return nil
      }, loop)
    guard status == 0 else {
      unsafe Unmanaged<LogWriterLoop>.fromOpaque(loop).release()
      throw LogOpenError(description: "no thread can be started for the log writer")
    }
    thread.withLock { $0 = created }
  }

  /// Closes all files and opens them again under their names, as after a rotation.
  package func reopen() {
    shared.withLock { $0.wantsReopen = true }
    bell.ring()
  }

  /// Writes what the producers handed over, and ends the thread. Producers must have flushed
  /// everything before. A log that takes no bytes is given up after two seconds.
  package func stop() {
    let running = thread.withLock { thread in
      defer { thread = nil }
      return thread
    }
    guard let running else { return }
    shared.withLock { $0.wantsStop = true }
    bell.ring()
    pthread_join(running, nil)
  }
}
