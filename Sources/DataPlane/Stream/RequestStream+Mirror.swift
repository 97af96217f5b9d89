import Engine
import HTTPCodec
import HTTPModel
import Routing
import Upstream

// Copies of requests that nobody waits for (Envoy: `request_mirror_policies`).
extension Ref where Value == RequestStream {
  /// Chooses the route's mirrors that get a copy of this request. Without a body they get it at once,
  /// else when the body is whole: a shadow must not be able to slow the client down.
  func startMirrors() {
    guard value.call == nil, let action = value.route.forward else { return }
    value.mirrors = 0
    for index in 0..<min(action.value.mirrors.count, 64)
    where action.value.mirrors[index].applies(random: loop.state.value.random.next()) {
      value.mirrors |= 1 << UInt64(index)
    }
    value.sentBodyIsCut = false
    value.keepsSentBody = value.mirrors != 0 || action.value.internalRedirect != nil
    if value.request.endsWithHead, value.mirrors != 0 { sendMirrors() }
  }

  /// Keeps a piece of the body that leaves for the upstream; the last one sends the mirrors off.
  func keepSent(_ piece: Bytes, endStream: Bool) {
    guard value.sentBody.count + piece.count <= value.request.limit else { return cutSent() }
    value.sentBody.append(piece, from: &loop.state.value.blocks)
    if endStream, value.mirrors != 0 { sendMirrors() }
  }

  /// As in Envoy, what would have to be kept beyond the buffer limit is neither mirrored nor sent
  /// after a redirect.
  private func cutSent() {
    if value.mirrors != 0, let cluster = value.attempt.cluster {
      worker.value.stats.add(cluster.value.stats.value.retries.abandoned)
    }
    value.mirrors = 0
    value.keepsSentBody = false
    value.sentBodyIsCut = true
    value.sentBody.removeAll(into: &loop.state.value.blocks)
  }

  private func sendMirrors() {
    guard let action = value.route.forward else { return }
    let chosen = value.mirrors
    value.mirrors = 0
    let body = copy(of: value.sentBody)
    for index in 0..<min(action.value.mirrors.count, 64) where chosen & 1 << UInt64(index) != 0 {
      let policy = action.value.mirrors[index]
      if let cluster = cluster(of: policy) { mirror(to: cluster, policy, body: body.bytes) }
    }
    release(body)
  }

  private func cluster(of policy: MirrorPolicy) -> Ref<ClusterView>? {
    switch policy.target {
    case .cluster(let reference): reference.index.flatMap { snapshot.value.cluster(at: $0) }
    case .header(let name):
      name.first(in: value.requestHead).flatMap { snapshot.value.cluster(named: $0) }
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
    let timeout = unsafe routeTimeouts.pointee.route_ms
    if timeout > 0 {
      var digits = InlineArray<24, UInt8>(repeating: 0)
      withDecimal(Int(clamping: timeout), &digits) {
        shadow.value.requestHead.set(.envoyExpectedTimeout, $0, from: &state.value.blocks)
      }
    }
    call.startTimer(milliseconds: timeout)
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
}
