import Engine
import GRPC
import HTTPModel
import Upstream

/// Checks over HTTP/2: a plain request, or a gRPC call.
extension HealthCheckSession {
  func ask(_ http: HTTPHealthCheck) {
    question = channel.ask(
      method: http.method.string, path: http.path.string, Self.fields(http.fields)
    ) { [unowned self] answer in take(answer) }
  }

  /// HTTP/1.1's lines as fields.
  private static func fields(_ lines: Bytes) -> RPCFields {
    var fields: RPCFields = []
    var rest = lines
    while let end = rest.range(of: Bytes("\r\n")) {
      let line = rest.prefix(end)
      rest = rest.dropFirst(end + 2)
      guard let colon = line.range(of: Bytes(": ")) else { continue }
      fields.add(line.prefix(colon).string, line.dropFirst(colon + 2).string)
    }
    return fields
  }

  private func take(_ answer: PlainAnswer?) {
    question = nil
    guard isAsking else { return }
    if !cluster.check.reusesConnection { channel.close() }
    guard let answer else { return failed(.network) }
    judge(
      status: answer.status, isDegraded: answer.fields["x-envoy-degraded"] != nil,
      asksToBeLeft: answer.fields["x-envoy-immediate-health-check-fail"] != nil)
  }
}

extension HealthCheckSession: RPCCallHandler {
  func ask(_ grpc: GRPCHealthCheck) {
    reply = nil
    let call = channel.start("/grpc.health.v1.Health/Check", handler: self)
    self.call = call
    call.send(GRPCHealthMessage.request(service: grpc.service.copy))
    call.finish()
  }

  /// More than one message is no answer to this question.
  func received(_ message: [UInt8]) { reply = reply == nil ? message : [] }

  func ended(_ status: RPCStatus) {
    let isAnswered = call?.isAnswered ?? false
    call = nil
    guard isAsking else { return }
    if !cluster.check.reusesConnection { channel.close() }
    guard isAnswered else { return failed(.network) }
    guard status.code == .ok, let reply, GRPCHealthMessage.isServing(reply) else {
      return failed(.answer(isRetriable: false))
    }
    succeeded(isDegraded: false)
  }
}
