import CLinux
import Engine
import Inspection
import Telemetry
import Upstream

/// A client's connection whose bytes go to an upstream as they come, and back. Its life is told in the
/// order in which it happens: `open`, a cluster and an endpoint, the connection, then
/// `TCPSession+Relay`, and `TCPSession+End`.
struct TCPSession: ~Copyable, Pooled {
  enum Phase: UInt8 {
    /// The client's TLS handshake: whoever may not speak here reaches no upstream.
    case shakingHands
    case connecting
    case relaying
    /// The client is gone; what it said last is still on its way to the upstream.
    case flushing
    case over
  }

  /// Must stay first: a handle to it is a handle to the whole.
  var downstream = Connection()
  var upstream = Connection()
  var generation: UInt32 = 0
  var nextFree: Ref<Self>?

  var worker: Ref<Worker>?
  var listener: Ref<ActiveListener>?
  var chain: Ref<NetworkChain>?
  var proxy: Ref<TCPProxy>?
  /// How a filter in front has turned it away.
  var refusal: NetworkFilter.Refusal?
  var remote = SocketAddress()
  var directRemote = SocketAddress()
  var local = SocketAddress()
  /// It was redirected to us, or a proxy in front of us says so: `local` is not our own address.
  var isRestored = false
  var serverName = ClientHello.Text()
  /// What a proxy in front of us told besides addresses.
  var told: ConnectionTLVs?
  var access = ConnectionAccess()
  var id: UInt64 = 0
  /// What `%STREAM_ID%` shows.
  var uuid: RandomUUID?
  var openedAt: UInt64 = 0
  var lastActivity: UInt64 = 0

  /// The configuration that it began with, held to its end.
  var snapshot: Ref<Snapshot>?
  var phase = Phase.connecting
  var cluster: Ref<ClusterView>?
  /// Pinned for as long as the session speaks of it.
  var host: Ref<Host>?
  var hostAddress = SocketAddress()
  /// The number of the TLS configuration for its connections.
  var security: Int32 = -1
  var attempts: UInt32 = 0
  var connectStartedAt: UInt64 = 0
  var upstreamID: UInt64 = 0
  var upstreamLocal = SocketAddress()
  /// The client's TLS; freed by the engine when its connection is closed.
  var downstreamSecured: SecureHandle?
  /// What logs show of it, once it is gone.
  var downstreamFacts: TLSFacts?
  /// Why the handshake failed, as a number of the worker's.
  var handshakeError: Int32 = 0
  /// The upstream's TLS; freed by the engine when its connection is closed.
  var upstreamSecured: SecureHandle?
  /// The cluster's circuit breaker counts the connection.
  var holdsConnection = false
  var connectError: Int32 = 0
  var flags = ResponseFlags()
  /// Why we have ended it.
  var closeReason: LocalCloseReason?
  /// What `%DOWNSTREAM_DETECTED_CLOSE_TYPE%` shows.
  var closeType: StaticString = "Normal"

  /// Runs while a connection, or the client's handshake, is awaited.
  var connectTimer = TimerID.none
  var idleTimer = TimerID.none
  var durationTimer = TimerID.none
  /// That side has said everything.
  var downstreamEnded = false
  var upstreamEnded = false
  /// That side is not read, because the other does not take what it said.
  var downstreamPaused = false
  var upstreamPaused = false
  /// That side says more at once than one read takes.
  var downstreamIsBulk = false
  var upstreamIsBulk = false
  /// The upstream, and not we, brought its connection to an end.
  var upstreamEndedIt = false
}

extension Ref where Value == TCPSession {
  /// SAFETY: `downstream` is the first stored property.
  var downstream: Ref<Connection> { unsafe Ref<Connection>(raw: raw) }

  /// SAFETY: a slot never moves, so that a stored property of it has one address.
  var upstream: Ref<Connection> {
    unsafe withUnsafeMutablePointer(to: &value.upstream) { unsafe Ref<Connection>($0) }
  }

  var worker: Ref<Worker> {
    guard let worker = value.worker else { preconditionFailure("an open session has a worker") }
    return worker
  }

