import CFilterABI
import CLinux
import Engine
import HTTPCodec
import HTTPModel
import Routing
import Telemetry
import Upstream

// 2. The router: where the chain ends. A cluster, an endpoint, a pooled connection, and how an attempt
// ends. What is kept so that there may be another one is told in RequestStream+Replay.swift.
extension Ref where Value == RequestStream {
  /// The chain has let the head through and the route leads to a cluster.
  func startAttempt(cluster: Ref<ClusterView>) {
    value.attempt.number &+= 1
    value.attempt.isRunning = true
    value.attempt.failure = FL_FAILURE_NONE
    value.attempt.requestStarted = false
    value.attempt.responseStarted = false
    value.attempt.bodySent = false
    value.attempt.localReply = false
    value.attempt.cluster = cluster
    prepareUpstreamHead(for: cluster)
    guard !value.requestHead.overflowed else { return replyLocally(.internalHeadTooLarge) }
    if value.attempt.number == 1 { startMirrors() }
    if cluster.value.config.value.hasPoolsByName { keepName(for: cluster) }
    chooseHost()
  }

  private func chooseHost() {
    guard let cluster = value.attempt.cluster else { return }
    guard let entry = pickHost(of: cluster) else {
      value.attempt.failure = FL_FAILURE_NO_HEALTHY_HOST
      countFailure(status: 503)
      return replyToFailure()
    }
    adoptHost(entry)
    let asked =
      value.attempt.name.map {
        RequestedName($0.bytes(), by: cluster.value.config.value.http.names)
      } ?? RequestedName()
    // Until a connection is there, the body waits here.
    if value.request.isFlowing {
      value.request.mode = .held
      value.request.position = value.slotCount
      value.request.headPassed = true
    }
    let isAnnounced = cluster.value.config.value.announcement != nil
    worker.pool(
      for: entry, of: cluster, asked: asked, speaks: spoken(to: cluster),
      client: isAnnounced ? value.downstream : nil
    ).acquire(for: self)
  }

  /// What the endpoint is to be spoken to in; a request of our own is HTTP/1's, as in Envoy.
  private func spoken(to cluster: Ref<ClusterView>) -> UpstreamProtocol {
    let configured = cluster.value.config.value.http.speaks
    guard configured == .downstream else { return configured }
    return value.client.isHTTP2 ? .http2 : .http1
  }

  /// Whom the request is for, as the route has it: `auto_host_rewrite` may write an endpoint's name over
  /// it, which is not whom TLS is asked for (as in Envoy).
  private func keepName(for cluster: Ref<ClusterView>) {
    let rule = cluster.value.config.value.http.names
    let own = rule.field.isEmpty ? nil : value.requestHead.find(rule.field, id: rule.fieldID)
    var name = own.map { value.requestHead.value($0) } ?? .empty
    if name.isEmpty { name = value.requestHead[.authority] ?? .empty }
    if let block = value.attempt.name { loop.state.value.blocks.release(block) }
    let block = loop.state.value.blocks.take(min(max(name.count, 1), BlockPool.largest))
    _ = block.append(name)
    value.attempt.name = block
  }

  @inline(__always)
  private func pickHost(of cluster: Ref<ClusterView>) -> HostEntry? {
    if let options = cluster.value.config.value.destination {
      return cluster.value.entry(
        at: destination(options, of: cluster), random: &loop.state.value.random)
    }
    let tried = value.attempt.tried
    let pick = cluster.value.pick(random: &loop.state.value.random, avoiding: tried)
    guard let pick else {
      // As in Envoy, no host at all is a panic too, unless there is never to be one.
      if cluster.value.config.value.panicPercent > 0 {
        worker.value.stats.add(cluster.value.stats.value.balancerPanics)
      }
      return nil
    }
    return cluster.value.hosts.value.hosts[pick.index]
  }

  /// Where the request was on its way to: as the field says that the cluster believes, or else where the
  /// client's connection was going before it was redirected to us (ORIGINAL_DST).
  private func destination(
    _ options: Ref<DestinationOptions>, of cluster: Ref<ClusterView>
  ) -> SocketAddress? {
    let name = options.value.headerName
    if !name.isEmpty, let text = value.requestHead[name] {
      if let address = SocketAddress(hostAndPort: text) { return address }
      if let invalid = cluster.value.stats.value.invalidDestinations {
        worker.value.stats.add(invalid)
      }
    }
    guard let downstream = value.downstream, downstream.value.isRestored else { return nil }
    return downstream.value.local
  }

