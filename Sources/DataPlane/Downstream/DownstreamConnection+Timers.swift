import Engine

// What the connection waits for, and for how long.
extension Ref where Value == DownstreamConnection {
  /// One timer for the connection's life, looked at when it fires: requests do not touch it.
  func startIdleTimer() {
    let limit = manager.value.connectionIdleTimeout
    guard limit > 0 else { return }
    let idle = (loop.now &- value.idleSince) / 1_000_000
    let left = idle < limit ? limit - idle : 1
    value.idleTimer = unsafe loop.after(milliseconds: left, context: raw) { raw, _ in
      unsafe Downstream(raw: raw).checkIdle()
    }
  }

  private func checkIdle() {
    value.idleTimer = .none
    let limit = manager.value.connectionIdleTimeout
    let isBusy = value.stream != nil || value.session.map { $0.value.streamCount > 0 } ?? false
    if isBusy { value.idleSince = loop.now }
    guard !isBusy, (loop.now &- value.idleSince) / 1_000_000 >= limit else {
      return startIdleTimer()
    }
    countIdleTimeout()
    if let session = value.session { return session.endNow() }
    if value.requests == 0 { value.closeReason = .idle }
    value.headStartedAt == 0 ? beginClosing() : close()
  }

  /// Bounds the time until a head is whole.
  func startHeadTimer() {
    let limit = manager.value.requestHeadersTimeout
    guard limit > 0, value.headTimer == .none else { return }
    value.headTimer = unsafe loop.after(milliseconds: limit, context: raw) { raw, _ in
      unsafe Downstream(raw: raw).headTimedOut()
    }
  }

  private func headTimedOut() {
    value.headTimer = .none
    value.keepAlive = false
    value.phase = .waiting
    value.headStartedAt = 0
    value.stashIsFresh = false
    newStream().headTimedOut()
    flushOutput()
  }

  func reachedMaxDuration() {
    value.durationTimer = .none
    countMaxDuration()
    value.keepAlive = false
    if value.session != nil { return drainSession() }
    guard value.stream == nil else { return }
    if value.requests == 0 { value.closeReason = .maxDuration }
    beginClosing()
  }

  func cancelTimers() {
    loop.cancel(value.idleTimer)
    loop.cancel(value.headTimer)
    loop.cancel(value.closeTimer)
    loop.cancel(value.durationTimer)
    loop.cancel(value.absenceTimer)
    loop.cancel(value.handshakeTimer)
    value.handshakeTimer = .none
    value.absenceTimer = .none
    value.idleTimer = .none
    value.headTimer = .none
    value.closeTimer = .none
    value.durationTimer = .none
  }
}
