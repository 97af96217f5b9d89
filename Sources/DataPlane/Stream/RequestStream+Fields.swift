import CFilterABI
import CLinux
import Engine
import HTTPModel
import Telemetry
import Upstream

// What filters read and change of a stream, through the door.
extension Ref where Value == RequestStream {
  /// A change of one field.
  enum FieldChange {
    case set(Bytes)
    case add(Bytes)
    case remove
  }

  /// The first value of a field.
  func field(_ part: fl_part, _ name: Bytes) -> Bytes? {
    switch part {
    case FL_REQUEST_HEAD: value.requestHead[name]
    case FL_RESPONSE_HEAD:
      name == ":status" ? statusText : value.responseHead[name]
    case FL_REQUEST_TRAILERS: value.requestTrailers[name]
    default: value.responseTrailers[name]
    }
  }

  /// Whether one of these names may be there. SAFETY: `names` came from `load_field_names`.
  func mayHave(_ part: fl_part, _ names: UnsafeRawPointer) -> Bool {
    let set = unsafe Ref<FieldNameSet>(raw: UnsafeMutableRawPointer(mutating: names))
    switch part {
    case FL_REQUEST_HEAD: return set.value.mayBe(in: value.requestHead)
    case FL_RESPONSE_HEAD: return set.value.mayBe(in: value.responseHead)
    case FL_REQUEST_TRAILERS: return set.value.mayBe(in: value.requestTrailers)
    default: return set.value.mayBe(in: value.responseTrailers)
    }
  }

  /// The next live field from `index` on, which moves to it.
  func field(_ part: fl_part, at index: inout Int) -> (Bytes, Bytes)? {
    switch part {
    case FL_REQUEST_HEAD: Self.next(value.requestHead, &index)
    case FL_RESPONSE_HEAD: Self.next(value.responseHead, &index)
    case FL_REQUEST_TRAILERS: Self.next(value.requestTrailers, &index)
    default: Self.next(value.responseTrailers, &index)
    }
  }

  private static func next(_ head: borrowing HeaderMap, _ index: inout Int) -> (Bytes, Bytes)? {
    while index < head.count {
      if head.isLive(index) { return (head.name(index), head.value(index)) }
      index += 1
    }
    return nil
  }

  /// The status as text, kept where details are, for the filter that asks.
  private var statusText: Bytes {
    let block = value.detailsBlock ?? loop.state.value.blocks.take()
    if value.detailsBlock == nil { value.detailsBlock = block }
    let start = block.used
    var digits = InlineArray<24, UInt8>(repeating: 0)
    withDecimal(value.status, &digits) { _ = block.append($0) }
    return block.bytes(from: start)
  }

  func change(_ part: fl_part, _ name: Bytes, _ change: FieldChange) {
    switch part {
    case FL_REQUEST_HEAD:
      // A request without these is none; what a filter may do is give them other values.
      if case .remove = change, name.count > 0, name[0] == UInt8(ascii: ":") { return }
      rememberCaller()
      Self.apply(change, name, to: &value.requestHead, &loop.state.value.blocks)
    case FL_RESPONSE_HEAD:
      if name == ":status" {
        if case .set(let text) = change, let status = text.decimal, status >= 200, status < 600 {
          value.status = status
        }
        return
      }
      Self.apply(change, name, to: &value.responseHead, &loop.state.value.blocks)
    case FL_REQUEST_TRAILERS:
      Self.apply(change, name, to: &value.requestTrailers, &loop.state.value.blocks)
    default: Self.apply(change, name, to: &value.responseTrailers, &loop.state.value.blocks)
    }
  }

  func setRequestField(_ name: Bytes, _ text: Bytes) {
    guard !value.requestHead.isVacant else { return }
    let id = HeaderID.of(name)
    if id == .contentType { rememberCaller() }
    value.requestHead.set(name, id: id, FieldText.clean(text), from: &loop.state.value.blocks)
  }

  private static func apply(
    _ change: FieldChange, _ name: Bytes, to head: inout HeaderMap, _ pool: inout BlockPool
  ) {
    guard !head.isVacant else { return }
    let id = HeaderID.of(name)
    switch change {
    case .set(let value): head.set(name, id: id, FieldText.clean(value), from: &pool)
    case .add(let value): head.add(name, id: id, FieldText.clean(value), from: &pool)
    case .remove: head.remove(name)
    }
  }

  // MARK: Replies

  /// Copies a filter's reply; it is sent when no filter is running.
  func prepareReply(_ reply: UnsafePointer<fl_reply>, by filter: Int) {
    guard !value.isOver else { return }
    value.preparedBy = filter
    let blocks = loop.state
    value.replyHead.release(into: &blocks.value.blocks)
    value.replyHead.open(from: &blocks.value.blocks)
    value.replyBody.removeAll(into: &blocks.value.blocks)
    let status = Int(unsafe reply.pointee.status)
    value.replyStatus = status >= 200 && status < 600 ? status : 500
    value.replyGRPCStatus = unsafe reply.pointee.grpc_status
    for index in unsafe 0..<reply.pointee.field_count {
      guard let fields = unsafe reply.pointee.fields else { break }
      let name = unsafe Bytes(fields[index].name)
      unsafe value.replyHead.add(
        name, id: HeaderID.of(name), FieldText.clean(Bytes(fields[index].value)),
        from: &blocks.value.blocks)
    }
    unsafe value.replyBody.append(Bytes(reply.pointee.body), from: &blocks.value.blocks)
    unsafe setDetails(Bytes(reply.pointee.details))
    value.wanted.insert(.reply)
  }

