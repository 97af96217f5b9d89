import TLS

/// What a caller shows of itself.
package struct Credentials {
  /// What follows `Bearer` in `authorization`; nil: nothing does.
  package var token: String?
  /// Verified when the connection began.
  package var certificate: CertificateFacts?

  package init(token: String? = nil, certificate: CertificateFacts? = nil) {
    self.token = token
    self.certificate = certificate
  }

  /// The token of a call's `authorization` field.
  package init(authorization: String?, certificate: CertificateFacts?) {
    self.certificate = certificate
    guard let authorization else { return }
    let words = authorization.split(separator: " ", maxSplits: 1)
    guard words.count == 2, words[0].lowercased() == "bearer" else { return }
    token = String(words[1])
  }
}

/// Establishes who a caller is. The names that a caller claims are worth nothing here; only what it
/// proves is.
struct Authenticator {
  /// What somebody's identity was proved by.
  enum Proof: Equatable {
    case certificate
    case issuer
    case joinToken
    /// Good for one certificate.
    case oneTimeToken(id: String)
  }

  struct Caller: Equatable {
    let identity: WorkloadIdentity
    let proof: Proof
  }

  /// Why nobody is believed: a sentence without what was shown.
  struct Doubt: Error, Equatable {
    let reason: String
  }

  let trustDomain: String
  var tokens: JoinTokens?
  var issuer: TokenIssuer?

  /// A certificate goes before a token: who has one renews it with it.
  func caller(_ shown: Credentials, at now: Int) throws(Doubt) -> Caller {
    var reasons: [String] = []
    if let certificate = shown.certificate {
      do throws(Doubt) {
        return Caller(identity: try identity(certificate, at: now), proof: .certificate)
      } catch {
        reasons.append(error.reason)
      }
    }
    if let token = shown.token {
      do throws(Doubt) {
        return try caller(token, at: now)
      } catch {
        reasons.append(error.reason)
      }
    }
    guard !reasons.isEmpty else {
      throw Doubt(reason: "neither a client certificate nor a bearer token was shown")
    }
    throw Doubt(reason: reasons.joined(separator: "; "))
  }

  private func identity(
    _ certificate: CertificateFacts, at now: Int
  ) throws(Doubt) -> WorkloadIdentity {
    // It was verified when the connection began, which may be long ago.
    guard now < certificate.notAfter else {
      throw Doubt(reason: "the client certificate has expired")
    }
    guard certificate.names.uris.count == 1, let name = certificate.names.uris.first,
      let identity = WorkloadIdentity(uri: String(decoding: name, as: UTF8.self)),
      identity.trustDomain == trustDomain
    else {
      throw Doubt(reason: "the client certificate names no workload of '\(trustDomain)'")
    }
    return identity
  }

  private func caller(_ token: String, at now: Int) throws(Doubt) -> Caller {
    guard token.utf8.count <= IdentityLimits.tokenBytes else {
      throw Doubt(reason: "the bearer token is too large")
    }
    if JoinTokens.parts(of: token) != nil {
      return try joining(token, at: now)
    }
    guard let issuer else {
      throw Doubt(reason: "the bearer token is no join token, and no token issuer is configured")
    }
    do throws(TokenIssuer.Doubt) {
      let identity = try issuer.subject(of: token, in: trustDomain, at: now)
      return Caller(identity: identity, proof: .issuer)
    } catch {
      throw Doubt(reason: "the bearer token \(error.description)")
    }
  }

  private func joining(_ token: String, at now: Int) throws(Doubt) -> Caller {
    do throws(JoinTokens.Doubt) {
      guard let tokens else { throw JoinTokens.Doubt.unknown }
      let (id, entry) = try tokens.look(up: token, at: now)
      guard entry.identity.trustDomain == trustDomain else { throw JoinTokens.Doubt.unknown }
      return Caller(
        identity: entry.identity,
        proof: entry.isReusable ? .joinToken : .oneTimeToken(id: id))
    } catch {
      throw Doubt(
        reason: error == .expired
          ? "the join token has expired" : "the join token is not known, or has been used")
    }
  }
}
