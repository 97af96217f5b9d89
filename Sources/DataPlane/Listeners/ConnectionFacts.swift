import Engine
import Inspection

/// What is known of a connection when its filter chain is chosen.
struct ConnectionFacts {
  /// Where the client wanted to go: our end of the connection, or what was there before it was
  /// redirected.
  var local: SocketAddress
  /// Who the client is, as far as a proxy in front of us is believed.
  var remote: SocketAddress
  /// The other end of the connection itself.
  let directRemote: SocketAddress
  var transport = TransportProtocol.unknown
  /// The protocol that a plain connection's first bytes announce.
  var opening: HTTPOpening?
  var hello: ClientHello?
  /// What a proxy in front of us told besides addresses.
  var told: ConnectionTLVs?
  /// The connection was meant for another address than the one it reached: `local` says which.
  private(set) var isRestored = false
  /// The listener for that address may take it over.
  private(set) var mayMove = false

  init(local: SocketAddress, remote: SocketAddress) {
    self.local = local
    self.remote = remote
    directRemote = remote
  }

  /// What `transport_protocol` of a filter chain names.
  enum TransportProtocol: BitwiseCopyable {
    /// Nobody looked, or nobody could tell: matches as `raw_buffer`.
    case unknown
    case tls

    var name: Bytes {
      switch self {
      case .unknown: Bytes("raw_buffer")
      case .tls: Bytes("tls")
      }
    }
  }

  /// The connection was on its way to this address, as the kernel or a proxy in front of us says.
  mutating func restore(_ destination: SocketAddress) {
    local = destination
    isRestored = true
    mayMove = true
  }

  /// It was handed to the listener for its destination: nobody hands it on again.
  mutating func settle() { mayMove = false }

  /// The client and the address that it reached are one machine.
  var isLocal: Bool {
    remote.isUnix || HostRules.isLoopback(remote) || remote.hasSameIP(as: local)
  }

  /// Calls `body` with each protocol that the client would speak, best first, until one is taken.
  func firstProtocol<Result>(where body: (Bytes) -> Result?) -> Result? {
    if let opening { return body(opening.name) }
    guard let hello else { return nil }
    return hello.protocols.withBytes { list in
      var rest = list
      while !rest.isEmpty {
        let end = min(1 + Int(rest[0]), rest.count)
        if let result = body(rest[1, end]) { return result }
        rest = rest.dropFirst(end)
      }
      return nil
    }
  }
}
