import CFilterABI
import Engine
import HTTPModel
import Telemetry
import Upstream

// 4. The end: whatever became of the request, it is counted, logged and released once.
extension Ref where Value == RequestStream {
  /// The last byte of the response has been handed to the connection.
  func responseDelivered() {
    guard !value.isOver else { return }
    value.response.endDelivered = true
    value.responseEndedAt = loop.now
    let early = !value.request.ended
    if early {
      worker.value.stats.add(manager.value.stats.value.rqRxReset)
      dropAttempt()
    }
    let client = value.client
    let closes = value.closesConnection || early || value.isUpgraded
    finish()
    client.streamEnded(mayContinue: !closes)
  }

  /// The client has gone.
  func downstreamGone() {
    guard !value.isOver else { return }
    value.flags.insert(.downstreamConnectionTermination)
    value.details = Bytes("downstream_remote_disconnect")
    worker.value.stats.add(manager.value.stats.value.rqRxReset)
    let client = value.client
    dropAttempt()
    finish()
    client.clientGone()
  }

  /// An HTTP/2 client has given up on the request, or we had to for what it did.
  func clientReset(byPeer: Bool, code: UInt32) {
    guard !value.isOver else { return }
    if byPeer {
      value.flags.insert(.downstreamRemoteReset)
      setDetails(Bytes("http2.remote_reset"))
      worker.value.stats.add(manager.value.stats.value.rqRxReset)
    } else {
      value.flags.insert(.downstreamProtocolError)
      setDetails(Bytes("http2.violation.of.messaging.rule"))
      worker.value.stats.add(manager.value.stats.value.rqTxReset)
    }
    dropAttempt()
    finish()
  }

  /// What was begun cannot be brought to an end: the client's connection breaks, so that it does not
  /// take what it has for the whole.
  func abandon(details: Bytes) {
    guard !value.isOver else { return }
    setDetails(details)
    worker.value.stats.add(manager.value.stats.value.rqTxReset)
    worker.value.stats.add(manager.value.stats.value.rqRxReset)
    let client = value.client
    dropAttempt()
    finish()
    client.streamBroken()
  }

  func abandon(details: StaticString) { abandon(details: Bytes(details)) }

  /// Keeps details that were put together for this stream.
  func setDetails(_ details: Bytes) {
    let block = value.detailsBlock ?? loop.state.value.blocks.take()
    block.used = 0
    _ = block.append(details.prefix(block.capacity))
    value.detailsBlock = block
    value.details = block.bytes()
  }

  /// Ends the stream, in whatever state it is.
  func finish() {
    guard !value.isOver else { return }
    countEnded()
    noticeLog()
    log()
    value.isOver = true
    endFilters(from: 0)
    cancelTimers()
    value.call?.streamEnded()
    releaseMemory()
    unsafe loop.later(context: raw) { raw, _ in
      let stream = unsafe Ref<RequestStream>(raw: raw)
      let worker = stream.worker
      worker.release(stream.snapshot)
      stream.blank()
      worker.value.streams.release(stream)
    }
  }

  func noticeLog() {
    guard value.slotCount > 0, chain.value.listensToLog else { return }
    var index = 0
    while index < value.slotCount {
      let slot = self.slot(index)
      if slot.value.isEnabled, let callback = unsafe slot.value.entry.value.table.onLog {
        unsafe call(slot) { unsafe callback($0, $1, $2) }
      }
      index += 1
    }
  }

  private func releaseMemory() {
    releaseHost()
    let blocks = loop.state
    value.requestHead.release(into: &blocks.value.blocks)
    value.responseHead.release(into: &blocks.value.blocks)
    value.requestTrailers.release(into: &blocks.value.blocks)
    value.responseTrailers.release(into: &blocks.value.blocks)
    value.replyHead.release(into: &blocks.value.blocks)
    value.attempt.head.release(into: &blocks.value.blocks)
    value.request.queue.removeAll(into: &blocks.value.blocks)
    value.response.queue.removeAll(into: &blocks.value.blocks)
    value.replyBody.removeAll(into: &blocks.value.blocks)
    value.sentBody.removeAll(into: &blocks.value.blocks)
    value.attempt.retained.removeAll(into: &blocks.value.blocks)
    value.metadata.release(into: &blocks.value.blocks)
    if let block = value.chainMemory { blocks.value.blocks.release(block) }
    if let block = value.detailsBlock { blocks.value.blocks.release(block) }
    if let block = value.textBlock { blocks.value.blocks.release(block) }
    if let block = value.attempt.name { blocks.value.blocks.release(block) }
    if let block = value.replacement { blocks.value.blocks.release(block) }
    // The pool keeps what a stream leaves behind. Even a plain one would pay for letting go of nothing.
    if value.upstreamFacts != nil { value.upstreamFacts = nil }
  }

