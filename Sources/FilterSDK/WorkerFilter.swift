public import CFilterABI

/// A filter with state of its own on every worker, which outlives streams.
public protocol WorkerFilter: HTTPFilter {
  /// A worker's state. It may hold references; only its worker touches it.
  associatedtype WorkerState

  /// Prepares a worker, before its first stream.
  static func startWorker(config: borrowing Config, _ context: borrowing WorkerContext)
    -> WorkerState

  /// A worker's timer has run out; `tag` is what it was started with.
  static func onWorkerTimer(
    _ tag: UInt64, _ state: inout WorkerState, config: borrowing Config,
    _ context: borrowing WorkerContext)
}

/// One filter's place on one worker.
///
/// SAFETY: the host keeps the place until it frees the worker's state, and uses it on one thread.
@safe @frozen
public struct WorkerContext: ~Copyable {
  @usableFromInline let worker: OpaquePointer

  @inlinable init(_ worker: OpaquePointer) { unsafe self.worker = worker }

  /// Calls `onWorkerTimer` once with `tag` after so many milliseconds.
  @discardableResult
  public func startTimer(afterMilliseconds delay: UInt64, tag: UInt64 = 0) -> Ticket {
    Ticket(unsafe Host.table.worker_timer_start.unsafelyUnwrapped(worker, delay, tag))
  }

  /// Forgets a timer, and the ticket.
  public func cancel(timer: inout Ticket) {
    guard timer != .none else { return }
    unsafe Host.table.worker_timer_cancel.unsafelyUnwrapped(worker, timer.raw)
    timer = .none
  }

  public func add(_ amount: UInt64 = 1, to counter: Counter) {
    unsafe Host.table.worker_counter_add.unsafelyUnwrapped(worker, counter.raw, amount)
  }
}

extension StreamContext {
  /// Calls `body` with this filter's state on the stream's worker.
  @inlinable public func withWorkerState<Filter: WorkerFilter, Result>(
    of filter: Filter.Type, _ body: (inout Filter.WorkerState) -> Result
  ) -> Result? {
    guard let raw = unsafe Host.table.worker_state.unsafelyUnwrapped(stream) else { return nil }
    // SAFETY: the host returns what this filter's `worker_new` gave it, a `WorkerBox<Filter>`.
    return unsafe body(&raw.assumingMemoryBound(to: WorkerBox<Filter>.self).pointee.state)
  }
}

/// How one function finds the filter behind any worker's state.
@unsafe @frozen @usableFromInline
struct WorkerHeader {
  @usableFromInline let filter: any FilterEntryPoints.Type
  @usableFromInline let worker: OpaquePointer
  @usableFromInline let config: UnsafeRawPointer
}

@unsafe @frozen @usableFromInline
struct WorkerBox<Filter: WorkerFilter> {
  /// First, so that a pointer to the box is one to the header.
  @usableFromInline let header: WorkerHeader
  @usableFromInline var state: Filter.WorkerState

  @inlinable init(_ header: WorkerHeader, _ state: Filter.WorkerState) {
    unsafe self.header = unsafe header
    unsafe self.state = state
  }
}