  private func adoptHost(_ entry: HostEntry) {
    releaseHost()
    entry.host.value.pin(worker: worker.value.index)
    value.attempt.host = entry.host
    value.attempt.hostAddress = entry.addresses[0]
    if value.attempt.avoidAttempts > 0 || value.attempt.tried.extraPicks > 0 {
      value.attempt.tried.insert(entry.host)
    }
    rewriteHost(for: entry)
  }

  func releaseHost() {
    guard let host = value.attempt.host else { return }
    host.value.unpin(worker: worker.value.index)
    value.attempt.host = nil
  }

  // MARK: Sending

  /// A connection is there: the head leaves, and what waited behind it. False when the connection
  /// is not taken.
  func upstreamReady(_ upstream: Ref<UpstreamConnection>) -> Bool {
    guard let cluster = value.attempt.cluster, !value.isOver else { return false }
    let breaker = cluster.value.breakers.value[value.route.priority]
    guard breaker.admitRequest() else {
      worker.value.stats.add(cluster.value.stats.value.requests.activeOverflow)
      upstreamOverflowed()
      return false
    }
    value.attempt.holdsRequest = true
    value.attempt.onReusedConnection = upstream.value.requests > 0
    value.attempt.requestStarted = true
    let link = upstream.attach(self)
    value.upstream = link
    value.upstreamIsHTTP2 = link != .http1(upstream)
    value.upstreamLocal = upstream.value.local
    // Only where there is something: even a plain request would pay for letting go of nothing.
    if let secured = upstream.value.secured {
      value.upstreamFacts = secured.facts
    } else if value.upstreamFacts != nil {
      value.upstreamFacts = nil
    }
    value.upstreamConnectionID = upstream.value.id
    value.upstreamStartedAt = loop.now
    countAttempt(cluster)
    startDurationTimer(cluster)
    sendRequestHead(to: link)
    guard value.upstream == link else { return true }
    if value.request.mode == .held, value.request.position == value.slotCount {
      value.request.mode = .flowing
      flushRequestQueue(from: value.slotCount)
    }
    return true
  }

  private func sendRequestHead(to link: UpstreamLink) {
    let endStream =
      value.request.endsWithHead && value.request.isFlowingOrAtRouter(value.slotCount)
    switch link {
    case .none: return
    case .http1(let upstream): writeRequestHead(to: upstream, endStream: endStream)
    case .http2(let stream):
      value.requestHeadBytes = UInt32(truncatingIfNeeded: value.requestHead.textBytes)
      let endsNow = endStream && !value.wantsUpgrade
      // The connection goes away: another one takes the request, if anybody may repeat it.
      guard stream.sendRequest(of: self, endStream: endsNow) else {
        return upstreamBroke(.refused)
      }
      if endsNow { requestSent(link) }
    }
  }

  private func writeRequestHead(to upstream: Ref<UpstreamConnection>, endStream: Bool) {
    frameRequest(endStream: endStream)
    let fits = worker.value.output.compose(for: upstream.connection, on: loop) { out in
      HTTP1Encoder.request(value.requestHead, to: &out)
      value.requestHeadBytes = UInt32(truncatingIfNeeded: out.count)
    }
    guard fits else { return replyLocally(.internalHeadTooLarge) }
    guard endStream else { return }
    if value.attempt.framing == .chunked { upstream.write(HTTP1Encoder.lastChunk) }
    requestSent(.http1(upstream))
  }

  /// Decides how the upstream learns where the body ends.
  private func frameRequest(endStream: Bool) {
    let wasChunked = value.requestHead.contains(.transferEncoding)
    value.requestHead.remove(.transferEncoding)
    if value.wantsUpgrade {
      value.attempt.framing = .untilClose
    } else if value.requestHead.contains(.contentLength) {
      value.attempt.framing = .length(0)
    } else if endStream, !wasChunked {
      value.attempt.framing = .none
      if expectsBody {
        value.requestHead.set(.contentLength, Bytes("0"), from: &loop.state.value.blocks)
      }
    } else {
      value.attempt.framing = .chunked
      value.requestHead.set(.transferEncoding, Bytes("chunked"), from: &loop.state.value.blocks)
    }
  }

