import CLinux
import Engine
import GRPC
import Resources
import TLS
import Telemetry

/// The control plane's port for those who can be known: its TLS, who calls, and certificates for them.
/// What else is served there asks `identity(of:)` who a caller is. Belongs to one loop.
package final class IdentityServer {
  /// What the command line says.
  package struct Options {
    package var authority: CertificateAuthority.Options
    /// Names and addresses by which clients call this server.
    package var names: [String] = []
    package var addresses: [SocketAddress] = []
    /// Whose JSON web tokens are believed; empty: nobody's.
    package var issuer = ""
    package var issuerKeysPath = ""
    package var audience = "istio-ca"

    package init(_ authority: CertificateAuthority.Options) { self.authority = authority }
  }

  let authority: CertificateAuthority
  let tokens: JoinTokens
  private let options: Options
  private var authenticator: Authenticator
  private let key: PrivateKey
  /// The TLS that the port's connections begin with.
  package let security: RPCSecurity
  private let timer: LoopTimer
  /// When our own certificate is replaced, in seconds since 1970.
  private var renewal: Int
  private var issuerBytes: [UInt8] = []
  /// Counts the changes of what signs, or is trusted.
  package private(set) var revision: UInt64 = 0

  /// How often files and the clock are looked at. A look reads a few small files, and sees through every
  /// way of replacing them: Kubernetes moves a link.
  private static let lookMilliseconds: UInt64 = 1000

  /// Throws a sentence.
  package init(_ options: Options, on loop: EventLoop) throws(FileError) {
    let now = Self.now
    self.options = options
    authority = try CertificateAuthority(options.authority, at: now)
    let tokens = JoinTokens(in: Self.tokenDirectory(options.authority.directory))
    self.tokens = tokens
    authenticator = Authenticator(trustDomain: authority.trustDomain, tokens: tokens)
    guard let key = PrivateKey(.p256) else { throw FileError(message: "no key can be made") }
    self.key = key
    let context: TLSContext
    (context, renewal) = try Self.context(options, authority, key, at: now)
    security = RPCSecurity(server: context)
    timer = LoopTimer(on: loop)
    if !options.issuer.isEmpty {
      issuerBytes = try FileReader.read(
        options.issuerKeysPath, atMost: IdentityLimits.fileBytes
      ).get()
      authenticator.issuer = try Self.issuer(options, issuerBytes)
    }
    authority.onChange = { [unowned self] in
      revision += 1
      renew()
    }
    waitForLook()
  }

  /// Where an authority's join tokens lie.
  package static func tokenDirectory(_ directory: String) -> String { "\(directory)/join-tokens" }

  /// Seconds since 1970.
  package static var now: Int { Int(time(nil)) }

  package var counters: IdentityCounters { authority.counters }

  /// What workloads have to trust, in PEM.
  package var roots: [UInt8] { authority.roots }

  /// For the log: who signs, and who is believed.
  package var summary: String { authority.summary }

  /// What is called here, besides discovery.
  package var methods: [String: (RPCServerCall) -> RPCServerHandler] {
    [CertificateCall.path: { [unowned self] in CertificateCall($0, on: self) }]
  }

  // MARK: Callers

  /// The identity of whoever calls a method that needs to know; throws what to answer.
  package func identity(of call: RPCServerCall) throws(RPCStatus) -> WorkloadIdentity {
    let caller = try authenticate(call, at: Self.now)
    // It would be good for as many streams as its holder likes to begin.
    if case .oneTimeToken = caller.proof {
      authority.counters.authenticationFailures += 1
      throw RPCStatus(.unauthenticated, "a token that is good once is good for a certificate only")
    }
    return caller.identity
  }

  func authenticate(_ call: RPCServerCall, at now: Int) throws(RPCStatus) -> Authenticator.Caller {
    guard call.isSecured else {
      authority.counters.authenticationFailures += 1
      throw RPCStatus(.unauthenticated, "who calls is asked over TLS only")
    }
    let shown = Credentials(
      authorization: call.metadata["authorization"], certificate: call.peerCertificate)
    do throws(Authenticator.Doubt) {
      return try authenticator.caller(shown, at: now)
    } catch {
      authority.counters.authenticationFailures += 1
      ProcessLog.shared.warning(.secret, "\(call.peer.description): \(error.reason)")
      throw RPCStatus(.unauthenticated, error.reason)
    }
  }

  /// A proxy called itself something that its identity does not allow.
  package func countForeignNode() { authority.counters.foreignNodes += 1 }

  /// A connection did not come about.
  package func countRefusal(of peer: SocketAddress, _ reason: String) {
    authority.counters.refusedConnections += 1
    ProcessLog.shared.warning(
      .connection, "\(peer.description): \(Self.shorten(reason))")
  }

  static func shorten(_ text: String) -> String {
    String(decoding: text.utf8.prefix(IdentityLimits.loggedBytes), as: UTF8.self)
  }

  // MARK: Our own certificate

  private static func context(
    _ options: Options, _ authority: CertificateAuthority, _ key: PrivateKey, at now: Int
  ) throws(FileError) -> (TLSContext, renewal: Int) {
    var names = CertificateTemplate(notBefore: now, notAfter: now)
    names.uris = ["spiffe://\(authority.trustDomain)/ns/istio-system/sa/istiod"]
    names.dns = ["localhost"] + options.names.filter { Self.address($0) == nil }
    names.addresses = [[127, 0, 0, 1]] + options.names.compactMap(Self.address)
    names.addresses += options.addresses.compactMap { Self.address($0.ip) }
    let leaf: [UInt8]
    do throws(CertificateAuthority.Refusal) {
      leaf = try authority.certify(key, names, at: now)
    } catch {
      throw FileError(message: "the control plane's own certificate cannot be signed: \(error)")
    }
    // A client that resumes a session is believed for its certificate of then; nobody does so here.
    var server = TLSServerOptions()
    server.sendsTickets = false
    server.remembersSessions = false
    var tls = TLSOptions(.server(server))
    tls.certificates = [TLSCertificate(chain: leaf + authority.intermediates, key: key.pem)]
    tls.protocols = RPCSecurity.protocols
    var validation = TLSValidation()
    validation.trustedCA = authority.roots
    tls.validation = validation
    let end = CertificateFacts.read(pem: leaf).first?.notAfter ?? now
    do throws(TLSContextError) {
      return (try TLSContext(tls), now + (end - now) / 2)
    } catch {
      throw FileError(message: error.message)
    }
  }

  /// The bytes of an IP address; nil for a name.
  private static func address(_ text: String) -> [UInt8]? {
    guard let address = SocketAddress(ip: text, port: 0), !address.isWildcard else { return nil }
    return (0..<(address.isIPv6 ? 16 : 4)).map { address.ipBytes[$0] }
  }

  private func renew() {
    do throws(FileError) {
      (security.context, renewal) = try Self.context(options, authority, key, at: Self.now)
    } catch {
      ProcessLog.shared.error(.secret, error.message)
    }
  }

  // MARK: The passing of time

  private func waitForLook() {
    timer.set(milliseconds: Self.lookMilliseconds) { [unowned self] in look() }
  }

  private func look() {
    let now = Self.now
    authority.look(at: now)
    if now >= renewal { renew() }
    if !options.issuer.isEmpty { lookAtIssuer() }
    waitForLook()
  }

  private static func issuer(_ options: Options, _ bytes: [UInt8]) throws(FileError) -> TokenIssuer
  {
    guard let made = TokenIssuer(name: options.issuer, audience: options.audience, keys: bytes)
    else {
      throw FileError(
        message: "'\(options.issuerKeysPath)' has no key for RS256 or ES256 (expected a JWK Set "
          + "with at most \(IdentityLimits.issuerKeys) keys)")
    }
    return made
  }

  private func lookAtIssuer() {
    let read = FileReader.read(options.issuerKeysPath, atMost: IdentityLimits.fileBytes)
    guard case .success(let bytes) = read, bytes != issuerBytes else { return }
    issuerBytes = bytes
    do throws(FileError) {
      authenticator.issuer = try Self.issuer(options, bytes)
      ProcessLog.shared.info(.secret, "'\(options.issuerKeysPath)' has changed: taken over")
    } catch {
      ProcessLog.shared.error(.secret, "\(error.message); the old keys stay")
    }
  }
}
