import CFilterABI
import CLinux
import Engine
import HTTPModel
import Telemetry

// The router's answer when an attempt came to nothing, in Envoy's words: status, body, details, flag.
extension Ref where Value == RequestStream {
  /// Answers for the failure in `attempt.failure`.
  func replyToFailure() {
    guard !value.isOver else { return }
    switch value.attempt.failure {
    case FL_FAILURE_PER_TRY_TIMEOUT:
      timedOut("upstream_per_try_timeout")
    case FL_FAILURE_PER_TRY_IDLE_TIMEOUT:
      timedOut("upstream_per_try_idle_timeout")
    case FL_FAILURE_NO_HEALTHY_HOST:
      replyLocally(.noHealthyUpstream, isAttempt: true)
    case FL_FAILURE_MAX_DURATION:
      replyLocally(.upstreamMaxDuration, isAttempt: true)
    case FL_FAILURE_CONNECT:
      reply(
        "remote connection failure", .upstreamConnectionFailure,
        transport: ConnectError.text(value.attempt.errorNumber, on: worker))
    case FL_FAILURE_CONNECT_TIMEOUT:
      reply("connection timeout", .upstreamConnectionFailure)
    case FL_FAILURE_OVERFLOW:
      reply("overflow", .upstreamOverflow)
    case FL_FAILURE_PROTOCOL:
      reply("protocol error", .upstreamProtocolError, status: 502)
    case FL_FAILURE_REFUSED_STREAM:
      reply("remote refused stream reset", .upstreamRemoteReset)
    default:
      if value.attempt.wasReset { return reply("remote reset", .upstreamRemoteReset) }
      reply("connection termination", .upstreamConnectionTermination)
    }
  }

  private func timedOut(_ details: StaticString) {
    countFailure(status: 504)
    if let host = value.attempt.host {
      host.value.add(.requestsTimedOut, worker: worker.value.index)
    }
    value.attempt.timedOut = true
    replyLocally(
      LocalReply(504, "upstream request timeout", details, .upstreamRequestTimeout),
      isAttempt: true)
  }

  /// `upstream connect error or disconnect/reset before headers. reset reason: …`
  private func reply(
    _ reason: StaticString, _ flag: ResponseFlags, status: Int = 503, transport: Bytes = .empty
  ) {
    countFailure(status: status)
    let blocks = loop.state
    let body = blocks.value.blocks.take()
    defer { blocks.value.blocks.release(body) }
    _ = body.append(Bytes("upstream connect error or disconnect/reset before headers. "))
    if value.attempt.number > 1 { _ = body.append(Bytes("retried and the latest ")) }
    _ = body.append(Bytes("reset reason: "))
    _ = body.append(Bytes(reason))
    setDetails(Bytes("upstream_reset_before_response_started{"))
    appendDetails(Bytes(reason))
    if !transport.isEmpty {
      appendDetails(Bytes("|"))
      appendDetails(transport)
    }
    appendDetails(Bytes("}"))
    var reply = LocalReply(status, "", "")
    reply.body = body.bytes()
    reply.details = value.details
    reply.flags = flag
    reply.overloaded = flag == .upstreamOverflow
    replyLocally(reply, isAttempt: true)
  }

  private func appendDetails(_ text: Bytes) {
    guard let block = value.detailsBlock else { return }
    var index = 0
    while index < text.count, block.used < block.capacity {
      let byte = text[index] == UInt8(ascii: " ") ? UInt8(ascii: "_") : text[index]
      withUnsafeTemporaryByte(byte) { _ = block.append($0) }
      index += 1
    }
    value.details = block.bytes()
  }
}

/// Lends one byte as a view.
private func withUnsafeTemporaryByte(_ byte: UInt8, _ body: (Bytes) -> Void) {
  var copy = byte
  unsafe withUnsafeMutablePointer(to: &copy) {
    body(unsafe Bytes(base: UnsafePointer($0), count: 1))
  }
}
