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
    let manager = self.manager
    value.isHEAD = method == "HEAD"
    guard MethodRules.isKnown(method) else {
      requestBroken()
      return false
    }
    adoptPseudo(.method, worker.value.parser.method)
    guard let path = takeTarget(target, isConnect: method == "CONNECT") else { return false }
    guard checkVersionAndHost() else { return false }
    guard manager.value.underscores == .allow || checkUnderscores() else { return false }
    if unsafe path.base == target.base, path.count == target.count {
      adoptPseudo(.path, worker.value.parser.target)
    } else {
      setPseudo(.path, path)
    }
    guard method != "CONNECT" else {
      // No route can lead such a request anywhere yet, and what follows it is no HTTP.
      replyLocally(LocalReply(404, "", "route_not_found", .noRouteFound, closes: true))
      return false
    }
    guard path.count > 0, path[0] == UInt8(ascii: "/") else {
      replyLocally(LocalReply(404, "", "absolute_path_rejected"))
      return false
    }
    guard path.firstIndex(of: UInt8(ascii: "#")) == nil else {
      replyLocally(LocalReply(400, "", "path_normalization_failed", closes: true))
      return false
    }
    guard normalizePath() else { return false }
    normalizeHost()
    HTTP1Framing.removeHopByHop(&value.requestHead, keepingUpgrade: value.wantsUpgrade)
    expectContinue()
    identifyClient()
    setPseudo(.scheme, value.requestHead[.xForwardedProto] ?? Bytes("http"))
    addRequestID()
    addVia()
    return true
  }

  private func setPseudo(_ id: HeaderID, _ text: Bytes) {
    value.requestHead.set(id, text, from: &loop.state.value.blocks)
  }

  /// The same for what stands in the head's own text, where it stays: nothing is copied.
  private func adoptPseudo(_ id: HeaderID, _ place: Range<Int>) {
    value.requestHead.add(
      pseudo: id, at: place.lowerBound, count: place.count, from: &loop.state.value.blocks)
  }

  // MARK: Target, version, host

  /// The path of the target; of an absolute one, its authority replaces Host (RFC 9112 §3.2.2).
  private func takeTarget(_ target: Bytes, isConnect: Bool) -> Bytes? {
    guard !isConnect else {
      guard HostRules.isValid(target) else {
        requestBroken()
        return nil
      }
      setPseudo(.authority, target)
      value.requestHead.remove(.host)
      return Bytes("")
    }
    let isAsterisk = target == "*" && value.requestHead[.method].map { $0 == "OPTIONS" } ?? false
    guard target[0] != UInt8(ascii: "/"), !isAsterisk, manager.value.allowsAbsoluteURL else {
      return target
    }
    guard let rest = afterScheme(target) else {
      requestBroken()
      return nil
    }
    let slash = rest.firstIndex(of: UInt8(ascii: "/"))
    let question = rest.firstIndex(of: UInt8(ascii: "?"))
    let end = min(slash ?? rest.count, question ?? rest.count)
    guard end > 0 else {
      requestBroken()
      return nil
    }
    if let host = value.requestHead.find(.host) {
      value.requestHead.replace(host, rest[0, end], from: &loop.state.value.blocks)
    } else {
      value.requestHead.add(.host, rest[0, end], from: &loop.state.value.blocks)
    }
    return end == slash ? rest.dropFirst(end) : Bytes("/")
  }

  private func afterScheme(_ target: Bytes) -> Bytes? {
    if target.hasPrefixIgnoringCase(Bytes("http://")) { return target.dropFirst(7) }
    if target.hasPrefixIgnoringCase(Bytes("https://")) { return target.dropFirst(8) }
    return nil
  }

  private func checkVersionAndHost() -> Bool {
    let manager = self.manager
    if value.minor == 0, !manager.value.acceptsHTTP10 {
      countProtocolError()
      replyLocally(
        LocalReply(
          426, "Upgrade Required", "low_version", .downstreamProtocolError, closes: true))
      return false
    }
    guard value.requestHead[.method].map({ $0 != "CONNECT" }) ?? true else { return true }
    guard let host = value.requestHead[.host] else {
      if value.minor == 0, !manager.value.defaultHost.isEmpty {
        setPseudo(.authority, manager.value.defaultHost)
        return true
      }
      replyLocally(.missingHost)
      return false
    }
    // Two hosts, or one that is none, are how one proxy sees another site than the next one does
    // (RFC 9112 §3.2).
    guard value.requestHead.occurrences(of: .host) == 1, HostRules.isValid(host) else {
      requestBroken()
      return false
    }
    guard !host.isEmpty else {
      replyLocally(.missingHost)
      return false
    }
    if let index = value.requestHead.find(.host) {
      value.requestHead.rename(index, toPseudo: .authority)
    }
    return true
  }

  private func checkUnderscores() -> Bool {
    let rejects = manager.value.underscores == .reject
    var index = 0
    while index < value.requestHead.count {
      let entry = value.requestHead.entry(index)
      if entry.id == .other, !entry.isRemoved,
        value.requestHead.name(index).firstIndex(of: UInt8(ascii: "_")) != nil
      {
        if rejects {
          worker.value.stats.add(manager.value.stats.value.underscoreRejected)
          replyLocally(.underscores)
          return false
        }
        worker.value.stats.add(manager.value.stats.value.underscoreDropped)
        value.requestHead.remove(at: index)
      }
      index += 1
    }
    return true
  }

  private func normalizePath() -> Bool {
    let rules = manager.value.pathRules
    guard let path = value.requestHead[.path] else { return true }
    let block = loop.state.value.blocks.take(min(path.count * 3 + 64, BlockPool.largest))
    defer { loop.state.value.blocks.release(block) }
    var out = unsafe ByteWriter(base: block.base, capacity: block.capacity)
    switch rules.apply(to: path, writingTo: &out) {
    case .unchanged:
      return true
    case .changed:
      setPseudo(.path, out.written)
      return true
    case .rejected:
      replyLocally(.pathRejected)
      return false
    case .redirect:
      redirectToNormalized(out.written)
      return false
    }
  }

  private func redirectToNormalized(_ path: Bytes) {
    value.replyHead.open(from: &loop.state.value.blocks)
    value.replyHead.set(.location, path, from: &loop.state.value.blocks)
    value.replyStatus = 307
    value.details = Bytes("path_normalization_failed")
    startFilterReply()
  }

  private func normalizeHost() {
    let manager = self.manager
    guard let index = value.requestHead.find(.authority) else { return }
    var host = value.requestHead.value(index)
    if manager.value.stripsTrailingDot { host = HostRules.withoutTrailingDot(host) }
    if manager.value.stripsAnyPort {
      host = HostRules.withoutPort(host)
    } else if manager.value.stripsMatchingPort, let downstream = value.downstream,
      HostRules.port(of: host) == Int(downstream.value.local.port)
    {
      host = HostRules.withoutPort(host)
    }
    guard host.count != value.requestHead.value(index).count else { return }
    value.requestHead.replace(index, host, from: &loop.state.value.blocks)
  }

  // MARK: Expectations

  /// Says 100 at once, so that clients which wait for it send their body (RFC 9110 §10.1.1).
  private func expectContinue() {
    guard let expect = value.requestHead[.expect], expect.equalsIgnoringCase("100-continue") else {
      return
    }
    guard !manager.value.proxies100Continue else { return }
    value.requestHead.remove(.expect)
    guard value.minor == 1, !value.request.ended, let downstream = value.downstream else { return }
    downstream.write(Bytes("HTTP/1.1 100 Continue\r\n\r\n"))
    downstream.flushOutput()
  }

  // MARK: The client

  /// Who asks, as far as we trust what we are told: x-forwarded-for, x-forwarded-proto, x-envoy-….
  private func identifyClient() {
    let manager = self.manager
    guard let downstream = value.downstream else { return }
    // Without TLS nobody has shown a certificate, whatever a request says of one.
    value.requestHead.remove(.xForwardedClientCert)
    combineForwardedFor()
    if manager.value.usesRemoteAddress {
      let isSingle = !value.requestHead.contains(.xForwardedFor)
      var isInternal = isSingle && downstream.value.remoteIsInternal
      if manager.value.trustedHops > 0,
        let claimed = forwardedAddress(fromRight: manager.value.trustedHops - 1)?.address
      {
        value.claimedAddress = claimed
        isInternal = isSingle && manager.value.internalAddresses.contains(claimed)
      }
      if !manager.value.skipsForwardedFor { appendForwardedFor(downstream) }
      if manager.value.trustedHops == 0 || !value.requestHead.contains(.xForwardedProto) {
        set(.xForwardedProto, Bytes("http"))
      }
      if manager.value.appendsForwardedPort { appendForwardedPort(downstream.value.local.port) }
      value.isInternal = isInternal
    } else {
      if let forwarded = forwardedAddress(fromRight: manager.value.trustedHops) {
        value.claimedAddress = forwarded.address
        value.isInternal =
          forwarded.isOnlyOne && manager.value.internalAddresses.contains(forwarded.address)
      }
      if !value.requestHead.contains(.xForwardedProto) { set(.xForwardedProto, Bytes("http")) }
    }
    trust(isEdge: !value.isInternal && manager.value.usesRemoteAddress, downstream)
  }

  private func set(_ id: HeaderID, _ text: Bytes) {
    value.requestHead.set(id, text, from: &loop.state.value.blocks)
  }

  private func appendForwardedFor(_ downstream: Ref<DownstreamConnection>) {
    guard !downstream.value.forwardedText.isEmpty else { return }
    downstream.value.forwardedText.withBytes {
      value.requestHead.append(
        .xForwardedFor, separator: ",", $0, from: &loop.state.value.blocks)
    }
  }

  private func appendForwardedPort(_ port: UInt16) {
    var digits = InlineArray<24, UInt8>(repeating: 0)
    withDecimal(Int(port), &digits) { set(.xForwardedPort, $0) }
  }

  /// Makes one list of all x-forwarded-for fields, as whoever reads only the first one expects.
  private func combineForwardedFor() {
    guard let first = value.requestHead.find(.xForwardedFor) else { return }
    var index = first + 1
    while index < value.requestHead.count {
      if value.requestHead.isLive(index), value.requestHead.entry(index).id == .xForwardedFor {
        let more = value.requestHead.value(index)
        value.requestHead.remove(at: index)
        value.requestHead.append(
          .xForwardedFor, separator: ",", more, from: &loop.state.value.blocks)
      }
      index += 1
    }
    if value.requestHead.value(first).isEmpty { value.requestHead.remove(at: first) }
  }

  /// The address at this place of x-forwarded-for, counted from the right.
  private func forwardedAddress(
    fromRight hops: UInt32
  ) -> (address: SocketAddress, isOnlyOne: Bool)? {
    guard let field = value.requestHead[.xForwardedFor] else { return nil }
    var end = field.count
    var left = hops
    while true {
      var start = end
      while start > 0, field[start - 1] != UInt8(ascii: ",") { start -= 1 }
      if left == 0 {
        let text = field[start, end].trimmed
        guard let address = HostRules.address(text) else { return nil }
        return (address, start == 0 && end == field.count)
      }
      guard start > 0 else { return nil }
      left -= 1
      end = start - 1
    }
  }

  /// Fields that steer a proxy count only from those we trust.
  private func trust(isEdge: Bool, _ downstream: Ref<DownstreamConnection>) {
    if value.isInternal {
      set(.envoyInternal, Bytes("true"))
      return
    }
    value.requestHead.remove(anyOf: Self.steeringFields)
    guard isEdge else { return }
    value.requestHead.remove(anyOf: Self.edgeFields)
    if value.claimedAddress.isKnown {
      AddressText(value.claimedAddress).withBytes { set(.envoyExternalAddress, $0) }
    } else if !downstream.value.remoteText.isEmpty {
      downstream.value.remoteText.withBytes { set(.envoyExternalAddress, $0) }
    }
  }

  /// What only an internal client may say.
  private static var steeringFields: HeaderIDSet {
    .envoyInternal | .envoyRetriableStatusCodes | .envoyRetriableHeaderNames | .envoyRetryOn
      | .envoyRetryGRPCOn | .envoyMaxRetries | .envoyAltStatName | .envoyTimeout
      | .envoyPerTryTimeout | .envoyTimeoutAltResponse | .envoyExpectedTimeout | .envoyForceTrace
      | .envoyIPTags | .envoyHedge | .envoyOriginalURL | .envoyStreamDuration
  }

  /// What nobody outside may say to a proxy at the edge.
  private static var edgeFields: HeaderIDSet {
    .envoyDecorator | .envoyServiceCluster | .envoyServiceNode | .envoyOriginalPath
  }

  // MARK: Identity of the request

  private func addRequestID() {
    let manager = self.manager
    guard manager.value.generatesRequestID else { return }
    let isEdge = !value.isInternal && manager.value.usesRemoteAddress
    let replaces = isEdge && !manager.value.preservesRequestID
    guard replaces || !value.requestHead.contains(.xRequestID) else { return }
    var text = InlineArray<36, UInt8>(repeating: 0)
    let high = loop.state.value.random.next()
    let low = loop.state.value.random.next()
    withUUID(high, low, &text) { set(.xRequestID, $0) }
  }

  private func addVia() {
    let via = manager.value.via
    guard !via.isEmpty else { return }
    value.requestHead.append(.via, separator: ", ", via, from: &loop.state.value.blocks)
  }
}

