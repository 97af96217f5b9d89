import CLinux
import Engine
import HTTPCodec
import HTTPModel
import Telemetry

/// One stream of an HTTP/2 connection, of a client or of an endpoint: what waits for its peer, and
/// what its peer has sent that was not passed on yet. It outlives its request as long as there is
/// something to send.
struct HTTP2Stream: ~Copyable, Pooled {
  var generation: UInt32 = 0
  var nextFree: Ref<HTTP2Stream>?

  var connection: Ref<HTTP2Connection>?
  var id: Int32 = 0
  /// The request that this stream carries; nil once it is over.
  var request: Ref<RequestStream>?
  /// Links the open streams of the connection.
  var next: Ref<HTTP2Stream>?
  var previous: Ref<HTTP2Stream>?
  /// Links requests whose heads have come with the bytes at hand.
  var nextReady: Ref<HTTP2Stream>?
  var isReady = false

  // MARK: What we send

  var output = ByteQueue()
  /// Nothing follows what is queued.
  var outputEnded = false
  var trailers = HeaderMap()
  var hasTrailers = false
  /// nghttp2 asked for the body and got nothing: it has to be told when there is more.
  var isDeferred = false
  /// The source of what we send has been asked to pause.
  var pausedSource = false
  /// All of it has left.
  var sentLast = false
  /// Since when nothing of it was taken.
  var stalledSince: UInt64 = 0
  var flushTimer = TimerID.none

  // MARK: What the peer sends

  /// Bytes that count against the windows because nobody has taken them yet.
  var unconsumed = 0
  var pauses = RequestPauses()
  var peerEnded = false
  /// The first header section that is no interim response is whole.
  var hasHead = false
  var sectionBytes = 0
  var sectionFields = 0
  var sectionTooLarge = false
  /// Of a response.
  var status = 0
  var interims = 0
  var openedAt: UInt64 = 0
}

extension Ref where Value == HTTP2Stream {
  var connection: Ref<HTTP2Connection> {
    guard let connection = value.connection else {
      preconditionFailure("an open stream has a connection")
    }
    return connection
  }

  private var session: Ref<HTTP2Session> { connection.session }
  private var loop: EventLoop { connection.loop }

  // MARK: Sending

  /// More waits than the peer takes.
  var isAboveHighWatermark: Bool { value.output.count > Limits.streamQueueBytes }

  /// Sends a response's head.
  func sendHead(of request: Ref<RequestStream>, endStream: Bool) -> Bool {
    // An accepted upgrade is a success like any other here (RFC 8441 §5).
    let status = request.value.isUpgraded ? 200 : request.value.status
    value.outputEnded = endStream
    return withFields(status: status, request.value.responseHead) { list in
      unsafe session.submitResponse(value.id, list, body: endStream ? nil : raw)
    }
  }

  /// Sends an interim response.
  func sendInterim(_ status: Int, _ head: borrowing HeaderMap) {
    _ = withFields(status: status, head) { session.submitInterim(value.id, $0) }
  }

  private func withFields(
    status: Int, _ head: borrowing HeaderMap, _ body: (borrowing HTTP2FieldList) -> Bool
  ) -> Bool {
    let worker = connection.worker
    worker.value.fields.removeAll()
    var digits = InlineArray<24, UInt8>(repeating: 0)
    var submitted = false
    withDecimal(status, &digits) {
      worker.value.fields.add(Bytes(":status"), $0)
      worker.value.fields.add(fieldsOf: head)
      submitted = body(worker.value.fields)
    }
    connection.wantsToSend()
    return submitted
  }

  /// Queues the next piece of the body.
  func send(_ piece: Bytes, endStream: Bool) {
    value.output.append(piece, from: &loop.state.value.blocks)
    if endStream { value.outputEnded = true }
    if isAboveHighWatermark, connection.value.isServer { value.pausedSource = true }
    wakeBody()
  }

  /// Queues trailers; they end what we send.
  func send(trailers: borrowing HeaderMap) {
    value.trailers.copy(from: trailers, pool: &loop.state.value.blocks)
    value.hasTrailers = true
    value.outputEnded = true
    wakeBody()
  }

  private func wakeBody() {
    if value.isDeferred {
      value.isDeferred = false
      session.resumeBody(value.id)
    }
    connection.wantsToSend()
  }

  /// How much of what waits may leave, and what ends with it.
  func available(_ most: Int, _ end: inout HTTP2BodyEnd) -> Int {
    let n = min(value.output.count, most)
    if n == value.output.count, value.outputEnded {
      end = value.hasTrailers && submitTrailers() ? .body : .stream
    }
    value.isDeferred = n == 0 && end == .nothing
    return n
  }

  private func submitTrailers() -> Bool {
    let worker = connection.worker
    worker.value.fields.removeAll()
    worker.value.fields.add(fieldsOf: value.trailers)
    guard worker.value.fields.count > 0 else { return false }
    return session.submitTrailers(value.id, worker.value.fields)
  }

