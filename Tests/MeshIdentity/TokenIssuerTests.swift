import Testing

@testable import MeshIdentity

@Suite("JSON web tokens")
struct TokenIssuerTests {
  let rsa = SigningKey(isRSA: true, id: "r")
  let ec = SigningKey(isRSA: false, id: "e")
  let now = 1_000_000

  func issuer() throws -> TokenIssuer {
    try #require(
      TokenIssuer(
        name: "https://issuer", audience: "istio-ca",
        keys: Array(#"{"keys":[\#(rsa.jwk),\#(ec.jwk)]}"#.utf8)))
  }

  func claims(
    iss: String = "https://issuer", aud: String = #"["other","istio-ca"]"#,
    sub: String = "system:serviceaccount:shop:cart", exp: String = "1000100", more: String = ""
  ) -> String {
    #"{"iss":"\#(iss)","aud":\#(aud),"sub":"\#(sub)","exp":\#(exp)\#(more)}"#
  }

  func subject(_ token: String, at time: Int? = nil) throws -> String {
    try issuer().subject(of: token, in: "cluster.local", at: time ?? now).uri
  }

  func doubt(_ token: String, at time: Int? = nil) throws -> TokenIssuer.Doubt? {
    let issuer = try issuer()
    do throws(TokenIssuer.Doubt) {
      _ = try issuer.subject(of: token, in: "cluster.local", at: time ?? now)
      return nil
    } catch {
      return error
    }
  }

  @Test("signed by either kind of key prove a service account", arguments: [true, false])
  func good(byRSA: Bool) throws {
    let token = (byRSA ? rsa : ec).token(claims())
    #expect(try subject(token) == "spiffe://cluster.local/ns/shop/sa/cart")
    #expect(try subject((byRSA ? rsa : ec).token(claims(aud: #""istio-ca""#))).hasSuffix("cart"))
  }

  @Test("hold for as long as they say, and a minute's difference between clocks")
  func times() throws {
    let token = ec.token(claims(more: #","nbf":1000000,"iat":1000000"#))
    #expect(try doubt(token, at: 1_000_159) == nil)
    #expect(try doubt(token, at: 1_000_160) == .expired)
    #expect(try doubt(token, at: 999_940) == nil)
    #expect(try doubt(token, at: 999_939) == .notYet)
    #expect(try doubt(ec.token(claims(exp: #""soon""#))) == .expired)
    #expect(try doubt(ec.token(claims(exp: "1e300"))) == .expired)
    #expect(try doubt(ec.token(#"{"iss":"https://issuer","aud":"istio-ca"}"#)) == .expired)
  }

  @Test("of another issuer, for somebody else, or of nobody in particular are refused")
  func claimed() throws {
    #expect(try doubt(ec.token(claims(iss: "https://other"))) == .foreignIssuer)
    #expect(try doubt(ec.token(claims(aud: #""istio""#))) == .foreignAudience)
    #expect(try doubt(ec.token(claims(aud: "[]"))) == .foreignAudience)
    for subject in [
      "", "alice", "system:serviceaccount:shop", "system:serviceaccount:a:b:c",
      "system:serviceaccount:shop:../x", "system:node:a:b",
    ] {
      #expect(try doubt(ec.token(claims(sub: subject))) == .nobody)
    }
  }

  @Test("whose signature is another's, or none, are refused")
  func forged() throws {
    let good = ec.token(claims())
    let parts = good.split(separator: ".").map(String.init)
    let other = ec.token(claims(sub: "system:serviceaccount:bank:vault")).split(separator: ".")
    #expect(try doubt("\(parts[0]).\(other[1]).\(parts[2])") == .badSignature)
    #expect(try doubt("\(parts[0]).\(parts[1]).") == .badSignature)
    let stranger = SigningKey(isRSA: false, id: "e")
    #expect(try doubt(stranger.token(claims())) == .badSignature)
    #expect(try doubt(ec.token(claims(), kid: "x")) == .unknownKey)
    // The key's kind, not the head, decides what is checked.
    for algorithm in ["none", "None", "HS256", "RS512", ""] {
      #expect(try doubt(ec.token(claims(), algorithm: algorithm)) == .unknownKey)
    }
    #expect(try doubt(ec.token(claims(), algorithm: "RS256", kid: "r")) == .badSignature)
  }

  @Test("that are none are refused", arguments: ["", ".", "..", "...", "a.b.c", "e30.e30.e30"])
  func unreadable(text: String) throws {
    #expect(try doubt(text) == .unreadable)
  }

  @Test("with what everybody has to understand, and we do not, are refused")
  func critical() throws {
    let head = Base64URL.encode(Array(#"{"alg":"ES256","kid":"e","crit":["exp"]}"#.utf8))
    let body = Base64URL.encode(Array(claims().utf8))
    let signature = Base64URL.encode(ec.sign("\(head).\(body)"))
    #expect(try doubt("\(head).\(body).\(signature)") == .unreadable)
  }

  @Test("of keys that cannot be used, no issuer is made")
  func noKeys() {
    let symmetric = #"{"kty":"oct","k":"AAAA"}"#
    let encryption = rsa.jwk.replacing("sig", with: "enc")
    for keys in [
      "", "{}", #"{"keys":[]}"#, #"{"keys":[1]}"#, #"{"keys":[\#(symmetric)]}"#,
      #"{"keys":[\#(encryption)]}"#,
      #"{"keys":[\#([String](repeating: ec.jwk, count: 33).joined(separator: ","))]}"#,
    ] {
      #expect(TokenIssuer(name: "i", audience: "a", keys: Array(keys.utf8)) == nil)
    }
  }
}

@Suite("Base64 for URLs")
struct Base64URLTests {
  @Test("goes there and back", arguments: 0...65)
  func roundTrip(count: Int) {
    let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 37) }
    let text = Base64URL.encode(bytes)
    #expect(!text.contains("="))
    #expect(Base64URL.decode(text) == bytes)
  }

  @Test(
    "of another form is none",
    arguments: ["a", "ab=", "a+bc", "a/bc", "aaaaa", "ab c", "aB\n", "b"])
  func refused(text: String) { #expect(Base64URL.decode(text) == nil) }

  @Test("has one text for one value")
  func canonical() {
    #expect(Base64URL.decode("AA") == [0])
    #expect(Base64URL.decode("AB") == nil)
  }
}