  /// A request with this method would seem to lack its body if it said nothing of it (RFC 9110 §8.6).
  private var expectsBody: Bool {
    guard let method = value.requestHead[.method], method != "GET" else { return false }
    return
      !(method == "HEAD" || method == "DELETE" || method == "TRACE"
      || method == "CONNECT")
  }

  /// The body's next piece has passed the chain.
  func routerData(_ piece: Bytes, endStream: Bool) {
    guard !value.request.endDelivered else { return }
    if value.request.mode == .held, value.request.position == value.slotCount {
      return holdRequest(piece, endStream: endStream, seen: false)
    }
    guard value.upstream != .none else { return }
    if value.keepsSentBody { keepSent(piece, endStream: endStream) }
    if !piece.isEmpty { value.attempt.bodySent = true }
    let isLast = endStream && (!value.wantsUpgrade || value.isUpgraded)
    switch value.upstream {
    case .none: return
    case .http1(let upstream): write(piece, endStream: endStream, to: upstream)
    case .http2(let stream): stream.send(piece, endStream: isLast)
    }
    if isLast {
      requestSent(value.upstream)
    } else if !endStream {
      value.upstream.checkWatermark()
    }
  }

  private func write(_ piece: Bytes, endStream: Bool, to upstream: Ref<UpstreamConnection>) {
    if !piece.isEmpty {
      if value.attempt.framing == .chunked {
        var frame = InlineArray<24, UInt8>(repeating: 0)
        withChunkHead(piece.count, &frame) { upstream.write($0) }
        upstream.write(piece)
        upstream.write(Bytes("\r\n"))
      } else {
        upstream.write(piece)
      }
    }
    if endStream, value.attempt.framing == .chunked { upstream.write(HTTP1Encoder.lastChunk) }
  }

  func routerTrailers() {
    if value.request.mode == .held, value.request.position == value.slotCount {
      value.request.trailersQueued = true
      return
    }
    guard value.upstream != .none, !value.request.endDelivered else { return }
    if value.keepsSentBody { keepSent(.empty, endStream: true) }
    switch value.upstream {
    case .none: return
    case .http1(let upstream): writeTrailers(to: upstream)
    case .http2(let stream): stream.send(trailers: value.requestTrailers)
    }
    requestSent(value.upstream)
  }

  private func writeTrailers(to upstream: Ref<UpstreamConnection>) {
    guard value.attempt.framing == .chunked else { return }
    guard value.attempt.cluster?.value.config.value.http.enableTrailers ?? false else {
      return upstream.write(HTTP1Encoder.lastChunk)
    }
    let size = value.requestTrailers.writtenBytes + 16
    let block = loop.state.value.blocks.take(min(size, BlockPool.largest))
    var out = unsafe ByteWriter(base: block.base, capacity: block.capacity)
    HTTP1Encoder.trailers(value.requestTrailers, to: &out)
    upstream.write(out.overflowed ? HTTP1Encoder.lastChunk : out.written)
    loop.state.value.blocks.release(block)
  }

  private func requestSent(_ link: UpstreamLink) {
    value.request.endDelivered = true
    value.upstreamRequestEndedAt = loop.now
    if case .http1(let upstream) = link { upstream.value.requestSent = true }
  }

  // MARK: The response

  /// The upstream's head is in `responseHead`.
  func responseHeadReceived(status: Int, endStream: Bool) {
    value.attempt.responseStarted = true
    value.isResponding = true
    value.status = status
    value.upstreamRespondedAt = loop.now
    value.lastActivity = loop.now
    value.response.ended = endStream
    value.details = Bytes("via_upstream")
    countResponse(status)
    if value.responseHead.contains(.envoyImmediateHealthCheckFail) { leaveHost() }
    HTTP1Framing.removeHopByHop(&value.responseHead, keepingUpgrade: value.isUpgraded)
    if redirectInternally() { return }
    addServiceTime()
    runResponseHead(from: value.slotCount - 1)
  }

  /// The host asks for no more requests (`x-envoy-immediate-health-check-fail`); where hosts are
  /// checked, it gets none until it is found to be healthy again.
  private func leaveHost() {
    guard let host = value.attempt.host, let config = value.attempt.cluster?.value.config,
      config.value.healthCheck != nil
    else { return }
    worker.value.shared.value.hostAskedToBeLeft(host.value.id)
  }

