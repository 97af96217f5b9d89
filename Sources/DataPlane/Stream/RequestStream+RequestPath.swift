import CFilterABI
import Engine
import HTTPModel

// The request's way through the filters: head, body, trailers, each from the first filter to the
// router. `BodyPath` says where it waits when it waits.
extension Ref where Value == RequestStream {
  // MARK: Head

  /// Shows the head to the filters from `index` on, and then to the router.
  func runRequestHead(from index: Int) {
    var index = index
    while index < value.slotCount {
      let slot = self.slot(index)
      if slot.value.isEnabled, let callback = unsafe slot.value.entry.value.table.requestHead {
        let endStream = value.request.endsWithHead
        let verdict = unsafe call(slot) { unsafe callback($0, $1, $2, endStream) }
        if !goesOn(verdict) { guard settleVerdict(verdict, at: index) else { return } }
      }
      if slot.value.mayReplay { keepForReplay(behind: index) }
      index += 1
    }
    value.request.headDelivered = true
    routeReached()
  }

  /// True when the chain goes on behind the filter at `index`.
  private func settleVerdict(_ verdict: fl_verdict, at index: Int) -> Bool {
    guard !settle() else { return false }
    switch verdict {
    case FL_STOP, FL_REPLIED:
      waitRequest(at: index, .held, headPassed: false)
      if value.wanted.contains(.resumeRequest) { resumeRequest(at: index) }
      return false
    case FL_BUFFER where !value.request.endsWithHead:
      waitRequest(at: index, .buffering, headPassed: false)
      return false
    default:
      value.wanted.remove(.resumeRequest)
      return true
    }
  }

  private func waitRequest(at index: Int, _ mode: BodyPath.Mode, headPassed: Bool) {
    value.request.mode = mode
    value.request.position = index
    value.request.headPassed = headPassed
  }

  // MARK: Body

  /// A piece of the body has come from the client.
  func requestData(_ data: Bytes, endStream: Bool) {
    guard !value.isOver else { return }
    value.bytesReceived &+= UInt64(data.count)
    value.lastActivity = loop.now
    if endStream { requestEnded() }
    guard !value.isResponding || value.isUpgraded || value.attempt.responseStarted else { return }
    deliverRequestData(data, endStream: endStream, from: 0)
  }

  /// Trailers have come from the client; they end the request.
  func requestTrailers(_ text: Bytes, _ fields: ParsedFields) {
    guard !value.isOver else { return }
    guard manager.value.passesTrailers else { return requestData(.empty, endStream: true) }
    value.requestTrailers.load(
      text, fields, from: &loop.state.value.blocks)
    requestTrailersReceived()
  }

  /// The same from an HTTP/2 client: they are in `requestTrailers`.
  func requestTrailersReceived() {
    guard !value.isOver else { return }
    TrailerRules.removeForbidden(from: &value.requestTrailers)
    value.request.hasTrailers = true
    requestEnded()
    guard !value.isResponding || value.attempt.responseStarted else { return }
    guard value.request.isFlowing else {
      value.request.trailersQueued = true
      if value.request.mode == .buffering { completeRequestBuffer() }
      return
    }
    runRequestTrailers(from: 0)
  }

  private func requestEnded() {
    value.request.ended = true
    value.requestEndedAt = loop.now
    if value.requestTimer != .none {
      loop.cancel(value.requestTimer)
      value.requestTimer = .none
    }
  }

  /// Shows a piece to the filters from `start` on, and then to the router.
  func deliverRequestData(_ data: Bytes, endStream: Bool, from start: Int) {
    var piece = data
    var index = start
    while index < value.slotCount {
      if !value.request.isFlowing, value.request.position == index {
        return holdRequest(piece, endStream: endStream, seen: false)
      }
      let slot = self.slot(index)
      if slot.value.isEnabled, let callback = unsafe slot.value.entry.value.table.requestBody {
        let verdict = unsafe call(slot) { unsafe callback($0, $1, $2, piece.abi, endStream) }
        piece = takeReplacement(of: piece)
        guard !settle() else { return }
        switch verdict {
        case FL_STOP, FL_REPLIED:
          waitRequest(at: index, .held, headPassed: true)
          holdRequest(piece, endStream: endStream, seen: true)
          if value.wanted.contains(.resumeRequest) { resumeRequest(at: index) }
          return
        case FL_BUFFER where !endStream:
          waitRequest(at: index, .buffering, headPassed: true)
          return holdRequest(piece, endStream: endStream, seen: false)
        case FL_DROP:
          guard endStream else { return }
          piece = .empty
        default: value.wanted.remove(.resumeRequest)
        }
      }
      retain(piece, behind: index)
      index += 1
    }
    routerData(piece, endStream: endStream)
  }

