/// What a `TLSContext` is built from. Plain values: files have been read, and texts are PEM.
package struct TLSOptions: Sendable {
  package enum Version: Int, Sendable, Comparable {
    case tls10
    case tls11
    case tls12
    case tls13

    package static func < (a: Version, b: Version) -> Bool { a.rawValue < b.rawValue }
  }

  package enum Role: Sendable {
    case server(TLSServerOptions)
    case client(TLSClientOptions)
  }

  package var role: Role
  package var minimumVersion = Version.tls12
  package var maximumVersion = Version.tls13
  /// For TLS 1.2 and older; empty means `defaultCiphers`. Suites of TLS 1.3 are not for choice.
  package var ciphers: [String] = []
  /// Empty means `defaultCurves`.
  package var curves: [String] = []
  /// Empty leaves them to OpenSSL.
  package var signatureAlgorithms: [String] = []
  package var certificates: [TLSCertificate] = []
  package var validation: TLSValidation?
  /// Application protocols, the preferred first.
  package var protocols: [String] = []

  package init(_ role: Role) { self.role = role }

  /// Mozilla's intermediate profile for TLS 1.2: forward secrecy and AEAD, nothing else.
  package static let defaultCiphers = [
    "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-RSA-CHACHA20-POLY1305",
  ]

  /// Mozilla's intermediate profile.
  package static let defaultCurves = ["X25519", "P-256", "P-384"]
}

/// What only a server asks or decides.
package struct TLSServerOptions: Sendable {
  package var requiresClientCertificate = false
  package var prefersClientCiphers = false
  /// A name that no certificate has is looked for among all of them, not answered with the first.
  package var scansCertificatesOnMismatch = false
  /// Sessions are resumed by tickets, which the client keeps.
  package var sendsTickets = true
  /// Sessions are resumed by number, which the server remembers.
  package var remembersSessions = true
  /// Seconds; nil leaves OpenSSL's two hours.
  package var sessionTimeout: UInt32?
  /// Keys that sealed tickets of earlier contexts; nil: keys of this context's own.
  package var ticketKeys: TicketKeys?

  package init() {}
}

/// What only a client asks or decides.
package struct TLSClientOptions: Sendable {
  /// The name asked for (SNI), unless the connection brings its own; empty: none.
  package var serverName = ""
  /// The certificate has to name what was asked for.
  package var matchesServerName = false

  package init() {}
}

/// A certificate with its chain, and its key: PEM.
package struct TLSCertificate: Sendable {
  package var chain: [UInt8]
  package var key: [UInt8]
  package var password: [UInt8]?

  package init(chain: [UInt8], key: [UInt8], password: [UInt8]? = nil) {
    self.chain = chain
    self.key = key
    self.password = password
  }
}

/// What a peer's certificate has to be.
package struct TLSValidation: Sendable {
  /// PEM; nil trusts nobody in particular, and then no chain is verified.
  package var trustedCA: [UInt8]?
  package var revocationLists: [UInt8]?
  package var checksOnlyLeafRevocation = false
  /// One of them has to match; empty: any name will do.
  package var names: [TLSNameMatcher] = []
  /// SHA-256 of the certificate, or of its public key; one of all of them has to match.
  package var certificateDigests: [[UInt8]] = []
  package var keyDigests: [[UInt8]] = []
  package var maxVerifyDepth: UInt32?
  package var allowsExpired = false
  /// What fails is counted, and accepted.
  package var acceptsUntrusted = false

  package init() {}
}

/// A test of one kind of subject alternative name.
package struct TLSNameMatcher: Sendable {
  package enum Kind: Sendable {
    case dns
    case uri
    case email
    /// As text, such as `10.0.0.1`.
    case ip
  }

  package let kind: Kind
  /// For DNS names: the certificate's name may be a wildcard that covers this one.
  package let exactName: [UInt8]?
  package let matches: @Sendable ([UInt8]) -> Bool

  package init(
    _ kind: Kind, exactName: [UInt8]? = nil, matches: @escaping @Sendable ([UInt8]) -> Bool
  ) {
    self.kind = kind
    self.exactName = exactName
    self.matches = matches
  }

  /// Exactly this name, and for DNS what covers it.
  package static func exactly(_ kind: Kind, _ name: String) -> TLSNameMatcher {
    let bytes = Array(name.utf8)
    return TLSNameMatcher(kind, exactName: bytes) { $0 == bytes }
  }
}

/// Why no context can be built, and of which part.
package struct TLSContextError: Error, Equatable {
  package enum Part: Equatable, Sendable {
    case certificate(Int)
    case key(Int)
    case trustedCA
    case revocationLists
    case ciphers
    case curves
    case signatureAlgorithms
    case versions
    case protocols
    case memory
  }

  package let part: Part
  package let message: String

  init(_ part: Part, _ message: String) {
    self.part = part
    self.message = message
  }
}
