import CFilterABI
import Engine
import HTTPModel
import Upstream

/// A request of our own: what a filter asks a cluster, or a copy of a request for a shadow. It runs
/// as a stream without a client, whose chain is empty.
struct InternalCall: ~Copyable, Pooled {
  var generation: UInt32 = 0
  var nextFree: Ref<InternalCall>?

  /// Whom the result is for; nobody, for a mirrored request.
  var ticket: Weak<FilterTicket>?
  var stream: Ref<RequestStream>?
  var worker: Ref<Worker>?
  var body = ByteQueue()
  var status: UInt32 = 0
  var isOver = false
  var timer = TimerID.none

  /// What is kept of a response's body.
  static let bodyLimit = 1024 * 1024
  /// What Envoy's asynchronous client waits for unless told otherwise.
  static let defaultTimeout: UInt64 = 15_000
}

extension Ref where Value == InternalCall {
  private var held: Ref<Worker> {
    guard let worker = value.worker else { preconditionFailure("an open call has a worker") }
    return worker
  }

  private var loop: EventLoop { held.value.loop }

  /// The stream's response head is there.
  func receivedHead(_ stream: Ref<RequestStream>) {
    value.status = UInt32(truncatingIfNeeded: stream.value.status)
    stream.value.headSent = true
    let endStream =
      stream.value.response.ended && stream.value.response.queue.isEmpty
      && !stream.value.response.hasTrailers
    if endStream { finish(stream) }
  }

  func receivedData(_ piece: Bytes, endStream: Bool, of stream: Ref<RequestStream>) {
    let room = InternalCall.bodyLimit - value.body.count
    if value.ticket != nil, room > 0 {
      value.body.append(piece.prefix(room), from: &loop.state.value.blocks)
    }
    if endStream { finish(stream) }
  }

  /// The response is whole: tells whoever asked, then ends the stream.
  private func finish(_ stream: Ref<RequestStream>) {
    guard !value.isOver else { return }
    value.isOver = true
    report(from: stream)
    stream.endCall()
  }

  private func report(from stream: Ref<RequestStream>?) {
    guard let ticket = value.ticket?.ref else { return }
    value.ticket = nil
    var fields: [fl_field] = unsafe []
    if let stream {
      for index in 0..<stream.value.responseHead.count
      where stream.value.responseHead.isLive(index) {
        unsafe fields.append(
          fl_field(
            name: stream.value.responseHead.name(index).abi,
            value: stream.value.responseHead.value(index).abi))
      }
    }
    let status = value.status
    let body = flatBody()
    unsafe fields.withUnsafeBufferPointer { list in
      unsafe body.withUnsafeBufferPointer { bytes in
        unsafe ticket.finished(
          fl_call_result(
            status: status, fields: list.baseAddress, field_count: list.count,
            body: fl_bytes(data: bytes.baseAddress, count: bytes.count)))
      }
    }
  }

  private func flatBody() -> [UInt8] {
    var bytes: [UInt8] = []
    while !value.body.isEmpty {
      let front = value.body.front
      for index in 0..<front.count { bytes.append(front[index]) }
      value.body.drop(front.count, into: &loop.state.value.blocks)
    }
    return bytes
  }

  /// The stream has ended, in whatever way.
  func streamEnded() {
    guard let worker = value.worker else { return }
    if !value.isOver {
      value.isOver = true
      value.status = 0
      report(from: nil)
    }
    value.body.removeAll(into: &loop.state.value.blocks)
    loop.cancel(value.timer)
    value.timer = .none
    value.stream = nil
    value.ticket = nil
    value.worker = nil
    value.isOver = false
    value.status = 0
    worker.value.calls.release(self)
  }

  /// Nobody waits for the result any more.
  func cancel() {
    value.ticket = nil
    value.isOver = true
    value.stream?.endCall()
  }

  /// 0 is no bound.
  func startTimer(milliseconds: UInt64) {
    guard milliseconds > 0 else { return }
    value.timer = unsafe loop.after(milliseconds: milliseconds, context: raw) { raw, _ in
      unsafe Ref<InternalCall>(raw: raw).timedOut()
    }
  }

  private func timedOut() {
    value.timer = .none
    guard !value.isOver, let stream = value.stream else { return }
    if let cluster = stream.value.attempt.cluster {
      held.value.stats.add(cluster.value.stats.value.requests.timeout)
      cluster.countResponse(code: 504, origin: .internal, milliseconds: nil)
    }
    stream.endCall()
  }
}

extension Ref where Value == RequestStream {
  /// Starts a request of the filter in `slot`; the ticket, or 0 when there is no such cluster.
  func startCall(for slot: Ref<FilterSlot>, _ request: fl_call) -> UInt64 {
    let worker = self.worker
    guard let cluster = unsafe snapshot.value.cluster(named: Bytes(request.cluster)) else {
      return 0
    }
    let ticket = newTicket(for: slot)
    let call = worker.value.calls.take()
    call.value.worker = worker
    call.value.ticket = Weak(ticket)
    ticket.value.call = Weak(call)
    let stream = openCall(call)
    for index in unsafe 0..<request.field_count {
      guard let fields = unsafe request.fields else { break }
      let name = unsafe Bytes(fields[index].name)
      unsafe stream.value.requestHead.add(
        name, id: HeaderID.of(name), Bytes(fields[index].value),
        from: &loop.state.value.blocks)
    }
    let body = unsafe Bytes(request.body)
    if !body.isEmpty { stream.setContentLength(&stream.value.requestHead, body.count) }
    let timeout =
      unsafe request.timeout_ms == 0 ? InternalCall.defaultTimeout : request.timeout_ms
    call.startTimer(milliseconds: timeout)
    let id = ticket.value.id
    stream.runCall(to: cluster, body: body)
    return id
  }

  /// A stream without a client on this worker.
  func openCall(_ call: Ref<InternalCall>) -> Ref<RequestStream> {
    let worker = self.worker
    let stream = worker.value.streams.take()
    call.value.stream = stream
    stream.open(
      on: worker, manager: worker.value.shared.value.callManager, downstream: nil,
      snapshot: worker.hold(snapshot))
    stream.value.call = call
    stream.value.requestHead.open(from: &loop.state.value.blocks)
    stream.value.isInternal = true
    return stream
  }

  /// Sends what `openCall` prepared.
  func runCall(to cluster: Ref<ClusterView>, body: Bytes) {
    value.request.ended = true
    value.requestEndedAt = loop.now
    value.route.cluster = cluster
    // To the next hop we are the client, and one of its own network (as Envoy's asynchronous client).
    value.requestHead.set(.envoyInternal, Bytes("true"), from: &loop.state.value.blocks)
    var address = AddressText(worker.value.machineAddress)
    address.withBytes {
      value.requestHead.append(
        .xForwardedFor, separator: ",", $0, from: &loop.state.value.blocks)
    }
    if let method = value.requestHead[.method] { value.isHEAD = method == "HEAD" }
    if !body.isEmpty {
      // The body stands in the queue before the router, as if it had waited there.
      value.request.mode = .held
      value.request.position = value.slotCount
      value.request.headPassed = true
      value.request.queue.append(body, from: &loop.state.value.blocks)
      value.request.endQueued = true
    }
    value.request.headDelivered = true
    startAttempt(cluster: cluster)
    flushDownstream()
  }
}
