import CLinux
import Glibc

/// What the writer's thread does: takes blocks, writes them, gives them back.
final class LogWriterLoop {
  /// A block on its way to a file.
  private struct Job {
    var block: LogBlock
    var home: LogProducer
    var offset = 0
  }

  /// A file's blocks, in the order in which they came.
  private struct Queue {
    var jobs: [Job] = []
    var isFailing = false
    /// A line was cut off by a failure: the next one must not continue it.
    var hasBrokenLine = false
  }

  /// Blocks that may wait for one log that takes nothing. More would starve the other logs, whose
  /// lines come in blocks of the same workers.
  private static let waitingLimit = 8
  /// How long the last lines are worth waiting for, in nanoseconds.
  private static let stopPatience: UInt64 = 2_000_000_000

  private let writer: LogWriter
  private var files: [LogFile] = []
  private var producers: [LogProducer] = []
  private var queues: [Queue] = []

  init(_ writer: LogWriter) { self.writer = writer }

  func run() {
    // Signals are the main thread's; a closed pipe is an error of `write` here.
    var all = sigset_t()
    unsafe sigfillset(&all)
    unsafe pthread_sigmask(SIG_BLOCK, &all, nil)
    var deadline: UInt64?
    while true {
      let wantsStop = takeOrders()
      collect()
      writeAll()
      guard wantsStop else {
        wait(milliseconds: -1)
        continue
      }
      let now = telemetry_clock(CLOCK_MONOTONIC)
      let end = deadline ?? (now + Self.stopPatience)
      deadline = end
      guard queues.contains(where: { !$0.jobs.isEmpty }) && now < end else { break }
      wait(milliseconds: 50)
    }
    giveUp()
  }

  // MARK: Orders

  private func takeOrders() -> Bool {
    writer.bell.silence()
    let (wantsReopen, wantsStop) = writer.shared.withLock { shared in
      defer { shared.wantsReopen = false }
      files = shared.files
      producers = shared.producers
      return (shared.wantsReopen, shared.wantsStop)
    }
    while queues.count < files.count { queues.append(Queue()) }
    if wantsReopen { reopen() }
    return wantsStop
  }

  private func reopen() {
    for index in files.indices {
      guard case .file = files[index].destination else { continue }
      do {
        let fresh = try LogFile(files[index].destination)
        files[index].close()
        files[index] = fresh
        writer.shared.withLock { $0.files[index] = fresh }
      } catch {
        // The old file is still there to be written to.
        writer.stats.add(writer.counters.reopenFailed)
        writer.report(error.description)
      }
    }
  }

  // MARK: Blocks

  private func collect() {
    for producer in producers {
      while let address = producer.filled.pop() {
        guard let block = LogBlock(address: address) else { continue }
        let target = Int(block.target)
        guard target < queues.count else {
          giveBack(Job(block: block, home: producer), written: false)
          continue
        }
        queues[target].jobs.append(Job(block: block, home: producer))
        shorten(target)
      }
    }
  }

  /// Drops the oldest block that has not been started, when too many wait.
  private func shorten(_ target: Int) {
    guard queues[target].jobs.count > Self.waitingLimit else { return }
    writeQueue(target)
    guard queues[target].jobs.count > Self.waitingLimit,
      let oldest = queues[target].jobs.firstIndex(where: { $0.offset == 0 })
    else { return }
    giveBack(queues[target].jobs.remove(at: oldest), written: false)
  }

  private func giveBack(_ job: Job, written: Bool) {
    if written {
      writer.stats.add(writer.counters.completed)
    } else {
      writer.stats.add(writer.counters.dropped, job.block.lines)
    }
    writer.stats.gaugeAdd(writer.counters.bufferedBytes, -Int64(job.block.used))
    if !job.home.free.push(job.block.address) { job.block.deallocate() }
  }

  // MARK: Writing

  private func writeAll() {
    for target in queues.indices { writeQueue(target) }
  }

  private func writeQueue(_ target: Int) {
    let file = files[target]
    while !queues[target].jobs.isEmpty {
      if queues[target].hasBrokenLine {
        var offset = 0
        guard file.write(LogBytes("\n"), from: &offset) != .wait else { return }
        queues[target].hasBrokenLine = offset == 0
      }
      let content = queues[target].jobs[0].block.content(from: 0)
      switch file.write(content, from: &queues[target].jobs[0].offset) {
      case .wait: return
      case .done:
        queues[target].isFailing = false
        giveBack(queues[target].jobs.removeFirst(), written: true)
      case .failed(let code): fail(target, code)
      }
    }
  }

  /// Drops the block that failed; tries again with the next one.
  private func fail(_ target: Int, _ code: Int32) {
    writer.stats.add(writer.counters.failed)
    if !queues[target].isFailing {
      queues[target].isFailing = true
      let reason = unsafe String(cString: strerror(code))
      writer.report("writing to \(files[target].destination) fails: \(reason)")
    }
    let job = queues[target].jobs.removeFirst()
    queues[target].hasBrokenLine = queues[target].hasBrokenLine || job.offset > 0
    giveBack(job, written: false)
  }

  private func giveUp() {
    for target in queues.indices {
      for job in queues[target].jobs { giveBack(job, written: false) }
      queues[target].jobs = []
    }
  }

  // MARK: Waiting

  /// Until a block comes, or a log that took nothing takes bytes again.
  private func wait(milliseconds: Int32) {
    var requests = [pollfd(fd: writer.bell.descriptor, events: Int16(POLLIN), revents: 0)]
    for target in queues.indices where !queues[target].jobs.isEmpty {
      requests.append(
        pollfd(fd: files[target].descriptor, events: Int16(POLLOUT), revents: 0))
    }
    _ = unsafe poll(&requests, nfds_t(requests.count), milliseconds)
  }
}
