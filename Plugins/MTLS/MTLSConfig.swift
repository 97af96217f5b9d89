import FilterSDK

extension MTLSFilter {
  /// `fairlead.filters.http.mtls.v1.MTLS`.
  public struct Config: BitwiseCopyable {
    var peers: StaticList<NameMatcher>
    var isPermissive: Bool
    var allowed: Counter
    var noCertificate: Counter
    var denied: Counter
  }

  public static func load(_ node: ConfigNode, _ loader: borrowing ConfigLoader) -> Config? {
    let prefix = node.string("stat_prefix") ?? ""
    let scope = prefix.isEmpty ? "mtls." : "mtls.\(prefix)."
    var peers: [NameMatcher] = []
    for peer in node.list("peers") {
      guard let matcher = matcher(peer, loader) else { return nil }
      peers.append(matcher)
    }
    return Config(
      peers: loader.list(peers), isPermissive: node.bool("permissive") ?? false,
      allowed: loader.counter(scope + "allowed", .connectionManager),
      noCertificate: loader.counter(scope + "no_certificate", .connectionManager),
      denied: loader.counter(scope + "denied", .connectionManager))
  }

  private static func matcher(
    _ peer: ConfigNode, _ loader: borrowing ConfigLoader
  ) -> NameMatcher? {
    let kinds: [(StaticString, PeerName)] = [
      ("uri", .uri), ("dns", .dns), ("email", .email), ("ip", .ip), ("subject", .subject),
    ]
    let parts: [(StaticString, NameMatcher.Part)] = [
      ("exact", .exact), ("prefix", .prefix), ("suffix", .suffix), ("contains", .contains),
    ]
    for (field, kind) in kinds {
      guard let message = peer.message(field) else { continue }
      for (name, part) in parts {
        guard let text = message.string(name) else { continue }
        return NameMatcher(
          kind: kind, part: part, text: loader.text(text),
          ignoresCase: message.bool("ignore_case") ?? false)
      }
      message.error("expected one of exact, prefix, suffix and contains")
      return nil
    }
    peer.error("expected one of uri, dns, email, ip and subject")
    return nil
  }
}
