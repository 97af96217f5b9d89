import CFilterABI
import Engine
import HTTPModel

// What filters ask for from inside a callback is done when the callback has returned, so that no
// filter is called while it is running.
extension Ref where Value == RequestStream {
  /// The filter lets the message pass and has asked for nothing: all there is to it, most of the time.
  @inline(__always)
  func goesOn(_ verdict: fl_verdict) -> Bool {
    verdict == FL_CONTINUE && value.wanted.isEmpty && !value.isOver
  }

  /// Does what was asked for in the meantime. True when the caller must stop: the stream has gone
  /// another way, or is over.
  func settle() -> Bool {
    guard !value.isOver else { return true }
    guard value.depth == 0, !value.wanted.isEmpty else { return false }
    if value.wanted.contains(.reset) {
      value.wanted = PendingActions()
      abandon(details: value.details.isEmpty ? Bytes("filter_reset") : value.details)
      return true
    }
    if value.wanted.contains(.reply) {
      value.wanted = PendingActions()
      startFilterReply()
      return true
    }
    if value.wanted.contains(.failure) {
      value.wanted.remove(.failure)
      failAttempt(value.wantedFailure)
      return true
    }
    return false
  }

  /// The same, where no chain is running that would look: after a timer or a call's result.
  func settleOutsideChain(at slot: Ref<FilterSlot>) {
    let index = Int(slot.value.index)
    guard !settle(), !value.isOver else { return }
    if value.wanted.contains(.resumeRequest) { resumeRequest(at: index) }
    if !value.isOver, value.wanted.contains(.resumeResponse) { resumeResponse(at: index) }
    if !value.isOver { flushDownstream() }
  }

  func flushDownstream() { worker.value.output.flush(on: loop) }

  // MARK: Replaced bodies

  /// The piece to go on with: what the filter put in its place, or the piece itself. A replacement
  /// is valid until the next one.
  func takeReplacement(of piece: Bytes) -> Bytes {
    guard value.hasReplacement else { return piece }
    value.hasReplacement = false
    return value.replacement?.bytes() ?? .empty
  }

  func setReplacement(_ bytes: Bytes) -> Bool {
    guard bytes.count <= BlockPool.largest else { return false }
    let block = loop.state.value.blocks.take(max(bytes.count, BlockPool.smallest))
    _ = block.append(bytes)
    if let old = value.replacement { loop.state.value.blocks.release(old) }
    value.replacement = block
    value.hasReplacement = true
    return true
  }

  func setContentLength(_ head: inout HeaderMap, _ count: Int) {
    guard head.contains(.contentLength) || !head.contains(.transferEncoding) else { return }
    var digits = InlineArray<24, UInt8>(repeating: 0)
    withDecimal(count, &digits) {
      head.set(.contentLength, $0, from: &loop.state.value.blocks)
    }
  }

  // MARK: Whole bodies

  /// Everything a queue holds as one view, in memory that the caller releases.
  func contiguous(_ queue: inout ByteQueue) -> WholeBody {
    let memory = UnsafeMutablePointer<UInt8>.allocate(capacity: max(queue.count, 1))
    let total = queue.count
    var offset = 0
    while queue.count > 0 {
      let front = queue.front
      unsafe (memory + offset).update(from: front.base, count: front.count)
      offset += front.count
      queue.drop(front.count, into: &loop.state.value.blocks)
    }
    return unsafe WholeBody(memory: memory, bytes: Bytes(base: memory, count: total))
  }

  /// A copy of everything a queue holds, which stays where it is.
  func copy(of queue: borrowing ByteQueue) -> WholeBody {
    let memory = UnsafeMutablePointer<UInt8>.allocate(capacity: max(queue.count, 1))
    var offset = 0
    queue.visit { piece in
      unsafe (memory + offset).update(from: piece.base, count: piece.count)
      offset += piece.count
    }
    return unsafe WholeBody(memory: memory, bytes: Bytes(base: memory, count: offset))
  }

  func release(_ body: WholeBody) { unsafe body.memory.deallocate() }
}

/// A buffered body, in one piece.
@safe
struct WholeBody {
  fileprivate let memory: UnsafeMutablePointer<UInt8>
  let bytes: Bytes

  fileprivate init(memory: UnsafeMutablePointer<UInt8>, bytes: Bytes) {
    unsafe self.memory = memory
    self.bytes = bytes
  }
}

/// Lends a number's digits.
func withDecimal(
  _ number: Int, _ memory: inout InlineArray<24, UInt8>, _ body: (Bytes) -> Void
) {
  var span = memory.mutableSpan
  unsafe span.withUnsafeMutableBufferPointer { buffer in
    guard let base = buffer.baseAddress else { return }
    // From the last digit to the first; the longest number has twenty bytes with its sign.
    var place = buffer.count
    var left = number.magnitude
    repeat {
      place &-= 1
      unsafe base[place] = UInt8(truncatingIfNeeded: 48 &+ left % 10)
      left /= 10
    } while left > 0
    if number < 0 {
      place &-= 1
      unsafe base[place] = UInt8(ascii: "-")
    }
    body(unsafe Bytes(base: UnsafePointer(base) + place, count: buffer.count &- place))
  }
}
