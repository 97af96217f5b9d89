import CLinux
import Engine
import GRPC
import ResourceModel
import Resources
import SwiftProtobuf
import TLS
import Testing

@testable import IdentityClient

/// An authority that signs whatever it is asked to, on one loop with its client.
final class Authority {
  let loop = EventLoop()
  let runtime: RPCRuntime
  let server: RPCServer
  let security: RPCSecurity
  let address: SocketAddress
  let signer: CertificateSigner
  let directory: String
  /// What each request showed: its token, and the name of its certificate.
  var shown: [(token: String?, name: String?)] = []
  var seconds: [Int64] = []
  var keys: Set<[UInt8]> = []
  /// Answers with this instead.
  var refusal: RPCStatus?
  var answersNonsense = false
  var life = 100

  init() throws {
    var template = Array("/tmp/fairlead-client-XXXXXX\0".utf8CString)
    directory = String(cString: try #require(mkdtemp(&template)))
    signer = try Self.makeRoot()
    runtime = RPCRuntime(loop: loop)
    server = RPCServer(runtime)
    let key = try #require(PrivateKey(.p256))
    var names = CertificateTemplate(notBefore: Self.now - 60, notAfter: Self.now + 600)
    names.addresses = [[127, 0, 0, 1]]
    let leaf = try #require(signer.issue(names, for: key))
    var tls = TLSOptions(.server(TLSServerOptions()))
    tls.certificates = [TLSCertificate(chain: leaf, key: key.pem)]
    tls.protocols = RPCSecurity.protocols
    tls.validation = TLSValidation()
    tls.validation?.trustedCA = signer.pem
    security = RPCSecurity(server: try TLSContext(tls))
    address = try server.listen(
      on: #require(SocketAddress(ip: "127.0.0.1", port: 0)), security: security)
    server.methods["/istio.v1.auth.IstioCertificateService/CreateCertificate"] = {
      [unowned self] in Answer($0, self)
    }
    write("root.pem", signer.pem)
    write("token", Array("secret-token\n".utf8))
  }

  deinit {
    server.close()
    for _ in 0..<3 { loop.turn(waitAtMost: 0) }
    for name in ["root.pem", "token"] { unlink("\(directory)/\(name)") }
    rmdir(directory)
  }

  static var now: Int { Int(time(nil)) }

  static func makeRoot() throws -> CertificateSigner {
    let key = try #require(PrivateKey(.p256))
    var template = CertificateTemplate(notBefore: now - 60, notAfter: now + 3600)
    template.commonName = "root"
    template.isAuthority = true
    return try CertificateSigner(
      certificate: #require(CertificateSigner.selfSigned(key, template)), key: key.pem)
  }

  func write(_ name: String, _ bytes: [UInt8]) {
    try? PrivateFile.write("\(directory)/\(name)", bytes)
  }

  func client(name: String = "127.0.0.1") -> IdentityClient {
    var options = IdentityClient.Options(
      address: address, name: name, rootPath: "\(directory)/root.pem",
      tokenPath: "\(directory)/token")
    options.seconds = life
    return IdentityClient(options, runtime)
  }

  func until(_ condition: () -> Bool) -> Bool {
    let deadline = loop.now + 10_000_000_000
    while !condition() {
      guard loop.now < deadline else { return false }
      loop.turn(waitAtMost: 10)
    }
    return true
  }

  private final class Answer: RPCServerHandler {
    let call: RPCServerCall
    unowned let authority: Authority

    init(_ call: RPCServerCall, _ authority: Authority) {
      self.call = call
      self.authority = authority
    }

    func received(_ message: [UInt8]) {
      let name = call.peerCertificate?.names.uris.first
      authority.shown.append(
        (call.metadata["authorization"], name.map { String(decoding: $0, as: UTF8.self) }))
      if let refusal = authority.refusal { return call.finish(refusal) }
      guard let asked = try? Istio_V1_Auth_IstioCertificateRequest(serializedBytes: message),
        let request = try? CertificateRequest(pem: Array(asked.csr.utf8))
      else { return call.finish(RPCStatus(.invalidArgument, "no request")) }
      authority.seconds.append(asked.validityDuration)
      let now = Authority.now
      var template = CertificateTemplate(notBefore: now - 60, notAfter: now + authority.life)
      template.uris = ["spiffe://mesh/ns/a/sa/b"]
      let other = PrivateKey(.p256)
      let leaf =
        authority.answersNonsense
        ? other.flatMap { authority.signer.issue(template, for: $0) }
        : authority.signer.issue(template, for: request)
      let answer = Istio_V1_Auth_IstioCertificateResponse.with {
        $0.certChain = [leaf ?? [], authority.signer.pem].map {
          String(decoding: $0, as: UTF8.self)
        }
      }
      call.send((try? answer.serializedBytes()) ?? [])
      call.finish(.ok)
    }

    func clientFinished() {}
    func ended() {}
  }
}

@Suite("A workload's own certificate")
struct IdentityClientTests {
  @Test("is bought with a token, and renewed with itself and another key")
  func renewed() throws {
    let authority = try Authority()
    authority.life = 2
    let client = authority.client()
    var issued: [IdentityClient.Issued] = []
    client.onIssued = { issued.append($0) }
    client.start()
    #expect(authority.until { issued.count == 2 })
    #expect(authority.shown.first?.token == "Bearer secret-token")
    #expect(authority.shown.first?.name == nil)
    #expect(authority.shown.last?.token == nil)
    #expect(authority.shown.last?.name == "spiffe://mesh/ns/a/sa/b")
    #expect(authority.seconds == [2, 2])
    #expect(issued[0].key != issued[1].key)
    #expect(issued[0].facts.names.uris == [Array("spiffe://mesh/ns/a/sa/b".utf8)])
    #expect(issued[0].roots == authority.signer.pem)
  }

  @Test("that has ended is bought with the token again")
  func expired() throws {
    let authority = try Authority()
    authority.life = 1
    let client = authority.client()
    var count = 0
    client.onIssued = { _ in count += 1 }
    client.start()
    #expect(authority.until { count == 1 })
    authority.refusal = RPCStatus(.unavailable, "not now")
    #expect(authority.until { authority.shown.count > 2 && authority.shown.last?.token != nil })
    authority.refusal = nil
    #expect(authority.until { count == 2 })
  }

  @Test("is asked for again after a refusal, whose reason is told")
  func refused() throws {
    let authority = try Authority()
    authority.refusal = RPCStatus(.unauthenticated, "the join token has expired")
    let client = authority.client()
    var problems: [String] = []
    client.onProblem = { problems.append($0) }
    client.start()
    #expect(authority.until { problems.count == 1 })
    #expect(problems[0].contains("the join token has expired"))
    #expect(!problems[0].contains("secret"))
    authority.refusal = nil
    #expect(authority.until { client.issued != nil })
  }

  @Test("is not taken for another key than the one that was sent")
  func nonsense() throws {
    let authority = try Authority()
    authority.answersNonsense = true
    let client = authority.client()
    var problems: [String] = []
    client.onProblem = { problems.append($0) }
    client.start()
    #expect(authority.until { problems.count == 1 })
    #expect(problems[0].contains("no certificate for the key"))
    #expect(client.issued == nil)
  }

  @Test("is not asked for of a server that nobody vouches for, or that has another name")
  func wrongServer() throws {
    let authority = try Authority()
    for (name, root) in [
      ("127.0.0.2", authority.signer.pem), ("127.0.0.1", try Authority.makeRoot().pem),
    ] {
      authority.write("root.pem", root)
      let client = authority.client(name: name)
      var problems: [String] = []
      client.onProblem = { problems.append($0) }
      client.start()
      #expect(authority.until { problems.count == 1 })
      #expect(problems[0].contains("TLS error"))
    }
    #expect(authority.shown.isEmpty)
  }

  @Test("waits for files that are not there yet")
  func files() throws {
    let authority = try Authority()
    unlink(authority.directory + "/token")
    let client = authority.client()
    var problems: [String] = []
    client.onProblem = { problems.append($0) }
    client.start()
    #expect(problems.count == 1 && problems[0].contains("token"))
    authority.write("token", Array("two words".utf8))
    #expect(authority.until { problems.count == 2 })
    #expect(problems[1].contains("is no token"))
    authority.write("token", Array("word".utf8))
    #expect(authority.until { client.issued != nil })
  }
}
