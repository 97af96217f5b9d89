import Engine
import HTTPCodec
import HTTPModel

// When bytes wait, in either direction, and the way to the client.
extension Ref where Value == DownstreamConnection {
  // MARK: Flow control

  /// A request is at work: what comes for the next one stays in the socket.
  func holdBack() {
    value.stashIsFresh = true
    guard !value.heldBack else { return }
    value.heldBack = true
    connection.pauseReading()
  }

  /// The stream cannot take more for now.
  func pauseRequest(_ reason: RequestPauses = .byStream) {
    guard !value.pauses.contains(reason) else { return }
    if value.pauses.isEmpty { connection.pauseReading() }
    value.pauses.insert(reason)
    held.value.stats.add(manager.value.stats.value.pausedReading)
  }

  /// The stream takes bytes again; those kept meanwhile come first.
  func resumeRequest(_ reason: RequestPauses = .byStream) {
    guard value.pauses.contains(reason) else { return }
    value.pauses.remove(reason)
    held.value.stats.add(manager.value.stats.value.resumedReading)
    if value.pauses.isEmpty { resume() }
  }

  func resume() {
    let pending = value.stash != nil
    if pending { value.stashIsFresh = true }
    connection.resumeReading(on: loop)
    guard pending, !value.connection.isReadPaused else { return }
    unsafe loop.later(context: raw, tag: value.id) { raw, id in
      let downstream = unsafe Downstream(raw: raw)
      guard downstream.value.id == id, downstream.value.connection.isOpen,
        !downstream.value.connection.isReadPaused, downstream.value.stash != nil,
        downstream.value.stashIsFresh
      else { return }
      downstream.consumeStash()
      downstream.flushOutput()
    }
  }

  func drained() {
    if let session = value.session, value.phase != .closing { return session.drained() }
    if value.phase == .closing {
      if value.connection.queuedBytes == 0 { finishClosing() }
      return
    }
    value.stream?.downstreamDrained()
  }

  // MARK: Writing

  /// Puts bytes behind what is being gathered for this connection in this wake-up.
  @inline(__always)
  func write(_ bytes: Bytes) {
    held.value.output.write(bytes, to: connection, on: loop)
  }

  func flushOutput() { held.value.output.flush(on: loop) }

  /// The upgrade was accepted: from here on bytes pass as they come.
  func beginTunnel() {
    value.phase = .tunnel
    value.keepAlive = false
    value.decoder = BodyDecoder(.untilClose)
    if value.heldBack {
      value.heldBack = false
      resume()
    } else if value.stash != nil {
      connection.pauseReading()
      resume()
    }
  }
}
