import COpenSSL

/// Several certificates of one server: which of them a handshake presents (Envoy: "Certificate
/// selection").
final class CertificateChoice: @unchecked Sendable {
  // `@unchecked`: made once and only read.
  private let certificates: [LoadedCertificate]
  /// Places by name; a wildcard's name begins with its dot.
  private var byName: [[UInt8]: [Int]] = [:]
  private let scansOnMismatch: Bool

  init(_ certificates: [LoadedCertificate], scansOnMismatch: Bool) {
    self.certificates = certificates
    self.scansOnMismatch = scansOnMismatch
    for (index, certificate) in certificates.enumerated() {
      for name in Self.names(of: certificate) {
        byName[name, default: []].append(index)
      }
    }
  }

  /// The DNS names, or the common name where there are none.
  private static func names(of certificate: LoadedCertificate) -> [[UInt8]] {
    let dns = certificate.names.dns
    let names = dns.isEmpty ? [certificate.names.commonName].compactMap { $0 } : dns
    return names.map { name in
      let lower = DNSName.lowercased(name)
      return lower.starts(with: Array("*.".utf8)) ? Array(lower.dropFirst()) : lower
    }
  }

  /// Gives the session the certificates that stand for the name it asks for: one of each type of key,
  /// from which OpenSSL takes what the client can check.
  func apply(to ssl: OpaquePointer) -> Bool {
    unsafe SSL_certs_clear(ssl)
    var types: [Int32] = []
    for index in candidates(unsafe Self.serverName(of: ssl)) {
      let certificate = certificates[index]
      guard !types.contains(certificate.keyType) else { continue }
      types.append(certificate.keyType)
      let done = unsafe SSL_use_cert_and_key(
        ssl, certificate.leaf, certificate.key, certificate.chain, 1)
      guard done == 1 else { return false }
    }
    return true
  }

  /// Places of the certificates for a name, the preferred first.
  func candidates(_ name: [UInt8]?) -> [Int] {
    guard let name, !name.isEmpty else { return Array(certificates.indices) }
    let lower = DNSName.lowercased(name)
    if let exact = byName[lower] { return exact }
    if let dot = lower.firstIndex(of: UInt8(ascii: ".")), let wild = byName[Array(lower[dot...])] {
      return wild
    }
    return scansOnMismatch ? Array(certificates.indices) : [0]
  }

  static func serverName(of ssl: OpaquePointer) -> [UInt8]? {
    guard let name = unsafe SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name) else { return nil }
    let count = unsafe strlen(name)
    return (0..<count).map { UInt8(bitPattern: unsafe name[$0]) }
  }
}
