import CFilterABI
import Engine
import HTTPCodec
import HTTPModel
import Telemetry

// Responses made here. They take the same way back as an upstream's: through every filter, so that
// what a chain does to responses it does to these too.
extension Ref where Value == RequestStream {
  /// Answers instead of the upstream, or, when a response is on its way already, breaks off.
  /// - Parameter isAttempt: the reply stands for what the attempt came to, which a filter may repeat.
  func replyLocally(_ reply: LocalReply, isAttempt: Bool = false) {
    value.replyOrigin = isAttempt ? .max : -1
    guard beginReply(status: reply.status, details: reply.details, flags: reply.flags) else {
      return
    }
    if reply.closes { value.closesConnection = true }
    value.status = reply.status
    value.replyGRPCStatus = -1
    value.responseHead.open(from: &loop.state.value.blocks)
    if reply.overloaded {
      value.responseHead.set(.envoyOverloaded, Bytes("true"), from: &loop.state.value.blocks)
    }
    sendReply(body: reply.body)
  }

  /// The reply that a filter has prepared in `replyHead` and `replyBody`.
  func startFilterReply() {
    let details = value.details
    value.replyOrigin = value.preparedBy
    value.preparedBy = -1
    guard beginReply(status: value.replyStatus, details: details, flags: []) else { return }
    value.responseHead.copy(from: value.replyHead, pool: &loop.state.value.blocks)
    value.status = value.replyStatus
    if value.attempt.routeTimedOut {
      value.attempt.routeTimedOut = false
      countFailure(status: value.status)
    }
    value.responseHead.open(from: &loop.state.value.blocks)
    value.replyHead.release(into: &loop.state.value.blocks)
    let whole = contiguous(&value.replyBody)
    sendReply(body: whole.bytes)
    release(whole)
  }

  /// Gives up what is under way. False when it is too late for a reply.
  private func beginReply(status: Int, details: Bytes, flags: ResponseFlags) -> Bool {
    guard !value.isOver else { return false }
    guard !value.headSent else {
      value.flags.formUnion(flags)
      abandon(details: details)
      return false
    }
    // A filter answers in the place of a response that the upstream did give.
    if !value.attempt.isUncountedFailure { countPassed() }
    dropAttempt()
    ProcessLog.shared.debug(.http, "local reply \(status): \(details.string)")
    value.details = details
    value.flags.formUnion(flags)
    value.attempt.localReply = true
    value.isResponding = true
    // Where a request was bad, the next one may begin anywhere.
    if status == 400, !manager.value.staysOpenAfterError { value.closesConnection = true }
    discardRequestBody()
    resetResponse()
    return true
  }

  /// Forgets a response that will not be sent after all.
  func resetResponse() {
    value.responseHead.release(into: &loop.state.value.blocks)
    value.responseTrailers.release(into: &loop.state.value.blocks)
    value.response.queue.removeAll(into: &loop.state.value.blocks)
    value.response.mode = .flowing
    value.response.seen = 0
    value.response.ended = false
    value.response.endQueued = false
    value.response.trailersQueued = false
    value.response.hasTrailers = false
    value.response.headDelivered = false
  }

  private func sendReply(body: Bytes) {
    let (status, text) = applyLocalReplyConfig(status: value.status, body: body)
    value.status = status
    if isGRPC {
      sendGRPCReply(message: text?.bytes ?? body)
      if let text { release(text) }
      return
    }
    let length = text?.bytes.count ?? body.count
    if value.isHEAD, length == 0, !Status.forbidsBody(status) {
      // To GET, the head would have come without knowing whether a body follows, as in Envoy.
      value.responseHead.set(
        .transferEncoding, Bytes("chunked"), from: &loop.state.value.blocks)
    } else if length > 0 || !Status.forbidsBody(status) && !value.client.isHTTP2 {
      setContentLength(&value.responseHead, length)
    }
    if length > 0, !value.responseHead.contains(.contentType) {
      let type = text?.contentType ?? Bytes("text/plain")
      value.responseHead.set(.contentType, type, from: &loop.state.value.blocks)
    }
    value.response.ended = length == 0
    let id = value.streamID
    runResponseHead(from: value.slotCount - 1)
    if length > 0, value.streamID == id, !value.isOver, value.isResponding {
      responseData(text?.bytes ?? body, endStream: true)
    }
    if let text { release(text) }
    if !value.isOver { flushDownstream() }
  }

  // MARK: gRPC

  /// Called before a filter changes fields of the request: what the client speaks does not change
  /// with them.
  func rememberCaller() {
    guard value.caller == .unknown else { return }
    value.caller = hasGRPCType ? .gRPC : .other
  }

  /// The client speaks gRPC, where an HTTP status alone says nothing.
  private var isGRPC: Bool {
    value.caller == .unknown ? hasGRPCType : value.caller == .gRPC
  }

  private var hasGRPCType: Bool {
    guard let type = value.requestHead[.contentType],
      type.hasPrefixIgnoringCase(Bytes("application/grpc"))
    else { return false }
    return type.count == 16 || type[16] == UInt8(ascii: "+")
  }

  /// The reply as gRPC's "Trailers-Only": status 200, and what happened in the head's fields.
  private func sendGRPCReply(message: Bytes) {
    let state = loop.state
    let code =
      value.replyGRPCStatus >= 0
      ? Int(value.replyGRPCStatus) : GRPCStatus.code(forHTTPStatus: Int64(value.status))
    value.status = 200
    value.responseHead.set(.contentType, Bytes("application/grpc"), from: &state.value.blocks)
    var digits = InlineArray<24, UInt8>(repeating: 0)
    withDecimal(code, &digits) {
      value.responseHead.set(.grpcStatus, $0, from: &state.value.blocks)
    }
    if !message.isEmpty {
      let block = state.value.blocks.take(min(message.count * 3, BlockPool.largest))
      GRPCReply.escape(message, into: block)
      value.responseHead.set(.grpcMessage, block.bytes(), from: &state.value.blocks)
      state.value.blocks.release(block)
    }
    value.response.ended = true
    runResponseHead(from: value.slotCount - 1)
    if !value.isOver { flushDownstream() }
  }

  /// What comes of the request from now on is read and thrown away.
  func discardRequestBody() {
    value.request.queue.removeAll(into: &loop.state.value.blocks)
    value.request.mode = .flowing
    value.request.endQueued = false
    if value.request.pausedSource {
      value.request.pausedSource = false
      value.client.resumeRequest()
    }
  }
}