  /// Keeps a piece where the chain waits, and asks the client to pause beyond the limit.
  func holdRequest(_ piece: Bytes, endStream: Bool, seen: Bool) {
    value.request.queue.append(piece, from: &loop.state.value.blocks)
    if seen { value.request.seen += piece.count }
    if endStream { value.request.endQueued = true }
    if value.request.mode == .buffering {
      guard value.request.queue.count <= value.request.limit else {
        worker.value.stats.add(manager.value.stats.value.rqTooLarge)
        // More of it may follow, or not: it counts as unread either way, as in Envoy.
        value.request.ended = false
        return replyLocally(.requestTooLarge)
      }
      if endStream { completeRequestBuffer() }
    } else if value.request.queue.count > value.request.limit, !value.request.pausedSource {
      value.request.pausedSource = true
      value.client.pauseRequest()
    }
  }

  /// The body that a filter waited for is whole: shows it, and goes on.
  private func completeRequestBuffer() {
    let index = value.request.position
    let slot = self.slot(index)
    let headPassed = value.request.headPassed
    let whole = contiguous(&value.request.queue)
    var body = whole.bytes
    let endStream = !value.request.hasTrailers
    value.request.mode = .flowing
    value.request.endQueued = false
    if slot.value.isEnabled, let callback = unsafe slot.value.entry.value.table.requestBody {
      _ = unsafe call(slot) { unsafe callback($0, $1, $2, body.abi, endStream) }
      if value.hasReplacement {
        body = takeReplacement(of: body)
        setContentLength(&value.requestHead, body.count)
      }
      if settle() { return release(whole) }
    }
    retain(body, behind: index)
    if !headPassed {
      keepForReplay(behind: index)
      value.request.isInHand = !body.isEmpty
      runRequestHead(from: index + 1)
      value.request.isInHand = false
    }
    if !value.isOver, !value.isResponding {
      deliverRequestData(body, endStream: endStream, from: index + 1)
    }
    release(whole)
    if value.request.trailersQueued, !value.isOver, value.request.isFlowing {
      value.request.trailersQueued = false
      runRequestTrailers(from: index + 1)
    }
  }

  /// The filter at `index` lets the request go on: the head if it waited, then what is queued.
  func resumeRequest(at index: Int) {
    value.wanted.remove(.resumeRequest)
    guard value.request.mode == .held, value.request.position == index, !value.isOver else {
      return
    }
    value.request.mode = .flowing
    if !value.request.headPassed, index < value.slotCount {
      keepForReplay(behind: index)
      runRequestHead(from: index + 1)
    }
    flushRequestQueue(from: index)
  }

  /// Moves what is queued on, from the place where it waited.
  func flushRequestQueue(from index: Int) {
    var left = value.request.queue.count
    var seen = value.request.seen
    value.request.seen = 0
    let endsNow = value.request.endQueued
    value.request.endQueued = false
    while left > 0, !value.isOver {
      let front = value.request.queue.front
      let piece = front.prefix(min(left, seen > 0 ? seen : left))
      left -= piece.count
      let start = seen > 0 ? index + 1 : index
      seen = max(0, seen - piece.count)
      deliverRequestData(piece, endStream: endsNow && left == 0, from: start)
      guard !value.isOver, value.request.queue.count >= piece.count else { return }
      value.request.queue.drop(piece.count, into: &loop.state.value.blocks)
      if left == 0 {
        finishFlush()
        return
      }
    }
    if endsNow, !value.isOver {
      deliverRequestData(.empty, endStream: true, from: index)
    }
    finishFlush()
  }

  private func finishFlush() {
    guard !value.isOver else { return }
    if value.request.trailersQueued, value.request.isFlowing {
      value.request.trailersQueued = false
      runRequestTrailers(from: value.request.position)
    }
    if value.request.pausedSource, value.request.queue.count <= value.request.limit / 2 {
      value.request.pausedSource = false
      value.client.resumeRequest()
    }
  }

  // MARK: Trailers

  private func runRequestTrailers(from start: Int) {
    var index = start
    while index < value.slotCount {
      let slot = self.slot(index)
      if slot.value.isEnabled, let callback = unsafe slot.value.entry.value.table.requestTrailers {
        let verdict = unsafe call(slot) { unsafe callback($0, $1, $2) }
        guard !settle() else { return }
        if verdict == FL_STOP {
          waitRequest(at: index, .held, headPassed: true)
          value.request.trailersQueued = true
          return
        }
        if value.hasReplacement { guard appendRequestData(behind: index) else { return } }
      }
      index += 1
    }
    routerTrailers()
  }

  /// Bytes that the filter at `index` put between body and trailers go on from there. True when the
  /// trailers follow at once: they may wait behind the bytes, or be gone, and the bytes end the
  /// request.
  private func appendRequestData(behind index: Int) -> Bool {
    let bytes = takeReplacement(of: .empty)
    let hasTrailers = value.requestTrailers.hasFields
    if !hasTrailers { value.request.hasTrailers = false }
    deliverRequestData(bytes, endStream: !hasTrailers, from: index + 1)
    guard hasTrailers, !value.isOver, !value.isResponding else { return false }
    if !value.request.isFlowing { value.request.trailersQueued = true }
    return value.request.isFlowing
  }
}
