import CLinux
import Engine
import Telemetry

/// A listener on one worker: accepts, and finds out who serves what it accepted.
@safe
struct ActiveListener {
  let config: Ref<ListenerConfig>
  let worker: Ref<Worker>
  /// -1 once it has stopped accepting, and where it takes only what others hand to it.
  var fd: Int32
  var registration: UInt32?
  /// Clients are told to go, by every answer.
  var isDraining = false
  /// Connections and timers that refer to it.
  var users = 0
  /// It was replaced or removed: to be called when there is none any more.
  var whenGone: (@Sendable () -> Void)?
  /// How long to wait before accepting is tried again after it has failed.
  static let restMilliseconds: UInt64 = 50
  /// How long connections whose handshake has begun have to arrive before the socket is closed.
  static let lastCallMilliseconds: UInt64 = 20

  init(config: Ref<ListenerConfig>, worker: Ref<Worker>, fd: Int32) {
    self.config = config
    self.worker = worker
    self.fd = fd
  }
}

extension Ref where Value == ActiveListener {
  /// Begins to accept.
  func start() {
    guard value.fd >= 0, value.registration == nil,
      !value.worker.value.overload.isFull(.stopAcceptingConnections)
    else { return }
    let events =
      value.config.value.address.isUnix ? FL_EPOLL_LISTEN_EXCLUSIVE : FL_EPOLL_LISTEN
    value.registration = unsafe value.worker.value.loop.register(
      value.fd, events: events, context: raw
    ) { raw, _ in unsafe _ = Ref<ActiveListener>(raw: raw).acceptAll() }
  }

  /// Accepts nothing for a while; connections wait in the backlog.
  func suspend() {
    guard let registration = value.registration else { return }
    value.worker.value.loop.release(registration)
    value.registration = nil
  }

  /// Stops accepting, without cutting anybody off: closing the socket resets connections that nobody
  /// has accepted yet. So new ones are turned away first: a client that hears nothing asks again, and
  /// meets whoever listens by then. A moment later, when what was under way has arrived, it is closed.
  func stop() {
    guard value.fd >= 0 else { return }
    if !value.config.value.address.isUnix { fl_ignore_new_connections(value.fd) }
    acceptAll()
    hold()
    _ = unsafe value.worker.value.loop.after(
      milliseconds: ActiveListener.lastCallMilliseconds, context: raw
    ) { raw, _ in
      let listener = unsafe Ref<ActiveListener>(raw: raw)
      listener.close()
      listener.letGo()
    }
  }

  private func close() {
    // It ends: nothing new joins the queue.
    while value.fd >= 0, !acceptAll() {}
    if let registration = value.registration {
      value.worker.value.loop.unregister(registration)
      value.registration = nil
    }
    guard value.fd >= 0 else { return }
    _ = CLinux.close(value.fd)
    value.fd = -1
    value.worker.value.countListening(-1)
  }

  /// Takes what waits, up to the number for one turn. False when there may be more.
  @discardableResult
  private func acceptAll() -> Bool {
    let worker = value.worker
    let config = value.config
    var left = config.value.acceptsPerTurn
    while left > 0, value.fd >= 0 {
      var peer = SocketAddress()
      let fd = ListenSocket.accept(value.fd, peer: &peer)
      if fd == -ECONNABORTED || fd == -EINTR { continue }
      guard fd >= 0 else {
        if fd != -EAGAIN { rest() }
        return true
      }
      left -= 1
      guard admit() else {
        _ = CLinux.close(fd)
        continue
      }
      let local =
        config.value.isWildcard ? ListenSocket.localAddress(of: fd) : config.value.address
      receive(fd, ConnectionFacts(local: local, remote: peer), on: worker)
    }
    return false
  }

  /// Whether there is a place for one more connection, in the process and in this listener; `leave`
  /// gives it back.
  private func admit() -> Bool {
    let counters = value.config.value.stats
    let global = globalBound
    if let global, !global.enter() {
      stats.add(counters.value.cxGlobalOverflow)
      return false
    }
    let worker = value.worker
    let isRejected = worker.value.overload.strikes(
      .rejectConnections, &worker.value.loop.state.value.random)
    guard !isRejected, value.config.value.bound.enter() else {
      stats.add(isRejected ? counters.value.cxOverloadReject : counters.value.cxOverflow)
      global?.leave()
      return false
    }
    return true
  }

  private var globalBound: ConnectionBound? {
    value.config.value.ignoresGlobalBound ? nil : value.worker.value.shared.value.bound
  }

  /// A connection that was admitted is closed.
  func leave() {
    value.config.value.bound.leave()
    globalBound?.leave()
  }

  /// A connection that another listener has admitted comes here.
  private func enter() {
    value.config.value.bound.enterAnyway()
    globalBound?.enterAnyway()
  }

