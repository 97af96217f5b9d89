public import CFilterABI

/// Names a timer or a call of one stream.
@frozen
public struct Ticket: BitwiseCopyable, Equatable {
  @usableFromInline let raw: fl_ticket

  @inlinable init(_ raw: fl_ticket) { self.raw = raw }

  /// Names nothing.
  @inlinable public static var none: Ticket { Ticket(0) }
}

/// One filter's place on one stream, for the length of a callback: time, chance, the chain, timers,
/// calls, facts and statistics.
///
/// SAFETY: it cannot be copied, so it does not outlive the callback that borrowed it; the host
/// lends the stream for that long, on one thread.
@safe @frozen
public struct StreamContext: ~Copyable {
  public let stream: OpaquePointer

  @inlinable init(_ stream: OpaquePointer) { unsafe self.stream = stream }
}

// MARK: leaving

extension StreamContext {
  /// The filter has nothing more to do on this stream: its timers and calls are cancelled, and the
  /// host calls it no more, not even `onEnd`. What most streams do not need then costs them nothing.
  ///
  /// Only for a state that is a plain value and keeps nothing that `onEnd` gives back.
  @inlinable public func leave<Filter: HTTPFilter>(_: Filter.Type) {
    precondition(_isPOD(Filter.self), "a filter that leaves is a plain value")
    unsafe Host.table.leave.unsafelyUnwrapped(stream)
  }
}

// MARK: time and chance

extension StreamContext {
  /// Nanoseconds on a clock that only goes forward.
  @inlinable public var monotonicNanoseconds: UInt64 { number(FL_MONOTONIC_NS) }
  /// Nanoseconds since 1970.
  @inlinable public var wallClockNanoseconds: UInt64 { number(FL_WALL_CLOCK_NS) }
  /// Nanoseconds since the request began.
  @inlinable public var durationNanoseconds: UInt64 { number(FL_DURATION_NS) }

  /// 64 random bits; never for secrets.
  @inlinable public func random() -> UInt64 { number(FL_RANDOM) }

  /// Whether chance picks this stream.
  @inlinable public func isPicked(_ share: Share) -> Bool {
    if share.isAll { return true }
    if share.isNone { return false }
    return share.admits(random())
  }

  /// Whether chance picks this stream, at the rate that the runtime may override.
  @inlinable public func isPicked(_ share: RuntimeShare) -> Bool { isPicked(self.share(share)) }

  /// The rate that is in force now.
  @inlinable public func share(_ share: RuntimeShare) -> Share {
    guard let key = share.key else { return share.fallback }
    return Share(percent: runtime(key))
  }

  /// The runtime's number under this key, or its default.
  @inlinable public func runtime(_ key: RuntimeKey) -> Double {
    unsafe Host.table.runtime.unsafelyUnwrapped(stream, key.raw)
  }

  /// The runtime's number under this key, or nil when it has none; for a key whose default is below
  /// zero, because the true one is known to the stream only.
  @inlinable public func runtimeOverride(_ key: RuntimeKey) -> Double? {
    let value = runtime(key)
    return value >= 0 ? value : nil
  }

  /// Calls `onTimer` once with `tag` after so many milliseconds; 34 years count as for ever, so that
  /// a number from outside cannot leave the host's clock.
  @inlinable public func startTimer(afterMilliseconds delay: UInt64, tag: UInt64 = 0) -> Ticket {
    Ticket(unsafe Host.table.timer_start.unsafelyUnwrapped(stream, min(delay, 1 << 40), tag))
  }

  /// Forgets a timer, and the ticket.
  @inlinable public func cancel(timer: inout Ticket) {
    guard timer != .none else { return }
    unsafe Host.table.timer_cancel.unsafelyUnwrapped(stream, timer.raw)
    timer = .none
  }
}

// MARK: the chain

