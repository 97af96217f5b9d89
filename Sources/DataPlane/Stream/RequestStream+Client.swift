import Engine
import HTTPModel

// Who asks, and what we believe of what they say (Envoy docs: "HTTP header manipulation").
extension Ref where Value == RequestStream {
  /// Who asks, as far as we trust what we are told: x-forwarded-for, x-forwarded-proto, x-envoy-….
  func identifyClient() {
    let manager = self.manager
    guard let downstream = value.downstream else { return }
    forwardClientCertificate(downstream)
    let scheme = downstream.value.secured == nil ? Bytes("http") : Bytes("https")
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
      if !manager.value.skipsForwardedFor { appendForwardedFor(downstream, isFirst: isSingle) }
      if manager.value.trustedHops == 0 || !value.requestHead.contains(.xForwardedProto) {
        setField(.xForwardedProto, scheme)
      }
      if manager.value.appendsForwardedPort { appendForwardedPort(downstream.value.local.port) }
      value.isInternal = isInternal
    } else {
      if let forwarded = forwardedAddress(fromRight: manager.value.trustedHops) {
        value.claimedAddress = forwarded.address
        value.isInternal =
          forwarded.isOnlyOne && manager.value.internalAddresses.contains(forwarded.address)
      }
      if !value.requestHead.contains(.xForwardedProto) { setField(.xForwardedProto, scheme) }
    }
    trust(isEdge: !value.isInternal && manager.value.usesRemoteAddress, downstream)
  }

  /// - Parameter isFirst: no proxy before us has put anything there.
  private func appendForwardedFor(_ downstream: Ref<DownstreamConnection>, isFirst: Bool) {
    let state = loop.state
    downstream.value.forwardedText.withBytes {
      if $0.isEmpty {
        // The client of a Unix socket has no address.
      } else if isFirst {
        value.requestHead.add(.xForwardedFor, $0, from: &state.value.blocks)
      } else {
        value.requestHead.append(.xForwardedFor, separator: ",", $0, from: &state.value.blocks)
      }
    }
  }

  private func appendForwardedPort(_ port: UInt16) {
    var digits = InlineArray<24, UInt8>(repeating: 0)
    withDecimal(Int(port), &digits) { setField(.xForwardedPort, $0) }
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
      setField(.envoyInternal, Bytes("true"))
      return
    }
    value.requestHead.remove(anyOf: Self.steeringFields)
    routes.removeInternalOnlyHeaders(from: &value.requestHead)
    guard isEdge else { return }
    value.requestHead.remove(anyOf: Self.edgeFields)
    if value.claimedAddress.isKnown {
      var text = AddressText(value.claimedAddress)
      text.withBytes { setField(.envoyExternalAddress, $0) }
    } else if !downstream.value.remoteText.isEmpty {
      downstream.value.remoteText.withBytes { setField(.envoyExternalAddress, $0) }
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
}