  var proxy: Ref<TCPProxy> {
    guard let proxy = value.proxy else { preconditionFailure("an open session has a proxy") }
    return proxy
  }

  var loop: EventLoop { worker.value.loop }
  var stats: WorkerStats { worker.value.stats }

  // MARK: The client

  /// Takes over an accepted socket. False when the loop cannot watch it.
  /// - Parameter refusal: how a filter in front has turned the connection away, if one has.
  func open(
    _ fd: Int32, on worker: Ref<Worker>, listener: Ref<ActiveListener>, chain: Ref<NetworkChain>,
    proxy: Ref<TCPProxy>, facts: borrowing ConnectionFacts, refusal: NetworkFilter.Refusal?
  ) -> Bool {
    guard
      unsafe downstream.open(fd, on: worker.value.loop, events: Self.downstreamEvents, owner: raw)
    else { return false }
    value.worker = worker
    listener.hold()
    value.listener = listener
    value.chain = chain
    value.proxy = proxy
    value.refusal = refusal
    value.access.phase = chain.value.filters.beginning
    value.remote = facts.remote
    value.directRemote = facts.directRemote
    value.local = facts.local
    value.isRestored = facts.isRestored
    value.told = facts.told
    if let hello = facts.hello { value.serverName = hello.serverName }
    value.downstream.highWatermark = listener.value.config.value.bufferLimit
    value.id = worker.value.nextConnectionID()
    value.uuid = RandomUUID(from: &loop.state.value.random)
    value.openedAt = loop.now
    value.lastActivity = loop.now
    countOpened()
    startTimers()
    // Nothing is read before somebody is there to take it.
    downstream.pauseReading()
    if let refusal {
      refuse(refusal)
    } else if let security = chain.value.security {
      secureDownstream(security)
    } else {
      chooseCluster()
    }
    return true
  }

  private func refuse(_ refusal: NetworkFilter.Refusal) {
    value.flags.formUnion(refusal.flags)
    guard refusal.delay > 0 else { return closeLater() }
    value.connectTimer = unsafe loop.after(milliseconds: refusal.delay, context: raw) { raw, _ in
      let session = unsafe Ref<TCPSession>(raw: raw)
      session.value.connectTimer = .none
      session.close()
    }
  }

  /// Puts TLS in between; the upstream's turn comes after the handshake.
  private func secureDownstream(_ security: ChainSecurity) {
    value.phase = .shakingHands
    let place = worker.value.tls.places[security.place]
    guard let secured = SecureHandle.server(place, fd: value.downstream.fd) else {
      return closeLater()
    }
    unsafe downstream.secure(SecureConnection.transport, context: secured.raw)
    value.downstreamSecured = secured
    guard security.handshakeLimit > 0 else { return }
    value.connectTimer = unsafe loop.after(
      milliseconds: security.handshakeLimit, context: raw
    ) { raw, _ in
      let session = unsafe Ref<TCPSession>(raw: raw)
      session.value.connectTimer = .none
      session.value.listener?.countHandshakeTimeout()
      session.value.closeReason = .handshakeTimeout
      session.close()
    }
  }

  private func handshakeEnded(_ error: Int32) {
    loop.cancel(value.connectTimer)
    value.connectTimer = .none
    guard error == 0 else {
      let reason = value.downstreamSecured?.failureText ?? ""
      value.handshakeError = worker.value.tls.errorNumber(for: reason)
      value.listener?.tellHandshakeFailed(with: value.directRemote, reason)
      return close()
    }
    value.phase = .connecting
    chooseCluster()
  }

  private func startTimers() {
    armIdleTimer()
    let limit = proxy.value.maxDuration
    guard limit > 0 else { return }
    value.durationTimer = unsafe loop.after(milliseconds: limit, context: raw) { raw, _ in
      let session = unsafe Ref<TCPSession>(raw: raw)
      session.value.durationTimer = .none
      session.stats.add(session.proxy.value.stats.value.maxDuration)
      session.value.flags.insert(.durationTimeout)
      session.value.closeReason = .sessionMaxDuration
      session.close()
    }
  }

