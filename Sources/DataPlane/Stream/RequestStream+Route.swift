import CFilterABI
import CLinux
import Engine
import HTTPModel
import Routing
import Telemetry
import Upstream

/// What the route table decided about a stream, and the cluster that came of it.
struct RouteState: BitwiseCopyable {
  var match: RouteMatch?
  var needsTLS = false
  var cluster: Ref<ClusterView>?
  var priority = RequestPriority.normal
  /// One number for the life of the request, so that looking again decides the same.
  var random: UInt64 = 0
  var redirects: UInt32 = 0

  var name: Bytes? {
    guard let name = match?.entry.value.name, !name.isEmpty else { return nil }
    return name
  }

  var virtualHostName: Bytes? { match?.virtualHost.value.name }

  var forward: Ref<ForwardAction>? {
    guard case .forward(let action) = match?.entry.value.action else { return nil }
    return action
  }

  /// The route's stream idle timeout, or else the connection manager's. Milliseconds; 0 is none.
  func idleTimeout(or fallback: UInt64) -> UInt64 {
    forward?.value.idleTimeoutMilliseconds ?? fallback
  }

  /// The bound on the whole stream: the route's, or else the connection manager's.
  func maxDuration(or fallback: UInt64, grpcTimeout: UInt64?) -> UInt64 {
    guard let limits = forward?.value.maxStreamDuration else { return fallback }
    if let asked = grpcTimeout, let most = limits.grpcTimeoutHeaderMax {
      let capped = most == 0 ? asked : min(asked, most)
      let offset = limits.grpcTimeoutHeaderOffset ?? 0
      return capped > offset ? capped - offset : capped
    }
    return limits.milliseconds ?? fallback
  }

  nonisolated(unsafe) static let noTimeouts = Ref<fl_timeouts>.immortal(fl_timeouts())
}

// Finding the route, and what a route asks of the heads.
extension Ref where Value == RequestStream {
  /// Looks for the route; again, after a filter has changed what it depends on.
  func matchRoute() {
    guard value.call == nil else { return }
    if value.route.random == 0 { value.route.random = loop.state.value.random.next() | 1 }
    value.route.match = nil
    value.route.cluster = nil
    value.route.needsTLS = false
    switch routes.match(value.requestHead, random: value.route.random) {
    case .notFound: return
    case .redirectToTLS: value.route.needsTLS = true
    case .route(let match):
      value.route.match = match
      value.route.cluster = findCluster(of: match)
      value.route.priority = value.route.forward?.value.isHighPriority == true ? .high : .normal
      if let limit = match.entry.value.bodyBufferLimit {
        value.request.limit = Int(clamping: limit)
      }
    }
  }

  @inline(__always)
  private func findCluster(of match: RouteMatch) -> Ref<ClusterView>? {
    switch match.cluster {
    case .reference(let reference):
      return reference.index.flatMap { snapshot.value.cluster(at: $0) }
    case .named(let header):
      return header.first(in: value.requestHead).flatMap { snapshot.value.cluster(named: $0) }
    case nil: return nil
    }
  }

  /// The chain has let the head through: the route's action.
  func routeReached() {
    if let cluster = value.route.cluster, value.call != nil {
      return startAttempt(cluster: cluster)
    }
    if value.wantsUpgrade, let action = value.route.forward, !allowsUpgrade(action) {
      return refuseUpgrade()
    }
    if value.attempt.number == 0 {
      if value.wantsUpgrade { worker.value.stats.add(manager.value.stats.value.rqUpgrades) }
      worker.value.stats.add(manager.value.stats.value.routedTotal)
    }
    if value.route.needsTLS {
      worker.value.stats.add(manager.value.stats.value.rqDirectResponse)
      return redirect(status: 301, RouteTable.writeTLSLocation)
    }
    guard let match = value.route.match else {
      worker.value.stats.add(manager.value.stats.value.noRoute)
      return replyLocally(.noRoute)
    }
    switch match.entry.value.action {
    case .redirect(let action):
      worker.value.stats.add(manager.value.stats.value.rqDirectResponse)
      _ = match.rewritePath(of: &value.requestHead, pool: &loop.state.value.blocks)
      redirect(status: Int(action.value.status)) { _ = match.writeLocation(for: $0, into: &$1) }
    case .respond(let response):
      worker.value.stats.add(manager.value.stats.value.rqDirectResponse)
      respond(response, match)
    case .forward(let action): forward(action)
    }
  }

