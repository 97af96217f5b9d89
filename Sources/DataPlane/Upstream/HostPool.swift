import CLinux
import Engine
import HTTPCodec
import HTTPModel
import Telemetry
import Upstream

/// What one worker keeps for one host: its idle connections, the last used first, and the requests
/// that wait for one. A cluster whose requests say whom TLS asks for, or what is spoken, has a pool for
/// each; one whose connections say whom they are for, a pool for each client's connection
/// (`HostPools.swift`).
@safe
struct HostPool: ~Copyable {
  let worker: Ref<Worker>
  let cluster: Ref<ClusterView>
  let host: Ref<Host>
  /// What its connections speak; what the client speaks stands for itself here.
  let speaks: UpstreamProtocol
  /// Connections are HTTP/2's, each of which carries many requests; where TLS agrees upon it, as far as
  /// is known.
  fileprivate var isHTTP2: Bool
  /// What all its requests say of TLS; the pool's own copy.
  let asked: RequestedName
  // SAFETY: what `asked` looks at; freed with the pool.
  private let askedMemory: UnsafeMutablePointer<UInt8>?
  /// The client's connection whose requests alone it carries; nil when it carries any, or that is gone.
  fileprivate(set) var client: Downstream?
  /// What its connections say first.
  let announcement: [UInt8]
  /// The next pool of the same client.
  var nextOfClient: Ref<HostPool>?
  /// The host's next pool, used less recently.
  var next: Ref<HostPool>?
  /// It is among the host's pools; one that is not is used up and then freed.
  var isListed = true
  /// Where to connect: more than one for a name with several addresses.
  // SAFETY: holds `capacity` addresses and is indexed below `addressCount`, which is at most that.
  private let addresses: UnsafeMutablePointer<SocketAddress>
  private static let capacity = 8
  private var addressCount = 0
  /// The number of the TLS configuration for new connections.
  private(set) var security: Int32 = -1

  private(set) var idle: Ref<UpstreamConnection>?
  private(set) var connections = 0
  private(set) var connecting = 0
  private(set) var pendingHead: Ref<RequestStream>?
  private(set) var pendingTail: Ref<RequestStream>?
  private(set) var pending = 0
  /// The host has left its cluster: connections are closed as they fall idle, and then the pool is
  /// freed.
  fileprivate(set) var isLeaving = false
  /// A deferred call with this pool is on its way: it must still be there.
  fileprivate var isAwaited = false

  init(
    worker: Ref<Worker>, cluster: Ref<ClusterView>, host: Ref<Host>, entry: HostEntry,
    asked: RequestedName, speaks: UpstreamProtocol, client: Downstream?
  ) {
    self.client = client
    announcement = cluster.announcement(
      of: client?.announced ?? AnnouncedClient(), worker.value.stats)
    self.worker = worker
    self.cluster = cluster
    self.host = host
    self.speaks = speaks
    isHTTP2 = speaks.mayBeHTTP2
    unsafe addresses = .allocate(capacity: Self.capacity)
    unsafe addresses.initialize(repeating: SocketAddress(), count: Self.capacity)
    let copy = unsafe asked.copied()
    self.asked = unsafe copy.name
    unsafe askedMemory = unsafe copy.memory
    adopt(entry)
  }

  deinit {
    unsafe addresses.deallocate()
    unsafe askedMemory?.deallocate()
  }

  /// A request that says this, to be sent so, may use its connections.
  @inline(__always)
  func serves(_ asked: RequestedName, _ speaks: UpstreamProtocol, _ client: Downstream?) -> Bool {
    self.speaks == speaks && self.client == client && self.asked.isSame(as: asked)
  }

  /// There may be any number of such pools: it goes with its last connection.
  fileprivate var isPassing: Bool { asked.isGiven || client != nil }

  /// Takes over what a newer snapshot says: connections there are go on as they began.
  mutating func adopt(_ entry: HostEntry) {
    addressCount = min(entry.addresses.count, Self.capacity)
    security = cluster.value.config.value.security(of: entry.endpoint)
    for index in 0..<addressCount { unsafe addresses[index] = entry.addresses[index] }
  }

  fileprivate var address: SocketAddress { unsafe addresses[0] }

  /// Valid until the next snapshot.
  fileprivate var allAddresses: Table<SocketAddress> {
    unsafe Table(base: addresses, count: addressCount)
  }

