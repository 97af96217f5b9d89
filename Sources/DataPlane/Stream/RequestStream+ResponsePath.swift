import CFilterABI
import Engine
import HTTPCodec
import HTTPModel

// The response's way back: from the filter nearest to the router to the first, then to the client.
extension Ref where Value == RequestStream {
  // MARK: Head

  /// 3. `responseHead` holds a response: shows it to the filters from `index` down to the first.
  func runResponseHead(from start: Int) {
    var index = start
    while index >= 0 {
      let slot = self.slot(index)
      if slot.value.isEnabled, !slot.value.mayReplay || index <= value.replyOrigin,
        let callback = unsafe slot.value.entry.value.table.responseHead
      {
        let endStream = value.response.endsWithHead
        let verdict = unsafe call(slot) { unsafe callback($0, $1, $2, endStream) }
        if verdict == FL_REPLAY, slot.value.mayReplay {
          _ = settle()
          guard !value.isOver else { return }
          return replay(behind: index)
        }
        if !goesOn(verdict) { guard settleVerdict(verdict, at: index) else { return } }
      }
      index -= 1
    }
    value.response.headDelivered = true
    sendResponseHead()
  }

  private func settleVerdict(_ verdict: fl_verdict, at index: Int) -> Bool {
    guard !settle() else { return false }
    switch verdict {
    case FL_STOP, FL_REPLIED:
      waitResponse(at: index, .held, headPassed: false)
      if value.wanted.contains(.resumeResponse) { resumeResponse(at: index) }
      return false
    case FL_BUFFER where !value.response.endsWithHead:
      waitResponse(at: index, .buffering, headPassed: false)
      return false
    default:
      value.wanted.remove(.resumeResponse)
      return true
    }
  }

  private func waitResponse(at index: Int, _ mode: BodyPath.Mode, headPassed: Bool) {
    value.response.mode = mode
    value.response.position = index
    value.response.headPassed = headPassed
  }

  // MARK: Body

  /// A piece of the response's body has come.
  func responseData(_ data: Bytes, endStream: Bool) {
    guard !value.isOver else { return }
    value.lastActivity = loop.now
    if endStream { value.response.ended = true }
    deliverResponseData(data, endStream: endStream, from: value.slotCount - 1)
  }

  /// Trailers have come; they end the response.
  func responseTrailersReceived(_ text: Bytes, _ fields: ParsedFields) {
    guard !value.isOver else { return }
    guard value.attempt.cluster?.value.config.value.http.enableTrailers ?? false else {
      return responseData(.empty, endStream: true)
    }
    value.responseTrailers.load(
      text, fields, from: &loop.state.value.blocks)
    responseTrailersReceived()
  }

  /// The same from an HTTP/2 endpoint: they are in `responseTrailers`.
  func responseTrailersReceived() {
    guard !value.isOver else { return }
    value.lastActivity = loop.now
    TrailerRules.removeForbidden(from: &value.responseTrailers)
    value.response.hasTrailers = true
    value.response.ended = true
    guard value.response.isFlowing else {
      value.response.trailersQueued = true
      if value.response.mode == .buffering { completeResponseBuffer() }
      return
    }
    runResponseTrailers(from: value.slotCount - 1)
  }

  private func deliverResponseData(_ data: Bytes, endStream: Bool, from start: Int) {
    var piece = data
    var index = start
    while index >= 0 {
      if !value.response.isFlowing, value.response.position == index {
        return holdResponse(piece, endStream: endStream, seen: false)
      }
      let slot = self.slot(index)
      if slot.value.isEnabled, let callback = unsafe slot.value.entry.value.table.responseBody {
        let verdict = unsafe call(slot) { unsafe callback($0, $1, $2, piece.abi, endStream) }
        piece = takeReplacement(of: piece)
        guard !settle() else { return }
        switch verdict {
        case FL_STOP, FL_REPLIED:
          waitResponse(at: index, .held, headPassed: true)
          holdResponse(piece, endStream: endStream, seen: true)
          if value.wanted.contains(.resumeResponse) { resumeResponse(at: index) }
          return
        case FL_BUFFER where !endStream:
          waitResponse(at: index, .buffering, headPassed: true)
          return holdResponse(piece, endStream: endStream, seen: false)
        case FL_DROP:
          guard endStream else { return }
          piece = .empty
        default: value.wanted.remove(.resumeResponse)
        }
      }
      index -= 1
    }
    sendResponseData(piece, endStream: endStream)
  }

