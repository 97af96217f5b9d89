import Testing

@testable import TLS

@Suite("TLS contexts")
struct TLSContextTests {
  let authority = TestAuthority()

  func refusal(_ change: (inout TLSOptions) -> Void) -> TLSContextError? {
    var options = TLSOptions(.server(TLSServerOptions()))
    options.certificates = [authority.issue("a").pair]
    change(&options)
    do throws(TLSContextError) {
      _ = try TLSContext(options)
      return nil
    } catch {
      return error
    }
  }

  @Test("a key of another certificate is refused by name")
  func foreignKey() {
    let error = refusal { $0.certificates[0].key = authority.issue("b").keyPEM }
    #expect(error?.part == .key(0))
    #expect(error?.message == "does not belong to the certificate")
  }

  @Test("what is no PEM is refused, part by part")
  func garbage() {
    let junk = Array("junk".utf8)
    #expect(refusal { $0.certificates[0].chain = junk }?.part == .certificate(0))
    #expect(refusal { $0.certificates[0].key = junk }?.part == .key(0))
    let trust: (TLSValidation) -> TLSContextError? = { one in refusal { $0.validation = one } }
    var validation = TLSValidation()
    validation.trustedCA = junk
    #expect(trust(validation)?.part == .trustedCA)
    validation.trustedCA = authority.root.chainPEM
    #expect(trust(validation) == nil)
    validation.revocationLists = junk
    #expect(trust(validation)?.part == .revocationLists)
  }

  @Test("a sealed key needs its password")
  func password() {
    let leaf = authority.issue("a")
    for (password, isGood) in [("secret", true), ("wrong", false)] {
      let error = refusal {
        $0.certificates[0] = TLSCertificate(
          chain: leaf.chainPEM, key: leaf.keyPEM(password: "secret"), password: Array(password.utf8)
        )
      }
      #expect((error == nil) == isGood)
    }
  }

  @Test("ciphers, curves and algorithms that nobody knows are refused")
  func algorithms() {
    #expect(refusal { $0.ciphers = ["ECDHE-RSA-AES128-GCM-SHA256", "NOPE"] }?.part == .ciphers)
    #expect(refusal { $0.curves = ["X25519", "nope"] }?.part == .curves)
    #expect(refusal { $0.signatureAlgorithms = ["nope"] }?.part == .signatureAlgorithms)
    let crossed = refusal {
      $0.minimumVersion = .tls13
      $0.maximumVersion = .tls12
    }
    #expect(crossed?.part == .versions)
    #expect(
      refusal {
        $0.ciphers = ["ECDHE-RSA-AES128-GCM-SHA256"]
        $0.curves = ["P-256"]
        $0.signatureAlgorithms = ["ecdsa_secp256r1_sha256"]
      } == nil)
  }
}

@Suite("Ticket keys")
struct TicketKeysTests {
  @Test("a key of our own making seals for a day and opens for another")
  func renewal() throws {
    let keys = TicketKeys()
    let first = try #require(keys.sealing(at: 1000))
    #expect(keys.sealing(at: 1000 + 86_399) == first)
    let second = try #require(keys.sealing(at: 1000 + 86_400))
    #expect(second != first)
    let name = Array(first.prefix(16))
    #expect(keys.opening(name)?.isCurrent == false)
    _ = keys.sealing(at: 1000 + 2 * 86_400)
    #expect(keys.opening(name) == nil)
  }
}