  private func forward(_ action: Ref<ForwardAction>) {
    guard let cluster = value.route.cluster else {
      worker.value.stats.add(manager.value.stats.value.noCluster)
      return replyLocally(.clusterNotFound(Int(action.value.clusterNotFoundStatus)))
    }
    startAttempt(cluster: cluster)
  }

  /// The upgrade is not to be had here: said before the request counts as one that found its way.
  private func refuseUpgrade() {
    worker.value.stats.add(manager.value.stats.value.rqUpgradeRefused)
    value.request.ended = false
    replyLocally(.upgradeRefused)
  }

  /// The route's word on this upgrade, or else the connection manager's.
  private func allowsUpgrade(_ action: Ref<ForwardAction>) -> Bool {
    guard let type = value.requestHead[.upgrade] else { return false }
    for index in 0..<action.value.upgrades.count
    where action.value.upgrades[index].type.equalsIgnoringCase(type) {
      return action.value.upgrades[index].isEnabled
    }
    for index in 0..<manager.value.upgrades.count
    where manager.value.upgrades[index].type.equalsIgnoringCase(type) {
      return manager.value.upgrades[index].isEnabled
    }
    return false
  }

  private func respond(_ response: Ref<DirectResponse>, _ match: RouteMatch) {
    beginOwnResponse(status: Int(response.value.status))
    writeLocation { match.writeLocation(for: $0, into: &$1) }
    guard let format = response.value.format else {
      return finishOwnResponse(body: response.value.body)
    }
    let text = render(format.format.value, body: response.value.body)
    value.replyHead.set(.contentType, format.contentType, from: &loop.state.value.blocks)
    finishOwnResponse(body: text.bytes())
    loop.state.value.blocks.release(text)
  }

  private func redirect(
    status: Int, _ write: (borrowing HeaderMap, inout ByteWriter) -> Void
  ) {
    beginOwnResponse(status: status)
    writeLocation {
      write($0, &$1)
      return true
    }
    finishOwnResponse(body: .empty)
  }

  private func writeLocation(_ write: (borrowing HeaderMap, inout ByteWriter) -> Bool) {
    let room = value.requestHead.writtenBytes + 1024
    let block = loop.state.value.blocks.take(min(room, BlockPool.largest))
    defer { loop.state.value.blocks.release(block) }
    var out = unsafe ByteWriter(base: block.base, capacity: block.capacity)
    guard write(value.requestHead, &out), !out.overflowed else { return }
    value.replyHead.set(.location, out.written, from: &loop.state.value.blocks)
  }

  private func beginOwnResponse(status: Int) {
    value.replyHead.release(into: &loop.state.value.blocks)
    value.replyHead.open(from: &loop.state.value.blocks)
    value.replyStatus = status
    value.replyGRPCStatus = -1
    value.details = Bytes("direct_response")
  }

  private func finishOwnResponse(body: Bytes) {
    value.replyBody.append(body, from: &loop.state.value.blocks)
    startFilterReply()
  }

  // MARK: What a route says of filters

  func routeConfig(of entry: Ref<FilterEntry>) -> (UnsafeRawPointer?, Bool) {
    guard let match = value.route.match else { return (nil, entry.value.isDisabled) }
    let slot = entry.value.routeSlot
    return unsafe (
      match.filterConfig(slot: slot), match.isFilterDisabled(slot: slot) ?? entry.value.isDisabled
    )
  }

