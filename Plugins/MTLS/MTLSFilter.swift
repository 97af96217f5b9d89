import FilterSDK

/// The table for `fairlead.filters.http.mtls.v1.MTLS`.
public let mtlsFilter = FilterTable(MTLSFilter.self)

/// States who may speak: clients whose certificate the listener has verified, and whose names match.
/// Later filters, logs and header values find who it is in the metadata of
/// `fairlead.filters.http.mtls`: `uri`, `dns`, `subject`, `digest`.
///
/// Withstands an untrusted downstream, against which it is made, and an untrusted upstream.
public struct MTLSFilter: RouteConfigurable, RequestHeadFilter {
  public init(config: borrowing Config) {}

  public mutating func onRequestHead(
    _ head: borrowing RequestHeadView, config: borrowing Config, _ context: borrowing StreamContext
  ) -> Verdict {
    expose(context)
    guard let route = context.routeConfig(of: Self.self) else { return judge(config, context) }
    return judge(route.value, context)
  }

  private func expose(_ context: borrowing StreamContext) {
    let space: ByteView = "fairlead.filters.http.mtls"
    if let uri = context.peerName(.uri) { context.setMetadata(space, "uri", uri) }
    if let dns = context.peerName(.dns) { context.setMetadata(space, "dns", dns) }
    if let subject = context.peerName(.subject) { context.setMetadata(space, "subject", subject) }
    if let digest = context.peerName(.digest) { context.setMetadata(space, "digest", digest) }
  }

  private func judge(
    _ config: borrowing Config, _ context: borrowing StreamContext
  ) -> Verdict {
    guard context.peer == .verified else {
      context.add(to: config.noCertificate)
      guard !config.isPermissive else { return .continue }
      return context.reply(
        status: 403, body: "a verified client certificate is required",
        details: "mtls_no_certificate")
    }
    guard isNamed(config, context) else {
      context.add(to: config.denied)
      guard !config.isPermissive else { return .continue }
      return context.reply(
        status: 403, body: "this client may not speak here", details: "mtls_denied")
    }
    context.add(to: config.allowed)
    return .continue
  }

  /// Without any rule, every verified client is one of those named.
  private func isNamed(
    _ config: borrowing Config, _ context: borrowing StreamContext
  ) -> Bool {
    if config.peers.isEmpty { return true }
    for index in 0..<config.peers.count {
      let matcher = config.peers[index]
      var place = 0
      while let name = context.peerName(matcher.kind, at: place) {
        if matcher.matches(name) { return true }
        place += 1
      }
    }
    return false
  }
}
