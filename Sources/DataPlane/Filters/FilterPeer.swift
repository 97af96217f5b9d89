import CFilterABI
import Engine
import TLS

// What filters may know of who is at the other end of the downstream connection.
extension Ref where Value == RequestStream {
  var peer: fl_peer {
    guard let facts = value.downstream?.facts else { return FL_PEER_PLAIN }
    if facts.peer == nil { return FL_PEER_ANONYMOUS }
    return facts.isPeerVerified ? FL_PEER_VERIFIED : FL_PEER_PRESENTED
  }

  /// Lives as long as the connection.
  func peerName(_ kind: fl_peer_name, _ index: Int) -> Bytes? {
    guard let names = value.downstream?.facts?.peerNames else { return nil }
    return names.find(kind, index)
  }
}

/// A peer's names in memory of their own, so that views of them can be lent.
@safe
final class PeerNames {
  // SAFETY: `base` holds `count` bytes and is freed with this object; places lie within.
  private let base: UnsafeMutablePointer<UInt8>
  private let count: Int
  private var places: [(kind: fl_peer_name, start: Int, count: Int)] = []

  init(_ peer: CertificateFacts) {
    let names: [(fl_peer_name, [[UInt8]])] = [
      (FL_PEER_URI, peer.names.uris), (FL_PEER_DNS, peer.names.dns),
      (FL_PEER_EMAIL, peer.names.emails), (FL_PEER_IP, peer.names.addresses),
      (FL_PEER_SUBJECT, [peer.subject]), (FL_PEER_ISSUER, [peer.issuer]),
      (FL_PEER_SERIAL, [peer.serial]), (FL_PEER_DIGEST, [Hex.text(peer.digest)]),
    ]
    var bytes: [UInt8] = []
    for (kind, list) in names {
      for name in list {
        places.append((kind, bytes.count, name.count))
        bytes += name
      }
    }
    count = bytes.count
    unsafe base = .allocate(capacity: max(count, 1))
    for (index, byte) in bytes.enumerated() { unsafe base[index] = byte }
  }

  deinit { unsafe base.deallocate() }

  func find(_ kind: fl_peer_name, _ index: Int) -> Bytes? {
    var left = index
    for place in places where place.kind == kind {
      if left == 0 { return unsafe Bytes(base: base + place.start, count: place.count) }
      left -= 1
    }
    return nil
  }
}
