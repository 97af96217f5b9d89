import CLinux
import Engine
import Upstream

/// What requests say of the TLS that carries them (`upstream_http_protocol_options`). Requests that say
/// the same share connections. Empty where the configuration says everything.
struct RequestedName {
  /// Whom to ask for; empty: whom the configuration names.
  var serverName = Bytes.empty
  /// What the certificate has to carry; empty: what the configuration says.
  var required = Bytes.empty

  init() {}

  /// - Parameter authority: `host`, `host:port`, or what a field has in their place. As in Envoy, an
  ///   address is not asked for: TLS has names only (RFC 6066 §3).
  init(_ authority: Bytes, by rule: NamesFromRequests) {
    let host = HostRules.withoutPort(authority)
    let bare = Self.withoutBrackets(host)
    let isAddress = Self.isAddress(bare)
    let name = isAddress ? bare : host
    if rule.asks, !isAddress { serverName = name }
    if rule.verifies { required = name }
  }

  @inline(__always)
  var isGiven: Bool { !serverName.isEmpty || !required.isEmpty }

  /// A copy in memory of its own, which the caller frees.
  func copied() -> (name: RequestedName, memory: UnsafeMutablePointer<UInt8>?) {
    guard isGiven else { return (RequestedName(), nil) }
    let memory = UnsafeMutablePointer<UInt8>.allocate(capacity: serverName.count + required.count)
    unsafe memory.initialize(from: serverName.base, count: serverName.count)
    let rest = unsafe memory + serverName.count
    unsafe rest.initialize(from: required.base, count: required.count)
    var copy = RequestedName()
    copy.serverName = unsafe Bytes(base: UnsafePointer(memory), count: serverName.count)
    copy.required = unsafe Bytes(base: UnsafePointer(rest), count: required.count)
    return unsafe (copy, memory)
  }

  /// Names are the same in either case (RFC 4343).
  @inline(__always)
  func isSame(as other: RequestedName) -> Bool {
    guard isGiven || other.isGiven else { return true }
    return serverName.equalsIgnoringCase(other.serverName)
      && required.equalsIgnoringCase(other.required)
  }

  private static func withoutBrackets(_ host: Bytes) -> Bytes {
    guard host.count > 2, host[0] == UInt8(ascii: "["), host[host.count - 1] == UInt8(ascii: "]")
    else { return host }
    return host[1, host.count - 1]
  }

  private static func isAddress(_ text: Bytes) -> Bool {
    // Whatever ends with a letter and has no colon is a name: most are told without a parser.
    guard let last = text.isEmpty ? nil : text[text.count - 1],
      ASCII.isDigit(last) || text.firstIndex(of: UInt8(ascii: ":")) != nil,
      text.count <= Self.longestAddress
    else { return false }
    return SocketAddress(ip: text.string, port: 0) != nil
  }

  /// The longest text that can be an IPv6 address, with a zone behind it.
  private static let longestAddress = 64
}
