import COpenSSL

/// What logs, headers and the administration page tell of a certificate.
package struct CertificateFacts: Sendable, Equatable {
  package let names: CertificateNames
  /// As RFC 2253 writes a name: `CN=x,O=y`.
  package let subject: [UInt8]
  package let issuer: [UInt8]
  /// Hexadecimal, lower case.
  package let serial: [UInt8]
  /// Seconds since 1970.
  package let notBefore: Int
  package let notAfter: Int
  /// SHA-256 of the whole certificate.
  package let digest: [UInt8]
  /// SHA-1 of it: no proof of anything, but what some name certificates by.
  package let digest1: [UInt8]

  init(of certificate: OpaquePointer) {
    names = unsafe CertificateNames(of: certificate)
    subject = unsafe Self.text(X509_get_subject_name(certificate))
    issuer = unsafe Self.text(X509_get_issuer_name(certificate))
    serial = unsafe Self.serial(of: certificate)
    notBefore = unsafe Self.seconds(X509_get0_notBefore(certificate))
    notAfter = unsafe Self.seconds(X509_get0_notAfter(certificate))
    digest = unsafe Self.digest(of: certificate)
    digest1 = unsafe Self.digest(of: certificate, by: EVP_sha1())
  }

  static func digest(
    of certificate: OpaquePointer, by method: OpaquePointer? = unsafe EVP_sha256()
  ) -> [UInt8] {
    var out = [UInt8](repeating: 0, count: Int(EVP_MAX_MD_SIZE))
    var length: UInt32 = 0
    guard unsafe X509_digest(certificate, method, &out, &length) == 1 else { return [] }
    return Array(out.prefix(Int(length)))
  }

  /// SHA-256 of the public key with its algorithm (RFC 7469 §2.4).
  static func keyDigest(of certificate: OpaquePointer) -> [UInt8] {
    guard let key = unsafe X509_get_X509_PUBKEY(certificate) else { return [] }
    var der: UnsafeMutablePointer<UInt8>?
    let length = unsafe i2d_X509_PUBKEY(key, &der)
    guard length > 0, let der = unsafe der else { return [] }
    defer { unsafe CRYPTO_free(der, "", 0) }
    return Digest.sha256(unsafe Array(UnsafeBufferPointer(start: der, count: Int(length))))
  }

  private static func text(_ name: OpaquePointer?) -> [UInt8] {
    guard let name = unsafe name, let bio = unsafe BIO_new(BIO_s_mem()) else { return [] }
    defer { unsafe BIO_free(bio) }
    guard unsafe X509_NAME_print_ex(bio, name, 0, FL_TLS_NAME_STYLE) >= 0 else { return [] }
    return unsafe contents(of: bio)
  }

  private static func contents(of bio: OpaquePointer) -> [UInt8] {
    var base: UnsafeMutablePointer<CChar>?
    let count = unsafe fl_tls_memory_bytes(bio, &base)
    guard count > 0, let base = unsafe base else { return [] }
    return (0..<count).map { UInt8(bitPattern: unsafe base[$0]) }
  }

  private static func serial(of certificate: OpaquePointer) -> [UInt8] {
    guard let number = unsafe X509_get0_serialNumber(certificate),
      let big = unsafe ASN1_INTEGER_to_BN(number, nil)
    else { return [] }
    defer { unsafe BN_free(big) }
    guard let text = unsafe BN_bn2hex(big) else { return [] }
    defer { unsafe CRYPTO_free(text, "", 0) }
    return unsafe Array(String(cString: text).utf8).map { $0 &- 65 < 26 ? $0 | 32 : $0 }
  }

  private static func seconds(_ time: UnsafePointer<ASN1_TIME>?) -> Int {
    guard let time = unsafe time else { return 0 }
    var parts = unsafe tm()
    guard unsafe ASN1_TIME_to_tm(time, &parts) == 1 else { return 0 }
    return unsafe timegm(&parts)
  }

  /// A certificate as text; what `x-forwarded-client-cert` carries.
  static func pem(_ certificate: OpaquePointer) -> [UInt8] {
    guard let bio = unsafe BIO_new(BIO_s_mem()) else { return [] }
    defer { unsafe BIO_free(bio) }
    guard unsafe PEM_write_bio_X509(bio, certificate) == 1 else { return [] }
    return unsafe contents(of: bio)
  }
}