  fileprivate mutating func pushIdle(_ upstream: Ref<UpstreamConnection>) {
    upstream.value.isListed = true
    upstream.value.nextIdle = idle
    idle?.value.previousIdle = upstream
    idle = upstream
  }

  fileprivate mutating func removeIdle(_ upstream: Ref<UpstreamConnection>) {
    upstream.value.isListed = false
    if let previous = upstream.value.previousIdle {
      previous.value.nextIdle = upstream.value.nextIdle
    } else {
      idle = upstream.value.nextIdle
    }
    upstream.value.nextIdle?.value.previousIdle = upstream.value.previousIdle
    upstream.value.nextIdle = nil
    upstream.value.previousIdle = nil
  }

  fileprivate mutating func pushPending(_ stream: Ref<RequestStream>) {
    stream.value.previousPending = pendingTail
    if let tail = pendingTail { tail.value.nextPending = stream } else { pendingHead = stream }
    pendingTail = stream
    pending += 1
  }

  fileprivate mutating func removePending(_ stream: Ref<RequestStream>) {
    if let previous = stream.value.previousPending {
      previous.value.nextPending = stream.value.nextPending
    } else {
      pendingHead = stream.value.nextPending
    }
    if let next = stream.value.nextPending {
      next.value.previousPending = stream.value.previousPending
    } else {
      pendingTail = stream.value.previousPending
    }
    stream.value.nextPending = nil
    stream.value.previousPending = nil
    pending -= 1
  }

  fileprivate mutating func countConnection(_ change: Int, connecting change2: Int) {
    connections += change
    connecting += change2
  }
}

extension Ref where Value == HostPool {
  private var cluster: Ref<ClusterView> { value.cluster }
  private var stats: WorkerStats { value.worker.value.stats }

  /// Finds a connection for a request: an idle one now, or a new one as soon as it is there.
  func acquire(for stream: Ref<RequestStream>) {
    while let upstream = value.idle {
      if upstream.hasRoom {
        _ = stream.upstreamReady(upstream)
        return
      }
      value.removeIdle(upstream)
      // An HTTP/2 peer that said goodbye a moment ago takes no more.
      guard upstream.value.session == nil else { continue }
      if !stream.upstreamReady(upstream) { becameIdle(upstream) }
      return
    }
    let breaker = cluster.value.breakers.value[stream.value.route.priority]
    guard breaker.admitPending() else {
      stats.add(cluster.value.stats.value.requests.pendingOverflow)
      // No endpoint had a part in it.
      stream.releaseHost()
      return stream.upstreamOverflowed()
    }
    stream.value.pendingPool = self
    stats.add(cluster.value.stats.value.requests.pendingTotal)
    stats.gaugeAdd(cluster.value.stats.value.requests.pendingActive, 1)
    value.pushPending(stream)
    connectIfNeeded()
  }

  /// The request no longer waits.
  func leave(_ stream: Ref<RequestStream>) {
    guard stream.value.pendingPool == self else { return }
    value.removePending(stream)
    stream.value.pendingPool = nil
    cluster.value.breakers.value[stream.value.route.priority].releasePending()
    stats.gaugeAdd(cluster.value.stats.value.requests.pendingActive, -1)
  }

  private func connectIfNeeded() {
    while needsConnection {
      // One connection per host is always allowed, or nothing would ever move (as in Envoy).
      let priority = value.pendingHead?.value.route.priority ?? .normal
      let breaker = cluster.value.breakers.value[priority]
      if !breaker.admitConnection() {
        stats.add(cluster.value.stats.value.connections.overflow)
        guard value.connections == 0 else { return }
        breaker.admitFirstConnection()
      }
      connect(priority: priority)
    }
  }

  /// More requests wait than the connections that are being made will carry.
  private var needsConnection: Bool {
    guard value.isHTTP2 else { return value.connecting < value.pending }
    let each = Int(clamping: cluster.value.config.value.http.http2.maxConcurrentStreams)
    return value.pending > 0 && value.connecting < (value.pending + each - 1) / max(each, 1)
  }

