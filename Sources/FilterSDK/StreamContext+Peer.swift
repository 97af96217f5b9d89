public import CFilterABI

/// What is known of the client at the other end of the connection.
@frozen
public enum PeerState: UInt32 {
  /// The connection is not secured.
  case plain = 0
  /// Secured, without a certificate.
  case anonymous
  /// With a certificate that nobody has verified.
  case presented
  /// With one that the listener's rules have accepted.
  case verified
}

/// What a client's certificate says of it.
@frozen
public enum PeerName: UInt32 {
  /// A SPIFFE ID is one of these.
  case uri = 0
  case dns, email, ip
  /// As RFC 2253 writes names.
  case subject, issuer
  /// Hexadecimal.
  case serial
  /// SHA-256 of the certificate, hexadecimal.
  case digest
}

extension StreamContext {
  @inlinable public var peer: PeerState {
    PeerState(rawValue: unsafe Host.table.peer.unsafelyUnwrapped(stream).rawValue) ?? .plain
  }

  /// A name of the peer; nil past the last of its kind.
  @inlinable public func peerName(_ kind: PeerName, at index: Int = 0) -> ByteView? {
    var value = unsafe fl_bytes()
    guard
      unsafe Host.table.peer_name.unsafelyUnwrapped(
        stream, fl_peer_name(rawValue: kind.rawValue), index, &value)
    else { return nil }
    return unsafe ByteView(value)
  }
}
