import ArgumentParser
import Engine
import GRPC
import MeshIdentity
import MeshServer
import Resources

/// What the command line says about identities.
struct IdentityOptions: ParsableArguments {
  @Option(
    help: """
      Directory of the certificate authority; with it, certificates are issued and discovery is served \
      over TLS on --secure-grpc-addr. Holds ca-cert.pem, ca-key.pem, root-cert.pem and cert-chain.pem, \
      or nothing: then a root is made in it.
      """)
  var caDir: String?

  @Option(
    help: "Where to serve certificates and discovery over TLS: an IP address and a port.")
  var secureGrpcAddr = "127.0.0.1:15012"

  @Option(
    help:
      "A name or address by which clients call this server, for its certificate; may be repeated.")
  var secureName: [String] = []

  @Option(help: "What identities begin with: spiffe://TRUST-DOMAIN/ns/….")
  var trustDomain = "cluster.local"

  @Option(help: "How long a certificate lasts when its owner does not say: 90s, 30m, 24h, 7d.")
  var certTtl = "24h"

  @Option(help: "How long a certificate lasts at most.")
  var maxCertTtl = "90d"

  @Option(help: "How long a root lasts that is made here; it is replaced in time.")
  var rootTtl = "3650d"

  @Option(help: "Issuer ('iss') of the JSON web tokens that are believed; needs --jwks-path.")
  var jwtIssuer: String?

  @Option(help: "File with the issuer's keys (JWK Set): RSA for RS256, P-256 for ES256.")
  var jwksPath: String?

  @Option(help: "What such a token has to be meant for ('aud').")
  var jwtAudience = "istio-ca"

  @Option(
    help: """
      With --mode token: whose token, as NAMESPACE/SERVICE-ACCOUNT. It is printed, and buys one \
      certificate.
      """)
  var tokenFor: String?

  @Option(help: "With --mode token: how long the token is good for.")
  var tokenTtl = "1h"

  @Flag(help: "With --mode token: good for as many certificates as its owner likes to ask for.")
  var tokenReusable = false

  func validate() throws {
    guard FairleadControl.address(secureGrpcAddr) != nil else {
      throw ValidationError(
        "'\(secureGrpcAddr)' is no address; expected one such as 127.0.0.1:15012 or :15012")
    }
    guard WorkloadIdentity.trustDomain(from: trustDomain) != nil else {
      throw ValidationError(
        "'\(trustDomain)' is no trust domain; expected one such as cluster.local")
    }
    let longest = try Self.seconds(maxCertTtl, "--max-cert-ttl")
    guard longest <= IdentityLimits.mostSeconds else {
      throw ValidationError("--max-cert-ttl is more than 90d")
    }
    guard try Self.seconds(certTtl, "--cert-ttl") <= longest else {
      throw ValidationError("--cert-ttl is more than --max-cert-ttl")
    }
    _ = try Self.seconds(rootTtl, "--root-ttl")
    guard try Self.seconds(tokenTtl, "--token-ttl") <= IdentityLimits.mostJoinSeconds else {
      throw ValidationError("--token-ttl is more than 365d")
    }
    guard (jwtIssuer == nil) == (jwksPath == nil) else {
      throw ValidationError("--jwt-issuer and --jwks-path need each other")
    }
    guard caDir != nil || (jwtIssuer == nil && secureName.isEmpty) else {
      throw ValidationError("--jwt-issuer, --jwks-path and --secure-name need --ca-dir")
    }
  }

  /// `90s`, `30m`, `24h`, `7d`.
  static func seconds(_ text: String, _ option: String) throws -> Int {
    let units: [Character: Int] = ["s": 1, "m": 60, "h": 3600, "d": 86_400]
    guard let last = text.last, let unit = units[last], let count = Int(text.dropLast()),
      (1...36_500).contains(count) || (unit < 3600 && (1...10_000_000).contains(count))
    else {
      throw ValidationError("'\(text)' is no time for \(option); expected one such as 24h or 7d")
    }
    return count * unit
  }

  /// Makes a token; what is printed.
  func makeToken() throws -> String {
    guard let caDir, let tokenFor else {
      throw ValidationError("--mode token needs --ca-dir and --token-for")
    }
    let parts = tokenFor.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
    guard parts.count == 2, let domain = WorkloadIdentity.trustDomain(from: trustDomain),
      let identity = WorkloadIdentity(
        trustDomain: domain, namespace: parts[0], serviceAccount: parts[1])
    else {
      throw ValidationError("'\(tokenFor)' is no NAMESPACE/SERVICE-ACCOUNT")
    }
    do {
      try CertificateAuthority.makeDirectory(caDir)
      return try JoinTokens(in: IdentityServer.tokenDirectory(caDir)).make(
        for: identity, lasting: Self.seconds(tokenTtl, "--token-ttl"), isReusable: tokenReusable,
        at: IdentityServer.now)
    } catch let error as FileError {
      throw ValidationError(error.message)
    }
  }

  /// The trust domain as it stands in identities.
  var domain: String { WorkloadIdentity.trustDomain(from: trustDomain) ?? trustDomain }

  private static func caller(
    _ call: RPCServerCall, _ server: IdentityServer
  ) throws(RPCStatus) -> ControlPlane.Caller {
    let identity = try server.identity(of: call)
    return ControlPlane.Caller(
      namespace: identity.namespace, identity: identity.uri,
      makeCredential: { [unowned server] () throws(RPCStatus) in
        let made = try server.credential(for: identity)
        return ControlPlane.Credential(key: made.key, chain: made.chain, renewal: made.renewal)
      })
  }

  /// Serves identities beside what the control plane serves already.
  func serve(on plane: ControlPlane) throws(ControlPlane.StartError) -> IdentityServer? {
    guard let caDir, let address = FairleadControl.address(secureGrpcAddr) else { return nil }
    var authority = CertificateAuthority.Options(directory: caDir)
    authority.trustDomain = domain
    let times = (try? Self.seconds(certTtl, ""), try? Self.seconds(maxCertTtl, ""))
    authority.defaultSeconds = times.0 ?? authority.defaultSeconds
    authority.longestSeconds = times.1 ?? authority.longestSeconds
    authority.rootSeconds = (try? Self.seconds(rootTtl, "")) ?? authority.rootSeconds
    var options = IdentityServer.Options(authority)
    options.names = secureName
    options.addresses = [address]
    options.issuer = jwtIssuer ?? ""
    options.issuerKeysPath = jwksPath ?? ""
    options.audience = jwtAudience
    do throws(FileError) {
      let server = try IdentityServer(options, on: plane.loop)
      plane.secured = ControlPlane.SecuredPort(
        address: address, security: server.security, methods: server.methods,
        caller: { [unowned server] call throws(RPCStatus) in try Self.caller(call, server) },
        roots: { [unowned server] in server.roots },
        revision: { [unowned server] in server.revision },
        onForeignNode: { [unowned server] in server.countForeignNode() },
        onRefusal: { [unowned server] in server.countRefusal(of: $0, $1) },
        counters: { [unowned server] in server.counters.all })
      return server
    } catch {
      throw ControlPlane.StartError(reasons: ["error: \(error.message)"])
    }
  }
}