  /// One timer for the session's life, looked at when it fires: bytes do not touch it.
  private func armIdleTimer() {
    let limit = proxy.value.idleTimeout
    guard limit > 0 else { return }
    let idle = (loop.now &- value.lastActivity) / 1_000_000
    value.idleTimer = unsafe loop.after(
      milliseconds: idle < limit ? limit - idle : 1, context: raw
    ) { raw, _ in
      let session = unsafe Ref<TCPSession>(raw: raw)
      session.value.idleTimer = .none
      session.checkIdle()
    }
  }

  private func checkIdle() {
    guard (loop.now &- value.lastActivity) / 1_000_000 >= proxy.value.idleTimeout else {
      return armIdleTimer()
    }
    stats.add(proxy.value.stats.value.idleTimeout)
    value.closeReason = .sessionIdle
    close()
  }

  // MARK: The upstream

  private func chooseCluster() {
    let snapshot = worker.holdSnapshot()
    value.snapshot = snapshot
    let named = value.serverName.withBytes { name in
      proxy.value.takesClusterFromServerName && !name.isEmpty
        ? snapshot.value.cluster(named: name) : nil
    }
    let isNamed = proxy.value.takesClusterFromServerName && value.serverName.count > 0
    let random = loop.state.value.random.next()
    value.cluster =
      isNamed ? named : snapshot.value.cluster(named: proxy.value.cluster(random: random))
    guard value.cluster != nil else {
      stats.add(proxy.value.stats.value.cxNoRoute)
      value.flags.insert(.noClusterFound)
      value.closeReason = .noCluster
      return closeLater()
    }
    connect()
  }

  /// Picks an endpoint and begins to connect to it.
  private func connect() {
    guard let cluster = value.cluster else { return }
    let breaker = cluster.value.breakers.value[.normal]
    guard breaker.admitConnection() else {
      stats.add(cluster.value.stats.value.connections.overflow)
      value.flags.insert(.upstreamOverflow)
      value.closeReason = .overflow
      return closeLater()
    }
    value.holdsConnection = true
    guard let entry = chooseHost(of: cluster) else {
      releaseBreaker()
      value.flags.insert(.noHealthyUpstream)
      value.closeReason = .noHealthyUpstream
      return closeLater()
    }
    value.attempts += 1
    adoptHost(entry, of: cluster)
    value.connectStartedAt = loop.now
    value.upstreamID = worker.value.nextConnectionID()
    countConnecting()
    startConnecting(cluster)
  }

  private func chooseHost(of cluster: Ref<ClusterView>) -> HostEntry? {
    guard cluster.value.config.value.destination == nil else {
      return cluster.value.entry(
        at: value.isRestored ? value.local : nil, random: &loop.state.value.random)
    }
    return cluster.value.pick(random: &loop.state.value.random).map {
      cluster.value.hosts.value.hosts[$0.index]
    }
  }

  private func adoptHost(_ entry: HostEntry, of cluster: Ref<ClusterView>) {
    releaseHost()
    entry.host.value.pin(worker: worker.value.index)
    value.host = entry.host
    value.hostAddress = entry.addresses[0]
    value.security = cluster.value.config.value.security(of: entry.endpoint)
  }

  private func startConnecting(_ cluster: Ref<ClusterView>) {
    let address = value.hostAddress
    let config = cluster.value.config
    var error = unsafe upstream.connect(
      to: address, from: config.value.source, on: loop, events: Self.upstreamEvents, owner: raw)
    if error < 0 {
      stats.add(cluster.value.stats.value.bindErrors)
      error = -error
    }
    if error == 0, !secureUpstream(value.security) {
      upstream.close(on: loop, reset: true)
      error = worker.value.tls.refusal(ofCluster: value.security)
    }
    guard error == 0 else {
      // Told later, so that whoever opened the session finds it as it was.
      return unsafe loop.later(
        context: raw, tag: UInt64(UInt32(bitPattern: error))
      ) { raw, tag in
        let session = unsafe Ref<TCPSession>(raw: raw)
        guard session.value.phase == .connecting else { return }
        session.connectFailed(Int32(bitPattern: UInt32(truncatingIfNeeded: tag)))
      }
    }
    value.upstream.highWatermark = config.value.connectionBufferLimit
    value.upstream.tally = stats.tally(of: cluster)
    if let keepalive = config.value.keepalive, !address.isUnix {
      upstream.keepAlive(
        probes: keepalive.probes, idleSeconds: keepalive.time, intervalSeconds: keepalive.interval)
    }
    value.connectTimer = unsafe loop.after(
      milliseconds: config.value.connectTimeout, context: raw
    ) { raw, _ in
      let session = unsafe Ref<TCPSession>(raw: raw)
      session.value.connectTimer = .none
      session.connectFailed(ETIMEDOUT)
    }
  }