extension StreamContext {
  /// Answers the request here. `details` is what `%RESPONSE_CODE_DETAILS%` shows.
  ///
  ///     return context.reply(status: 503, body: "try later", details: "overloaded")
  @inlinable @discardableResult
  public func reply(
    status: UInt32, body: ByteView = ByteView(), details: ByteView, grpcStatus: Int32 = -1,
    fields: [Field] = []
  ) -> Verdict {
    // SAFETY: a Field is two views, laid out as fl_field is; the host copies before it returns.
    unsafe fields.withUnsafeBytes { lent in
      var reply = unsafe fl_reply(
        status: status, body: body.raw, details: details.raw,
        fields: lent.baseAddress?.assumingMemoryBound(to: fl_field.self),
        field_count: fields.count, grpc_status: grpcStatus)
      unsafe Host.table.reply.unsafelyUnwrapped(stream, &reply)
    }
    return .replied
  }

  /// Ends the stream without a response.
  @inlinable @discardableResult
  public func reset(details: ByteView) -> Verdict {
    unsafe Host.table.reset.unsafelyUnwrapped(stream, details.raw)
    return .replied
  }

  /// Continues a request that waits at this filter.
  @inlinable public func resumeRequest() {
    unsafe Host.table.resume_request.unsafelyUnwrapped(stream)
  }

  /// Continues a response that waits at this filter.
  @inlinable public func resumeResponse() {
    unsafe Host.table.resume_response.unsafelyUnwrapped(stream)
  }

  /// Makes the router look for a route again.
  @inlinable public func clearRouteCache() {
    unsafe Host.table.clear_route_cache.unsafelyUnwrapped(stream)
  }

  /// How much `Verdict.buffer` may hold for this stream.
  @inlinable public var bufferLimit: UInt64 {
    get { number(FL_BUFFER_LIMIT) }
    nonmutating set { unsafe Host.table.set_buffer_limit.unsafelyUnwrapped(stream, newValue) }
  }

  /// The request's head, from any callback.
  @inlinable public var requestHead: RequestHeadView {
    unsafe RequestHeadView(stream, endsStream: false)
  }

  /// The response's head, while it has not gone on from this filter.
  @inlinable public var responseHead: ResponseHeadView {
    unsafe ResponseHeadView(stream, endsStream: false)
  }
}

// MARK: facts and statistics

extension StreamContext {
  @inlinable func number(_ which: fl_number) -> UInt64 {
    unsafe Host.table.number.unsafelyUnwrapped(stream, which)
  }

  /// A text about the stream, or nil when there is none yet.
  @inlinable public func text(_ which: StreamText) -> ByteView? {
    var value = unsafe fl_bytes()
    guard
      unsafe Host.table.text.unsafelyUnwrapped(stream, fl_text(rawValue: which.rawValue), &value)
    else { return nil }
    return unsafe ByteView(value)
  }

  /// The response's status; 0 before there is one.
  @inlinable public var responseCode: Int { Int(truncatingIfNeeded: number(FL_RESPONSE_CODE)) }
  /// Bytes of the request's body so far.
  @inlinable public var requestBodyBytes: UInt64 { number(FL_REQUEST_BODY_BYTES) }
  /// Bytes of the response's body so far.
  @inlinable public var responseBodyBytes: UInt64 { number(FL_RESPONSE_BODY_BYTES) }
  @inlinable public var workerIndex: Int { Int(truncatingIfNeeded: number(FL_WORKER_INDEX)) }
  /// An operator has asked the proxy to fail its health checks.
  @inlinable public var isFailingHealthChecks: Bool { number(FL_IS_FAILING_HEALTH_CHECKS) != 0 }
  /// The request came from inside, by the connection manager's rules.
  @inlinable public var isInternalRequest: Bool { number(FL_IS_INTERNAL_REQUEST) != 0 }

  /// The request is a health check: access logs may leave it out.
  @inlinable public func markHealthCheck() {
    unsafe Host.table.mark_health_check.unsafelyUnwrapped(stream)
  }