  /// This filter's configuration at a level that has one, the most specific being level 0.
  func routeConfig(ofSlot slot: Int, level: Int) -> UnsafeRawPointer? {
    guard let match = value.route.match, match.hasFilterConfigs else { return nil }
    var count = 0
    unsafe match.forEachFilterConfig(slot: slot) { _ in count += 1 }
    var found: UnsafeRawPointer?
    var position = 0
    unsafe match.forEachFilterConfig(slot: slot) { config in
      if count - 1 - position == level { unsafe found = config }
      position += 1
    }
    return unsafe found
  }

  var routeTimeouts: UnsafePointer<fl_timeouts> {
    let timeouts = unsafe value.route.forward?.value.timeouts ?? RouteState.noTimeouts
    return unsafe UnsafePointer(timeouts.pointer)
  }

  var routeRetryPolicy: UnsafePointer<fl_retry_policy>? {
    unsafe value.route.forward?.value.retryPolicy.map { unsafe UnsafePointer($0.pointer) }
  }

  func matches(_ part: fl_part, _ matchers: UnsafeRawPointer) -> Bool {
    let list = unsafe matchers.assumingMemoryBound(to: HeaderMatchers.self)
    switch part {
    case FL_REQUEST_HEAD: return unsafe list.pointee.matches(value.requestHead)
    case FL_RESPONSE_HEAD: return unsafe list.pointee.matches(value.responseHead)
    case FL_REQUEST_TRAILERS: return unsafe list.pointee.matches(value.requestTrailers)
    default: return unsafe list.pointee.matches(value.responseTrailers)
    }
  }

  func mutate(_ part: fl_part, _ mutations: UnsafeRawPointer) {
    let list = unsafe mutations.assumingMemoryBound(to: HeaderMutations.self)
    let source = StreamLogSource(self)
    let renderer = worker.value.renderer
    let state = loop.state
    switch part {
    case FL_REQUEST_HEAD:
      rememberCaller()
      unsafe list.pointee.apply(
        to: &value.requestHead, source, renderer, pool: &state.value.blocks)
    case FL_RESPONSE_HEAD:
      unsafe list.pointee.apply(
        to: &value.responseHead, source, renderer, pool: &state.value.blocks)
    case FL_REQUEST_TRAILERS:
      unsafe list.pointee.apply(
        to: &value.requestTrailers, source, renderer, pool: &state.value.blocks)
    default:
      unsafe list.pointee.apply(
        to: &value.responseTrailers, source, renderer, pool: &state.value.blocks)
    }
  }

  // MARK: Towards the upstream

  /// Makes the head what the upstream shall see.
  func prepareUpstreamHead(for cluster: Ref<ClusterView>) {
    guard value.call == nil else { return }
    let state = loop.state
    value.requestHead.remove(.host)
    if value.requestHead.mayHave(anyOf: Self.routerFields) { takeRouterFields() }
    guard let match = value.route.match else { return }
    let fits = match.prepareRequest(
      &value.requestHead, StreamLogSource(self), renderer: worker.value.renderer,
      pool: &state.value.blocks)
    if !fits { return replyLocally(.internalHeadTooLarge) }
    if match.virtualHost.value.includesAttemptCount {
      var digits = InlineArray<24, UInt8>(repeating: 0)
      withDecimal(Int(value.attempt.number), &digits) {
        value.requestHead.set(.envoyAttemptCount, $0, from: &state.value.blocks)
      }
    }
    if value.attempt.number > 1, match.virtualHost.value.includesIsTimeoutRetry {
      let text = value.attempt.timedOut ? Bytes("true") : Bytes("false")
      value.requestHead.set(.envoyIsTimeoutRetry, text, from: &state.value.blocks)
    }
  }

  /// Fields with which a trusted caller speaks to the router: they end here.
  private static var routerFields: HeaderIDSet {
    .envoyStreamDuration | .envoyAltStatName | .envoyHedge
  }

  private func takeRouterFields() {
    if let asked = value.requestHead[.envoyStreamDuration] {
      value.attempt.askedDuration = asked.decimal.map { UInt64($0) }
    }
    value.requestHead.remove(anyOf: Self.routerFields)
  }

