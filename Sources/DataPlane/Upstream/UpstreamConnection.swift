import CLinux
import Engine
import HTTPCodec
import HTTPModel
import Inspection
import Telemetry
import Upstream

/// One HTTP/1.1 connection to an endpoint: serves one request at a time, and waits in its host's pool
/// between them. As strict towards the upstream as a listener is towards clients.
struct UpstreamConnection: ~Copyable, Pooled {
  enum Phase: UInt8 {
    case connecting
    case idle
    /// A request is being sent, and its response's head awaited.
    case head
    case body
    /// After 101: bytes pass as they come.
    case tunnel
  }

  /// Must stay first: a handle to it is a handle to the whole.
  var connection = Connection()
  var generation: UInt32 = 0
  var nextFree: Ref<Self>?

  var worker: Ref<Worker>?
  var pool: Ref<HostPool>?
  var stream: Ref<RequestStream>?
  /// Links idle connections of the pool.
  var nextIdle: Ref<UpstreamConnection>?
  var previousIdle: Ref<UpstreamConnection>?

  /// HTTP/2: the connection carries many requests, and is in the pool while it has room for more.
  var session: Ref<HTTP2Connection>?
  var isListed = false
  /// It takes no more requests.
  var isLeaving = false
  var phase = Phase.connecting
  var stash: Block?
  var decoder = BodyDecoder()
  var requests: UInt64 = 0
  var requestSent = false
  var keepAlive = true
  var interims = 0
  var openedAt: UInt64 = 0
  var idleSince: UInt64 = 0
  var timer = TimerID.none
  var id: UInt64 = 0
  var local = SocketAddress()
  /// Whose circuit breaker counts it.
  var priority = RequestPriority.normal
  var pausedDownstream = false
  /// Its TLS; freed by the engine when the connection is closed.
  var secured: SecureHandle?
  /// It is one of several attempts to connect, and which.
  var race: Ref<ConnectRace>?
  var attempt = 0
}

/// How a connection failed its request.
enum UpstreamFailure {
  /// The connection ended.
  case terminated
  /// The connection was reset.
  case reset
  case protocolError
  /// The endpoint reset the stream (HTTP/2).
  case remoteReset
  /// The endpoint has not looked at the request (RFC 9113 §8.7).
  case refused
}

typealias UpstreamHandle = Ref<UpstreamConnection>

extension Ref where Value == UpstreamConnection {
  /// SAFETY: `connection` is the first stored property.
  var connection: Ref<Connection> { unsafe Ref<Connection>(raw: raw) }

  var held: Ref<Worker> {
    guard let worker = value.worker else { preconditionFailure("an open connection has a worker") }
    return worker
  }

  var loop: EventLoop { held.value.loop }

  var pool: Ref<HostPool> {
    guard let pool = value.pool else { preconditionFailure("an open connection has a pool") }
    return pool
  }

  nonisolated(unsafe) static let events = Ref<ConnectionEvents>.immortal(
    unsafe ConnectionEvents(
      readable: { unsafe UpstreamHandle(raw: $0).readable() },
      drained: { unsafe UpstreamHandle(raw: $0).drained() },
      connected: { unsafe UpstreamHandle(raw: $0).connected($1) },
      hungUp: { unsafe UpstreamHandle(raw: $0).hungUp() }))

  // MARK: Connecting

  /// Begins to connect; the pool hears how it ended. An errno when it could not even begin.
  func open(to address: SocketAddress, for pool: Ref<HostPool>, on worker: Ref<Worker>) -> Int32 {
    adopt(pool: pool, worker: worker)
    let error = connect(to: address)
    guard error == 0 else { return error }
    let config = pool.value.cluster.value.config
    value.timer = unsafe loop.after(milliseconds: config.value.connectTimeout, context: raw) {
      raw, _ in
      let upstream = unsafe UpstreamHandle(raw: raw)
      upstream.value.timer = .none
      upstream.pool.connectEnded(upstream, error: ETIMEDOUT, timedOut: true)
    }
    return 0
  }

  /// The same as one of several attempts, which the race watches over.
  func openRunner(
    to address: SocketAddress, in race: Ref<ConnectRace>, attempt: Int, for pool: Ref<HostPool>,
    on worker: Ref<Worker>
  ) -> Int32 {
    adopt(pool: pool, worker: worker)
    value.race = race
    value.attempt = attempt
    return connect(to: address)
  }

