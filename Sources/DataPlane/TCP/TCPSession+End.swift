import Engine
import Telemetry
import Upstream

// The end of a session: logged, counted, released.
extension Ref where Value == TCPSession {
  /// Ends the session after the calls at hand, for those who are still opening it.
  func closeLater() {
    unsafe loop.later(context: raw, tag: UInt64(value.generation)) { raw, tag in
      let session = unsafe Ref<TCPSession>(raw: raw)
      guard UInt64(session.value.generation) == tag else { return }
      session.close()
    }
  }

  /// Closes both connections and gives everything back.
  /// - Parameter resetting: the peers see a reset, so that neither takes what it has for the whole.
  func close(resetting: Bool = false) {
    guard value.phase != .over else { return }
    if value.phase == .flushing { countFlush(-1) }
    let wasConnecting = value.phase == .connecting
    value.phase = .over
    loop.cancel(value.connectTimer)
    loop.cancel(value.idleTimer)
    loop.cancel(value.durationTimer)
    // While TLS can still be asked what it agreed upon.
    log()
    if value.upstream.isOpen {
      if wasConnecting { countCancelled() } else { countUpstreamClosed() }
      upstream.close(on: loop, reset: resetting)
    }
    releaseBreaker()
    closeDownstream(resetting: resetting)
    releaseHost()
    value.access.release(into: &loop.state.value.blocks)
    // Callers may still be on the stack with this handle.
    unsafe loop.later(context: raw) { raw, _ in
      let session = unsafe Ref<TCPSession>(raw: raw)
      let worker = session.worker
      if let snapshot = session.value.snapshot { worker.release(snapshot) }
      session.value.listener?.letGo()
      session.value.reset()
      worker.value.tcpSessions.release(session)
    }
  }

  func closeDownstream(resetting: Bool = false) {
    guard value.downstream.isOpen else { return }
    countDownstreamClosed()
    downstream.close(on: loop, reset: resetting)
    value.downstreamSecured = nil
  }

  func releaseBreaker() {
    guard value.holdsConnection, let cluster = value.cluster else { return }
    value.holdsConnection = false
    cluster.value.breakers.value[.normal].releaseConnection()
  }

  func releaseHost() {
    guard let host = value.host else { return }
    host.value.unpin(worker: worker.value.index)
    value.host = nil
  }

  private func log() {
    value.listener?.value.config.value.accessLogs.write(
      TCPLogSource(self, logType: "NotSet"), on: worker)
    proxy.value.accessLogs.write(TCPLogSource(self, logType: "TcpConnectionEnd"), on: worker)
  }
}

extension TCPSession {
  /// Blank again, but for the slot's own fields.
  fileprivate mutating func reset() {
    let generation = self.generation
    let next = nextFree
    self = TCPSession()
    self.generation = generation
    nextFree = next
  }
}
