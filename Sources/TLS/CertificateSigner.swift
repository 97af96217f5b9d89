import COpenSSL

/// What an authority puts into a certificate.
package struct CertificateTemplate: Sendable {
  /// The organisation in the subject's name; empty leaves the subject empty.
  package var organization = ""
  package var commonName = ""
  package var uris: [String] = []
  package var dns: [String] = []
  /// Each of 4 bytes or 16.
  package var addresses: [[UInt8]] = []
  /// The certificate may sign others.
  package var isAuthority = false
  /// Seconds since 1970.
  package var notBefore: Int
  package var notAfter: Int

  package init(notBefore: Int, notAfter: Int) {
    self.notBefore = notBefore
    self.notAfter = notAfter
  }
}

/// A certificate with its key that signs other certificates.
@safe
package final class CertificateSigner: @unchecked Sendable {
  // `@unchecked`: made once and only read; OpenSSL's own counts are atomic.
  private let certificate: OpaquePointer
  private let key: OpaquePointer
  package let facts: CertificateFacts
  /// The certificate alone.
  package let pem: [UInt8]

  /// Why a certificate cannot sign others.
  package struct Unfit: Error {
    package let reason: String
  }

  /// Reads both from PEM, and checks that they belong together and may sign.
  package init(certificate: [UInt8], key: [UInt8]) throws(Unfit) {
    OpenSSLErrors.clear()
    defer { OpenSSLErrors.clear() }
    let list = unsafe PEM.certificates(certificate)
    for index in unsafe list.indices.dropFirst() { unsafe X509_free(list[index]) }
    guard let first = unsafe list.first else {
      throw Unfit(reason: "there is no certificate in it")
    }
    guard let own = unsafe PEM.privateKey(key, password: nil) else {
      unsafe X509_free(first)
      throw Unfit(reason: "there is no private key without a password in it")
    }
    unsafe self.certificate = first
    unsafe self.key = own
    facts = unsafe CertificateFacts(of: first)
    pem = unsafe CertificateFacts.pem(first)
    guard unsafe X509_check_private_key(first, own) == 1 else {
      throw Unfit(reason: "the key does not belong to the certificate")
    }
    guard unsafe X509_check_ca(first) == 1 else {
      throw Unfit(reason: "the certificate is not one of an authority (CA:TRUE)")
    }
  }

  deinit {
    unsafe X509_free(certificate)
    unsafe EVP_PKEY_free(key)
  }

  /// A certificate that signs itself, in PEM; nil when out of memory.
  package static func selfSigned(
    _ key: PrivateKey, _ template: CertificateTemplate
  ) -> [UInt8]? {
    unsafe make(template, for: key.raw, issuer: nil, signedWith: key.raw)
  }

  /// A certificate for the request's key, in PEM; of the request nothing else goes into it. Nil when out
  /// of memory.
  package func issue(_ template: CertificateTemplate, for request: CertificateRequest) -> [UInt8]? {
    unsafe Self.make(template, for: request.key, issuer: certificate, signedWith: key)
  }

  /// The same for a key of ours.
  package func issue(_ template: CertificateTemplate, for own: PrivateKey) -> [UInt8]? {
    unsafe Self.make(template, for: own.raw, issuer: certificate, signedWith: key)
  }

  private static func make(
    _ template: CertificateTemplate, for subject: OpaquePointer, issuer: OpaquePointer?,
    signedWith key: OpaquePointer
  ) -> [UInt8]? {
    guard let fresh = unsafe X509_new() else { return nil }
    defer {
      unsafe X509_free(fresh)
      OpenSSLErrors.clear()
    }
    guard unsafe X509_set_version(fresh, 2) == 1, unsafe fl_tls_random_serial(fresh) == 1,
      unsafe ASN1_TIME_set(X509_getm_notBefore(fresh), template.notBefore) != nil,
      unsafe ASN1_TIME_set(X509_getm_notAfter(fresh), template.notAfter) != nil,
      unsafe X509_set_pubkey(fresh, subject) == 1,
      unsafe name(fresh, "O", template.organization),
      unsafe name(fresh, "CN", template.commonName),
      unsafe X509_set_issuer_name(fresh, X509_get_subject_name(issuer ?? fresh)) == 1,
      unsafe extend(fresh, template, issuer: issuer ?? fresh),
      unsafe X509_sign(fresh, key, digest(of: key)) > 0
    else { return nil }
    return unsafe CertificateFacts.pem(fresh)
  }

  /// Ed25519 brings its own.
  private static func digest(of key: OpaquePointer) -> OpaquePointer? {
    unsafe EVP_PKEY_get_base_id(key) == EVP_PKEY_ED25519 ? nil : EVP_sha256()
  }

  private static func name(_ certificate: OpaquePointer, _ field: String, _ value: String) -> Bool {
    guard !value.isEmpty else { return true }
    return unsafe X509_NAME_add_entry_by_txt(
      X509_get_subject_name(certificate), field, fl_tls_utf8_text, Array(value.utf8),
      Int32(clamping: value.utf8.count), -1, 0) == 1
  }

  private static func extend(
    _ fresh: OpaquePointer, _ template: CertificateTemplate, issuer: OpaquePointer
  ) -> Bool {
    var extensions: [(Int32, String)] = [
      (NID_basic_constraints, template.isAuthority ? "critical,CA:TRUE" : "critical,CA:FALSE"),
      (
        NID_key_usage,
        template.isAuthority
          ? "critical,keyCertSign,cRLSign" : "critical,digitalSignature,keyEncipherment"
      ),
      (NID_subject_key_identifier, "hash"),
      (NID_authority_key_identifier, "keyid"),
    ]
    if !template.isAuthority { extensions.append((NID_ext_key_usage, "serverAuth,clientAuth")) }
    for (kind, value) in extensions {
      guard unsafe fl_tls_extend(fresh, issuer, kind, value) == 1 else { return false }
    }
    return unsafe name(fresh, template)
  }

  private static func name(_ fresh: OpaquePointer, _ template: CertificateTemplate) -> Bool {
    var names: [(kind: Int32, bytes: [UInt8])] = template.uris.map { (GEN_URI, Array($0.utf8)) }
    names += template.dns.map { (GEN_DNS, Array($0.utf8)) }
    names += template.addresses.map { (GEN_IPADD, $0) }
    guard !names.isEmpty else { return true }
    guard let list = unsafe fl_tls_names() else { return false }
    defer { unsafe GENERAL_NAMES_free(list) }
    for (kind, bytes) in names {
      let added = unsafe fl_tls_names_add(list, kind, bytes, Int32(clamping: bytes.count))
      guard added == 1 else { return false }
    }
    // Without a subject the names are all there is, and must not be passed over (RFC 5280 §4.2.1.6).
    let isCritical = template.organization.isEmpty && template.commonName.isEmpty
    return unsafe fl_tls_set_names(fresh, list, isCritical ? 1 : 0) == 1
  }
}

