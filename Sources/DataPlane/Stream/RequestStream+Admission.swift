import Engine
import HTTPCodec
import HTTPModel
import Routing
import Telemetry

// The connection manager's own rules for a request, in Envoy's order: what is refused, what is
// rewritten, whom we trust, and the fields that every request carries on (Envoy docs: "HTTP header
// manipulation").
extension Ref where Value == RequestStream {
  /// Checks the head and makes it ours. False when it was answered here.
  func admit(method: Bytes, target: Bytes) -> Bool {
    value.isHEAD = method == "HEAD"
    guard checkSyntax(method: method, target: target) else { return false }
    adoptPseudo(.method, worker.value.parser.method)
    if method == "CONNECT" { return admitConnect(target) }
    guard takeTarget(target), takeHost(), normalizePath() else { return false }
    normalizeHost()
    prepare()
    return true
  }

  /// The same for a head of HTTP/2: nghttp2 has seen to what RFC 9113 §8.2 and §8.3 say of its form.
  func admitHTTP2() -> Bool {
    guard joinCookies(), checkHTTP2Syntax() else { return false }
    guard let method = value.requestHead[.method] else { return refuseHTTP2Syntax() }
    value.isHEAD = method == "HEAD"
    if method == "CONNECT" {
      guard value.requestHead.contains(.upgrade) else {
        return admitConnect(value.requestHead[.authority] ?? .empty)
      }
      // Behind here an extended CONNECT (RFC 8441) is HTTP/1's upgrade, which filters and routes know.
      value.wantsUpgrade = true
      setField(.method, Bytes("GET"))
      setField(.connection, Bytes("upgrade"))
    }
    guard takeHTTP2Host(), normalizePath() else { return false }
    normalizeHost()
    prepare()
    return true
  }

  /// No route can lead such a request anywhere yet, and what follows it is no HTTP.
  private func admitConnect(_ target: Bytes) -> Bool {
    setField(.authority, target)
    value.requestHead.remove(.host)
    prepare()
    worker.value.stats.add(manager.value.stats.value.routedTotal)
    worker.value.stats.add(manager.value.stats.value.noRoute)
    value.request.ended = false
    replyLocally(LocalReply(404, "", "route_not_found", .noRouteFound, closes: true))
    return false
  }

  /// The fields that every request carries on.
  private func prepare() {
    HTTP1Framing.removeHopByHop(&value.requestHead, keepingUpgrade: value.wantsUpgrade)
    HTTP1Framing.reduceTE(of: &value.requestHead, from: &loop.state.value.blocks)
    expectContinue()
    identifyClient()
    setScheme()
    addRequestID()
    addUserAgent()
    addVia()
  }

  @inline(__always)
  func setField(_ id: HeaderID, _ text: Bytes) {
    value.requestHead.set(id, text, from: &loop.state.value.blocks)
  }

  /// The same for what stands in the head's own text, where it stays: nothing is copied.
  func adoptPseudo(_ id: HeaderID, _ place: Range<Int>) {
    value.requestHead.add(
      pseudo: id, at: place.lowerBound, count: place.count, from: &loop.state.value.blocks)
  }

  /// What x-forwarded-proto says, where it says one of the two that there are.
  private func setScheme() {
    // An HTTP/2 client says it itself.
    if value.client.isHTTP2, let named = value.requestHead[.scheme],
      named == "http" || named == "https"
    {
      return
    }
    guard !value.schemeIsSecure, let claimed = value.requestHead[.xForwardedProto] else {
      return setField(.scheme, value.schemeIsSecure ? Bytes("https") : Bytes("http"))
    }
    setField(.scheme, claimed.equalsIgnoringCase("https") ? Bytes("https") : Bytes("http"))
  }

  // MARK: Expectations

  /// Says 100 at once, so that clients which wait for it send their body (RFC 9110 §10.1.1).
  private func expectContinue() {
    guard let expect = value.requestHead[.expect], expect.equalsIgnoringCase("100-continue") else {
      return
    }
    guard !manager.value.proxies100Continue else { return }
    value.requestHead.remove(.expect)
    guard value.minor == 1, !value.request.ended else { return }
    switch value.client {
    case .none: return
    case .http1(let downstream):
      downstream.write(Bytes("HTTP/1.1 100 Continue\r\n\r\n"))
      downstream.flushOutput()
    case .http2(let stream): stream.sendInterim(100, HeaderMap())
    }
    countInterim()
  }

  // MARK: Identity of the request

  private func addRequestID() {
    let manager = self.manager
    guard manager.value.generatesRequestID else { return }
    let isEdge = !value.isInternal && manager.value.usesRemoteAddress
    let replaces = isEdge && !manager.value.preservesRequestID
    guard replaces || !value.requestHead.contains(.xRequestID) else { return }
    var text = InlineArray<36, UInt8>(repeating: 0)
    let id = RandomUUID(from: &loop.state.value.random)
    id.withText(&text) { setField(.xRequestID, $0) }
  }

  private func addVia() {
    let via = manager.value.via
    guard !via.isEmpty else { return }
    value.requestHead.append(.via, separator: ", ", via, from: &loop.state.value.blocks)
  }

  /// What an internal client behind us is called, and who asks on behalf of those who do not say.
  private func addUserAgent() {
    guard manager.value.addsUserAgent else { return }
    if !manager.value.nodeCluster.isEmpty {
      setField(.envoyServiceCluster, manager.value.nodeCluster)
      if !value.requestHead.contains(.userAgent) {
        setField(.userAgent, manager.value.nodeCluster)
      }
    }
    if !manager.value.nodeID.isEmpty { setField(.envoyServiceNode, manager.value.nodeID) }
  }
}