  private func connect(priority: RequestPriority) {
    let worker = value.worker
    value.countConnection(1, connecting: 1)
    stats.gaugeAdd(cluster.value.stats.value.connections.active, 1)
    value.host.value.add(.connectionsTotal, worker: worker.value.index)
    value.host.value.add(.connectionsActive, worker: worker.value.index)
    guard value.allAddresses.count < 2 else {
      return ConnectRace.start(to: value.allAddresses, for: self, priority: priority)
    }
    countAttempt(isFirst: true)
    let upstream = worker.value.upstreams.take()
    upstream.value.priority = priority
    let error = upstream.open(to: value.address, for: self, on: worker)
    guard error != 0 else { return }
    // What fails at once is told later, so that the caller's request is where it expects it.
    unsafe worker.value.loop.later(context: upstream.raw, tag: UInt64(UInt32(bitPattern: error))) {
      raw, tag in
      let upstream = unsafe UpstreamHandle(raw: raw)
      upstream.pool.connectEnded(
        upstream, error: Int32(bitPattern: UInt32(truncatingIfNeeded: tag)), timedOut: false)
    }
  }

  /// An attempt to connect begins; those after the first belong to the same connection.
  func countAttempt(isFirst: Bool) {
    stats.add(cluster.value.stats.value.connections.total)
    guard isFirst, value.speaks != .negotiated else { return }
    countProtocol()
  }

  private func countProtocol() {
    let ids = cluster.value.stats
    stats.add(
      value.isHTTP2 ? ids.value.connections.http2Total : ids.value.connections.http1Total)
  }

  /// A connection attempt has ended.
  func connectEnded(_ upstream: Ref<UpstreamConnection>, error: Int32, timedOut: Bool) {
    value.countConnection(0, connecting: -1)
    guard error == 0 else { return connectFailed(upstream, error: error, timedOut: timedOut) }
    upstream.value.phase = .idle
    upstream.value.idleSince = value.worker.value.loop.now
    let elapsed = (upstream.value.idleSince &- upstream.value.openedAt) / 1_000_000
    stats.record(cluster.value.stats.value.connections.connectTime, elapsed)
    if value.speaks == .negotiated {
      value.isHTTP2 = upstream.value.secured?.agreedOnHTTP2 ?? false
      countProtocol()
    }
    if value.isHTTP2, !upstream.startSession() { return upstream.close() }
    becameIdle(upstream)
    // One connection was thought to be enough for all who wait, and it is not.
    if value.speaks == .negotiated { connectIfNeeded() }
    value.worker.value.output.flush(on: value.worker.value.loop)
  }

  private func connectFailed(
    _ upstream: Ref<UpstreamConnection>, error: Int32, timedOut: Bool
  ) {
    stats.add(cluster.value.stats.value.connections.connectFail)
    if timedOut { stats.add(cluster.value.stats.value.connections.connectTimeout) }
    value.host.value.add(.connectFailures, worker: value.worker.value.index)
    ProcessLog.shared.debug(
      .pool,
      "cluster '\(cluster.value.config.value.name.string)': no connection to "
        + "\(value.address.description): "
        + (timedOut ? "timed out" : unsafe String(cString: strerror(error))))
    upstream.value.phase = .idle
    discard(upstream, byPeer: !timedOut)
    // Envoy fails everything that waits for this host at once: it would fare no better.
    var left = value.pending
    while left > 0, let stream = value.pendingHead {
      left -= 1
      leave(stream)
      stats.add(cluster.value.stats.value.requests.pendingFailureEject)
      stream.connectFailed(error: error, timedOut: timedOut)
    }
    value.worker.value.output.flush(on: value.worker.value.loop)
  }

  private func discard(_ upstream: Ref<UpstreamConnection>, byPeer: Bool) {
    if upstream.value.connection.isOpen { return upstream.close(byPeer: byPeer) }
    closing(upstream, byPeer: byPeer, withRequest: false)
    upstream.releaseLater()
  }

  /// A connection can take a request: the one that waits longest, or none yet.
  func becameIdle(_ upstream: Ref<UpstreamConnection>) {
    if upstream.value.session != nil { return roomChanged(upstream) }
    while let stream = value.pendingHead {
      leave(stream)
      if stream.upstreamReady(upstream) { return }
    }
    guard !value.isLeaving else { return upstream.close() }
    value.pushIdle(upstream)
    upstream.startIdleTimer()
  }

