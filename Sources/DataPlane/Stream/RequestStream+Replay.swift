import CFilterABI
import Engine
import HTTPModel
import Upstream

// Another attempt: what is kept of a request so that a filter may have it sent again, and how the
// filters behind that one run anew.
extension Ref where Value == RequestStream {
  /// What a filter that may replay needs for it: the head as it leaves that filter.
  func keepForReplay(behind index: Int) {
    let slot = slot(index)
    guard value.attempt.keepsBody, slot.value.mayReplay, slot.value.isEnabled,
      value.attempt.head.isVacant
    else { return }
    value.attempt.head.copy(from: value.requestHead, pool: &loop.state.value.blocks)
  }

  func retain(_ piece: Bytes, behind index: Int) {
    guard value.attempt.keepsBody, !piece.isEmpty, value.attempt.retainedWhole,
      slot(index).value.mayReplay
    else { return }
    let total = UInt64(value.attempt.retained.count + piece.count)
    if total <= value.attempt.retainLimit {
      value.attempt.retained.append(piece, from: &loop.state.value.blocks)
    } else {
      value.attempt.retainedWhole = false
      if let cluster = value.attempt.cluster ?? value.route.cluster {
        worker.value.stats.add(cluster.value.stats.value.retries.abandoned)
      }
      value.attempt.retained.removeAll(into: &loop.state.value.blocks)
    }
  }

  /// The facts of the latest attempt, for the filter that may replay it.
  var attemptFacts: fl_attempt {
    let waitsBefore =
      !value.request.isFlowing
      && value.request.position <= (chain.value.replayIndex ?? -1)
    let hasBody = !value.request.ended || value.bytesReceived > 0
    let isKept = value.attempt.keepsBody ? value.attempt.retainedWhole : !hasBody
    return fl_attempt(
      number: value.attempt.number, failure: value.attempt.failure.rawValue,
      request_started: value.attempt.requestStarted,
      response_started: value.attempt.responseStarted,
      body_retained: isKept && !value.attempt.head.isVacant && !waitsBefore,
      local_reply: value.attempt.localReply)
  }

  /// A place among the cluster's retries. An attempt that is itself a retry hands its place on.
  func admitRetry() -> Bool {
    // An attempt that a filter answered never reached the router, which notes the cluster.
    guard let cluster = value.attempt.cluster ?? value.route.cluster else { return false }
    value.attempt.cluster = cluster
    if value.attempt.holdsRetry { return true }
    guard cluster.value.breakers.value[value.route.priority].admitRetry() else { return false }
    value.attempt.holdsRetry = true
    return true
  }

  /// Throws the attempt away and runs the filters behind `index` again after the delay.
  func replay(behind index: Int) {
    countRetried()
    let holdsRetry = value.attempt.holdsRetry
    value.attempt.holdsRetry = false
    dropAttempt()
    value.attempt.holdsRetry = holdsRetry
    endFilters(from: index + 1)
    resetResponse()
    value.sentBody.removeAll(into: &loop.state.value.blocks)
    value.isResponding = false
    value.replyOrigin = .max
    value.flags.subtract(.ofAttempts)
    value.details = .empty
    if value.attempt.avoidAttempts > 0, value.attempt.tried.extraPicks == 0 {
      value.attempt.tried = AttemptedHosts(extraPicks: Int(value.attempt.avoidAttempts))
      if let host = value.attempt.host { value.attempt.tried.insert(host) }
    }
    // What waited behind the filter is among what was retained.
    value.request.queue.removeAll(into: &loop.state.value.blocks)
    value.request.seen = 0
    value.request.endQueued = false
    value.request.mode = .held
    value.request.position = index + 1
    value.request.headPassed = false
    value.request.endDelivered = false
    let delay = value.attempt.replayDelay
    value.attempt.replayDelay = 0
    value.attempt.replayTimer = unsafe loop.after(
      milliseconds: delay, context: raw, tag: UInt64(index)
    ) { raw, index in
      unsafe Ref<RequestStream>(raw: raw).replayNow(behind: Int(index))
    }
    flushDownstream()
  }

  private func replayNow(behind index: Int) {
    value.attempt.replayTimer = .none
    guard !value.isOver else { return }
    value.request.queue.removeAll(into: &loop.state.value.blocks)
    value.request.mode = .flowing
    value.request.endQueued = false
    value.requestHead.copy(from: value.attempt.head, pool: &loop.state.value.blocks)
    lowerExpectedTimeout()
    renewFilters(behind: index)
    let id = value.streamID
    value.request.isInHand = value.attempt.retained.count > 0
    runRequestHead(from: index + 1)
    guard value.streamID == id, !value.isOver, !value.isResponding else { return }
    value.request.isInHand = false
    redeliver(from: index + 1)
    if !value.isOver { flushDownstream() }
  }

  /// What the upstream is told of the time it has: never more than is left of the route's.
  private func lowerExpectedTimeout() {
    let whole = unsafe routeTimeouts.pointee.route_ms
    guard whole > 0, let index = value.requestHead.find(.envoyExpectedTimeout),
      let told = value.requestHead.value(index).decimal
    else { return }
    let spent = (loop.now &- value.requestEndedAt) / 1_000_000
    let left = whole > spent ? whole - spent : 1
    guard left < UInt64(told) else { return }
    var digits = InlineArray<24, UInt8>(repeating: 0)
    withDecimal(Int(clamping: left), &digits) {
      value.requestHead.replace(index, $0, from: &loop.state.value.blocks)
    }
  }

  private func redeliver(from index: Int) {
    let endStream = value.request.ended && !value.request.hasTrailers
    let whole = copy(of: value.attempt.retained)
    if !whole.bytes.isEmpty {
      deliverRequestData(whole.bytes, endStream: endStream, from: index)
    }
    release(whole)
    guard !value.isOver, !value.isResponding, value.request.hasTrailers else { return }
    if value.request.isFlowing { routerTrailers() } else { value.request.trailersQueued = true }
  }
}
