import Engine

/// One of the addresses that rules of access ask about.
package enum AccessAddress: BitwiseCopyable {
  /// Where the client wanted to go.
  case destination
  /// The connection's other end, as far as a proxy in front of us is believed.
  case source
  /// The connection's other end itself.
  case directRemote
  /// Who asks, as far as we believe what we are told.
  case remote
}

/// The names by which a certificate authenticates its owner.
package enum AccessName: CaseIterable, BitwiseCopyable {
  case uri
  case dns
  case subject
}

/// A request or a connection, as rules of access ask about it.
package protocol AccessSubject {
  func address(_ which: AccessAddress) -> SocketAddress
  /// The client speaks TLS.
  var isSecured: Bool { get }
  /// A name in the client's certificate; nil past the last of its kind.
  func peerName(_ kind: AccessName, _ index: Int) -> Bytes?
  /// The name that the client asked the connection for; empty where it named none.
  func fitsServerName(_ matcher: StringMatcher) -> Bool
  func fits(_ matcher: HeaderMatcher) -> Bool
  /// With its query; nil where there is no request.
  var path: Bytes? { get }
  func metadata(_ space: Bytes, _ key: Bytes) -> MetadataValue?
}
