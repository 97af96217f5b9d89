import CLinux
import Engine
import GRPC
import ResourceModel
import Resources
import SwiftProtobuf
import TLS

/// Asks a certificate authority for this workload's certificate, and for the next before that ends. Every
/// certificate has a key of its own, which never leaves the process. Belongs to one loop.
package final class IdentityClient {
  /// Whom to ask, and with what.
  package struct Options {
    package var address: SocketAddress
    /// What the authority's own certificate has to name: a DNS name, a URI, or an address as text.
    package var name: String
    /// A file with what to trust at first, in PEM.
    package var rootPath: String
    /// A file with a token to show while there is no certificate; read at each attempt.
    package var tokenPath: String
    /// Seconds that a certificate is to last; 0 leaves that to the authority.
    package var seconds = 0

    package init(address: SocketAddress, name: String, rootPath: String, tokenPath: String) {
      self.address = address
      self.name = name
      self.rootPath = rootPath
      self.tokenPath = tokenPath
    }
  }

  /// A certificate, with all that belongs to it. PEM.
  package struct Issued: Sendable, Equatable {
    /// The workload's own first, then what leads to a root.
    package let chain: [UInt8]
    package let key: [UInt8]
    /// What to trust.
    package let roots: [UInt8]
    package let facts: CertificateFacts
  }

  private let options: Options
  private let runtime: RPCRuntime
  private let timer: LoopTimer
  private var state = RenewalState()
  private var attempt: CertificateAttempt?
  package private(set) var issued: Issued?
  /// Called with each certificate.
  package var onIssued: (Issued) -> Void = { _ in }
  /// Called with a sentence, without secrets, when there was none.
  package var onProblem: (String) -> Void = { _ in }

  /// A file of certificates, or a token.
  private static let fileBytes = 1024 * 1024
  /// How long an answer may take.
  private static let answerMilliseconds: UInt64 = 10_000

  package init(_ options: Options, _ runtime: RPCRuntime) {
    self.options = options
    self.runtime = runtime
    timer = LoopTimer(on: runtime.loop)
  }

  deinit { attempt?.giveUp() }

  /// Goes on with a certificate that there is already; when it has ended, it is as if there were none.
  package func start(with known: Issued) {
    issued = known
    guard let valid else { return start() }
    let wait = state.issued(
      until: valid.facts.notAfter, at: Self.now, random: runtime.loop.state.value.random.next())
    timer.set(milliseconds: wait) { [unowned self] in start() }
  }

  /// Begins to ask; goes on for as long as this object lives.
  package func start() {
    guard attempt == nil else { return }
    do throws(FileError) {
      attempt = try begin()
    } catch {
      failed(error.message)
    }
  }

  /// Asks no more, until it is started again.
  package func stop() {
    timer.cancel()
    attempt?.giveUp()
    attempt = nil
  }

  private static var now: Int { Int(time(nil)) }

  /// The certificate at hand, if it is good for another connection.
  private var valid: Issued? { issued.flatMap { $0.facts.notAfter > Self.now ? $0 : nil } }

  private func begin() throws(FileError) -> CertificateAttempt {
    guard let key = PrivateKey(.p256), let request = CertificateRequest.make(for: key) else {
      throw FileError(message: "no key can be made")
    }
    let security = try makeSecurity()
    let address = options.address
    let channel = RPCChannel(
      runtime, authority: options.name, security: security, address: { address })
    let message = Istio_V1_Auth_IstioCertificateRequest.with {
      $0.csr = String(decoding: request, as: UTF8.self)
      $0.validityDuration = Int64(options.seconds)
    }
    guard let bytes: [UInt8] = try? message.serializedBytes() else {
      throw FileError(message: "the request cannot be written")
    }
    return CertificateAttempt(
      channel, bytes, metadata: try makeMetadata(), within: Self.answerMilliseconds
    ) { [unowned self] in
      attempt = nil
      take($0, for: key)
    }
  }

  /// What the file says is trusted beside what the authority says: the file may be older than a root that
  /// has come since, or newer than the authority's last answer.
  private func makeSecurity() throws(FileError) -> RPCSecurity {
    var tls = TLSOptions(.client(TLSClientOptions()))
    tls.protocols = RPCSecurity.protocols
    var validation = TLSValidation()
    let file = FileReader.read(options.rootPath, atMost: Self.fileBytes)
    if case .failure(let error) = file, issued == nil { throw error }
    validation.trustedCA = ((try? file.get()) ?? []) + [UInt8(ascii: "\n")] + (issued?.roots ?? [])
    tls.validation = validation
    if let valid { tls.certificates = [TLSCertificate(chain: valid.chain, key: valid.key)] }
    let isName = SocketAddress(ip: options.name, port: 0) == nil && !options.name.contains(":")
    do throws(TLSContextError) {
      return RPCSecurity(
        client: try TLSContext(tls), serverName: isName ? options.name : "",
        required: options.name)
    } catch {
      throw FileError(message: "'\(options.rootPath)': \(error.message)")
    }
  }

  /// Who has a certificate needs no token, which may have been good for the first only.
  private func makeMetadata() throws(FileError) -> RPCFields {
    guard valid == nil else { return [] }
    let bytes = try FileReader.read(options.tokenPath, atMost: Self.fileBytes).get()
    let token = String(decoding: bytes, as: UTF8.self).split(whereSeparator: \.isWhitespace)
    guard token.count == 1, let token = token.first else {
      throw FileError(message: "'\(options.tokenPath)' is no token: expected one word")
    }
    return [("authorization", "Bearer \(token)")]
  }

  private func take(_ answer: Result<[UInt8], RPCStatus>, for key: PrivateKey) {
    switch answer {
    case .failure(let status): failed("\(status.code): \(status.message)")
    case .success(let bytes):
      guard let issued = Self.read(bytes, for: key) else {
        return failed("the answer is no certificate for the key that was sent")
      }
      self.issued = issued
      let wait = state.issued(
        until: issued.facts.notAfter, at: Self.now, random: runtime.loop.state.value.random.next())
      timer.set(milliseconds: wait) { [unowned self] in start() }
      onIssued(issued)
    }
  }

  private func failed(_ reason: String) {
    let wait = state.failed(at: Self.now, random: runtime.loop.state.value.random.next())
    timer.set(milliseconds: wait) { [unowned self] in start() }
    onProblem(reason)
  }

  /// Nil when it is not what was asked for.
  static func read(_ bytes: [UInt8], for key: PrivateKey) -> Issued? {
    let answer = try? Istio_V1_Auth_IstioCertificateResponse(serializedBytes: bytes)
    guard let parts = answer?.certChain, parts.count >= 2, let roots = parts.last else {
      return nil
    }
    return make(
      chain: Array(parts.dropLast().joined(separator: "\n").utf8), key: key.pem,
      roots: Array(roots.utf8))
  }

  /// Nil when they do not belong together.
  package static func make(chain: [UInt8], key: [UInt8], roots: [UInt8]) -> Issued? {
    // A context is made of it here to see that certificate and key belong together.
    var tls = TLSOptions(.client(TLSClientOptions()))
    tls.certificates = [TLSCertificate(chain: chain, key: key)]
    tls.validation = TLSValidation()
    tls.validation?.trustedCA = roots
    guard let context = try? TLSContext(tls), let facts = context.certificates.first else {
      return nil
    }
    return Issued(chain: chain, key: key, roots: roots, facts: facts)
  }
}