  /// Gives the request the name of the host it goes to, where the route asks for that.
  func rewriteHost(for entry: HostEntry) {
    value.route.match?.rewriteHost(
      of: &value.requestHead, to: entry.host.value.hostname, pool: &loop.state.value.blocks)
  }

  // MARK: Towards the client

  /// How long the upstream took to answer once it had the whole request.
  func addServiceTime() {
    guard value.call == nil, value.request.endDelivered,
      unsafe !routeTimeouts.pointee.suppress_envoy_headers
    else { return }
    let milliseconds = (loop.now &- value.upstreamRequestEndedAt) / 1_000_000
    var digits = InlineArray<24, UInt8>(repeating: 0)
    withDecimal(Int(clamping: milliseconds), &digits) {
      value.responseHead.set(.envoyServiceTime, $0, from: &loop.state.value.blocks)
    }
  }

  /// The fields that every response carries on, after the filters.
  func finishResponseHead() {
    guard value.call == nil else { return }
    let state = loop.state
    value.route.match?.prepareResponse(
      &value.responseHead, StreamLogSource(self), renderer: worker.value.renderer,
      pool: &state.value.blocks)
    setServer()
    if !value.responseHead.contains(.date) {
      worker.value.withDate {
        value.responseHead.add($0, from: &state.value.blocks)
      }
    }
    if !manager.value.via.isEmpty {
      value.responseHead.append(
        .via, separator: ", ", manager.value.via, from: &state.value.blocks)
    }
    if manager.value.returnsRequestID || value.requestHead.contains(.envoyForceTrace),
      let id = value.requestHead[.xRequestID]
    {
      value.responseHead.set(.xRequestID, id, from: &state.value.blocks)
    }
    if value.route.match?.virtualHost.value.includesAttemptCountInResponse == true,
      value.attempt.number > 0
    {
      var digits = InlineArray<24, UInt8>(repeating: 0)
      withDecimal(Int(value.attempt.number), &digits) {
        value.responseHead.set(.envoyAttemptCount, $0, from: &state.value.blocks)
      }
    }
    setConnection()
  }

  private func setServer() {
    guard let line = manager.value.serverLine else { return }
    switch manager.value.serverHeader {
    case .overwrite:
      value.responseHead.set(line, from: &loop.state.value.blocks)
    case .appendIfAbsent:
      if !value.responseHead.contains(.server) {
        value.responseHead.add(line, from: &loop.state.value.blocks)
      }
    case .passThrough: return
    }
  }

  /// The process has too many connections to keep them between requests.
  private func isTired() -> Bool {
    let strikes = worker.value.overload.strikes(
      .disableKeepalive, &worker.value.loop.state.value.random)
    if strikes { worker.value.stats.add(manager.value.stats.value.cxOverloadDisableKeepalive) }
    return strikes
  }

  private func setConnection() {
    guard let downstream = value.downstream else { return }
    // The upstream's own word stands.
    if value.isUpgraded { return }
    let limit = manager.value.maxRequestsPerConnection
    let exhausted = limit > 0 && downstream.value.requests >= limit
    if exhausted { worker.value.stats.add(manager.value.stats.value.cxMaxRequests) }
    let isTired = !downstream.listenerDrains && isTired()
    let drains = downstream.listenerDrains || isTired
    if drains { worker.value.stats.add(manager.value.stats.value.cxDrainClose) }
    if value.client.isHTTP2 {
      if exhausted || drains { downstream.drainSession() }
      return
    }
    if !value.request.ended || exhausted || drains || !downstream.value.keepAlive {
      value.closesConnection = true
    }
    if value.closesConnection {
      value.responseHead.set(.connection, Bytes("close"), from: &loop.state.value.blocks)
    } else if value.minor == 0 {
      value.responseHead.set(.connection, Bytes("keep-alive"), from: &loop.state.value.blocks)
    }
  }
}
