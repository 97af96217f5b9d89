import Engine
import Telemetry

// Bytes from one side to the other, and the ends of both.
extension Ref where Value == TCPSession {
  /// One of a session's two connections.
  enum Side {
    case downstream
    case upstream

    var other: Side { self == .downstream ? .upstream : .downstream }
  }

  /// Bytes of one connection before the others have their turn; a short read counts as a whole one.
  private static var bytesPerTurn: Int { 16 * EventLoop.scratchBytes }

  /// Bytes at once that are worth a way of their own.
  private static var bulk: Int { 32 * 1024 }

  func connection(_ side: Side) -> Ref<Connection> {
    side == .downstream ? downstream : upstream
  }

  func readable(_ side: Side) {
    let source = connection(side)
    let sink = connection(side.other)
    var moved = 0
    while value.phase == .relaying, source.value.isOpen, !source.value.isReadPaused {
      guard moved < Self.bytesPerTurn else { return source.yieldReading(on: loop) }
      switch move(side) {
      case .bytes(let n):
        moved += max(n, EventLoop.scratchBytes)
        value.lastActivity = loop.now
        guard sink.value.isStillWritable else { return broke(side.other) }
        if sink.value.isAboveHighWatermark { pause(side) }
      case .wait: return
      case .end:
        // An end that comes with the last bytes is no other word.
        guard side == .upstream || moved > 0 || mayGoOn() else { return }
        return ended(side)
      case .failed:
        // Many clients leave so. A reset would destroy what the upstream has not read of them.
        let isEnd = side == .downstream && value.downstreamSecured?.endedWithoutGoodbye ?? false
        return isEnd ? ended(side) : broke(side)
      }
    }
  }

  /// Passes on what waits on this side: in bulk, the kernel moves it; smaller pieces cost less when they
  /// are copied.
  private func move(_ side: Side) -> ReadOutcome {
    let source = connection(side)
    let sink = connection(side.other)
    if isBulk(side), let outcome = sink.splice(from: source, on: loop) {
      if case .bytes(let n) = outcome, n >= Self.bulk { return outcome }
      setBulk(side, false)
      return outcome
    }
    let scratch = unsafe loop.state.value.receiveScratch
    let outcome = unsafe source.read(into: scratch, capacity: EventLoop.scratchBytes)
    if case .bytes(let n) = outcome {
      if side == .downstream, value.access.phase != .settled, !mayGoOn() { return .wait }
      sink.write(unsafe Bytes(base: UnsafePointer(scratch), count: n), on: loop)
      // What rules of access look at again is not moved behind their back.
      setBulk(side, n == EventLoop.scratchBytes && value.access.phase == .settled)
    }
    return outcome
  }

  private func isBulk(_ side: Side) -> Bool {
    side == .downstream ? value.downstreamIsBulk : value.upstreamIsBulk
  }

  private func setBulk(_ side: Side, _ isBulk: Bool) {
    if side == .downstream {
      value.downstreamIsBulk = isBulk
    } else {
      value.upstreamIsBulk = isBulk
    }
  }

  // MARK: Flow control

  private func pause(_ side: Side) {
    guard !isPaused(side) else { return }
    setPaused(side, true)
    connection(side).pauseReading()
    countPaused(side)
  }

  private func resume(_ side: Side) {
    guard isPaused(side) else { return }
    setPaused(side, false)
    connection(side).resumeReading(on: loop)
    countResumed(side)
  }

  private func isPaused(_ side: Side) -> Bool {
    side == .downstream ? value.downstreamPaused : value.upstreamPaused
  }

  private func setPaused(_ side: Side, _ paused: Bool) {
    if side == .downstream {
      value.downstreamPaused = paused
    } else {
      value.upstreamPaused = paused
    }
  }

  /// What was queued for this side has gone, or most of it.
  func drained(_ side: Side) {
    let connection = connection(side)
    guard connection.value.isStillWritable else { return broke(side) }
    value.lastActivity = loop.now
    resume(side.other)
    guard connection.value.queuedBytes == 0 else { return }
    if value.phase == .flushing { return close() }
    if hasEnded(side.other) { passEnd(to: side) }
  }

  // MARK: Ends

  private func hasEnded(_ side: Side) -> Bool {
    side == .downstream ? value.downstreamEnded : value.upstreamEnded
  }

  /// This side has said everything; the other may go on talking.
  private func ended(_ side: Side) {
    guard !hasEnded(side) else { return }
    if side == .downstream {
      value.downstreamEnded = true
    } else {
      value.upstreamEnded = true
      value.upstreamEndedIt = value.downstreamEnded
    }
    if connection(side.other).value.queuedBytes == 0 { passEnd(to: side.other) }
  }

  /// Something is still to be written for this side.
  private func owes(_ side: Side) -> Bool {
    connection(side).value.queuedBytes > 0 || connection(side).value.owesGoodbye
  }

  private func passEnd(to side: Side) {
    connection(side).shutdownWrite()
    if value.downstreamEnded, value.upstreamEnded, !owes(.downstream), !owes(.upstream) {
      close()
    }
  }

  /// This side's connection is no more. The other is told so: what it got may not be all.
  func broke(_ side: Side) {
    guard value.phase == .relaying || value.phase == .flushing else { return close() }
    if side == .upstream {
      value.upstreamEndedIt = true
      // An end without a goodbye is no reset.
      if !(value.upstreamSecured?.endedWithoutGoodbye ?? false) {
        value.flags.insert(.upstreamRemoteReset)
      }
      value.closeType = "LocalReset"
      return close(resetting: true)
    }
    value.closeType = "RemoteReset"
    guard value.phase == .relaying, value.upstream.queuedBytes > 0 else {
      return close(resetting: true)
    }
    beginFlushing()
  }

  /// The client is gone: the upstream gets what the client had said.
  private func beginFlushing() {
    value.phase = .flushing
    countFlush(1)
    if let secured = value.downstreamSecured { value.downstreamFacts = secured.facts }
    closeDownstream()
    if !isPaused(.upstream) { upstream.pauseReading() }
  }

  /// A connection that is not read has hung up; what it said before waits in the socket.
  func hungUp(_ side: Side) {
    let sink = connection(side.other)
    switch value.phase {
    // Nobody is there yet to whom its words would go.
    case .connecting where side == .downstream: return
    case .shakingHands: return
    case .flushing: close()
    case .relaying where sink.value.queuedBytes == 0: resume(side)
    default: return
    }
  }
}