/// Whether certificates vouch for each other.
package enum CertificateChain {
  /// Why `certificate`, the first of its text, is not vouched for by `roots`, be it through those of
  /// `chain`; nil when it is. Names are not looked at.
  /// - Parameter now: seconds since 1970.
  package static func flaw(
    of certificate: [UInt8], through chain: [UInt8], to roots: [UInt8], at now: Int
  ) -> String? {
    defer { OpenSSLErrors.clear() }
    let first = unsafe PEM.certificates(certificate)
    let between = unsafe PEM.certificates(chain)
    let trusted = unsafe PEM.certificates(roots)
    // SAFETY: the certificates are ours; what takes them takes references of its own.
    defer {
      for index in unsafe first.indices { unsafe X509_free(first[index]) }
      for index in unsafe between.indices { unsafe X509_free(between[index]) }
      for index in unsafe trusted.indices { unsafe X509_free(trusted[index]) }
    }
    guard let leaf = unsafe first.first, let store = unsafe X509_STORE_new() else {
      return "there is no certificate"
    }
    defer { unsafe X509_STORE_free(store) }
    for index in unsafe trusted.indices { unsafe _ = X509_STORE_add_cert(store, trusted[index]) }
    guard let context = unsafe X509_STORE_CTX_new(), let untrusted = unsafe fl_tls_certificates()
    else { return "out of memory" }
    defer {
      unsafe X509_STORE_CTX_free(context)
      unsafe fl_tls_certificates_free(untrusted)
    }
    for index in unsafe between.indices {
      unsafe _ = fl_tls_certificates_add(untrusted, between[index])
    }
    guard unsafe X509_STORE_CTX_init(context, store, leaf, untrusted) == 1 else {
      return "out of memory"
    }
    unsafe X509_STORE_CTX_set_time(context, 0, now)
    guard unsafe X509_verify_cert(context) != 1 else { return nil }
    let error = unsafe X509_STORE_CTX_get_error(context)
    return unsafe String(cString: X509_verify_cert_error_string(Int(error)))
  }
}

extension CertificateFacts {
  /// The certificates of a PEM text, each by itself.
  package static func split(pem text: [UInt8]) -> [[UInt8]] {
    let list = unsafe PEM.certificates(text)
    OpenSSLErrors.clear()
    defer { for index in unsafe list.indices { unsafe X509_free(list[index]) } }
    return unsafe list.map { unsafe CertificateFacts.pem($0) }
  }
}
