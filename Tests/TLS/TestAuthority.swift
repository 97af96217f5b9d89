import COpenSSL
import TLS

/// Certificates made for one test: an authority and what it signs.
@safe
final class TestAuthority {
  enum KeyKind {
    case ec
    case rsa
  }

  /// A certificate and its key, as OpenSSL has them and as PEM.
  @safe
  final class Issued {
    let certificate: OpaquePointer
    let key: OpaquePointer

    fileprivate init(certificate: OpaquePointer, key: OpaquePointer) {
      self.certificate = certificate
      self.key = key
    }

    deinit {
      X509_free(certificate)
      EVP_PKEY_free(key)
    }

    var chainPEM: [UInt8] { text { bio in _ = PEM_write_bio_X509(bio, certificate) } }

    var keyPEM: [UInt8] {
      text { bio in _ = PEM_write_bio_PrivateKey(bio, key, nil, nil, 0, nil, nil) }
    }

    /// The key, sealed with a password.
    func keyPEM(password: String) -> [UInt8] {
      var secret = Array(password.utf8)
      return text { bio in
        _ = PEM_write_bio_PrivateKey(
          bio, key, EVP_aes_256_cbc(), &secret, Int32(secret.count), nil, nil)
      }
    }

    /// Both, as a context takes them.
    var pair: TLSCertificate { TLSCertificate(chain: chainPEM, key: keyPEM) }

    /// The same key under another name, whose bytes may be anything.
    func withName(dns: [UInt8], _ authority: TestAuthority) -> Issued? {
      guard let copy = X509_dup(certificate), let name = GENERAL_NAME_new(),
        let text = ASN1_STRING_type_new(V_ASN1_IA5STRING),
        EVP_PKEY_up_ref(key) == 1
      else { return nil }
      ASN1_STRING_set(text, dns, Int32(dns.count))
      GENERAL_NAME_set0_value(name, GEN_DNS, text)
      fl_tls_replace_names(copy, name)
      X509_sign(copy, authority.root.key, EVP_sha256())
      return Issued(certificate: copy, key: key)
    }

    /// SHA-256 of the public key.
    var keyDigest: [UInt8] {
      var der: UnsafeMutablePointer<UInt8>?
      let length = i2d_PUBKEY(key, &der)
      guard length > 0, let der = der else { return [] }
      defer { CRYPTO_free(der, "", 0) }
      var out = [UInt8](repeating: 0, count: 32)
      var count: UInt32 = 0
      _ = EVP_Digest(der, Int(length), &out, &count, EVP_sha256(), nil)
      return out
    }

    var digest: [UInt8] {
      var out = [UInt8](repeating: 0, count: 32)
      var length: UInt32 = 0
      _ = X509_digest(certificate, EVP_sha256(), &out, &length)
      return out
    }
  }

  let root: Issued
  private var serial = 100

  init(_ name: String = "test authority") {
    root = Self.issue(
      name: name, names: "", from: -3600, to: 86_400, isAuthority: true, kind: .ec, serial: 1,
      signer: nil)
  }

  /// A leaf, or an intermediate authority.
  /// - Parameter names: as OpenSSL's configuration has them, such as `DNS:a.example,IP:127.0.0.1`.
  func issue(
    _ name: String, names: String = "", from: Int = -3600, to: Int = 86_400,
    isAuthority: Bool = false, kind: KeyKind = .ec, by signer: Issued? = nil
  ) -> Issued {
    serial += 1
    return Self.issue(
      name: name, names: names, from: from, to: to, isAuthority: isAuthority, kind: kind,
      serial: serial, signer: signer ?? root)
  }

  private static func issue(
    name: String, names: String, from: Int, to: Int, isAuthority: Bool, kind: KeyKind, serial: Int,
    signer: Issued?
  ) -> Issued {
    guard let key = fl_tls_new_key(kind == .rsa ? 1 : 0),
      let certificate = X509_new()
    else { preconditionFailure("keys and certificates can be made") }
    X509_set_version(certificate, 2)
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), serial)
    X509_gmtime_adj(X509_getm_notBefore(certificate), from)
    X509_gmtime_adj(X509_getm_notAfter(certificate), to)
    X509_set_pubkey(certificate, key)
    let subject = X509_get_subject_name(certificate)
    X509_NAME_add_entry_by_txt(
      subject, "CN", MBSTRING_FLAG | 1, Array(name.utf8), Int32(name.utf8.count), -1, 0)
    X509_set_issuer_name(
      certificate, X509_get_subject_name(signer?.certificate ?? certificate))
    if isAuthority { extend(certificate, NID_basic_constraints, "critical,CA:TRUE") }
    if !names.isEmpty { extend(certificate, NID_subject_alt_name, names) }
    X509_sign(certificate, signer?.key ?? key, EVP_sha256())
    return Issued(certificate: certificate, key: key)
  }

  private static func extend(_ certificate: OpaquePointer, _ nid: Int32, _ value: String) {
    guard let one = X509V3_EXT_conf_nid(nil, nil, nid, value) else {
      preconditionFailure("an extension can be made of '\(value)'")
    }
    X509_add_ext(certificate, one, -1)
    X509_EXTENSION_free(one)
  }

  /// A list that revokes these.
  func revoking(_ revoked: [Issued]) -> [UInt8] {
    guard let list = X509_CRL_new() else { preconditionFailure("a list can be made") }
    X509_CRL_set_version(list, 1)
    X509_CRL_set_issuer_name(list, X509_get_subject_name(root.certificate))
    let now = X509_gmtime_adj(nil, -60)
    let next = X509_gmtime_adj(nil, 86_400)
    X509_CRL_set1_lastUpdate(list, now)
    X509_CRL_set1_nextUpdate(list, next)
    for one in revoked {
      let entry = X509_REVOKED_new()
      X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(one.certificate))
      X509_REVOKED_set_revocationDate(entry, now)
      X509_CRL_add0_revoked(list, entry)
    }
    X509_CRL_sort(list)
    X509_CRL_sign(list, root.key, EVP_sha256())
    ASN1_STRING_free(now)
    ASN1_STRING_free(next)
    let pem = text { bio in _ = PEM_write_bio_X509_CRL(bio, list) }
    X509_CRL_free(list)
    return pem
  }
}

/// What `body` writes.
private func text(_ body: (OpaquePointer) -> Void) -> [UInt8] {
  guard let bio = BIO_new(BIO_s_mem()) else { return [] }
  defer { BIO_free(bio) }
  body(bio)
  var base: UnsafeMutablePointer<CChar>?
  let count = fl_tls_memory_bytes(bio, &base)
  guard count > 0, let base = base else { return [] }
  return (0..<count).map { UInt8(bitPattern: base[$0]) }
}
