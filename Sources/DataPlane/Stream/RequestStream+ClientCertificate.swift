import Engine
import HTTPModel
import TLS

/// `forward_client_cert_details`: what becomes of x-forwarded-client-cert.
struct CertificateForwarding: BitwiseCopyable {
  enum Mode: UInt8, BitwiseCopyable {
    case sanitize
    case forwardOnly
    case appendForward
    case sanitizeSet
    case alwaysForwardOnly
  }

  var mode = Mode.sanitize
  var showsCertificate = false
  var showsChain = false
  var showsSubject = false
  var showsURI = false
  var showsDNS = false

  init() {}
}

extension Ref where Value == RequestStream {
  /// Forwards, adds to or removes x-forwarded-client-cert, as the connection manager says. Only a
  /// connection with a client's certificate may carry one, unless told otherwise.
  func forwardClientCertificate(_ downstream: Ref<DownstreamConnection>) {
    let rules = manager.value.certificateForwarding
    guard rules.mode != .alwaysForwardOnly else { return }
    guard rules.mode != .sanitize, let facts = downstream.facts, facts.peer != nil else {
      return value.requestHead.remove(.xForwardedClientCert)
    }
    guard rules.mode != .forwardOnly, let secured = downstream.value.secured else { return }
    let element = secured.forwardedElement(rules)
    unsafe element.withUnsafeBufferPointer { buffer in
      guard let base = buffer.baseAddress else { return }
      let text = unsafe Bytes(base: base, count: buffer.count)
      if rules.mode == .appendForward {
        value.requestHead.append(
          .xForwardedClientCert, separator: ",", text, from: &loop.state.value.blocks)
      } else {
        setField(.xForwardedClientCert, text)
      }
    }
  }
}

extension Ref where Value == SecureConnection {
  /// This hop's element of x-forwarded-client-cert; written once for each connection.
  func forwardedElement(_ rules: CertificateForwarding) -> [UInt8] {
    if let element = facts.forwardedElement { return element }
    let element = Self.element(facts, rules, pem: { self.peerPEM }, chain: { self.peerChainPEM })
    facts.forwardedElement = element
    return element
  }

  /// Certificates longer than this are left out: with them the head would be larger than the next hop
  /// takes.
  private static var encodedBytes: Int { 48 * 1024 }

  private static func element(
    _ facts: TLSFacts, _ rules: CertificateForwarding, pem: () -> [UInt8], chain: () -> [UInt8]
  ) -> [UInt8] {
    guard let peer = facts.peer else { return [] }
    var parts: [[UInt8]] = (facts.local?.names.uris ?? []).map { Array("By=".utf8) + $0 }
    parts.append(Array("Hash=".utf8) + Hex.text(peer.digest))
    if rules.showsCertificate, let text = quoted("Cert", encoded(pem())) { parts.append(text) }
    if rules.showsChain, let text = quoted("Chain", encoded(chain())) { parts.append(text) }
    if rules.showsSubject, let text = quoted("Subject", peer.subject) { parts.append(text) }
    if rules.showsURI {
      let uris = peer.names.uris.isEmpty ? [[]] : peer.names.uris
      parts += uris.map { Array("URI=".utf8) + $0 }
    }
    if rules.showsDNS { parts += peer.names.dns.map { Array("DNS=".utf8) + $0 } }
    // A name is the client's to choose: what would begin a field of its own ends the name instead.
    return Array(parts.joined(separator: [UInt8(ascii: ";")])).map {
      $0 < 32 || $0 == 127 ? 63 : $0
    }
  }

  private static func quoted(_ key: String, _ text: [UInt8]) -> [UInt8]? {
    guard text.count <= encodedBytes else { return nil }
    return Array("\(key)=\"".utf8) + text + [UInt8(ascii: "\"")]
  }

  /// PEM as a header carries it: percent-encoded where it has to be (as Envoy does).
  static func encoded(_ pem: [UInt8]) -> [UInt8] {
    pem.flatMap { byte -> [UInt8] in
      switch byte {
      case 10: Array("%0A".utf8)
      case 32: Array("%20".utf8)
      case UInt8(ascii: "+"): Array("%2B".utf8)
      case UInt8(ascii: "/"): Array("%2F".utf8)
      case UInt8(ascii: "="): Array("%3D".utf8)
      default: [byte]
      }
    }
  }
}