  func adopt(pool: Ref<HostPool>, worker: Ref<Worker>) {
    value.worker = worker
    value.pool = pool
    value.openedAt = worker.value.loop.now
    value.id = worker.value.nextConnectionID()
  }

  private func connect(to address: SocketAddress) -> Int32 {
    let cluster = pool.value.cluster
    let config = cluster.value.config
    let error = unsafe connection.connect(
      to: address, from: config.value.source, on: loop, events: Self.events, owner: raw)
    guard error >= 0 else {
      held.value.stats.add(cluster.value.stats.value.bindErrors)
      return -error
    }
    guard error == 0 else { return error }
    guard secure(pool.value.security) else {
      connection.close(on: loop, reset: true)
      return held.value.tls.refusal(ofCluster: pool.value.security)
    }
    value.connection.highWatermark = config.value.connectionBufferLimit
    value.connection.tally = held.value.stats.tally(of: cluster)
    if let keepalive = config.value.keepalive, !address.isUnix {
      connection.keepAlive(
        probes: keepalive.probes, idleSeconds: keepalive.time, intervalSeconds: keepalive.interval)
    }
    if value.secured == nil { connection.write(pool.value.announcement, on: loop) }
    return 0
  }

  /// Puts TLS in between, where the cluster speaks it. False when there is no memory for it.
  private func secure(_ security: Int32) -> Bool {
    guard let place = held.value.tls.place(ofCluster: security) else { return true }
    let hostname = pool.value.host.value.hostname
    guard
      let secured = SecureHandle.client(
        place, fd: value.connection.fd, hostname: hostname, asked: pool.value.asked,
        speaks: pool.value.speaks, prelude: pool.value.announcement)
    else { return false }
    unsafe connection.secure(SecureConnection.transport, context: secured.raw)
    value.secured = secured
    return true
  }

  /// An attempt that another one has beaten, or that failed: nobody counts it.
  func dropRunner() {
    if value.connection.isOpen { connection.close(on: loop) }
    releaseLater()
  }

  private func connected(_ error: Int32) {
    loop.cancel(value.timer)
    value.timer = .none
    var error = error
    if error == 0 {
      value.local = ListenSocket.localAddress(of: value.connection.fd)
    } else if let reason = value.secured?.failureText, !reason.isEmpty {
      error = held.value.tls.errorNumber(for: reason)
      logFailure(reason)
    }
    if let race = value.race { return race.ended(self, error: error) }
    pool.connectEnded(self, error: error, timedOut: false)
  }

  /// A handshake has failed: with whom, who was asked for, and why.
  private func logFailure(_ reason: String) {
    let cluster = pool.value.cluster.value.config.value.displayName
    let hostname = pool.value.host.value.hostname
    let names = value.secured?.value.place.value.client
    let asked = names?.serverName(of: hostname, asked: pool.value.asked) ?? ""
    ProcessLog.shared.debug(
      .upstream,
      "TLS handshake with \(hostname.string) of cluster '\(cluster.string)', "
        + "asked for as '\(asked)', failed: \(reason)")
  }

  // MARK: A request

  /// Takes a request: its head goes out now.
  func attach(_ stream: Ref<RequestStream>) -> UpstreamLink {
    if let session = value.session {
      value.requests &+= 1
      let opened = session.openStream(for: stream)
      capacityUsed()
      return .http2(opened)
    }
    value.stream = stream
    value.phase = .head
    value.requests &+= 1
    value.requestSent = false
    value.keepAlive = true
    value.interims = 0
    return .http1(self)
  }

  @inline(__always)
  func write(_ bytes: Bytes) { held.value.output.write(bytes, to: connection, on: loop) }

  private func drained() {
    if let session = value.session { return session.drained() }
    unpauseDownstream()
  }

  /// The client need not wait for this endpoint any more.
  private func unpauseDownstream() {
    guard let stream = value.stream, value.pausedDownstream else { return }
    value.pausedDownstream = false
    held.value.stats.add(pool.value.cluster.value.stats.value.drained)
    stream.value.client.resumeRequest(.byUpstream)
  }