/// Lends a random UUID of version 4 (RFC 9562 §5.4) made from 128 random bits.
func withUUID(
  _ high: UInt64, _ low: UInt64, _ memory: inout InlineArray<36, UInt8>, _ body: (Bytes) -> Void
) {
  let a = (high & ~0xF000) | 0x4000
  let b = (low & 0x3FFF_FFFF_FFFF_FFFF) | 0x8000_0000_0000_0000
  var span = memory.mutableSpan
  unsafe span.withUnsafeMutableBytes { buffer in
    guard let base = buffer.baseAddress else { return }
    // SAFETY: every group of digits, and every hyphen between them, stays within the 36 bytes.
    let first = hexDigits(UInt32(truncatingIfNeeded: a >> 32))
    let second = hexDigits(UInt32(truncatingIfNeeded: a))
    let third = hexDigits(UInt32(truncatingIfNeeded: b >> 32))
    let fourth = hexDigits(UInt32(truncatingIfNeeded: b))
    unsafe base.storeBytes(of: first, as: UInt64.self)
    unsafe base.storeBytes(of: UInt32(truncatingIfNeeded: second), toByteOffset: 9, as: UInt32.self)
    unsafe base.storeBytes(
      of: UInt32(truncatingIfNeeded: second >> 32), toByteOffset: 14, as: UInt32.self)
    unsafe base.storeBytes(of: UInt32(truncatingIfNeeded: third), toByteOffset: 19, as: UInt32.self)
    unsafe base.storeBytes(
      of: UInt32(truncatingIfNeeded: third >> 32), toByteOffset: 24, as: UInt32.self)
    unsafe base.storeBytes(of: fourth, toByteOffset: 28, as: UInt64.self)
    unsafe base.storeBytes(of: UInt8(ascii: "-"), toByteOffset: 8, as: UInt8.self)
    unsafe base.storeBytes(of: UInt8(ascii: "-"), toByteOffset: 13, as: UInt8.self)
    unsafe base.storeBytes(of: UInt8(ascii: "-"), toByteOffset: 18, as: UInt8.self)
    unsafe base.storeBytes(of: UInt8(ascii: "-"), toByteOffset: 23, as: UInt8.self)
    body(unsafe Bytes(base: UnsafePointer(base.assumingMemoryBound(to: UInt8.self)), count: 36))
  }
}

/// The eight lower-case hexadecimal digits of a number, the first one in the lowest byte.
private func hexDigits(_ number: UInt32) -> UInt64 {
  // Spread the nibbles over bytes, all at once.
  var digits = UInt64(number.byteSwapped)
  digits = (digits | digits << 16) & 0x0000_FFFF_0000_FFFF
  digits = (digits | digits << 8) & 0x00FF_00FF_00FF_00FF
  digits = (digits >> 4 | digits << 8) & 0x0F0F_0F0F_0F0F_0F0F
  // 39 more where a digit is a letter.
  let letters = ((digits &+ 0x0606_0606_0606_0606) >> 4) & 0x0101_0101_0101_0101
  return digits &+ 0x3030_3030_3030_3030 &+ letters &* 39
}
