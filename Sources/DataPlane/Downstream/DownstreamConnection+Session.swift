import CLinux
import Engine
import HTTPCodec
import HTTPModel
import Telemetry

// A client that speaks HTTP/2: how it is noticed, and what its session has to do with the connection.
extension Ref where Value == DownstreamConnection {
  /// What a client of HTTP/2 says first (RFC 9113 §3.4).
  private static var preface: Bytes { Bytes("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") }

  /// Looks for HTTP/2's preface at the beginning of a connection. Nil when it is not there; else how
  /// many bytes were used: none while it is not whole.
  func consumePreface(_ bytes: UnsafeMutablePointer<UInt8>, _ n: Int) -> Int? {
    let text = unsafe Bytes(base: UnsafePointer(bytes), count: n)
    guard text.hasPrefix(Self.preface.prefix(n)) else { return nil }
    guard n >= Self.preface.count else {
      if value.headTimer == .none { startHeadTimer() }
      return 0
    }
    headEnded()
    guard startSession(), let session = value.session else {
      close()
      return n
    }
    session.receive(text)
    return n
  }

  /// From here on the client speaks HTTP/2. False when there is no memory for it.
  func startSession() -> Bool {
    let worker = held
    let session = worker.value.sessions.take()
    guard
      session.open(
        manager.value.http2, on: worker, transport: .client(self), socket: connection,
        stats: manager.value.http2Stats, keepalive: manager.value.http2Keepalive)
    else {
      worker.value.sessions.release(session)
      return false
    }
    session.value.flushTimeout = manager.value.streamIdleTimeout
    value.session = session
    value.isHTTP2 = true
    countSession()
    return true
  }

  /// A request has begun on the session.
  func sessionRequestBegan() { value.requests &+= 1 }

  /// A request has ended on the session.
  func sessionRequestEnded() { value.idleSince = loop.now }

  /// The session's client is told that the end is near.
  func drainSession() {
    guard let session = value.session else { return }
    let limit = manager.value.drainTimeout
    session.drain(within: session.value.streamCount > 0 ? limit : min(limit, Self.idleGrace))
  }

  /// Milliseconds in which a request that was on its way may still come to a connection without any.
  private static var idleGrace: UInt64 { 500 }

  /// The client went too far, and its session ends.
  func sessionOffended(_ offence: HTTP2Budget.Offence) {
    let stats = held.value.stats
    stats.add(manager.value.stats.value.cxProtocolError)
    value.flags.insert(.downstreamProtocolError)
    if offence == .resets { stats.add(manager.value.stats.value.tooManyPrematureResets) }
  }

  /// The session has said all it had to.
  func sessionEnded() {
    closeSession()
    beginClosing()
  }

  /// The client has gone.
  func sessionLost() {
    value.endOfInput = true
    if value.session.map({ $0.value.streamCount > 0 }) ?? false { value.leftDuringRequest = true }
    close()
  }

  /// Requests that are under way end with the connection.
  func closeSession() {
    guard let session = value.session else { return }
    value.session = nil
    session.close { $0.downstreamGone() }
  }
}