  /// Puts one DATA frame on the wire.
  func write(head: Bytes, _ count: Int) -> HTTP2BodyWrite {
    // The stream may have been reset while the frame waited for the socket.
    guard value.output.count >= count else { return .gone }
    let connection = self.connection
    connection.write(head)
    var left = count
    while left > 0 {
      let piece = value.output.front.prefix(left)
      connection.write(piece)
      value.output.drop(piece.count, into: &loop.state.value.blocks)
      left -= piece.count
    }
    value.stalledSince = loop.now
    if value.pausedSource, value.output.count <= Limits.streamQueueBytes / 2 {
      value.pausedSource = false
      sourceMayGoOn()
    }
    return .sent
  }

  private func sourceMayGoOn() {
    guard let request = value.request else { return }
    if connection.value.isServer { return request.downstreamDrained() }
    if let cluster = request.value.attempt.cluster {
      connection.count(cluster.value.stats.value.drained)
    }
    request.value.client.resumeRequest(.byUpstream)
  }

  /// Of an endpoint: lets the client wait when more is queued than the endpoint takes.
  func checkWatermark() {
    guard isAboveHighWatermark, !value.pausedSource, let request = value.request else { return }
    value.pausedSource = true
    if let cluster = request.value.attempt.cluster {
      connection.count(cluster.value.stats.value.backedUp)
    }
    request.value.client.pauseRequest(.byUpstream)
  }

  // MARK: Flow control

  /// What comes from the peer is not passed on for now: its window closes.
  func pause(_ reason: RequestPauses) {
    guard !value.pauses.contains(reason) else { return }
    value.pauses.insert(reason)
    guard connection.value.isServer, let request = value.request else { return }
    connection.count(request.manager.value.stats.value.pausedReading)
  }

  /// Undoes `pause` for the same reason.
  func resume(_ reason: RequestPauses) {
    guard value.pauses.contains(reason) else { return }
    value.pauses.remove(reason)
    if connection.value.isServer, let request = value.request {
      connection.count(request.manager.value.stats.value.resumedReading)
    }
    consume()
  }

  /// Opens the windows by what has been passed on.
  func consume() {
    guard value.pauses.isEmpty, value.unconsumed > 0 else { return }
    session.consume(value.id, value.unconsumed)
    value.unconsumed = 0
    connection.wantsToSend()
  }

  /// Nobody takes what comes any more: it is thrown away as it comes.
  func detach() {
    value.request = nil
    value.pauses = []
    consume()
  }

  // MARK: Ends

  /// Of a client: the request is over, its answer queued.
  func requestEnded() {
    detach()
    if value.sentLast { finishSending() } else { startFlushTimer() }
  }

  /// Our last frame has left.
  func finishSending() {
    value.sentLast = true
    guard !value.peerEnded else { return }
    // An answer to half a request: the rest is not wanted (RFC 9113 §8.1). An endpoint that is told
    // the whole request may still answer.
    if connection.value.isServer, value.request == nil {
      session.reset(value.id, HTTP2Code.noError)
      connection.wantsToSend()
    }
  }

  /// Of a client: the answer cannot be completed.
  func breakOff() {
    detach()
    resetStream(HTTP2Code.internalError)
  }

  /// Of an endpoint: its answer is not wanted any more.
  func abandon() {
    detach()
    resetStream(HTTP2Code.cancel)
  }

  func resetStream(_ code: UInt32) {
    value.output.removeAll(into: &loop.state.value.blocks)
    connection.count(connection.stats.value.txReset)
    session.reset(value.id, code)
    connection.wantsToSend()
  }

  /// An answer that its client does not take in time is thrown away (Envoy: `tx_flush_timeout`).
  private func startFlushTimer() {
    let limit = connection.value.flushTimeout
    guard limit > 0, !value.output.isEmpty else { return }
    if value.stalledSince == 0 { value.stalledSince = loop.now }
    let idle = (loop.now &- value.stalledSince) / 1_000_000
    value.flushTimer = unsafe loop.after(
      milliseconds: idle < limit ? limit - idle : 1, context: raw
    ) { raw, _ in unsafe Ref<HTTP2Stream>(raw: raw).checkFlush() }
  }

  private func checkFlush() {
    value.flushTimer = .none
    guard (loop.now &- value.stalledSince) / 1_000_000 >= connection.value.flushTimeout else {
      return startFlushTimer()
    }
    connection.count(connection.stats.value.txFlushTimeout)
    // A socket that takes nothing does not take the reset either.
    if connection.isBlocked { return connection.giveUp() }
    resetStream(HTTP2Code.internalError)
  }

  /// Gives everything back; the slot is free when nobody on the stack can name it any more.
  func release() {
    let state = loop.state
    loop.cancel(value.flushTimer)
    value.flushTimer = .none
    value.output.removeAll(into: &state.value.blocks)
    value.trailers.release(into: &state.value.blocks)
    value.request = nil
    unsafe loop.later(context: raw) { raw, _ in
      let stream = unsafe Ref<HTTP2Stream>(raw: raw)
      let worker = stream.connection.worker
      stream.value.reset()
      worker.value.sessionStreams.release(stream)
    }
  }
}

extension HTTP2Stream {
  /// Blank again, but for the slot's own fields.
  fileprivate mutating func reset() {
    let generation = self.generation
    let next = nextFree
    self = HTTP2Stream()
    self.generation = generation
    nextFree = next
  }
}