  /// Puts TLS in between, where the cluster speaks it. False when there is no memory for it.
  private func secureUpstream(_ security: Int32) -> Bool {
    value.upstreamSecured = nil
    guard let place = worker.value.tls.place(ofCluster: security) else { return true }
    let hostname = value.host?.value.hostname ?? .empty
    guard
      let secured = SecureHandle.client(
        place, fd: value.upstream.fd, hostname: hostname, prelude: announcement)
    else { return false }
    unsafe upstream.secure(SecureConnection.transport, context: secured.raw)
    value.upstreamSecured = secured
    return true
  }

  private func connected(_ error: Int32) {
    guard error == 0 else {
      let reason = value.upstreamSecured?.failureText ?? ""
      return connectFailed(
        reason.isEmpty ? error : worker.value.tls.errorNumber(for: reason))
    }
    loop.cancel(value.connectTimer)
    value.connectTimer = .none
    value.upstreamLocal = ListenSocket.localAddress(of: value.upstream.fd)
    value.phase = .relaying
    value.lastActivity = loop.now
    countConnected()
    if value.upstreamSecured == nil { upstream.write(announcement, on: loop) }
    downstream.resumeReading(on: loop)
  }

  /// What the endpoint is told of the client, in front of everything.
  private var announcement: [UInt8] {
    let client = AnnouncedClient(remote: value.remote, local: value.local, told: value.told)
    return value.cluster?.announcement(of: client, stats) ?? []
  }

  /// This endpoint cannot be reached: another attempt, or the end.
  private func connectFailed(_ error: Int32) {
    guard let cluster = value.cluster else { return }
    loop.cancel(value.connectTimer)
    value.connectTimer = .none
    value.connectError = error
    countConnectFailed(timedOut: error == ETIMEDOUT)
    upstream.close(on: loop)
    value.upstreamSecured = nil
    releaseBreaker()
    value.flags.insert(.upstreamConnectionFailure)
    guard value.attempts < proxy.value.maxConnectAttempts else {
      stats.add(cluster.value.stats.value.connections.connectAttemptsExceeded)
      value.flags.formUnion([.upstreamRetryLimitExceeded, .retriesSpentLast])
      value.closeReason = .connectFailed
      return close()
    }
    connect()
  }

  // MARK: Events

  nonisolated(unsafe) private static let downstreamEvents = Ref<ConnectionEvents>.immortal(
    unsafe ConnectionEvents(
      readable: { unsafe Ref<TCPSession>(raw: $0).readable(.downstream) },
      drained: { unsafe Ref<TCPSession>(raw: $0).drained(.downstream) },
      connected: { unsafe Ref<TCPSession>(raw: $0).handshakeEnded($1) },
      hungUp: { unsafe Ref<TCPSession>(raw: $0).hungUp(.downstream) }))

  nonisolated(unsafe) private static let upstreamEvents = Ref<ConnectionEvents>.immortal(
    unsafe ConnectionEvents(
      readable: { unsafe Ref<TCPSession>(raw: $0).readable(.upstream) },
      drained: { unsafe Ref<TCPSession>(raw: $0).drained(.upstream) },
      connected: { unsafe Ref<TCPSession>(raw: $0).connected($1) },
      hungUp: { unsafe Ref<TCPSession>(raw: $0).hungUp(.upstream) }))
}