  private func holdResponse(_ piece: Bytes, endStream: Bool, seen: Bool) {
    value.response.queue.append(piece, from: &loop.state.value.blocks)
    if seen { value.response.seen += piece.count }
    if endStream { value.response.endQueued = true }
    if value.response.mode == .buffering {
      guard value.response.queue.count <= value.response.limit else {
        return replyLocally(.responseTooLarge)
      }
      if endStream { completeResponseBuffer() }
    } else if value.response.queue.count > value.response.limit {
      pauseUpstream()
    }
  }

  private func completeResponseBuffer() {
    let index = value.response.position
    let slot = self.slot(index)
    let headPassed = value.response.headPassed
    let whole = contiguous(&value.response.queue)
    var body = whole.bytes
    let endStream = !value.response.hasTrailers
    value.response.mode = .flowing
    value.response.endQueued = false
    if slot.value.isEnabled, let callback = unsafe slot.value.entry.value.table.responseBody {
      _ = unsafe call(slot) { unsafe callback($0, $1, $2, body.abi, endStream) }
      if value.hasReplacement {
        body = takeReplacement(of: body)
        setContentLength(&value.responseHead, body.count)
      }
      if settle() { return release(whole) }
    }
    if !headPassed {
      value.response.isInHand = !body.isEmpty
      runResponseHead(from: index - 1)
      value.response.isInHand = false
    }
    if !value.isOver { deliverResponseData(body, endStream: endStream, from: index - 1) }
    release(whole)
    if value.response.trailersQueued, !value.isOver, value.response.isFlowing {
      value.response.trailersQueued = false
      runResponseTrailers(from: index - 1)
    }
  }

  /// The filter at `index` lets the response go on.
  func resumeResponse(at index: Int) {
    value.wanted.remove(.resumeResponse)
    guard value.response.mode == .held, value.response.position == index, !value.isOver else {
      return
    }
    value.response.mode = .flowing
    if !value.response.headPassed { runResponseHead(from: index - 1) }
    flushResponseQueue(from: index)
  }

  private func flushResponseQueue(from index: Int) {
    var left = value.response.queue.count
    var seen = value.response.seen
    value.response.seen = 0
    let endsNow = value.response.endQueued
    value.response.endQueued = false
    let hadBytes = left > 0
    while left > 0, !value.isOver {
      let piece = value.response.queue.front.prefix(min(left, seen > 0 ? seen : left))
      left -= piece.count
      let start = seen > 0 ? index - 1 : index
      seen = max(0, seen - piece.count)
      deliverResponseData(piece, endStream: endsNow && left == 0, from: start)
      guard !value.isOver, value.response.queue.count >= piece.count else { return }
      value.response.queue.drop(piece.count, into: &loop.state.value.blocks)
    }
    if endsNow, !hadBytes, !value.isOver {
      deliverResponseData(.empty, endStream: true, from: index)
    }
    guard !value.isOver else { return }
    if value.response.trailersQueued, value.response.isFlowing {
      value.response.trailersQueued = false
      runResponseTrailers(from: index)
    }
    if value.response.queue.count <= value.response.limit / 2 { resumeUpstream() }
  }

  private func runResponseTrailers(from start: Int) {
    var index = start
    while index >= 0 {
      let slot = self.slot(index)
      if slot.value.isEnabled, let callback = unsafe slot.value.entry.value.table.responseTrailers {
        let verdict = unsafe call(slot) { unsafe callback($0, $1, $2) }
        guard !settle() else { return }
        if verdict == FL_STOP {
          waitResponse(at: index, .held, headPassed: true)
          value.response.trailersQueued = true
          return
        }
        if value.hasReplacement { guard appendResponseData(behind: index) else { return } }
      }
      index -= 1
    }
    sendResponseTrailers()
  }

