import Glibc
import TLS
import Testing

@testable import MeshIdentity

@Suite("Who calls")
struct AuthenticatorTests {
  let scratch: Scratch
  let tokens: JoinTokens
  let authority: CertificateAuthority
  let key = SigningKey(isRSA: false, id: "k")
  let now = Int(time(nil))

  init() throws {
    scratch = try Scratch()
    tokens = JoinTokens(in: scratch.path + "/tokens")
    authority = try CertificateAuthority(.init(directory: scratch.path + "/ca"), at: now)
  }

  func authenticator() throws -> Authenticator {
    Authenticator(
      trustDomain: "cluster.local", tokens: tokens,
      issuer: TokenIssuer(
        name: "i", audience: "istio-ca", keys: Array(#"{"keys":[\#(key.jwk)]}"#.utf8)))
  }

  func certificate(_ namespace: String, _ account: String) throws -> CertificateFacts {
    let chain = try authority.certify(
      makeIdentity(namespace, account), makeRequest(), lasting: 100, at: now)
    return try #require(CertificateFacts.read(pem: chain[0]).first)
  }

  func caller(_ shown: Credentials, at time: Int? = nil) throws -> Authenticator.Caller {
    try authenticator().caller(shown, at: time ?? now)
  }

  @Test("is told by a certificate, until it expires")
  func certificates() throws {
    let shown = Credentials(certificate: try certificate("shop", "cart"))
    let caller = try caller(shown)
    #expect(caller.identity.uri == "spiffe://cluster.local/ns/shop/sa/cart")
    #expect(caller.proof == .certificate)
    #expect(throws: Authenticator.Doubt(reason: "the client certificate has expired")) {
      try self.caller(shown, at: now + 100)
    }
  }

  @Test("is not told by a certificate of another trust domain")
  func foreign() throws {
    var options = CertificateAuthority.Options(directory: scratch.path + "/other")
    options.trustDomain = "other.local"
    let other = try CertificateAuthority(options, at: now)
    let identity = try #require(
      WorkloadIdentity(trustDomain: "other.local", namespace: "a", serviceAccount: "b"))
    let chain = try other.certify(identity, makeRequest(), lasting: 0, at: now)
    let facts = CertificateFacts.read(pem: chain[0]).first
    #expect(throws: Authenticator.Doubt.self) { try caller(Credentials(certificate: facts)) }
  }

  @Test("is told by join tokens, of which some are good once")
  func joining() throws {
    for isReusable in [true, false] {
      let token = try tokens.make(
        for: makeIdentity("shop", "cart"), lasting: 60, isReusable: isReusable, at: now)
      let caller = try caller(Credentials(authorization: "Bearer \(token)", certificate: nil))
      #expect(caller.identity.namespace == "shop")
      #expect((caller.proof == .joinToken) == isReusable)
    }
  }

  @Test("is told by an issuer's token, and by the certificate where there are both")
  func issued() throws {
    let claims =
      #"{"iss":"i","aud":"istio-ca","sub":"system:serviceaccount:a:b","exp":\#(now + 9)}"#
    let token = key.token(claims)
    #expect(try caller(Credentials(token: token)).proof == .issuer)
    let both = Credentials(token: token, certificate: try certificate("shop", "cart"))
    #expect(try caller(both).identity.namespace == "shop")
    #expect(try caller(both, at: now + 1000 - 1000).proof == .certificate)
  }

  @Test("is nobody who shows nothing, and no reason repeats what was shown")
  func nobody() throws {
    for field in [nil, "", "Bearer", "Basic abc", "Bearer "] {
      #expect(throws: Authenticator.Doubt.self) {
        try caller(Credentials(authorization: field, certificate: nil))
      }
    }
    let secret = "join.AAAAAAAAAAAA.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    for token in [secret, "eyJ.secret.x", String(repeating: "a", count: 20_000)] {
      do {
        _ = try caller(Credentials(token: token))
        Issue.record("believed")
      } catch let doubt as Authenticator.Doubt {
        #expect(!doubt.reason.contains("AAAA") && !doubt.reason.contains("secret"))
      }
    }
  }

  @Test("may say Bearer as it likes")
  func scheme() {
    #expect(Credentials(authorization: "bearer x", certificate: nil).token == "x")
    #expect(Credentials(authorization: "BEARER x y", certificate: nil).token == "x y")
    #expect(Credentials(authorization: "Bearerx", certificate: nil).token == nil)
  }
}
