import COpenSSL
import TLS
import Testing

@Suite("Certificates that we sign")
struct CertificateSignerTests {
  let now = time(nil)

  func root(_ kind: PrivateKey.Kind = .p256) throws -> CertificateSigner {
    let key = try #require(PrivateKey(kind))
    var template = CertificateTemplate(notBefore: now - 60, notAfter: now + 86_400)
    template.organization = "cluster.local"
    template.isAuthority = true
    return try CertificateSigner(
      certificate: #require(CertificateSigner.selfSigned(key, template)), key: key.pem)
  }

  func leaf(_ uri: String) -> CertificateTemplate {
    var template = CertificateTemplate(notBefore: now - 120, notAfter: now + 3600)
    template.uris = [uri]
    return template
  }

  func words(_ pem: [UInt8]) -> String {
    var text = ""
    _ = pem.withUnsafeBytes { buffer in
      guard let bio = fl_tls_memory(buffer.baseAddress, Int32(buffer.count)),
        let certificate = PEM_read_bio_X509(bio, nil, nil, nil), let out = BIO_new(BIO_s_mem())
      else { return }
      X509_print(out, certificate)
      var base: UnsafeMutablePointer<CChar>?
      let count = fl_tls_memory_bytes(out, &base)
      text = String(decoding: (0..<count).map { UInt8(bitPattern: base![$0]) }, as: UTF8.self)
      BIO_free(out)
      BIO_free(bio)
      X509_free(certificate)
    }
    return text
  }

  @Test("carry the template's name and times, and none of the request's", arguments: [true, false])
  func issued(byRSA: Bool) throws {
    let root = try root(byRSA ? .rsa2048 : .p256)
    let key = try #require(PrivateKey(.p256))
    let request = try CertificateRequest(
      pem: #require(CertificateRequest.make(for: key, uri: "spiffe://evil/admin")))
    let pem = try #require(root.issue(leaf("spiffe://cluster.local/ns/a/sa/b"), for: request))
    let facts = try #require(CertificateFacts.read(pem: pem).first)
    #expect(facts.names.uris == [Array("spiffe://cluster.local/ns/a/sa/b".utf8)])
    #expect(facts.notBefore == now - 120)
    #expect(facts.notAfter == now + 3600)
    #expect(facts.subject.isEmpty)
    #expect(facts.issuer == root.facts.subject)
    let text = words(pem)
    #expect(text.contains("X509v3 Subject Alternative Name: critical"))
    #expect(text.contains("CA:FALSE"))
    #expect(text.contains("TLS Web Server Authentication, TLS Web Client Authentication"))
    #expect(!text.contains("evil"))
  }

  @Test("serve a handshake, the request's key on the other side")
  func handshake() throws {
    let root = try root()
    let key = try #require(PrivateKey(.p256))
    let request = try CertificateRequest(pem: #require(CertificateRequest.make(for: key)))
    let chain = try #require(root.issue(leaf("spiffe://mesh/a"), for: request))
    var server = TLSOptions(.server(TLSServerOptions()))
    server.certificates = [TLSCertificate(chain: chain, key: key.pem)]
    var client = TLSOptions(.client(TLSClientOptions()))
    client.validation = TLSValidation()
    client.validation?.trustedCA = root.pem
    client.validation?.names = [.exactly(.uri, "spiffe://mesh/a")]
    let pair = try #require(SessionPair(server: TLSContext(server), client: TLSContext(client)))
    #expect(pair.handshake() == .init(server: .done(0), client: .done(0)))
  }

  @Test("no two have one serial number")
  func serials() throws {
    let root = try root()
    let key = try #require(PrivateKey(.p256))
    let serials = try (0..<20).map { _ in
      let pem = try #require(root.issue(leaf("a:b"), for: key))
      return try #require(CertificateFacts.read(pem: pem).first).serial
    }
    #expect(Set(serials).count == 20)
    #expect(serials.allSatisfy { $0.count == 40 })
  }

  @Test("are not signed with a key of another certificate, or by what is no authority")
  func unfit() throws {
    let one = try root()
    let other = try #require(PrivateKey(.p256))
    #expect(throws: CertificateSigner.Unfit.self) {
      try CertificateSigner(certificate: one.pem, key: other.pem)
    }
    let pem = try #require(one.issue(leaf("spiffe://mesh/a"), for: other))
    #expect(throws: CertificateSigner.Unfit.self) {
      try CertificateSigner(certificate: pem, key: other.pem)
    }
    #expect(throws: CertificateSigner.Unfit.self) {
      try CertificateSigner(certificate: [], key: [])
    }
  }
}

@Suite("Certificate requests")
struct CertificateRequestTests {
  @Test(
    "that are none are refused", arguments: ["", "hello", "-----BEGIN CERTIFICATE REQUEST-----\n"])
  func unreadable(text: String) {
    #expect(throws: CertificateRequest.Failure.unreadable) {
      try CertificateRequest(pem: Array(text.utf8))
    }
  }

  /// A request with one key, signed with another.
  private func request(_ key: OpaquePointer, signedWith signer: OpaquePointer) -> [UInt8] {
    let raw = X509_REQ_new()
    X509_REQ_set_pubkey(raw, key)
    X509_REQ_sign(raw, signer, EVP_sha256())
    let bio = BIO_new(BIO_s_mem())
    PEM_write_bio_X509_REQ(bio, raw)
    var base: UnsafeMutablePointer<CChar>?
    let count = fl_tls_memory_bytes(bio, &base)
    let pem = (0..<count).map { UInt8(bitPattern: base![$0]) }
    BIO_free(bio)
    X509_REQ_free(raw)
    return pem
  }

  @Test("that are signed with another key than they carry are refused")
  func stolenKey() throws {
    let one = try #require(fl_tls_new_key(0))
    let other = try #require(fl_tls_new_key(0))
    defer {
      EVP_PKEY_free(one)
      EVP_PKEY_free(other)
    }
    #expect(throws: CertificateRequest.Failure.badSignature) {
      try CertificateRequest(pem: request(one, signedWith: other))
    }
    #expect(throws: Never.self) { try CertificateRequest(pem: request(one, signedWith: one)) }
  }

  @Test("for keys on curves that nobody uses, or too small, are refused")
  func unfitKeys() throws {
    for key in [fl_tls_test_key("RSA", 1024, nil), fl_tls_test_key("EC", 0, "secp224r1")] {
      let key = try #require(key)
      defer { EVP_PKEY_free(key) }
      let pem = request(key, signedWith: key)
      #expect(throws: CertificateRequest.Failure.unfitKey) { try CertificateRequest(pem: pem) }
    }
    let good = try #require(fl_tls_test_key("EC", 0, "secp384r1"))
    defer { EVP_PKEY_free(good) }
    let pem = request(good, signedWith: good)
    #expect(throws: Never.self) { try CertificateRequest(pem: pem) }
  }
}

@Suite("Public keys from numbers")
struct PublicKeyTests {
  @Test("of nonsense are none")
  func nonsense() {
    #expect(PublicKey(rsaModulus: [1, 2, 3], exponent: [1, 0, 1]) == nil)
    #expect(PublicKey(rsaModulus: [UInt8](repeating: 255, count: 256), exponent: [1]) == nil)
    #expect(PublicKey(rsaModulus: [UInt8](repeating: 254, count: 256), exponent: [1, 0, 1]) == nil)
    let ones = [UInt8](repeating: 1, count: 32)
    #expect(PublicKey(p256X: ones, y: ones) == nil)
    #expect(PublicKey(p256X: [], y: []) == nil)
  }
}