  // MARK: Facts

  func number(_ number: fl_number) -> UInt64 {
    switch number {
    case FL_MONOTONIC_NS: loop.now
    case FL_WALL_CLOCK_NS: loop.wallClock
    case FL_RANDOM: loop.state.value.random.next()
    case FL_RESPONSE_CODE: UInt64(value.status)
    case FL_REQUEST_BODY_BYTES: value.bytesReceived
    case FL_RESPONSE_BODY_BYTES: value.bytesSent
    case FL_ATTEMPT_COUNT: UInt64(value.attempt.number)
    case FL_WORKER_INDEX: UInt64(worker.value.index)
    case FL_RESPONSE_FLAGS: UInt64(value.flags.rawValue)
    case FL_IS_FAILING_HEALTH_CHECKS: worker.value.shared.value.isFailingHealthChecks ? 1 : 0
    case FL_IS_INTERNAL_REQUEST: value.isInternal ? 1 : 0
    case FL_BUFFER_LIMIT: UInt64(value.request.limit)
    case FL_DURATION_NS: loop.now &- value.startedAt
    case FL_UPSTREAM_DURATION_NS: upstreamDuration
    default: 0
    }
  }

  /// From the request's last byte to the upstream until its answer's last byte, or until now.
  private var upstreamDuration: UInt64 {
    let start = value.upstreamRequestEndedAt
    guard start > 0, value.attempt.responseStarted, !value.attempt.localReply else { return 0 }
    let end = value.upstreamEndedAt > start ? value.upstreamEndedAt : loop.now
    return max(1, end &- start)
  }

  func text(_ text: fl_text) -> Bytes? {
    switch text {
    case FL_UPSTREAM_CLUSTER: value.route.cluster?.value.config.value.name
    case FL_ROUTE_NAME: value.route.name
    case FL_VIRTUAL_HOST_NAME: value.route.virtualHostName
    case FL_DOWNSTREAM_REMOTE_ADDRESS: addressText(clientAddress, withPort: false)
    case FL_DOWNSTREAM_LOCAL_ADDRESS:
      value.downstream.map { addressText($0.value.local, withPort: false) }
    case FL_UPSTREAM_HOST:
      value.attempt.host.map { _ in addressText(value.attempt.hostAddress, withPort: true) }
    case FL_NODE_ID: manager.value.nodeID
    case FL_NODE_CLUSTER: manager.value.nodeCluster
    case FL_RESPONSE_CODE_DETAILS: value.details.isEmpty ? nil : value.details
    default: nil
    }
  }

  /// An address as text, kept until the stream ends.
  private func addressText(_ address: SocketAddress, withPort: Bool) -> Bytes {
    let block = value.textBlock ?? loop.state.value.blocks.take()
    value.textBlock = block
    if block.capacity - block.used < 128 { block.used = 0 }
    var out = unsafe ByteWriter(
      base: block.base + block.used, capacity: block.capacity - block.used)
    if withPort { address.append(to: &out) } else { address.appendIP(to: &out) }
    block.used += out.count
    return out.written
  }
}

/// Text that is allowed to stand in a field.
enum FieldText {
  /// The value up to the first byte that a field may not hold: a filter cannot split a message in
  /// two (RFC 9110 §5.5).
  static func clean(_ value: Bytes) -> Bytes {
    unsafe value.prefix(fl_scan_field_value(value.base, value.count)).trimmed
  }
}

extension ResponseFlags {
  /// Flags that speak of one attempt, and are forgotten when it is replayed.
  static let ofAttempts: ResponseFlags = [
    .noHealthyUpstream, .upstreamRequestTimeout, .upstreamRemoteReset, .upstreamConnectionFailure,
    .upstreamConnectionTermination, .upstreamOverflow, .upstreamProtocolError, .localReset,
    .upstreamRetryLimitExceeded,
  ]

  init(of flag: CFilterABI.fl_flag) {
    switch flag {
    case FL_FLAG_DELAY_INJECTED: self = .delayInjected
    case FL_FLAG_FAULT_INJECTED: self = .faultInjected
    case FL_FLAG_RATE_LIMITED: self = .rateLimited
    case FL_FLAG_UNAUTHORIZED: self = .unauthorizedExternalService
    case FL_FLAG_RETRIES_SPENT: self = .upstreamRetryLimitExceeded
    case FL_FLAG_UPSTREAM_TIMEOUT: self = .upstreamRequestTimeout
    case FL_FLAG_FAILED_HEALTH_CHECK: self = .failedLocalHealthCheck
    case FL_FLAG_STREAM_IDLE_TIMEOUT: self = .streamIdleTimeout
    case FL_FLAG_INVALID_REQUEST: self = .invalidEnvoyRequestHeaders
    case FL_FLAG_UPSTREAM_OVERFLOW: self = .upstreamOverflow
    default: self = []
    }
  }
}
