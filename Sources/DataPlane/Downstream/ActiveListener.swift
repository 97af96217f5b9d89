import CLinux
import Engine
import Telemetry
import Upstream

/// A listener's configuration, compiled.
struct ListenerConfig {
  let name: Bytes
  let address: SocketAddress
  /// Bound to every address of the machine: a connection's own end has to be asked for.
  let isWildcard: Bool
  let options: ListenSocket.Options
  let bufferLimit: Int
  let manager: Ref<ConnectionManager>
  let stats: Ref<ListenerStats>
  /// They tell of connections; the connection manager's of requests.
  let accessLogs: Table<Ref<AccessLog>>
}

/// `listener.<address>.…`, with the part for each connection manager's prefix.
struct ListenerStats {
  let cxTotal: CounterID
  let cxActive: GaugeID
  let cxDestroy: CounterID
  let cxLength: HistogramID
  let cxOverflow: CounterID
  let rqCompleted: CounterID
  let rqClasses: InlineArray<5, CounterID>

  init(scope name: String, managerPrefix: String, in store: StatsStore) {
    let scope = "listener.\(name)."
    cxTotal = store.counter(scope + "downstream_cx_total")
    cxActive = store.gauge(scope + "downstream_cx_active")
    cxDestroy = store.counter(scope + "downstream_cx_destroy")
    cxLength = store.histogram(scope + "downstream_cx_length_ms")
    cxOverflow = store.counter(scope + "downstream_cx_overflow")
    let http = "\(scope)http.\(managerPrefix)."
    rqCompleted = store.counter(http + "downstream_rq_completed")
    rqClasses = InlineArray { store.counter(http + "downstream_rq_\($0 + 1)xx") }
  }
}

/// A listener on one worker: accepts, and counts what it accepted.
@safe
struct ActiveListener {
  let config: Ref<ListenerConfig>
  let worker: Ref<Worker>
  /// -1 once it has stopped accepting.
  var fd: Int32
  var registration: UInt32?
  /// Connections taken in one wake-up: the others of this worker get their turn in between.
  static let acceptsPerTurn = 64
  /// How long to wait before accepting is tried again after it has failed.
  static let restMilliseconds: UInt64 = 50

  init(config: Ref<ListenerConfig>, worker: Ref<Worker>, fd: Int32) {
    self.config = config
    self.worker = worker
    self.fd = fd
  }
}

extension Ref where Value == ActiveListener {
  /// Begins to accept.
  func start() {
    let events =
      value.config.value.address.isUnix ? FL_EPOLL_LISTEN_EXCLUSIVE : FL_EPOLL_LISTEN
    value.registration = unsafe value.worker.value.loop.register(
      value.fd, events: events, context: raw
    ) { raw, _ in unsafe Ref<ActiveListener>(raw: raw).acceptAll() }
  }

  /// Stops accepting; what was accepted goes on.
  func stop() {
    if let registration = value.registration {
      value.worker.value.loop.unregister(registration)
      value.registration = nil
    }
    if value.fd >= 0 { _ = CLinux.close(value.fd) }
    value.fd = -1
  }

  private func acceptAll() {
    let worker = value.worker
    var left = ActiveListener.acceptsPerTurn
    while left > 0, value.fd >= 0 {
      var peer = SocketAddress()
      let fd = ListenSocket.accept(value.fd, peer: &peer)
      if fd == -ECONNABORTED || fd == -EINTR { continue }
      guard fd >= 0 else {
        if fd != -EAGAIN { rest() }
        return
      }
      let downstream = worker.value.downstreams.take()
      if !downstream.open(fd, on: worker, listener: self, remote: peer) {
        _ = CLinux.close(fd)
        worker.value.downstreams.release(downstream)
      }
      left -= 1
    }
  }

  /// Out of descriptors or memory: connections wait in the backlog. Since that keeps the socket
  /// readable, it is not watched for a while.
  private func rest() {
    guard let registration = value.registration else { return }
    value.worker.value.loop.release(registration)
    value.registration = nil
    _ = unsafe value.worker.value.loop.after(
      milliseconds: ActiveListener.restMilliseconds, context: raw
    ) { raw, _ in
      let listener = unsafe Ref<ActiveListener>(raw: raw)
      if listener.value.fd >= 0 { listener.start() }
    }
  }

  // MARK: Counting

  private var stats: WorkerStats { value.worker.value.stats }
  private var manager: Ref<ConnectionManagerStats> {
    value.config.value.manager.value.stats
  }

  func count(opened downstream: Ref<DownstreamConnection>) {
    stats.add(value.config.value.stats.value.cxTotal)
    stats.gaugeAdd(value.config.value.stats.value.cxActive, 1)
    stats.add(manager.value.cxTotal)
    stats.gaugeAdd(manager.value.cxActive, 1)
    stats.gaugeAdd(manager.value.cxHTTP1Active, 1)
    value.worker.value.link(downstream)
  }

  /// What it speaks is known with its first byte.
  func countProtocol() { stats.add(manager.value.cxHTTP1Total) }

  func count(closed downstream: Ref<DownstreamConnection>) {
    let lifetime = (value.worker.value.loop.now &- downstream.value.openedAt) / 1_000_000
    stats.add(value.config.value.stats.value.cxDestroy)
    stats.gaugeAdd(value.config.value.stats.value.cxActive, -1)
    stats.record(value.config.value.stats.value.cxLength, lifetime)
    stats.gaugeAdd(manager.value.cxActive, -1)
    stats.gaugeAdd(manager.value.cxHTTP1Active, -1)
    stats.add(manager.value.cxDestroy)
    stats.add(
      downstream.value.endOfInput || downstream.value.leftDuringRequest
        ? manager.value.cxDestroyRemote : manager.value.cxDestroyLocal)
    if downstream.value.leftDuringRequest {
      stats.add(manager.value.cxDestroyActive)
      stats.add(manager.value.cxDestroyRemoteActive)
    }
    stats.record(manager.value.cxLength, lifetime)
    stats.add(manager.value.cxReceivedBytes, downstream.value.connection.bytesRead)
    stats.add(manager.value.cxSentBytes, downstream.value.connection.bytesWritten)
    value.worker.value.unlink(downstream)
  }

  func countIdleTimeout(_ downstream: Ref<DownstreamConnection>) {
    stats.add(manager.value.cxIdleTimeout)
  }

  func countMaxDuration(_ downstream: Ref<DownstreamConnection>) {
    stats.add(manager.value.cxMaxDuration)
  }

  func countDelayedCloseTimeout(_ downstream: Ref<DownstreamConnection>) {
    stats.add(manager.value.cxDelayedClose)
  }
}
