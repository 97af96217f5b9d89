import Engine
import HTTPCodec
import HTTPModel
import Routing
import Upstream

// Copies of requests that nobody waits for, and redirects followed on the client's behalf.
extension Ref where Value == RequestStream {
  /// Sends copies to the route's mirrors. A request with a body is copied once its body is whole, and
  /// only when it was kept (Envoy abandons the shadow as well when the body is too large).
  func startMirrors() {
    guard value.call == nil, let action = value.route.forward, action.value.mirrors.count > 0
    else { return }
    for index in 0..<action.value.mirrors.count {
      let policy = action.value.mirrors[index]
      guard policy.applies(random: loop.state.value.random.next()),
        let cluster = cluster(of: policy)
      else { continue }
      if value.request.ended && value.request.queue.isEmpty {
        mirror(to: cluster, policy, body: .empty)
      } else if value.request.ended {
        let copy = copy(of: value.request.queue)
        mirror(to: cluster, policy, body: copy.bytes)
        release(copy)
      }
    }
  }

  private func cluster(of policy: MirrorPolicy) -> Ref<ClusterView>? {
    switch policy.target {
    case .cluster(let reference): reference.index.map { worker.value.clusters[Int($0)] }
    case .header(let name):
      name.first(in: value.requestHead).flatMap { worker.value.cluster(named: $0) }
    }
  }

  private func mirror(to cluster: Ref<ClusterView>, _ policy: MirrorPolicy, body: Bytes) {
    let state = loop.state
    let call = worker.value.calls.take()
    call.value.worker = worker
    let shadow = openCall(call)
    shadow.value.requestHead.copy(from: value.requestHead, pool: &state.value.blocks)
    if let host = policy.hostRewrite {
      shadow.value.requestHead.set(.authority, host, from: &state.value.blocks)
    } else if policy.appendsShadowSuffix, let authority = value.requestHead[.authority] {
      setShadowHost(authority, of: shadow)
    }
    shadow.value.requestHead.remove(.transferEncoding)
    if !body.isEmpty { shadow.setContentLength(&shadow.value.requestHead, body.count) }
    call.value.timer = unsafe loop.after(
      milliseconds: InternalCall.defaultTimeout, context: call.raw
    ) { raw, _ in unsafe Ref<InternalCall>(raw: raw).timedOut() }
    shadow.runCall(to: cluster, body: body)
  }

  /// `host-shadow`, the suffix before the port.
  private func setShadowHost(_ authority: Bytes, of shadow: Ref<RequestStream>) {
    let state = loop.state
    let (host, port) = HostRules.split(authority)
    let block = state.value.blocks.take(min(authority.count + 16, BlockPool.largest))
    defer { state.value.blocks.release(block) }
    _ = block.append(host)
    _ = block.append(Bytes("-shadow"))
    if let port {
      _ = block.append(Bytes(":"))
      _ = block.append(port)
    }
    shadow.value.requestHead.set(.authority, block.bytes(), from: &state.value.blocks)
  }

  /// Ends a stream without a client.
  func endCall() {
    guard !value.isOver else { return }
    dropAttempt()
    finish()
  }

  // MARK: Internal redirects

  /// Follows the upstream's redirect when the route says so. True when the request is on its way
  /// again.
  func redirectInternally() -> Bool {
    guard let policy = value.route.forward?.value.internalRedirect,
      policy.value.follows(status: value.status)
    else { return false }
    guard value.route.redirects < policy.value.maxRedirects, value.request.ended,
      !value.attempt.bodySent, !value.request.hasTrailers,
      let location = value.responseHead[.location], follow(location, policy)
    else {
      countRedirect(followed: false)
      return false
    }
    countRedirect(followed: true)
    value.route.redirects += 1
    value.attempt.uncountedStatus = 0
    value.attempt.number = 0
    dropAttempt()
    value.isResponding = false
    resetResponse()
    value.request.endDelivered = false
    value.details = Bytes("internal_redirect")
    matchRoute()
    renewFilters(behind: -1)
    runRequestHead(from: 0)
    return true
  }

  private func countRedirect(followed: Bool) {
    guard let cluster = value.attempt.cluster else { return }
    worker.value.stats.add(
      followed
        ? cluster.value.stats.value.internalRedirectsSucceeded
        : cluster.value.stats.value.internalRedirectsFailed)
  }

  /// Points the request at `location`, which must be absolute and of a scheme we may follow.
  private func follow(_ location: Bytes, _ policy: Ref<InternalRedirectPolicy>) -> Bool {
    let isPlain = location.hasPrefixIgnoringCase(Bytes("http://"))
    let isSecure = location.hasPrefixIgnoringCase(Bytes("https://"))
    guard isPlain || (isSecure && policy.value.allowsCrossScheme) else { return false }
    let rest = location.dropFirst(isPlain ? 7 : 8)
    let end = rest.firstIndex(of: UInt8(ascii: "/")) ?? rest.count
    let authority = rest[0, end]
    guard !authority.isEmpty, HostRules.isValid(authority) else { return false }
    let path = end < rest.count ? rest.dropFirst(end) : Bytes("/")
    let fragment = path.firstIndex(of: UInt8(ascii: "#")) ?? path.count
    let state = loop.state
    copyHeaders(policy)
    value.requestHead.set(.authority, authority, from: &state.value.blocks)
    value.requestHead.set(.path, path[0, fragment], from: &state.value.blocks)
    return true
  }

  private func copyHeaders(_ policy: Ref<InternalRedirectPolicy>) {
    for index in 0..<policy.value.copiedHeaders.count {
      let name = policy.value.copiedHeaders[index]
      guard let field = name.first(in: value.responseHead) else {
        value.requestHead.remove(name.text)
        continue
      }
      value.requestHead.set(name.text, id: name.id, field, from: &loop.state.value.blocks)
    }
  }
}