  /// The upstream would rather answer than change the protocol. Whoever asked for WebSocket gets
  /// the status and nothing else, as from Envoy. True when it was dealt with here.
  func upgradeDeclined(status: Int) -> Bool {
    guard value.wantsUpgrade, let type = value.requestHead[.upgrade],
      type.equalsIgnoringCase("websocket")
    else { return false }
    value.request.ended = false
    replyLocally(LocalReply(status, "", "websocket_handshake_unsuccessful", closes: true))
    return true
  }

  /// A 1xx response: dropped, unless the client asked to see it.
  func interimResponse(_ status: Int, _ text: Bytes, _ fields: ParsedFields) {
    guard passesInterim(status) else { return }
    var head = HeaderMap()
    head.load(text, fields, from: &loop.state.value.blocks)
    sendInterim(status, &head)
  }

  /// The same from an HTTP/2 endpoint: it is in `responseHead`, which the response still needs.
  func interimResponseReceived(_ status: Int) {
    if passesInterim(status) {
      sendInterim(status, &value.responseHead)
    } else {
      value.responseHead.release(into: &loop.state.value.blocks)
    }
  }

  private func passesInterim(_ status: Int) -> Bool {
    if let cluster = value.attempt.cluster {
      cluster.countInterim(code: status, origin: value.isInternal ? .internal : .external)
    }
    return manager.value.proxies100Continue && value.minor == 1 && !value.headSent
  }

  private func sendInterim(_ status: Int, _ head: inout HeaderMap) {
    HTTP1Framing.removeHopByHop(&head, keepingUpgrade: false)
    // What frames a body has no place in a head that has none (RFC 9110 §8.6, RFC 9112 §6.1).
    head.remove(.contentLength)
    head.remove(.transferEncoding)
    // One that does not fit is dropped: it is only a courtesy.
    if !head.overflowed {
      switch value.client {
      case .none: break
      case .http1(let downstream):
        _ = worker.value.output.compose(for: downstream.connection, on: loop) { out in
          HTTP1Encoder.response(head, status: status, to: &out)
        }
        downstream.flushOutput()
      case .http2(let stream): stream.sendInterim(status, head)
      }
      countInterim()
    }
    head.release(into: &loop.state.value.blocks)
  }

  /// The upstream accepted the upgrade: what the client says from now on is a body without an end.
  func tunnelOpened() {
    value.isUpgraded = true
    value.request.ended = false
    value.request.endDelivered = false
  }

  /// The upstream has said everything; its connection is no longer ours.
  func upstreamFinished() {
    value.upstreamEndedAt = loop.now
    // The connection may serve others: it must not stay paused for this client.
    resumeUpstream()
    value.upstream = .none
    endAttempt()
  }

  // MARK: Duration

  /// The cluster's `max_stream_duration`, or what a trusted caller asks for.
  private func startDurationTimer(_ cluster: Ref<ClusterView>) {
    var limit = cluster.value.config.value.http.maxStreamDuration ?? 0
    if let asked = value.attempt.askedDuration { limit = asked }
    guard limit > 0 else { return }
    value.attempt.durationTimer = unsafe loop.after(milliseconds: limit, context: raw) { raw, _ in
      unsafe Ref<RequestStream>(raw: raw).attemptLastedTooLong()
    }
  }

  private func attemptLastedTooLong() {
    value.attempt.durationTimer = .none
    guard !value.isOver, let cluster = value.attempt.cluster else { return }
    worker.value.stats.add(cluster.value.stats.value.requests.maxDurationReached)
    let started = value.attempt.responseStarted
    dropAttempt()
    if started {
      value.flags.insert(.upstreamMaxStreamDurationReached)
      return abandon(details: "upstream_max_stream_duration_reached")
    }
    value.attempt.failure = FL_FAILURE_MAX_DURATION
    replyToFailure()
    flushDownstream()
  }

  // MARK: Failures

