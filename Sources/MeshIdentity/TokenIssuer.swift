import SwiftProtobuf
import TLS

/// Whose tokens are believed: an issuer's name, and the keys that it signs with (JWK Set, RFC 7517 §5).
package struct TokenIssuer {
  /// Why a token is not believed. Says what is wrong, and never what was in it.
  package enum Doubt: Error, Equatable {
    case unreadable
    case foreignIssuer
    case foreignAudience
    case unknownKey
    case badSignature
    case expired
    case notYet
    case nobody

    package var description: String {
      switch self {
      case .unreadable: "is no signed JSON web token"
      case .foreignIssuer: "is of another issuer"
      case .foreignAudience: "is meant for somebody else"
      case .unknownKey: "is signed with none of the issuer's keys"
      case .badSignature: "has a wrong signature"
      case .expired: "has expired, or says not when"
      case .notYet: "is not valid yet"
      case .nobody: "names no service account"
      }
    }
  }

  private struct Key {
    let id: String?
    let key: PublicKey
  }

  let name: String
  let audience: String
  private let rsa: [Key]
  private let p256: [Key]

  /// Nil when there is no key in it that we can use.
  /// - Parameter keys: the issuer's JWK Set. Keys of other kinds, or for other uses, are passed over.
  package init?(name: String, audience: String, keys: [UInt8]) {
    guard case .listValue(let list)? = JSONObject.read(keys)?["keys"]?.kind,
      list.values.count <= IdentityLimits.issuerKeys
    else { return nil }
    var rsa: [Key] = []
    var p256: [Key] = []
    for value in list.values {
      guard case .structValue(let fields)? = value.kind else { return nil }
      let key = fields.fields
      guard (key["use"]?.text ?? "sig") == "sig" else { continue }
      func number(_ name: String) -> [UInt8]? { key[name]?.text.flatMap { Base64URL.decode($0) } }
      let id = key["kid"]?.text
      switch key["kty"]?.text {
      case "RSA":
        guard (key["alg"]?.text ?? "RS256") == "RS256", let modulus = number("n"),
          let exponent = number("e"), let made = PublicKey(rsaModulus: modulus, exponent: exponent)
        else { continue }
        rsa.append(Key(id: id, key: made))
      case "EC":
        guard key["crv"]?.text == "P-256", let x = number("x"), let y = number("y"),
          let made = PublicKey(p256X: x, y: y)
        else { continue }
        p256.append(Key(id: id, key: made))
      default: continue
      }
    }
    guard !rsa.isEmpty || !p256.isEmpty else { return nil }
    self.name = name
    self.audience = audience
    self.rsa = rsa
    self.p256 = p256
  }

  var keyCount: Int { rsa.count + p256.count }

  /// Whom the token proves its bearer to be.
  package func subject(of text: String, in trustDomain: String, at now: Int) throws(Doubt)
    -> WorkloadIdentity
  {
    guard let token = JSONWebToken(text) else { throw .unreadable }
    // Before the costly part, and no secret: tokens of other issuers are the usual mistake.
    guard token.claims["iss"]?.text == name else { throw .foreignIssuer }
    try checkSignature(token)
    guard token.isFor(audience) else { throw .foreignAudience }
    let skew = IdentityLimits.clockSkewSeconds
    guard let end = token.time("exp"), now < end + skew else { throw .expired }
    if let start = token.time("nbf"), now + skew < start { throw .notYet }
    if let made = token.time("iat"), now + skew < made { throw .notYet }
    guard let identity = Self.identity(token.claims["sub"]?.text ?? "", in: trustDomain) else {
      throw .nobody
    }
    return identity
  }

  /// `system:serviceaccount:<namespace>:<name>`: what Kubernetes calls them.
  private static func identity(_ subject: String, in trustDomain: String) -> WorkloadIdentity? {
    let parts = subject.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
    guard parts.count == 4, parts[0] == "system", parts[1] == "serviceaccount" else { return nil }
    return WorkloadIdentity(
      trustDomain: trustDomain, namespace: parts[2], serviceAccount: parts[3])
  }

  private func checkSignature(_ token: JSONWebToken) throws(Doubt) {
    // The algorithm chooses among our keys and nothing else: "none", or a MAC, chooses none.
    let keys: [Key]
    switch token.algorithm {
    case "RS256": keys = rsa
    case "ES256": keys = p256
    default: throw .unknownKey
    }
    let candidates = keys.filter { token.keyID == nil || $0.id == nil || $0.id == token.keyID }
    guard !candidates.isEmpty else { throw .unknownKey }
    let isGood = candidates.contains {
      token.algorithm == "RS256"
        ? $0.key.verifiesRS256(token.signature, of: token.signed)
        : $0.key.verifiesES256(token.signature, of: token.signed)
    }
    guard isGood else { throw .badSignature }
  }
}
