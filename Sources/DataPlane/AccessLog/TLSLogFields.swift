import Engine
import TLS
import Telemetry

/// What logs show of a connection's TLS, for either side.
enum TLSFact {
  case version
  case cipher
  case group
  case sessionID
  case peerSubject
  case peerIssuer
  case peerSerial
  case peerFingerprint
  case peerFingerprint1
  case peerURIs
  case peerDNS
  case peerAddresses
  case peerEmails
  case peerNotBefore
  case peerNotAfter
  case peerCertificate
  case localSubject
  case localURIs
  case localDNS
  case localAddresses
  case localEmails
}

extension TLSFacts {
  /// A fact as logs show it: lists with commas, absent where there is nothing.
  func logValue(_ fact: TLSFact, _ scratch: inout ByteSink) -> LogValue {
    let bytes = text(of: fact)
    guard !bytes.isEmpty else { return .absent }
    let mark = scratch.count
    for byte in bytes { scratch.append(byte) }
    return .bytes(scratch.bytes(since: mark))
  }

  private func text(of fact: TLSFact) -> [UInt8] {
    switch fact {
    case .version: version
    case .cipher: cipher
    case .group: group
    // TLS 1.3's are made up anew for every ticket, and mean nothing to anybody.
    case .sessionID: version == Array("TLSv1.3".utf8) ? [] : sessionID
    case .localSubject: local?.subject ?? []
    case .localURIs: Self.joined(local?.names.uris)
    case .localDNS: Self.joined(local?.names.dns)
    case .localAddresses: Self.joined(local?.names.addresses)
    case .localEmails: Self.joined(local?.names.emails)
    case .peerCertificate: SecureHandle.encoded(peerPEM)
    default: peer.map { text(of: fact, $0) } ?? []
    }
  }

  private func text(of fact: TLSFact, _ peer: CertificateFacts) -> [UInt8] {
    switch fact {
    case .peerSubject: peer.subject
    case .peerIssuer: peer.issuer
    case .peerSerial: peer.serial
    case .peerFingerprint: Hex.text(peer.digest)
    case .peerFingerprint1: Hex.text(peer.digest1)
    case .peerURIs: Self.joined(peer.names.uris)
    case .peerDNS: Self.joined(peer.names.dns)
    case .peerAddresses: Self.joined(peer.names.addresses)
    case .peerEmails: Self.joined(peer.names.emails)
    case .peerNotBefore: Array(CertificatesPage.date(peer.notBefore, fraction: ".000").utf8)
    case .peerNotAfter: Array(CertificatesPage.date(peer.notAfter, fraction: ".000").utf8)
    default: []
    }
  }

  private static func joined(_ names: [[UInt8]]?) -> [UInt8] {
    Array((names ?? []).joined(separator: [UInt8(ascii: ",")]))
  }
}

extension LogField {
  /// The fact about the client's connection that it stands for.
  var downstreamFact: TLSFact? {
    switch self {
    case .downstreamTLSVersion: .version
    case .downstreamTLSCipher: .cipher
    case .downstreamTLSGroup: .group
    case .downstreamTLSSessionID: .sessionID
    case .downstreamPeerSubject: .peerSubject
    case .downstreamPeerIssuer: .peerIssuer
    case .downstreamPeerSerial: .peerSerial
    case .downstreamPeerFingerprint256: .peerFingerprint
    case .downstreamPeerFingerprint1: .peerFingerprint1
    case .downstreamPeerURISAN: .peerURIs
    case .downstreamPeerDNSSAN: .peerDNS
    case .downstreamPeerIPSAN: .peerAddresses
    case .downstreamPeerEmailSAN: .peerEmails
    case .downstreamPeerCertStart: .peerNotBefore
    case .downstreamPeerCertEnd: .peerNotAfter
    case .downstreamPeerCert: .peerCertificate
    case .downstreamLocalSubject: .localSubject
    case .downstreamLocalURISAN: .localURIs
    case .downstreamLocalDNSSAN: .localDNS
    case .downstreamLocalIPSAN: .localAddresses
    case .downstreamLocalEmailSAN: .localEmails
    default: nil
    }
  }

  /// The same about the endpoint's connection.
  var upstreamFact: TLSFact? {
    switch self {
    case .upstreamTLSVersion: .version
    case .upstreamTLSCipher: .cipher
    case .upstreamTLSGroup: .group
    case .upstreamTLSSessionID: .sessionID
    case .upstreamPeerSubject: .peerSubject
    case .upstreamPeerIssuer: .peerIssuer
    case .upstreamPeerURISAN: .peerURIs
    case .upstreamPeerDNSSAN: .peerDNS
    case .upstreamPeerIPSAN: .peerAddresses
    case .upstreamPeerCert: .peerCertificate
    case .upstreamPeerCertStart: .peerNotBefore
    case .upstreamPeerCertEnd: .peerNotAfter
    case .upstreamLocalURISAN: .localURIs
    case .upstreamLocalDNSSAN: .localDNS
    case .upstreamLocalIPSAN: .localAddresses
    default: nil
    }
  }
}