  /// More is queued for this endpoint than it takes: the client waits.
  func checkWatermark() {
    guard value.connection.isAboveHighWatermark, !value.pausedDownstream, let stream = value.stream
    else { return }
    value.pausedDownstream = true
    held.value.stats.add(pool.value.cluster.value.stats.value.backedUp)
    stream.value.client.pauseRequest(.byUpstream)
  }

  // MARK: Reading

  private func readable() {
    if let session = value.session { return session.readable() }
    var reads = 0
    while value.connection.isOpen, !value.connection.isReadPaused {
      guard reads < Downstream.readsPerTurn else { return connection.yieldReading(on: loop) }
      reads += 1
      if let stash = value.stash {
        guard readBehind(stash) else { return }
      } else {
        let scratch = unsafe loop.state.value.receiveScratch
        switch unsafe connection.read(into: scratch, capacity: EventLoop.scratchBytes) {
        case .bytes(let n):
          let used = unsafe consume(scratch, n)
          if used < n, value.connection.isOpen { unsafe keep(scratch + used, n - used) }
        case .wait: return held.value.output.flush(on: loop)
        case .end: return ended(errorNumber: 0)
        case .failed(let error): return ended(errorNumber: error)
        }
      }
      held.value.output.flush(on: loop)
    }
  }

  private func readBehind(_ stash: Block) -> Bool {
    var block = stash
    if block.used == block.capacity {
      guard block.capacity < BlockPool.largest else {
        failed(.protocolError)
        return false
      }
      block = loop.state.value.blocks.take(stash.capacity * 2)
      _ = block.append(stash.bytes())
      loop.state.value.blocks.release(stash)
      value.stash = block
    }
    switch unsafe connection.read(
      into: block.base + block.used, capacity: block.capacity - block.used)
    {
    case .bytes(let n):
      block.used += n
      value.stash = nil
      let used = unsafe consume(block.base, block.used)
      let left = block.used - used
      if left > 0, value.connection.isOpen {
        if used > 0 { unsafe _ = memmove(block.base, block.base + used, left) }
        block.used = left
        value.stash = block
      } else {
        loop.state.value.blocks.release(block)
      }
      return true
    case .wait:
      held.value.output.flush(on: loop)
      return false
    case .end: ended(errorNumber: 0)
    case .failed(let error): ended(errorNumber: error)
    }
    return false
  }

  private func keep(_ bytes: UnsafeMutablePointer<UInt8>, _ n: Int) {
    let block = loop.state.value.blocks.take(min(max(n + 1024, 4096), BlockPool.largest))
    _ = unsafe block.append(Bytes(base: UnsafePointer(bytes), count: n))
    value.stash = block
  }

  /// Hands bytes to the phase they belong to; how many were used.
  private func consume(_ bytes: UnsafeMutablePointer<UInt8>, _ n: Int) -> Int {
    var used = 0
    while used < n, value.connection.isOpen {
      switch value.phase {
      case .head:
        let taken = unsafe consumeHead(bytes + used, n - used)
        guard taken > 0 else { return used }
        used += taken
      case .body, .tunnel:
        let before = used
        unsafe consumeBody(Bytes(base: UnsafePointer(bytes), count: n), bytes, at: &used)
        if used == before { return used }
      case .idle, .connecting:
        // Nobody asked: the peer and we no longer agree on where messages begin (RFC 9112 §9.2).
        close()
        return n
      }
    }
    return used
  }

  private func consumeHead(_ bytes: UnsafeMutablePointer<UInt8>, _ n: Int) -> Int {
    let worker = held
    let options = pool.value.cluster.value.config.value.http
    let outcome = unsafe worker.value.parser.parseResponse(
      bytes, n, maxFields: options.maxResponseHeaders)
    switch outcome {
    case .complete(let length) where length <= options.maxHTTP1HeadBytes:
      guard let stream = value.stream else { return n }
      return unsafe received(bytes, length, isLast: length == n, for: stream) ? length : n
    case .incomplete where n <= options.maxHTTP1HeadBytes:
      return 0
    default:
      failed(.protocolError)
      return n
    }
  }

