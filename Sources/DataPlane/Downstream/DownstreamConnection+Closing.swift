import Engine

// Every way to the end: after the last response, because the client has left, because we drain.
extension Ref where Value == DownstreamConnection {
  /// The stream has ended in good order: the next request's turn, or the end.
  func streamEnded(mayContinue: Bool) {
    value.stream = nil
    loop.cancel(value.absenceTimer)
    value.absenceTimer = .none
    value.idleSince = loop.now
    let limit = manager.value.maxRequestsPerConnection
    let exhausted = limit > 0 && value.requests >= limit
    guard mayContinue, value.keepAlive, !exhausted, !listenerDrains else {
      return beginClosing()
    }
    value.phase = .head
    if !value.pauses.isEmpty {
      value.pauses = []
      connection.resumeReading(on: loop)
    }
    if value.heldBack {
      value.heldBack = false
      resume()
    } else if value.stash != nil {
      holdBack()
      value.heldBack = false
      resume()
    }
    closeAfterLastRequest()
  }

  /// The stream cannot be answered to its end: the client must not take what it has for the whole.
  func streamBroken() {
    value.stream = nil
    flushOutput()
    close(reset: true)
  }

  /// The worker drains: an idle connection closes now, a busy one after its response.
  func drain() {
    value.keepAlive = false
    if value.session != nil { return drainSession() }
    if value.stream == nil, value.phase == .head, value.headStartedAt == 0 { beginClosing() }
  }

  /// Once the client has said everything and what it said is answered, there is nothing to stay for.
  func closeAfterLastRequest() {
    guard value.endOfInput, value.stream == nil, value.phase == .head, !value.isConsuming,
      value.connection.isOpen, value.stash == nil || !value.stashIsFresh
    else { return }
    beginClosing()
  }

  /// Says goodbye once everything is sent: our side closes, and what the client still sends is read
  /// for a while, so that the kernel does not answer it with a reset that destroys our last response
  /// (Envoy: `delayed_close_timeout`).
  func beginClosing() {
    guard value.phase != .closing else { return }
    value.phase = .closing
    value.stream = nil
    if value.closeReason == nil, !value.endOfInput { value.closeReason = .drained }
    cancelTimers()
    if let block = value.stash {
      loop.state.value.blocks.release(block)
      value.stash = nil
    }
    flushOutput()
    while value.connection.isReadPaused { connection.resumeReading(on: loop) }
    let limit = manager.value.delayedCloseTimeout
    if limit > 0 {
      value.closeTimer = unsafe loop.after(milliseconds: limit, context: raw) { raw, _ in
        let downstream = unsafe Downstream(raw: raw)
        downstream.countDelayedCloseTimeout()
        downstream.value.closeReason = .delayedCloseTimeout
        downstream.close()
      }
    }
    if value.connection.queuedBytes == 0 { finishClosing() }
  }

  func finishClosing() {
    guard value.connection.isOpen else { return }
    if value.endOfInput || manager.value.delayedCloseTimeout == 0 { return close() }
    connection.shutdownWrite()
  }

  // MARK: The client's end

  func discard() {
    let scratch = unsafe loop.state.value.receiveScratch
    for _ in 0..<Self.readsPerTurn {
      switch unsafe connection.read(into: scratch, capacity: EventLoop.scratchBytes) {
      case .bytes: continue
      case .wait: return
      case .failed:
        value.closeType = "RemoteReset"
        return close()
      case .end:
        value.endOfInput = true
        if value.connection.queuedBytes == 0 { close() }
        return
      }
    }
    connection.yieldReading(on: loop)
  }

  func inputEnded() {
    value.endOfInput = true
    guard let stream = streamCutShort() else {
      return value.connection.queuedBytes == 0 ? close() : beginClosing()
    }
    // Cut short, or one side of a tunnel: the end of it.
    guard value.phase == .waiting else { return stream.downstreamGone() }
    watchForAbsence()
  }

  /// The request that the client leaves unfinished. A head that has begun is one, as in Envoy, unless
  /// the answer before it is still on its way.
  private func streamCutShort() -> Ref<RequestStream>? {
    if let stream = value.stream { return stream }
    guard value.phase == .head, value.headStartedAt > 0, value.connection.queuedBytes == 0 else {
      return nil
    }
    let startedAt = value.headStartedAt
    headEnded()
    let stream = newStream()
    stream.value.startedAt = startedAt
    stream.countStarted()
    return stream
  }

  /// How long a client that has closed its side may get nothing before it is taken for gone.
  private static var absenceLimit: UInt64 { 30 }

  /// The client has closed its side behind a whole request. Either it only has nothing more to ask,
  /// or it has left: both look the same until we write. So an answer that comes at once, or keeps
  /// coming, is delivered; and when nothing comes, the upstream is told that nobody waits.
  private func watchForAbsence() {
    guard value.absenceTimer == .none else { return }
    value.writtenAtLastSign = value.connection.bytesWritten
    value.absenceTimer = unsafe loop.after(milliseconds: Self.absenceLimit, context: raw) {
      raw, _ in
      let downstream = unsafe Downstream(raw: raw)
      downstream.value.absenceTimer = .none
      downstream.checkAbsence()
    }
  }

  private func checkAbsence() {
    guard let stream = value.stream else { return }
    // What is queued waits for a client that is there: a departed one answers with a reset.
    let hasQueue = value.connection.queuedBytes > 0 && value.connection.isStillWritable
    guard hasQueue || value.connection.bytesWritten != value.writtenAtLastSign else {
      return stream.downstreamGone()
    }
    watchForAbsence()
  }

  func inputFailed() {
    // Through TLS this may only be an end without a goodbye.
    if value.secured == nil { value.closeType = "RemoteReset" }
    // The client has ended it, either way.
    value.endOfInput = true
    guard let stream = streamCutShort() else { return close() }
    stream.downstreamGone()
  }

  func hungUp() {
    // Only seen while reading is paused: its last bytes may wait in the socket, with requests.
    if value.stream != nil { watchForAbsence() } else { close() }
  }

  // MARK: Letting go

  /// Closes now and gives everything back.
  func close(reset: Bool = false) {
    guard value.connection.isOpen else { return }
    cancelTimers()
    closeSession()
    held.value.output.forget(connection)
    if reset { value.closeType = "LocalReset" }
    if let listener = value.listener { log(to: listener) }
    countClosed()
    leavePools()
    connection.close(on: loop, reset: reset)
    value.access.release(into: &loop.state.value.blocks)
    if let block = value.filterNumbers {
      loop.state.value.blocks.release(block)
      value.filterNumbers = nil
    }
    if let block = value.stash {
      loop.state.value.blocks.release(block)
      value.stash = nil
    }
    // Callers may still be on the stack with this handle.
    unsafe loop.later(context: raw) { raw, _ in
      let downstream = unsafe Downstream(raw: raw)
      guard let worker = downstream.value.worker else { return }
      downstream.value.listener?.letGo()
      downstream.leavePools()
      downstream.value.reset()
      worker.value.downstreams.release(downstream)
    }
  }
}