  /// The connection broke before the response was whole.
  func upstreamBroke(_ failure: UpstreamFailure) {
    value.upstream = .none
    value.pausedUpstream = false
    let started = value.attempt.responseStarted
    // Of HTTP/2, half a head may be there already.
    if !started { value.responseHead.release(into: &loop.state.value.blocks) }
    endAttempt()
    if !started, failure == .terminated || failure == .reset, repeatSilently() { return }
    countReset(failure)
    guard !started else {
      return abandonResponse(failure)
    }
    value.attempt.wasReset = failure == .remoteReset
    switch failure {
    case .protocolError: value.attempt.failure = FL_FAILURE_PROTOCOL
    case .refused: value.attempt.failure = FL_FAILURE_REFUSED_STREAM
    case .terminated, .reset, .remoteReset: value.attempt.failure = FL_FAILURE_RESET
    }
    replyToFailure()
  }

  private func abandonResponse(_ failure: UpstreamFailure) {
    switch failure {
    case .protocolError:
      value.flags.insert(.upstreamProtocolError)
      abandon(details: "upstream_reset_after_response_started{protocol_error}")
    case .remoteReset, .refused:
      value.flags.insert(.upstreamRemoteReset)
      abandon(details: "upstream_reset_after_response_started{remote_reset}")
    case .terminated, .reset:
      value.flags.insert(.upstreamConnectionTermination)
      abandon(details: "upstream_reset_after_response_started{connection_termination}")
    }
  }

  /// A pooled connection that its peer closed while our request was on its way: the request goes out
  /// again when the peer cannot have acted on it twice (RFC 9110 §9.2.2).
  private func repeatSilently() -> Bool {
    guard value.attempt.onReusedConnection, value.attempt.silentRepeats < 3,
      !value.attempt.bodySent, value.request.queue.isEmpty, value.request.ended,
      !value.request.hasTrailers, isIdempotent
    else { return false }
    value.attempt.silentRepeats += 1
    value.request.endDelivered = false
    value.attempt.isRunning = true
    value.attempt.requestStarted = false
    chooseHost()
    return true
  }

  private var isIdempotent: Bool {
    guard let method = value.requestHead[.method] else { return false }
    return method == "GET" || method == "HEAD" || method == "PUT" || method == "DELETE"
      || method == "OPTIONS" || method == "TRACE"
  }

  func connectFailed(error: Int32, timedOut: Bool) {
    value.attempt.errorNumber = error
    value.attempt.failure = timedOut ? FL_FAILURE_CONNECT_TIMEOUT : FL_FAILURE_CONNECT
    endAttempt()
    replyToFailure()
  }

  func upstreamOverflowed() {
    value.attempt.failure = FL_FAILURE_OVERFLOW
    endAttempt()
    replyToFailure()
  }

  /// A filter gives up on the attempt.
  func failAttempt(_ failure: fl_failure) {
    guard value.attempt.isRunning, !value.attempt.responseStarted else { return }
    dropAttempt()
    value.attempt.failure = failure
    replyToFailure()
  }

  /// Closes the connection of an attempt whose answer nobody wants any more.
  func dropAttempt() {
    if let pool = value.pendingPool {
      pool.leave(self)
      worker.value.stats.add(pool.value.cluster.value.stats.value.requests.cancelled)
    }
    let upstream = value.upstream
    value.upstream = .none
    // Of HTTP/1, it is the connection that ends, which is counted elsewhere.
    if case .http2 = upstream, let cluster = value.attempt.cluster {
      worker.value.stats.add(cluster.value.stats.value.requests.txReset)
    }
    upstream.abandon()
    value.pausedUpstream = false
    endAttempt()
  }

  /// Gives back what the attempt held of the cluster's limits.
  private func endAttempt() {
    guard let cluster = value.attempt.cluster else { return }
    value.attempt.isRunning = false
    if value.attempt.durationTimer != .none {
      loop.cancel(value.attempt.durationTimer)
      value.attempt.durationTimer = .none
    }
    if value.attempt.holdsRequest {
      value.attempt.holdsRequest = false
      cluster.value.breakers.value[value.route.priority].releaseRequest()
      countAttemptEnded(cluster)
    }
    if value.attempt.holdsRetry {
      value.attempt.holdsRetry = false
      cluster.value.breakers.value[value.route.priority].releaseRetry()
    }
  }
}

extension BodyPath {
  /// Nothing is held back before the router.
  func isFlowingOrAtRouter(_ router: Int) -> Bool { mode == .flowing || position == router }
}