/// One request to the authority, on a connection of its own: the next shows another certificate.
private final class CertificateAttempt: RPCCallHandler {
  private let channel: RPCChannel
  private var call: RPCCall?
  private var message: [UInt8]?
  private var then: ((Result<[UInt8], RPCStatus>) -> Void)?

  init(
    _ channel: RPCChannel, _ request: [UInt8], metadata: RPCFields, within milliseconds: UInt64,
    then: @escaping (Result<[UInt8], RPCStatus>) -> Void
  ) {
    self.channel = channel
    self.then = then
    let call = channel.start(
      "/istio.v1.auth.IstioCertificateService/CreateCertificate", metadata: metadata,
      timeout: milliseconds, handler: self)
    self.call = call
    call.send(request)
    call.finish()
  }

  /// Nothing is told any more.
  func giveUp() {
    then = nil
    call?.cancel()
    channel.close()
  }

  func received(_ message: [UInt8]) { self.message = message }

  func ended(_ status: RPCStatus) {
    let then = self.then
    self.then = nil
    call = nil
    // Not from within what its connection is telling.
    let channel = self.channel
    channel.loop.soon { channel.close() }
    if status == .ok, let message {
      then?(.success(message))
    } else {
      then?(.failure(status == .ok ? RPCStatus(.internal, "there is no answer") : status))
    }
  }
}
