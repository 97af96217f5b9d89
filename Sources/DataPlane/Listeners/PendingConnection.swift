import CLinux
import Engine
import Telemetry

/// An accepted connection whose filter chain is not chosen yet: the listener's filters look at what
/// the client says first. They peek, so that whoever gets the connection finds everything still in
/// the socket.
struct PendingConnection: ~Copyable, Pooled {
  var generation: UInt32 = 0
  var nextFree: Ref<Self>?

  var fd: Int32 = -1
  var registration: UInt32?
  var listener: Ref<ActiveListener>?
  var facts = ConnectionFacts(local: SocketAddress(), remote: SocketAddress())
  /// The filter whose turn it is.
  var filter = 0
  var timer = TimerID.none
}

extension Ref where Value == PendingConnection {
  private var listener: Ref<ActiveListener> {
    guard let listener = value.listener else {
      preconditionFailure("a pending connection has a listener")
    }
    return listener
  }

  private var config: Ref<ListenerConfig> { listener.value.config }
  private var worker: Ref<Worker> { listener.value.worker }
  private var loop: EventLoop { worker.value.loop }
  private var stats: WorkerStats { worker.value.stats }

  /// Takes over an accepted socket.
  func open(_ fd: Int32, on listener: Ref<ActiveListener>, facts: ConnectionFacts) {
    value.fd = fd
    listener.hold()
    value.listener = listener
    value.facts = facts
    value.filter = 0
    stats.gaugeAdd(config.value.stats.value.pendingActive, 1)
    guard !runWithoutBytes() else { return finish() }
    value.registration = unsafe loop.register(fd, events: FL_EPOLL_STREAM, context: raw) {
      raw, flags in
      unsafe Ref<PendingConnection>(raw: raw).ready(hungUp: flags & FL_EPOLLHANGUP != 0)
    }
    guard value.registration != nil else { return close() }
    let limit = config.value.filtersTimeout
    guard limit > 0 else { return }
    value.timer = unsafe loop.after(milliseconds: limit, context: raw) { raw, _ in
      unsafe Ref<PendingConnection>(raw: raw).timedOut()
    }
  }

  /// Lets the filters that need no bytes have their turn; true when no other is left.
  private func runWithoutBytes() -> Bool {
    let filters = config.value.filters
    while value.filter < filters.count, filters[value.filter].needsNoBytes {
      restoreDestination()
      value.filter += 1
    }
    return value.filter == filters.count
  }

  private func restoreDestination() {
    guard let original = ListenSocket.originalDestination(of: value.fd, value.facts.local) else {
      return
    }
    value.facts.restore(original)
  }

  private func ready(hungUp: Bool) {
    let filters = config.value.filters
    let scratch = unsafe loop.state.value.receiveScratch
    while value.filter < filters.count {
      let n = unsafe fl_peek(value.fd, scratch, EventLoop.scratchBytes)
      guard n > 0 else {
        if n == -Int(EAGAIN) { return }
        stats.add(
          n == 0 ? config.value.stats.value.filterRemoteClose : config.value.stats.value.filterError
        )
        return close()
      }
      let bytes = unsafe Bytes(base: UnsafePointer(scratch), count: n)
      switch filters[value.filter].look(at: bytes, facts: &value.facts, stats: stats) {
      case .needsMore:
        // Nothing more will come.
        guard hungUp || n == EventLoop.scratchBytes else { return }
        stats.add(config.value.stats.value.filterRemoteClose)
        return close()
      case .close: return close()
      case .pass(let taken):
        if taken > 0 { _ = unsafe fl_recv(value.fd, scratch, min(taken, n)) }
        value.filter += 1
        if runWithoutBytes() { return finish() }
      }
    }
  }

  private func timedOut() {
    value.timer = .none
    stats.add(config.value.stats.value.pendingTimeout)
    if config.value.continuesOnTimeout { finish() } else { close() }
  }

  /// Every filter has had its turn: the connection goes to its chain.
  private func finish() {
    let fd = value.fd
    let listener = self.listener
    let facts = value.facts
    if let registration = value.registration { loop.release(registration) }
    // Between the two it must not seem to be unused.
    listener.hold()
    leave()
    listener.dispatch(fd, facts)
    listener.letGo()
  }

  private func close() {
    if let registration = value.registration { loop.unregister(registration) }
    _ = CLinux.close(value.fd)
    listener.leave()
    leave()
  }

  private func leave() {
    stats.gaugeAdd(config.value.stats.value.pendingActive, -1)
    loop.cancel(value.timer)
    value.timer = .none
    value.registration = nil
    value.fd = -1
    value.facts.told = nil
    let listener = self.listener
    worker.value.pendings.release(self)
    listener.letGo()
  }
}