  // MARK: Timers

  /// Bounds on the whole stream. One timer each, looked at when it fires: progress does not touch it.
  func startTimers() {
    let idle = value.route.idleTimeout(or: manager.value.streamIdleTimeout)
    if idle > 0 { watchIdle(for: idle) }
    let duration = value.route.maxDuration(
      or: manager.value.maxStreamDuration, grpcTimeout: grpcTimeout)
    if duration > 0 {
      value.durationTimer = unsafe loop.after(milliseconds: duration, context: raw) { raw, _ in
        unsafe Ref<RequestStream>(raw: raw).reachedMaxDuration()
      }
    }
    let whole = manager.value.requestTimeout
    if whole > 0, !value.request.ended {
      value.requestTimer = unsafe loop.after(milliseconds: whole, context: raw) { raw, _ in
        unsafe Ref<RequestStream>(raw: raw).requestTimedOut()
      }
    }
  }

  /// What a gRPC caller gives the call, in milliseconds (gRPC over HTTP/2, `grpc-timeout`).
  private var grpcTimeout: UInt64? {
    guard let text = value.requestHead[.grpcTimeout], text.count >= 2, text.count <= 9,
      let amount = text[0, text.count - 1].decimal
    else { return nil }
    let number = UInt64(amount)
    switch text[text.count - 1] {
    case UInt8(ascii: "H"): return number * 3_600_000
    case UInt8(ascii: "M"): return number * 60_000
    case UInt8(ascii: "S"): return number * 1000
    case UInt8(ascii: "m"): return number
    case UInt8(ascii: "u"): return number / 1000
    case UInt8(ascii: "n"): return number / 1_000_000
    default: return nil
    }
  }

  private func watchIdle(for milliseconds: UInt64) {
    unsafe value.idleTimer.ensure(within: milliseconds, on: loop, context: raw) { raw, _ in
      unsafe Ref<RequestStream>(raw: raw).checkIdle()
    }
  }

  private func checkIdle() {
    value.idleTimer.fired()
    // The slot may be free, or serve a stream that has no such bound.
    guard value.worker != nil, !value.isOver else { return }
    let limit = value.route.idleTimeout(or: manager.value.streamIdleTimeout)
    guard limit > 0 else { return }
    let idle = (loop.now &- value.lastActivity) / 1_000_000
    guard idle >= limit else { return watchIdle(for: limit - idle) }
    worker.value.stats.add(manager.value.stats.value.rqIdleTimeout)
    value.flags.insert(.streamIdleTimeout)
    replyLocally(value.request.ended ? .idleTimeout : .idleTimeoutBeforeRequestEnd)
    flushDownstream()
  }

  private func reachedMaxDuration() {
    value.durationTimer = .none
    guard !value.isOver else { return }
    worker.value.stats.add(manager.value.stats.value.rqMaxDuration)
    replyLocally(.maxDuration)
    flushDownstream()
  }

  private func requestTimedOut() {
    value.requestTimer = .none
    guard !value.isOver, !value.request.ended else { return }
    worker.value.stats.add(manager.value.stats.value.rqTimeout)
    replyLocally(.requestTimeout)
    flushDownstream()
  }

  private func cancelTimers() {
    cancel(&value.durationTimer)
    cancel(&value.requestTimer)
    cancel(&value.attempt.replayTimer)
  }

  @inline(__always)
  private func cancel(_ timer: inout TimerID) {
    guard timer != .none else { return }
    loop.cancel(timer)
    timer = .none
  }
}

extension Ref where Value == RequestStream {
  nonisolated(unsafe) private static let blankStream = Ref.immortal(RequestStream())

  /// Blank again, but for the slot's own fields.
  fileprivate func blank() {
    let generation = value.generation
    let next = value.nextFree
    let idleTimer = value.idleTimer
    // SAFETY: a stream is plain memory: handles and numbers, nothing that is counted or destroyed.
    unsafe raw.copyMemory(
      from: Self.blankStream.raw, byteCount: MemoryLayout<RequestStream>.size)
    value.generation = generation
    value.nextFree = next
    value.idleTimer = idleTimer
  }
}
