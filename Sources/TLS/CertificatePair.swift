/// A certificate and a key that are to be used together, looked at before somebody is given them.
package enum CertificatePair {
  /// What is wrong with them; nil when the key is that of the first certificate.
  package static func problem(chain: [UInt8], key: [UInt8]) -> String? {
    do throws(TLSContextError) {
      _ = try LoadedCertificate.load(TLSCertificate(chain: chain, key: key), index: 0)
      return nil
    } catch {
      return switch error.part {
      case .key: "the private key: \(error.message)"
      default: "the certificate: \(error.message)"
      }
    }
  }
}