  /// A head is whole: an interim response, an accepted upgrade, or the response.
  /// - Parameter isLast: nothing has come behind it.
  private func received(
    _ bytes: UnsafeMutablePointer<UInt8>, _ length: Int, isLast: Bool,
    for stream: Ref<RequestStream>
  ) -> Bool {
    let worker = held
    let status = worker.value.parser.status
    let text = unsafe Bytes(base: UnsafePointer(bytes), count: length)
    if status < 200, status != 101 {
      value.interims += 1
      guard value.interims <= Limits.interimResponses else {
        failed(.protocolError)
        return false
      }
      stream.interimResponse(status, text, worker.value.parser.found)
      return true
    }
    if status != 101, stream.upgradeDeclined(status: status) { return false }
    stream.value.responseHead.load(
      text, worker.value.parser.found, from: &loop.state.value.blocks)
    let (framing, error) = HTTP1Framing.response(
      stream.value.responseHead, status: status, minor: worker.value.parser.minor,
      toHEAD: stream.value.isHEAD)
    let isUnwanted = status == 101 && !(stream.value.wantsUpgrade && framing.wantsUpgrade)
    guard error == nil, !isUnwanted, !stream.value.responseHead.overflowed else {
      stream.value.responseHead.release(into: &loop.state.value.blocks)
      failed(.protocolError)
      return false
    }
    // RFC 9110 §8.6: a length has no place here; one of 0 does no harm and is dropped.
    if status == 204 { stream.value.responseHead.remove(.contentLength) }
    value.keepAlive = framing.keepAlive
    if framing.announcesClose { pool.countCloseNotify() }
    if status == 101 {
      value.phase = .tunnel
      value.decoder = BodyDecoder(.untilClose)
      stream.tunnelOpened()
    } else {
      value.phase = .body
      value.decoder = BodyDecoder(framing.body)
    }
    let isWhole = status != 101 && framing.body.isNone
    if isWhole { release(leftover: !isLast) }
    stream.responseHeadReceived(status: status, endStream: isWhole)
    return true
  }

  private func consumeBody(
    _ input: Bytes, _ memory: UnsafeMutablePointer<UInt8>, at position: inout Int
  ) {
    guard let stream = value.stream else { return }
    while value.connection.isOpen, value.phase == .body || value.phase == .tunnel,
      value.stream == stream
    {
      switch unsafe value.decoder.nextJoined(memory, input.count, at: &position) {
      case .data(let data):
        let isLast = value.decoder.isDone
        if isLast { release(leftover: position < input.count) }
        stream.responseData(data, endStream: isLast)
      case .end:
        release(leftover: position < input.count)
        stream.responseData(.empty, endStream: true)
      case .trailers:
        return unsafe consumeTrailers(memory, input.count, at: &position, for: stream)
      case .needMore:
        return
      case .invalid:
        position = input.count
        failed(.protocolError)
      }
    }
  }

  private func consumeTrailers(
    _ memory: UnsafeMutablePointer<UInt8>, _ n: Int, at position: inout Int,
    for stream: Ref<RequestStream>
  ) {
    let worker = held
    let left = n - position
    let outcome = unsafe worker.value.parser.parseTrailers(
      memory + position, left,
      maxFields: pool.value.cluster.value.config.value.http.maxResponseHeaders)
    switch outcome {
    case .complete(let length) where length <= Limits.trailerBytes:
      let text = unsafe Bytes(base: UnsafePointer(memory) + position, count: length)
      position += length
      value.decoder.finishTrailers()
      release(leftover: position < n)
      guard !worker.value.parser.found.isEmpty else {
        return stream.responseData(.empty, endStream: true)
      }
      stream.responseTrailersReceived(text, worker.value.parser.found)
    case .incomplete where left <= Limits.trailerBytes:
      return
    default:
      position = n
      failed(.protocolError)
    }
  }

  // MARK: Ends