  @inlinable public func set(_ flag: ResponseFlag) {
    unsafe Host.table.set_flag.unsafelyUnwrapped(stream, fl_flag(rawValue: flag.rawValue))
  }

  @inlinable public func add(_ amount: UInt64 = 1, to counter: Counter) {
    unsafe Host.table.counter_add.unsafelyUnwrapped(stream, counter.raw, amount)
  }

  @inlinable public func add(_ amount: Int64, to gauge: Gauge) {
    unsafe Host.table.gauge_add.unsafelyUnwrapped(stream, gauge.raw, amount)
  }

  @inlinable public func record(_ value: UInt64, in histogram: Histogram) {
    unsafe Host.table.histogram_record.unsafelyUnwrapped(stream, histogram.raw, value)
  }

  /// Counts one at the stream's cluster.
  @inlinable public func count(_ counter: ClusterCounter) {
    unsafe Host.table.cluster_counter_add.unsafelyUnwrapped(
      stream, fl_cluster_stat(rawValue: counter.rawValue), 1)
  }

  /// Counts at the stream's cluster, under a name that is made here: `cluster.<cluster>.<name>`. A
  /// cluster has a bounded number of such names.
  @inlinable public func count(_ amount: UInt64 = 1, atCluster name: ByteView) {
    unsafe Host.table.cluster_counter_named.unsafelyUnwrapped(stream, name.raw, amount)
  }

  /// Records in a histogram of the stream's cluster, under a name that is made here.
  @inlinable public func record(_ number: UInt64, atCluster name: ByteView) {
    unsafe Host.table.cluster_histogram_named.unsafelyUnwrapped(stream, name.raw, number)
  }

  /// Nanoseconds from the request's last byte to the upstream until its answer's; nil while there is
  /// no answer of an upstream.
  @inlinable public var upstreamNanoseconds: UInt64? {
    let duration = number(FL_UPSTREAM_DURATION_NS)
    return duration > 0 ? duration : nil
  }

  /// A number of this filter's own that the streams of one downstream connection share, for as long
  /// as it is open; `first` until somebody changes it. nil where there is no connection.
  @inlinable public func connectionNumber(first: UInt64) -> SharedNumber? {
    guard let place = unsafe Host.table.connection_number.unsafelyUnwrapped(stream, first) else {
      return nil
    }
    return unsafe SharedNumber(UnsafeRawPointer(place))
  }

  /// Dynamic metadata along the request, as the access log's `DYNAMIC_METADATA` shows it.
  @inlinable public func metadata(_ nameSpace: ByteView, _ key: ByteView) -> ByteView? {
    var value = unsafe fl_bytes()
    guard
      unsafe Host.table.metadata_get.unsafelyUnwrapped(stream, nameSpace.raw, key.raw, &value)
    else { return nil }
    return unsafe ByteView(value)
  }

  @inlinable public func setMetadata(_ nameSpace: ByteView, _ key: ByteView, _ value: ByteView) {
    unsafe Host.table.metadata_set.unsafelyUnwrapped(stream, nameSpace.raw, key.raw, value.raw)
  }

  /// The same for what is true or false, and no text.
  @inlinable public func setMetadata(_ nameSpace: ByteView, _ key: ByteView, flag: Bool) {
    unsafe Host.table.metadata_set_flag.unsafelyUnwrapped(stream, nameSpace.raw, key.raw, flag)
  }
}

/// Texts about a stream.
@frozen
public enum StreamText: UInt32 {
  /// Chosen by the route, before any host is.
  case upstreamCluster = 0
  case routeName = 1
  /// Without the port.
  case downstreamRemoteAddress = 2
  case downstreamLocalAddress = 3
  case upstreamHost = 4
  case nodeID = 5
  case nodeCluster = 6
  case responseCodeDetails = 7
  case virtualHostName = 8
}
