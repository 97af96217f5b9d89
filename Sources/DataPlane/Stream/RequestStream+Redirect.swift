import Engine
import HTTPCodec
import HTTPModel
import Routing
import Telemetry
import Upstream

// Redirects of the upstream that are followed on the client's behalf (Envoy:
// `internal_redirect_policy`). Each leg is a request of its own to statistics and logs, as in Envoy.
extension Ref where Value == RequestStream {
  /// Follows the upstream's redirect when the route says so. True when the request is on its way
  /// again; else the redirect is the client's to follow.
  func redirectInternally() -> Bool {
    guard let policy = value.route.forward?.value.internalRedirect,
      policy.value.follows(status: value.status)
    else { return false }
    guard value.request.ended, !value.request.hasTrailers, !value.sentBodyIsCut,
      let location = value.responseHead[.location], follow(location, policy)
    else {
      countRedirect(followed: false)
      return false
    }
    return true
  }

  /// Where a redirect leads.
  private struct Target {
    var authority: Bytes
    var path: Bytes
    var isSecure: Bool
  }

  private func follow(_ location: Bytes, _ policy: Ref<InternalRedirectPolicy>) -> Bool {
    let stats = manager.value.stats
    guard let target = parse(location) else { return refuse(stats.value.redirectBadLocation) }
    let wasSecure = value.requestHead[.scheme].map { $0 == "https" } ?? false
    guard target.isSecure == wasSecure || policy.value.allowsCrossScheme else {
      return refuse(stats.value.redirectUnsafeScheme)
    }
    guard value.route.redirects < policy.value.maxRedirects else {
      return refuse(stats.value.redirectTooMany)
    }
    // What was asked for, kept for the next hop and for the way back.
    let block = loop.state.value.blocks.take(min(writtenURLBytes, BlockPool.largest))
    defer { loop.state.value.blocks.release(block) }
    let oldAuthority = value.requestHead[.authority] ?? .empty
    let oldPath = value.requestHead[.path] ?? .empty
    _ = block.append(wasSecure ? Bytes("https://") : Bytes("http://"))
    let authorityStart = block.used
    _ = block.append(oldAuthority)
    let pathStart = block.used
    _ = block.append(oldPath)
    let url = block.bytes()
    let oldRoute = value.route
    setField(.authority, target.authority)
    setField(.path, target.path)
    matchRoute()
    guard value.route.match != nil || value.route.needsTLS else {
      value.route = oldRoute
      setField(.authority, url[authorityStart, pathStart])
      setField(.path, url.dropFirst(pathStart))
      return refuse(stats.value.redirectNoRoute)
    }
    let newRoute = value.route
    value.route = oldRoute
    endLeg()
    value.route = newRoute
    value.route.redirects = oldRoute.redirects + 1
    setField(.scheme, target.isSecure ? Bytes("https") : Bytes("http"))
    setField(.envoyOriginalURL, url)
    copyHeaders(policy)
    beginLeg()
    return true
  }

  private func refuse(_ counter: CounterID) -> Bool {
    worker.value.stats.add(counter)
    return false
  }

  private var writtenURLBytes: Int {
    (value.requestHead[.authority]?.count ?? 0) + (value.requestHead[.path]?.count ?? 0) + 16
  }

  /// An absolute `http` or `https` URL.
  private func parse(_ location: Bytes) -> Target? {
    let isSecure = location.hasPrefixIgnoringCase(Bytes("https://"))
    guard isSecure || location.hasPrefixIgnoringCase(Bytes("http://")) else { return nil }
    let rest = location.dropFirst(isSecure ? 8 : 7)
    let end = rest.firstIndex(of: UInt8(ascii: "/")) ?? rest.count
    let authority = rest[0, end]
    guard !authority.isEmpty, HostRules.isValid(authority) else { return nil }
    let path = end < rest.count ? rest.dropFirst(end) : Bytes("/")
    return Target(
      authority: authority, path: path.prefix(path.firstIndex(of: UInt8(ascii: "#")) ?? path.count),
      isSecure: isSecure)
  }

  /// The request that was answered with the redirect is over: counted and logged.
  private func endLeg() {
    countRedirect(followed: true)
    value.attempt.uncountedStatus = 0
    dropAttempt()
    value.details = Bytes("internal_redirect")
    noticeLog()
    log()
    endFilters(from: 0)
  }

  private func beginLeg() {
    countRestarted()
    // RFC 9110 §15.4.4: what a 303 leads to is fetched, whatever was sent before.
    let isFetch = value.status == 303 && !(value.requestHead[.method].map { $0 == "GET" } ?? true)
    if isFetch, !value.isHEAD {
      setField(.method, Bytes("GET"))
      value.requestHead.remove(anyOf: .contentLength | .transferEncoding)
      value.sentBody.removeAll(into: &loop.state.value.blocks)
    }
    value.isResponding = false
    resetResponse()
    value.attempt.number = 0
    value.attempt.keepsBody = false
    value.attempt.retainedWhole = true
    value.attempt.retained.removeAll(into: &loop.state.value.blocks)
    value.attempt.head.release(into: &loop.state.value.blocks)
    value.request.endDelivered = false
    value.request.headDelivered = false
    value.details = .empty
    renewFilters(behind: -1)
    let body = contiguous(&value.sentBody)
    let id = value.streamID
    value.request.isInHand = !body.bytes.isEmpty
    runRequestHead(from: 0)
    if value.streamID == id, !value.isOver {
      value.request.isInHand = false
      if !body.bytes.isEmpty, !value.isResponding {
        deliverRequestData(body.bytes, endStream: true, from: 0)
      }
      if !value.isOver { flushDownstream() }
    }
    release(body)
  }

  private func countRedirect(followed: Bool) {
    guard let cluster = value.attempt.cluster else { return }
    worker.value.stats.add(
      followed
        ? cluster.value.stats.value.internalRedirectsSucceeded
        : cluster.value.stats.value.internalRedirectsFailed)
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