  /// A connection has come: the listener's filters look at it, or its chain is chosen at once.
  private func receive(_ fd: Int32, _ facts: ConnectionFacts, on worker: Ref<Worker>) {
    guard !value.config.value.decidesAtOnce else { return dispatch(fd, facts) }
    worker.value.pendings.take().open(fd, on: self, facts: facts)
  }

  /// Hands a connection of which everything is known to its chain, or to the listener for the
  /// address that it was meant for.
  func dispatch(_ fd: Int32, _ facts: ConnectionFacts) {
    let worker = value.worker
    if facts.mayMove, value.config.value.usesOriginalDestination,
      let other = worker.value.listener(for: facts.local), other != self
    {
      var facts = facts
      facts.settle()
      leave()
      other.enter()
      return other.receive(fd, facts, on: worker)
    }
    guard let chain = value.config.value.chains.find(facts) else {
      stats.add(value.config.value.stats.value.noChain)
      let loop = worker.value.loop
      value.config.value.accessLogs.write(
        UnmatchedConnectionLogSource(facts: facts, loop: loop), on: worker)
      _ = CLinux.close(fd)
      leave()
      return
    }
    let refusal = chain.value.filters.refuse(stats, now: worker.value.loop.now)
    switch chain.value.terminal {
    case .tcp(let proxy):
      let session = worker.value.tcpSessions.take()
      guard
        !session.open(
          fd, on: worker, listener: self, chain: chain, proxy: proxy, facts: facts,
          refusal: refusal)
      else { return }
      worker.value.tcpSessions.release(session)
      giveUp(fd, refusal == nil ? chain : nil)
    case _ where refusal != nil: serve(fd, as: .waits, chain: chain, facts, refusal: refusal)
    case .http(let terminal):
      let downstream = worker.value.downstreams.take()
      guard
        !downstream.open(
          fd, on: worker, listener: self, chain: chain, terminal: terminal, facts: facts)
      else {
        if let security = chain.value.security { downstream.secure(security) }
        return
      }
      worker.value.downstreams.release(downstream)
      giveUp(fd, chain)
    case .echo: serve(fd, as: .echoes, chain: chain, facts)
    case .directResponse(let text): serve(fd, as: .says(text), chain: chain, facts)
    }
  }

  private func serve(
    _ fd: Int32, as kind: PlainConnection.Kind, chain: Ref<NetworkChain>,
    _ facts: borrowing ConnectionFacts, refusal: NetworkFilter.Refusal? = nil
  ) {
    let plain = value.worker.value.plains.take()
    guard
      !plain.open(
        fd, on: value.worker, listener: self, chain: chain, kind: kind, facts: facts,
        refusal: refusal)
    else { return }
    value.worker.value.plains.release(plain)
    giveUp(fd, refusal == nil ? chain : nil)
  }

  /// The loop cannot watch the socket.
  private func giveUp(_ fd: Int32, _ chain: Ref<NetworkChain>?) {
    if let chain { chain.value.filters.release(stats) }
    _ = CLinux.close(fd)
    leave()
  }

  /// Out of descriptors or memory: connections wait in the backlog. Since that keeps the socket
  /// readable, it is not watched for a while.
  private func rest() {
    guard value.registration != nil else { return }
    suspend()
    hold()
    _ = unsafe value.worker.value.loop.after(
      milliseconds: ActiveListener.restMilliseconds, context: raw
    ) { raw, _ in
      let listener = unsafe Ref<ActiveListener>(raw: raw)
      if listener.value.fd >= 0, listener.value.registration == nil { listener.start() }
      listener.letGo()
    }
  }

  // MARK: Counting

  private var stats: WorkerStats { value.worker.value.stats }

  /// A connection has reached its chain.
  func countOpened() {
    stats.add(value.config.value.stats.value.cxTotal)
    stats.gaugeAdd(value.config.value.stats.value.cxActive, 1)
  }

  func countHandshakeTimeout() {
    stats.add(value.config.value.stats.value.handshakeTimeout)
  }

  /// A handshake has failed, and there is nobody to talk to.
  func tellHandshakeFailed(with client: SocketAddress, _ reason: String) {
    ProcessLog.shared.debug(
      .connection,
      "TLS handshake of \(client.description) with listener "
        + "'\(value.config.value.name.string)' failed: \(reason)")
  }

  /// - Parameter lifetime: milliseconds.
  func countClosed(lifetime: UInt64) {
    leave()
    stats.add(value.config.value.stats.value.cxDestroy)
    stats.gaugeAdd(value.config.value.stats.value.cxActive, -1)
    stats.record(value.config.value.stats.value.cxLength, lifetime)
  }
}
