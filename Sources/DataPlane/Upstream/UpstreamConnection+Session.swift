import CLinux
import Engine
import HTTPCodec
import HTTPModel
import Telemetry
import Upstream

// A connection to an endpoint that speaks HTTP/2: its part of opening, filling and ending.
extension Ref where Value == UpstreamConnection {
  /// The connection is there: the session begins. False when there is no memory.
  func startSession() -> Bool {
    let worker = held
    let cluster = pool.value.cluster
    let session = worker.value.sessions.take()
    let options = cluster.value.config.value.http
    guard let stats = cluster.value.stats.value.http2,
      session.open(
        options.http2, on: worker, transport: .endpoint(self), socket: connection,
        stats: stats, keepalive: options.http2Keepalive)
    else {
      worker.value.sessions.release(session)
      return false
    }
    value.session = session
    return true
  }

  /// It can take another request now.
  var hasRoom: Bool {
    guard let session = value.session, value.connection.isOpen, !value.isLeaving else {
      return false
    }
    let options = pool.value.cluster.value.config.value.http
    let most = min(options.http2.maxConcurrentStreams, session.session.peerStreamLimit)
    return session.value.streamCount < Int(most) && session.session.takesRequests
  }

  /// A request more runs on the connection.
  func capacityUsed() {
    let limit = pool.value.cluster.value.config.value.http.maxRequestsPerConnection ?? 0
    if limit > 0, value.requests >= limit, !value.isLeaving {
      pool.countMaxRequests()
      value.isLeaving = true
    }
    pool.unlistIfFull(self)
  }

  /// A request has ended, or the peer's settings have come: there may be room for another.
  func roomChangesLater() {
    // Not from within the session: who waits for room would use it at once, or end it.
    unsafe loop.later(context: raw, tag: value.id) { raw, id in
      let upstream = unsafe UpstreamHandle(raw: raw)
      guard upstream.value.id == id, upstream.value.connection.isOpen else { return }
      upstream.pool.roomChanged(upstream)
    }
  }

  /// The peer will go when it has answered what it has.
  func peerGoesAway() {
    guard !value.isLeaving else { return }
    value.isLeaving = true
    pool.countCloseNotify()
    pool.unlistIfFull(self)
    roomChangesLater()
  }

  /// Nobody needs it any more: the peer is told, and the connection closes.
  func endSession() {
    guard let session = value.session else { return close() }
    value.isLeaving = true
    session.endNow()
    session.send()
    close()
  }

  /// The session, or the connection under it, has ended.
  func sessionEnded(byPeer: Bool, errorNumber: Int32) {
    guard value.connection.isOpen else { return }
    let wasBusy = value.session.map { $0.value.streamCount > 0 } ?? false
    let session = value.session
    let offence = session.map { $0.session.value.offence } ?? .none
    let failure: UpstreamFailure =
      offence != .none ? .protocolError : errorNumber == 0 ? .terminated : .reset
    value.session = nil
    value.isLeaving = true
    close(byPeer: byPeer, withRequest: wasBusy)
    session?.close { $0.upstreamBroke(failure) }
    held.value.output.flush(on: loop)
  }
}
