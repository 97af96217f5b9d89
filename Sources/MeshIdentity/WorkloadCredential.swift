import CLinux
import GRPC
import TLS

/// A key that was made for a workload, and its certificate.
package struct WorkloadCredential {
  /// PEM.
  package let key: [UInt8]
  /// The certificate and what leads to a root, in PEM.
  package let chain: [UInt8]
  /// When it is time for the next one, in seconds since 1970.
  package let renewal: Int
}

extension IdentityServer {
  /// Makes a key and a certificate for somebody whose identity has been established; throws what to
  /// answer.
  package func credential(
    for identity: WorkloadIdentity
  ) throws(RPCStatus) -> WorkloadCredential {
    let now = Self.now
    var names = CertificateTemplate(notBefore: now, notAfter: now)
    names.uris = [identity.uri]
    guard let key = PrivateKey(.p256), !key.pem.isEmpty else {
      throw RPCStatus(.internal, "no key can be made")
    }
    let leaf: [UInt8]
    do throws(CertificateAuthority.Refusal) {
      leaf = try authority.certify(key, names, at: now)
    } catch {
      authority.counters.signingFailures += 1
      throw RPCStatus(.internal, "the certificate could not be signed: \(error)")
    }
    authority.counters.issued += 1
    let end = CertificateFacts.read(pem: leaf).first?.notAfter ?? now
    return WorkloadCredential(
      key: key.pem, chain: leaf + authority.intermediates,
      renewal: Self.renewal(from: now, to: end, chance: .random(in: -1...1)))
  }

  /// At half of a life, give or take a hundredth of it, so that what began together does not come
  /// together for ever.
  /// - Parameter chance: from -1 to 1.
  static func renewal(from start: Int, to end: Int, chance: Double) -> Int {
    let life = Double(max(end - start, 0))
    return start + max(Int(life * (0.5 + 0.01 * chance)), 1)
  }
}
