import GRPC
import ResourceModel
import SwiftProtobuf
import TLS
import Telemetry

/// One call of `istio.v1.auth.IstioCertificateService/CreateCertificate`.
final class CertificateCall: RPCServerHandler {
  private let call: RPCServerCall
  private unowned let server: IdentityServer
  private var isAnswered = false

  static let path = "/istio.v1.auth.IstioCertificateService/CreateCertificate"

  init(_ call: RPCServerCall, on server: IdentityServer) {
    self.call = call
    self.server = server
  }

  func received(_ message: [UInt8]) {
    guard !isAnswered else {
      return call.finish(RPCStatus(.invalidArgument, "one request is one message"))
    }
    isAnswered = true
    do throws(RPCStatus) {
      call.send(try server.certify(message, for: call))
      call.finish(.ok)
    } catch {
      call.finish(error)
    }
  }

  func clientFinished() {
    if !isAnswered { call.finish(RPCStatus(.invalidArgument, "there is no request")) }
  }

  func ended() {}
}

extension IdentityServer {
  /// Answers a request for a certificate. Whoever asks for somebody else's, by the names in the request,
  /// gets their own.
  func certify(_ message: [UInt8], for call: RPCServerCall) throws(RPCStatus) -> [UInt8] {
    authority.counters.requests += 1
    let now = Self.now
    let caller = try authenticate(call, at: now)
    let asked: Istio_V1_Auth_IstioCertificateRequest
    do {
      asked = try Istio_V1_Auth_IstioCertificateRequest(serializedBytes: message)
    } catch {
      authority.counters.unreadableRequests += 1
      throw RPCStatus(.invalidArgument, "the request cannot be read")
    }
    if let field = asked.metadata.fields.keys.min() {
      throw RPCStatus(.invalidArgument, "metadata '\(Self.shorten(field))' is not supported")
    }
    let chain: [[UInt8]]
    do throws(CertificateAuthority.Refusal) {
      chain = try authority.sign(
        authority.read(Array(asked.csr.utf8)), for: caller.identity,
        lasting: Int(clamping: asked.validityDuration), at: now)
    } catch {
      throw status(error, caller, call)
    }
    // Not before there is something to give for it. Who is slower with the same token gets nothing.
    if case .oneTimeToken(let id) = caller.proof, tokens.spend(id) == false {
      authority.counters.authenticationFailures += 1
      throw RPCStatus(.unauthenticated, "the join token has been used")
    }
    authority.counters.issued += 1
    ProcessLog.shared.info(
      .secret, "certificate issued to \(caller.identity.uri) (\(call.peer.description))")
    let response = Istio_V1_Auth_IstioCertificateResponse.with {
      $0.certChain = chain.map { String(decoding: $0, as: UTF8.self) }
    }
    guard let bytes: [UInt8] = try? response.serializedBytes() else {
      throw RPCStatus(.internal, "the answer cannot be written")
    }
    return bytes
  }

  private func status(
    _ refusal: CertificateAuthority.Refusal, _ caller: Authenticator.Caller, _ call: RPCServerCall
  ) -> RPCStatus {
    let status: RPCStatus
    switch refusal {
    case .request(let failure):
      authority.counters.unreadableRequests += 1
      status = RPCStatus(.invalidArgument, "the csr \(failure.description)")
    case .tooLong(let most):
      authority.counters.signingFailures += 1
      status = RPCStatus(.invalidArgument, "validity_duration is more than \(most) seconds")
    case .authorityEnded:
      authority.counters.signingFailures += 1
      status = RPCStatus(.internal, "the signing certificate has expired")
    case .failed:
      authority.counters.signingFailures += 1
      status = RPCStatus(.internal, "the certificate could not be signed")
    }
    ProcessLog.shared.warning(
      .secret,
      "no certificate for \(caller.identity.uri) (\(call.peer.description)): \(status.message)")
    return status
  }
}
