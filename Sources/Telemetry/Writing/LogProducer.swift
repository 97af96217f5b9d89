import CLinux

/// A log that lines go to. Targets are numbered by the `LogWriter`.
@usableFromInline
package struct LogTargetID: Equatable, Hashable, Sendable {
  @usableFromInline
  package let index: UInt32

  @usableFromInline
  package init(index: UInt32) { self.index = index }
}

/// A worker's end of the log writer: it renders lines into blocks of its own and hands full ones
/// over. Appending never waits and, once the blocks exist, never allocates; when the writer cannot
/// keep up the line is dropped and counted.
@safe
@usableFromInline
package struct LogProducer: @unchecked Sendable {
  // SAFETY: used by one worker; freed by the `LogWriter` after the worker has ended.
  private let open: UnsafeMutablePointer<UInt64>
  private let state: UnsafeMutablePointer<State>
  let filled: LogRing
  let free: LogRing
  private let stats: WorkerStats
  private let counters: LogCounters
  private let bell: LogBell

  private struct State {
    /// Blocks taken from the system so far.
    var blocks = 0
    /// Open blocks that hold lines.
    var pending = 0
    /// One more than the highest target that was used.
    var targets = 0
  }

  /// Logs of one process. Each needs its own block while it has lines.
  static let targetLimit = 1024
  /// Blocks of one worker beyond one for each log, 2 MiB: a second of about ten thousand lines, and
  /// then what the disk has not taken yet.
  static let blockLimit = 32
  /// The longest that a line waits in a block that does not fill. A reader of the log sees a
  /// request within a second (in Envoy within ten), a crash loses no more than that, and a busy
  /// log is still written in whole blocks.
  @usableFromInline
  package static let flushMilliseconds: UInt64 = 1000

  init(stats: WorkerStats, counters: LogCounters, bell: LogBell) {
    unsafe open = allocateCells(Self.targetLimit)
    unsafe state = .allocate(capacity: 1)
    unsafe state.initialize(to: State())
    filled = LogRing()
    free = LogRing()
    self.stats = stats
    self.counters = counters
    self.bell = bell
  }

  /// Whether a line waits in a block: then `flush` has to be called within a second.
  @usableFromInline
  package var hasPending: Bool { unsafe state.pointee.pending > 0 }

  /// Renders one line for a target. `now` is in milliseconds, of the clock that `flush` uses too.
  @inlinable
  package func append<Source: LogSource & ~Copyable>(
    _ format: LogFormat, _ source: borrowing Source, with renderer: LogRenderer,
    to target: LogTargetID, now: UInt64
  ) {
    guard var block = openBlock(for: target, now: now) else { return drop() }
    var sink = block.makeSink()
    if format.render(source, with: renderer, into: &sink) { return commit(sink, in: block, target) }
    if block.used > 0 {
      handOver(target)
      guard let next = openBlock(for: target, now: now) else { return drop() }
      block = next
      sink = block.makeSink()
      if format.render(source, with: renderer, into: &sink) {
        return commit(sink, in: block, target)
      }
    }
    // A line longer than a block: cut its values, so that nobody escapes the log with long headers.
    sink.rewind(to: 0)
    let limit = format.valueLimit(for: LogBlock.bytes)
    guard format.render(source, with: renderer, into: &sink, valueLimit: limit) else {
      return drop()
    }
    commit(sink, in: block, target)
  }

  /// Hands over the blocks whose first line is older than `flushMilliseconds`; all of them when
  /// `everything`, as a worker does before it ends.
  @usableFromInline
  package func flush(now: UInt64, everything: Bool = false) {
    guard unsafe state.pointee.pending > 0 else { return }
    for index in unsafe 0..<state.pointee.targets {
      guard let block = LogBlock(address: unsafe open[index]), block.used > 0 else { continue }
      if everything || now >= block.began &+ Self.flushMilliseconds {
        if !everything { stats.add(counters.flushedByTimer) }
        handOver(LogTargetID(index: UInt32(index)))
      }
    }
  }

  // MARK: Blocks

  /// The block that takes the target's lines, or nil when all are under way.
  @usableFromInline
  package func openBlock(for target: LogTargetID, now: UInt64) -> LogBlock? {
    let index = Int(target.index)
    guard index < Self.targetLimit else { return nil }
    if let block = LogBlock(address: unsafe open[index]) {
      if block.used == 0 { block.begin(target: target.index, now: now) }
      return block
    }
    unsafe state.pointee.targets = max(state.pointee.targets, index + 1)
    guard let block = takeBlock() else { return nil }
    block.begin(target: target.index, now: now)
    unsafe open[index] = block.address
    return block
  }

  private func takeBlock() -> LogBlock? {
    if let returned = free.pop() { return LogBlock(address: returned) }
    let limit = unsafe Self.blockLimit + state.pointee.targets
    guard unsafe state.pointee.blocks < limit, let fresh = LogBlock() else { return nil }
    unsafe state.pointee.blocks += 1
    return fresh
  }

  /// Keeps a rendered line.
  @usableFromInline
  package func commit(_ sink: ByteSink, in block: LogBlock, _ target: LogTargetID) {
    if block.used == 0 { unsafe state.pointee.pending += 1 }
    block.commit(sink)
    stats.add(counters.buffered)
    stats.gaugeAdd(counters.bufferedBytes, Int64(sink.count))
  }

  /// Gives the target's block to the writer.
  @usableFromInline
  package func handOver(_ target: LogTargetID) {
    let index = Int(target.index)
    guard index < Self.targetLimit, let block = LogBlock(address: unsafe open[index]),
      block.used > 0, filled.push(block.address)
    else { return }
    unsafe open[index] = 0
    unsafe state.pointee.pending -= 1
    bell.ring()
  }

  /// Counts a line that nobody will see.
  @usableFromInline
  package func drop() {
    stats.add(counters.dropped)
  }

  /// Frees everything. Neither the worker nor the writer may use the producer any more.
  func deallocate() {
    for index in 0..<Self.targetLimit { LogBlock(address: unsafe open[index])?.deallocate() }
    for ring in [filled, free] {
      while let address = ring.pop() { LogBlock(address: address)?.deallocate() }
      ring.deallocate()
    }
    unsafe freeCells(open)
    unsafe state.deallocate()
  }
}

/// The statistics of the logs, under Envoy's names; dropping is our own.
struct LogCounters: Sendable {
  var buffered: CounterID
  var completed: CounterID
  var failed: CounterID
  var flushedByTimer: CounterID
  var reopenFailed: CounterID
  var bufferedBytes: GaugeID
  var dropped: CounterID

  init(_ store: StatsStore) {
    buffered = store.counter("filesystem.write_buffered")
    completed = store.counter("filesystem.write_completed")
    failed = store.counter("filesystem.write_failed")
    flushedByTimer = store.counter("filesystem.flushed_by_timer")
    reopenFailed = store.counter("filesystem.reopen_failed")
    bufferedBytes = store.gauge("filesystem.write_total_buffered")
    dropped = store.counter("access_log.lines_dropped")
  }
}