  /// Bytes that the filter at `index` put between body and trailers go on from there. True when the
  /// trailers follow at once: they may wait behind the bytes, or be gone, and the bytes end the
  /// response.
  private func appendResponseData(behind index: Int) -> Bool {
    let bytes = takeReplacement(of: .empty)
    let hasTrailers = value.responseTrailers.hasFields
    if !hasTrailers { value.response.hasTrailers = false }
    deliverResponseData(bytes, endStream: !hasTrailers, from: index - 1)
    guard hasTrailers, !value.isOver else { return false }
    if !value.response.isFlowing { value.response.trailersQueued = true }
    return value.response.isFlowing
  }

  // MARK: To the client

  private func sendResponseHead() {
    countPassed()
    finishResponseHead()
    if let call = value.call { return call.receivedHead(self) }
    value.responseStartedAt = loop.now
    let endStream = value.response.endsWithHead && value.response.isFlowing
    frameResponse(endStream: endStream)
    guard !value.responseHead.overflowed else { return abandon(details: "response_head_too_large") }
    let fits: Bool
    switch value.client {
    case .none: return
    case .http1(let downstream): fits = writeResponseHead(to: downstream)
    case .http2(let stream):
      value.responseHeadBytes = UInt32(truncatingIfNeeded: value.responseHead.textBytes)
      fits = stream.sendHead(of: self, endStream: endStream)
    }
    guard fits else { return abandon(details: "response_head_too_large") }
    value.headSent = true
    if value.isUpgraded, case .http1(let downstream) = value.client { downstream.beginTunnel() }
    if endStream { responseDelivered() }
  }

  private func writeResponseHead(to downstream: Ref<DownstreamConnection>) -> Bool {
    let status = value.status
    return worker.value.output.compose(for: downstream.connection, on: loop) { out in
      HTTP1Encoder.response(value.responseHead, status: status, minor: value.minor, to: &out)
      value.responseHeadBytes = UInt32(truncatingIfNeeded: out.count)
    }
  }

  /// Decides how the client learns where the body ends.
  private func frameResponse(endStream: Bool) {
    value.chunkedResponse = false
    if value.client.isHTTP2 {
      // Frames say where the body ends; what is left is that a 204 has no length (RFC 9110 §8.6).
      if value.status == 204 { value.responseHead.remove(.contentLength) }
      return
    }
    let bodiless = value.isHEAD || Status.forbidsBody(value.status)
    // To HEAD, the fields say what they would have said to GET.
    if value.isHEAD, value.minor == 1, !value.responseHead.contains(.contentLength) { return }
    value.responseHead.remove(.transferEncoding)
    if value.isUpgraded { return }
    if bodiless {
      // RFC 9110 §8.6: a response that cannot have a body does not say how long it is.
      if value.status == 204 { value.responseHead.remove(.contentLength) }
    } else if endStream {
      if !value.responseHead.contains(.contentLength) {
        value.responseHead.set(.contentLength, Bytes("0"), from: &loop.state.value.blocks)
      }
    } else if !value.responseHead.contains(.contentLength) {
      if value.minor == 1 {
        value.chunkedResponse = true
        value.responseHead.set(.transferEncoding, Bytes("chunked"), from: &loop.state.value.blocks)
      } else {
        // HTTP/1.0 knows no chunks: the end of the connection is the end of the body.
        value.closesConnection = true
        value.responseHead.set(.connection, Bytes("close"), from: &loop.state.value.blocks)
      }
    }
  }

  private func sendResponseData(_ piece: Bytes, endStream: Bool) {
    if let call = value.call { return call.receivedData(piece, endStream: endStream, of: self) }
    guard value.headSent else { return }
    // RFC 9110 §9.3.2: to HEAD, and with these statuses, nothing follows the head.
    let bodiless = value.isHEAD || (Status.forbidsBody(value.status) && !value.isUpgraded)
    let piece = bodiless ? .empty : piece
    value.bytesSent &+= UInt64(piece.count)
    switch value.client {
    case .none: return
    case .http1(let downstream): write(piece, endStream: endStream, to: downstream)
    case .http2(let stream): stream.send(piece, endStream: endStream)
    }
    if endStream { return responseDelivered() }
    if value.client.isAboveHighWatermark { pauseUpstream() }
  }

