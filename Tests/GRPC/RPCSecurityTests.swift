import CLinux
import Engine
import TLS
import Testing

@testable import GRPC

/// An authority that signs what one test needs.
struct TestIssuer {
  let signer: CertificateSigner

  init(_ name: String = "test root") throws {
    let key = try #require(PrivateKey(.p256))
    var template = CertificateTemplate(notBefore: Self.now - 60, notAfter: Self.now + 3600)
    template.commonName = name
    template.isAuthority = true
    let pem = try #require(CertificateSigner.selfSigned(key, template))
    signer = try CertificateSigner(certificate: pem, key: key.pem)
  }

  static var now: Int { Int(time(nil)) }

  func issue(_ uri: String, lasting seconds: Int = 3600) throws -> TLSCertificate {
    let key = try #require(PrivateKey(.p256))
    var template = CertificateTemplate(
      notBefore: Self.now - 7200, notAfter: Self.now + seconds)
    template.uris = [uri]
    return TLSCertificate(chain: try #require(signer.issue(template, for: key)), key: key.pem)
  }

  /// A server's context that looks at the certificates of those who have one.
  func serverContext(_ uri: String = "spiffe://mesh/server") throws -> TLSContext {
    var options = TLSOptions(.server(TLSServerOptions()))
    options.certificates = [try issue(uri)]
    options.protocols = RPCSecurity.protocols
    options.validation = trust
    return try TLSContext(options)
  }

  func clientContext(_ identity: TLSCertificate? = nil, alpn: Bool = true) throws -> TLSContext {
    var options = TLSOptions(.client(TLSClientOptions()))
    if let identity { options.certificates = [identity] }
    if alpn { options.protocols = RPCSecurity.protocols }
    options.validation = trust
    return try TLSContext(options)
  }

  private var trust: TLSValidation {
    var rules = TLSValidation()
    rules.trustedCA = signer.pem
    return rules
  }
}

/// A server and a channel on one loop, with TLS between them.
final class SecurePair {
  let loop = EventLoop()
  let runtime: RPCRuntime
  let server: RPCServer
  let serverSecurity: RPCSecurity
  let address: SocketAddress
  var channel: RPCChannel?
  /// Whom the server saw, call by call.
  var peers: [[String]] = []
  var refusals: [String] = []

  init(_ context: TLSContext) throws {
    runtime = RPCRuntime(loop: loop)
    server = RPCServer(runtime)
    serverSecurity = RPCSecurity(server: context)
    address = try server.listen(
      on: #require(SocketAddress(ip: "127.0.0.1", port: 0)), security: serverSecurity)
    server.onRefusal = { [unowned self] in refusals.append($1) }
    server.methods["/test/Echo"] = { [unowned self] call in
      let uris = call.peerCertificate?.names.uris ?? []
      peers.append(uris.map { String(decoding: $0, as: UTF8.self) })
      return Served(call) { served, message in served.call.send(message) }
    }
  }

  deinit {
    channel?.close()
    server.close()
    loop.turn(waitAtMost: 0)
    loop.turn(waitAtMost: 0)
  }

  /// Sends a message and waits for what becomes of it.
  func ask(_ context: TLSContext, name: String = "", required: String = "") -> Asked {
    let security = RPCSecurity(client: context, serverName: name, required: required)
    let address = self.address
    let channel = RPCChannel(runtime, authority: "test", security: security) { address }
    self.channel?.close()
    self.channel = channel
    return ask(on: channel)
  }

  func ask(on channel: RPCChannel, message: [UInt8] = [1, 2, 3]) -> Asked {
    let asked = Asked()
    asked.call = channel.start("/test/Echo", handler: asked)
    asked.call?.send(message)
    asked.call?.finish()
    _ = until { asked.status != nil }
    return asked
  }

  func until(_ condition: () -> Bool) -> Bool {
    let deadline = loop.now + 10_000_000_000
    while !condition() {
      guard loop.now < deadline else { return false }
      loop.turn(waitAtMost: 10)
    }
    return true
  }
}

@Suite("Calls over TLS")
struct RPCSecurityTests {
  @Test("go there and back, and a client without a certificate is nobody")
  func anonymous() throws {
    let issuer = try TestIssuer()
    let pair = try SecurePair(issuer.serverContext())
    let asked = try pair.ask(issuer.clientContext())
    #expect(asked.status == .ok)
    #expect(asked.messages == [[1, 2, 3]])
    #expect(pair.peers == [[]])
    #expect(pair.refusals.isEmpty)
  }