  /// An HTTP/2 connection may have become able, or unable, to take more requests.
  func roomChanged(_ upstream: Ref<UpstreamConnection>) {
    while upstream.hasRoom, let stream = value.pendingHead {
      leave(stream)
      _ = stream.upstreamReady(upstream)
    }
    guard let session = upstream.value.session else { return }
    let isUnused = session.value.streamCount == 0
    if value.isLeaving || upstream.value.isLeaving, isUnused { return upstream.endSession() }
    let isWanted = upstream.hasRoom && !value.isLeaving
    if isWanted, !upstream.value.isListed { value.pushIdle(upstream) }
    if !isWanted, upstream.value.isListed { value.removeIdle(upstream) }
    guard isUnused else { return }
    upstream.value.idleSince = value.worker.value.loop.now
    upstream.startIdleTimer()
  }

  /// The connection is offered to nobody while it has no room.
  func unlistIfFull(_ upstream: Ref<UpstreamConnection>) {
    if upstream.value.isListed, !upstream.hasRoom { value.removeIdle(upstream) }
  }

  /// A connection is about to be closed.
  func closing(_ upstream: Ref<UpstreamConnection>, byPeer: Bool, withRequest: Bool) {
    if upstream.value.isListed { value.removeIdle(upstream) }
    if upstream.value.phase == .connecting { value.countConnection(0, connecting: -1) }
    value.countConnection(-1, connecting: 0)
    cluster.value.breakers.value[upstream.value.priority].releaseConnection()
    let ids = cluster.value.stats
    stats.gaugeAdd(ids.value.connections.active, -1)
    stats.add(ids.value.connections.destroy)
    stats.add(byPeer ? ids.value.connections.destroyRemote : ids.value.connections.destroyLocal)
    if withRequest || upstream.value.stream != nil {
      stats.add(ids.value.connections.destroyWithActiveRequest)
      stats.add(
        byPeer
          ? ids.value.connections.destroyRemoteWithActiveRequest
          : ids.value.connections.destroyLocalWithActiveRequest)
    }
    stats.record(ids.value.requests.perConnection, upstream.value.requests)
    let lifetime = (value.worker.value.loop.now &- upstream.value.openedAt) / 1_000_000
    stats.record(ids.value.connections.lengthTime, lifetime)
    value.host.value.add(.connectionsActive, -1, worker: value.worker.value.index)
    // A place has become free: whoever was kept from connecting by the limit may do so now.
    if value.pending > value.connecting || value.isLeaving || value.isPassing { tidyLater() }
  }

  // MARK: Membership

  /// The host has left its cluster: what is under way goes on, what is idle is closed.
  func leaveCluster() {
    value.isLeaving = true
    while let upstream = value.idle {
      if upstream.value.session != nil { roomChanged(upstream) } else { upstream.close() }
    }
    tidyLater()
  }

  /// Nobody has a use for its connections any more.
  func clientLeft() {
    value.client = nil
    if value.isListed {
      value.worker.unlist(self)
      value.isListed = false
      value.next = nil
    }
    leaveCluster()
  }

  /// The host is in the latest snapshot, perhaps with other addresses.
  func stay(_ entry: HostEntry) {
    value.isLeaving = false
    value.adopt(entry)
  }

  private func tidyLater() {
    guard !value.isAwaited else { return }
    value.isAwaited = true
    unsafe value.worker.value.loop.later(context: raw) { raw, _ in
      unsafe Ref<HostPool>(raw: raw).tidy()
    }
  }

  /// Connects for those who wait, or frees a pool that nobody needs any more.
  private func tidy() {
    value.isAwaited = false
    connectIfNeeded()
    guard value.isLeaving || value.isPassing, value.connections == 0, value.pending == 0,
      !value.isAwaited
    else { return }
    let host = value.host
    let worker = value.worker.value.index
    if value.isListed { value.worker.unlist(self) }
    value.client?.forget(self)
    // Nothing names the pool any more: streams wait in it, connections belong to it, and there are
    // none of either.
    unsafe pointer.deinitialize(count: 1)
    unsafe pointer.deallocate()
    host.value.unpin(worker: worker)
  }

  func countCloseNotify() { stats.add(cluster.value.stats.value.connections.closeNotify) }
  func countProtocolError() { stats.add(cluster.value.stats.value.connections.protocolError) }
  func countMaxRequests() { stats.add(cluster.value.stats.value.connections.maxRequests) }
  func countIdleTimeout() { stats.add(cluster.value.stats.value.connections.idleTimeout) }
}