  private func write(_ piece: Bytes, endStream: Bool, to downstream: Ref<DownstreamConnection>) {
    if !piece.isEmpty {
      if value.chunkedResponse {
        writeChunk(piece, to: downstream)
      } else {
        downstream.write(piece)
      }
    }
    if endStream, value.chunkedResponse { downstream.write(HTTP1Encoder.lastChunk) }
  }

  private func writeChunk(_ piece: Bytes, to downstream: Ref<DownstreamConnection>) {
    var frame = InlineArray<24, UInt8>(repeating: 0)
    withChunkHead(piece.count, &frame) { downstream.write($0) }
    downstream.write(piece)
    downstream.write(Bytes("\r\n"))
  }

  private func sendResponseTrailers() {
    if let call = value.call { return call.receivedData(.empty, endStream: true, of: self) }
    guard value.headSent else { return }
    switch value.client {
    case .none: return
    case .http1(let downstream): writeTrailers(to: downstream)
    case .http2(let stream): stream.send(trailers: value.responseTrailers)
    }
    responseDelivered()
  }

  private func writeTrailers(to downstream: Ref<DownstreamConnection>) {
    // Without chunks there is no place for trailers (RFC 9110 §6.5.1): they are dropped.
    if value.chunkedResponse, !manager.value.passesTrailers {
      downstream.write(HTTP1Encoder.lastChunk)
    } else if value.chunkedResponse {
      let size = value.responseTrailers.writtenBytes + 16
      let block = loop.state.value.blocks.take(min(size, BlockPool.largest))
      var out = unsafe ByteWriter(base: block.base, capacity: block.capacity)
      HTTP1Encoder.trailers(value.responseTrailers, to: &out)
      downstream.write(out.overflowed ? HTTP1Encoder.lastChunk : out.written)
      loop.state.value.blocks.release(block)
    }
  }

  // MARK: Flow control

  func pauseUpstream() {
    guard !value.pausedUpstream, value.upstream != .none else { return }
    value.pausedUpstream = true
    if let cluster = value.attempt.cluster {
      worker.value.stats.add(cluster.value.stats.value.pausedReading)
    }
    value.upstream.pauseResponse()
  }

  func resumeUpstream() {
    guard value.pausedUpstream, value.upstream != .none else { return }
    value.pausedUpstream = false
    if let cluster = value.attempt.cluster {
      worker.value.stats.add(cluster.value.stats.value.resumedReading)
    }
    value.upstream.resumeResponse(on: loop)
  }

  /// The client has taken what was queued for it.
  func downstreamDrained() {
    if value.response.queue.count <= value.response.limit / 2 { resumeUpstream() }
  }
}

/// Fields that no trailer section may carry (RFC 9110 §6.5.1): framing, routing, and what says how
/// to read the message.
enum TrailerRules {
  static func removeForbidden(from trailers: inout HeaderMap) {
    trailers.remove(.transferEncoding)
    trailers.remove(.contentLength)
    trailers.remove(.host)
    trailers.remove(.connection)
    trailers.remove(.keepAlive)
    trailers.remove(.proxyConnection)
    trailers.remove(.te)
    trailers.remove(.trailer)
    trailers.remove(.upgrade)
    trailers.remove(.expect)
    trailers.remove(.authorization)
    trailers.remove(.contentType)
    trailers.remove(Bytes("content-encoding"))
    trailers.remove(Bytes("content-range"))
    trailers.remove(Bytes("set-cookie"))
    trailers.remove(.cookie)
  }
}

/// Lends the line that stands before a chunk's data.
func withChunkHead(
  _ size: Int, _ memory: inout InlineArray<24, UInt8>, _ body: (Bytes) -> Void
) {
  var span = memory.mutableSpan
  unsafe span.withUnsafeMutableBufferPointer { buffer in
    guard let base = buffer.baseAddress else { return }
    var out = unsafe ByteWriter(base: base, capacity: buffer.count)
    HTTP1Encoder.chunkHead(size, to: &out)
    body(out.written)
  }
}