  @Test("carry a message larger than every buffer")
  func large() throws {
    let issuer = try TestIssuer()
    let pair = try SecurePair(issuer.serverContext())
    let message = (0..<RPCLimits.requestBytes).map { UInt8(truncatingIfNeeded: $0 &* 31) }
    _ = try pair.ask(issuer.clientContext())
    let asked = pair.ask(on: try #require(pair.channel), message: message)
    #expect(asked.status == .ok)
    #expect(asked.messages == [message])
  }

  @Test("tell the handler whom a verified certificate names")
  func named() throws {
    let issuer = try TestIssuer()
    let pair = try SecurePair(issuer.serverContext())
    let asked = try pair.ask(issuer.clientContext(issuer.issue("spiffe://mesh/client")))
    #expect(asked.status == .ok)
    #expect(pair.peers == [["spiffe://mesh/client"]])
  }

  @Test("are not begun for a certificate of a foreign root, or one that has expired")
  func foreign() throws {
    let issuer = try TestIssuer()
    let pair = try SecurePair(issuer.serverContext())
    let stranger = try TestIssuer("other root")
    let refused = try pair.ask(issuer.clientContext(stranger.issue("spiffe://mesh/client")))
    #expect(refused.status?.code == .unavailable)
    let late = try pair.ask(issuer.clientContext(issuer.issue("spiffe://mesh/a", lasting: -60)))
    #expect(late.status?.code == .unavailable)
    #expect(pair.peers.isEmpty)
    #expect(pair.refusals.count == 2)
    #expect(pair.refusals[1].contains("certificate has expired"))
  }

  @Test("are not begun with a server that nobody vouches for, or that has another name")
  func wrongServer() throws {
    let issuer = try TestIssuer()
    let pair = try SecurePair(TestIssuer("other root").serverContext())
    let strange = try pair.ask(issuer.clientContext())
    #expect(strange.status?.code == .unavailable)
    #expect(strange.status?.message.contains("certificate verif") == true)
    pair.serverSecurity.context = try issuer.serverContext("spiffe://mesh/other")
    let other = try pair.ask(issuer.clientContext(), required: "spiffe://mesh/server")
    #expect(other.status?.message.contains("no subject alternative name") == true)
    let right = try pair.ask(issuer.clientContext(), required: "spiffe://mesh/other")
    #expect(right.status == .ok)
  }

  @Test("begin with the newest certificates, and go on with what they began with")
  func replaced() throws {
    let issuer = try TestIssuer()
    let pair = try SecurePair(issuer.serverContext())
    _ = try pair.ask(issuer.clientContext())
    let channel = try #require(pair.channel)
    let newer = try TestIssuer("newer root")
    pair.serverSecurity.context = try newer.serverContext()
    #expect(pair.ask(on: channel).status == .ok)
    #expect(try pair.ask(issuer.clientContext()).status?.code == .unavailable)
    #expect(try pair.ask(newer.clientContext()).status == .ok)
  }

  @Test("need both ends to agree upon HTTP/2")
  func withoutALPN() throws {
    let issuer = try TestIssuer()
    let pair = try SecurePair(issuer.serverContext())
    let asked = try pair.ask(issuer.clientContext(alpn: false))
    #expect(asked.status?.message.contains("ALPN") == true)
    #expect(pair.until { !pair.refusals.isEmpty })
  }

  @Test("do not begin where plain bytes are spoken")
  func plain() throws {
    let issuer = try TestIssuer()
    let pair = try SecurePair(issuer.serverContext())
    let address = pair.address
    let channel = RPCChannel(pair.runtime, authority: "test") { address }
    #expect(pair.ask(on: channel).status?.code == .unavailable)
    #expect(pair.refusals.count == 1)
    #expect(pair.server.connectionCount == 0)
  }
}