  /// The response is whole: back to the pool, or closed when it cannot carry another request.
  private func release(leftover: Bool = false, byPeer: Bool = false) {
    guard let stream = value.stream else { return }
    if leftover { pool.countProtocolError() }
    unpauseDownstream()
    stream.upstreamFinished()
    value.stream = nil
    let limit = pool.value.cluster.value.config.value.http.maxRequestsPerConnection ?? 0
    let exhausted = limit > 0 && value.requests >= limit
    let mayContinue =
      value.keepAlive && value.requestSent && !leftover && !exhausted
      && value.stash == nil
      && !value.connection.mayBeDead && value.connection.queuedBytes == 0
    if exhausted { pool.countMaxRequests() }
    guard mayContinue else { return close(byPeer: byPeer, withRequest: !value.requestSent) }
    value.phase = .idle
    value.idleSince = loop.now
    pool.becameIdle(self)
  }

  private func ended(errorNumber: Int32) {
    guard let stream = value.stream else { return close(byPeer: true) }
    if errorNumber == 0, value.decoder.endsWithConnection,
      value.phase == .body || value.phase == .tunnel
    {
      value.keepAlive = false
      release(byPeer: true)
      stream.responseData(.empty, endStream: true)
      return held.value.output.flush(on: loop)
    }
    // An end where the grammar does not allow one is the upstream's mistake, however it came.
    let isWithin =
      value.phase == .head && value.stash != nil
      || value.phase == .body && !value.decoder.endsWithConnection
    failed(isWithin ? .protocolError : errorNumber == 0 ? .terminated : .reset, byPeer: true)
  }

  private func hungUp() {
    if value.session != nil { return sessionEnded(byPeer: true, errorNumber: 0) }
    // Reading is paused because the client is slow; what is left is read when it has caught up.
    guard value.stream != nil else { return close(byPeer: true) }
  }

  private func failed(_ failure: UpstreamFailure, byPeer: Bool = false) {
    guard let stream = value.stream else { return close() }
    unpauseDownstream()
    value.stream = nil
    close(byPeer: byPeer, withRequest: true)
    stream.upstreamBroke(failure)
    held.value.output.flush(on: loop)
  }

  /// The stream no longer wants its response.
  func abandon() {
    unpauseDownstream()
    value.stream = nil
    close(byPeer: false, withRequest: true)
  }

  /// Closes and leaves the pool.
  func close(byPeer: Bool = false, withRequest: Bool = false) {
    guard value.connection.isOpen else { return }
    loop.cancel(value.timer)
    value.timer = .none
    let session = value.session
    value.session = nil
    held.value.output.forget(connection)
    pool.closing(self, byPeer: byPeer, withRequest: withRequest)
    connection.close(on: loop)
    if let block = value.stash {
      loop.state.value.blocks.release(block)
      value.stash = nil
    }
    // Last: a request that is sent again at once must not find this connection in the pool.
    session?.close { $0.upstreamBroke(.terminated) }
    releaseLater()
  }

  /// Gives the slot back when nobody on the stack can name it any more.
  func releaseLater() {
    unsafe loop.later(context: raw) { raw, _ in
      let upstream = unsafe UpstreamHandle(raw: raw)
      guard let worker = upstream.value.worker else { return }
      upstream.value.reset()
      worker.value.upstreams.release(upstream)
    }
  }

  // MARK: Idle

  /// In the pool: closes after the cluster's idle timeout. The timer stays armed while requests come
  /// and go, and is looked at when it fires.
  func startIdleTimer() {
    guard value.timer == .none,
      let limit = pool.value.cluster.value.config.value.http.idleTimeout
    else { return }
    let idle = (loop.now &- value.idleSince) / 1_000_000
    value.timer = unsafe loop.after(
      milliseconds: idle < limit ? limit - idle : 1, context: raw
    ) { raw, _ in
      let upstream = unsafe UpstreamHandle(raw: raw)
      upstream.value.timer = .none
      guard upstream.value.phase == .idle,
        upstream.value.session.map({ $0.value.streamCount == 0 }) ?? true
      else { return }
      let limit = upstream.pool.value.cluster.value.config.value.http.idleTimeout ?? 0
      guard (upstream.loop.now &- upstream.value.idleSince) / 1_000_000 >= limit else {
        return upstream.startIdleTimer()
      }
      upstream.pool.countIdleTimeout()
      upstream.close()
    }
  }
}

extension UpstreamConnection {
  /// Blank again, but for the slot's own fields.
  mutating func reset() {
    let generation = self.generation
    let next = nextFree
    self = UpstreamConnection()
    self.generation = generation
    nextFree = next
  }
}
