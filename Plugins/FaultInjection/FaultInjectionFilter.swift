import FilterSDK

/// The table for `envoy.extensions.filters.http.fault.v3.HTTPFault`.
public let faultInjectionFilter = FilterTable(FaultInjectionFilter.self)

/// Delays, aborts and slows down a share of requests, so that callers can rehearse an upstream that
/// fails. Before Retry it meets the request once, behind Retry each attempt.
///
/// Withstands an untrusted upstream. An untrusted downstream may bring the x-envoy-fault- fields
/// itself: `header_delay` and its kind are for callers that one trusts.
public struct FaultInjectionFilter: RouteConfigurable, RequestHeadFilter, ResponseBodyFilter,
  TimerFilter, EndFilter
{
  private enum Tag {
    static let delay: UInt64 = 0
    static let throttle: UInt64 = 1
  }

  private var throttle: ThrottleState?
  /// The stream counts among the active faults; once, however many it gets.
  private var isActive = false

  public init(config: borrowing Config) {}

  public mutating func onRequestHead(
    _ head: borrowing RequestHeadView, config: borrowing Config, _ context: borrowing StreamContext
  ) -> Verdict {
    guard let route = context.routeConfig(of: Self.self) else {
      guard config.isInert else { return inject(config, head, config, context) }
      context.leave(Self.self)
      return .continue
    }
    return inject(route.value, head, config, context)
  }

  private mutating func inject(
    _ settings: borrowing Config, _ head: borrowing RequestHeadView, _ config: borrowing Config,
    _ context: borrowing StreamContext
  ) -> Verdict {
    guard admitsFault(settings, config, context), isMeant(settings, head, context) else {
      return .continue
    }
    startThrottling(settings, head, config, context)
    if startDelay(settings, head, config, context) { return .stop }
    return abort(settings, head, config, context) ?? .continue
  }

  public mutating func onResponseBody(
    _ body: borrowing BodyView, config: borrowing Config, _ context: borrowing StreamContext
  ) -> Verdict {
    guard throttle != nil else { return .continue }
    let now = context.monotonicNanoseconds
    let delay = throttle?.delayMilliseconds(count: body.count, now: now) ?? 0
    guard delay > 0 else { return .continue }
    _ = context.startTimer(afterMilliseconds: delay, tag: Tag.throttle)
    return .stop
  }

  public mutating func onTimer(
    _ tag: UInt64, config: borrowing Config, _ context: borrowing StreamContext
  ) {
    guard tag == Tag.delay else { return context.resumeResponse() }
    guard let route = context.routeConfig(of: Self.self) else {
      return endDelay(config, config, context)
    }
    endDelay(route.value, config, context)
  }

  public mutating func onEnd(config: borrowing Config, _ context: borrowing StreamContext) {
    guard isActive else { return }
    config.active.subtract(1)
    context.add(-1, to: config.statistics.active)
  }
}

// MARK: 1. whether

extension FaultInjectionFilter {
  /// The limit is not exact: workers that look at the same time may both go ahead.
  private func admitsFault(
    _ settings: borrowing Config, _ chain: borrowing Config, _ context: borrowing StreamContext
  ) -> Bool {
    let configured = settings.maxActive ?? .max
    let limit =
      context.runtimeOverride(settings.maxActiveKey).map { UInt64(min($0, 1e15)) } ?? configured
    guard chain.active.value >= limit else { return true }
    context.add(to: chain.statistics.overflow)
    return false
  }

  /// Whether the settings are for this request at all.
  private func isMeant(
    _ settings: borrowing Config, _ head: borrowing RequestHeadView,
    _ context: borrowing StreamContext
  ) -> Bool {
    let cluster = settings.upstreamCluster
    if !cluster.isEmpty, context.text(.upstreamCluster) != cluster { return false }
    if !settings.downstreamNodes.isEmpty {
      guard let node = head["x-envoy-downstream-service-node"],
        settings.downstreamNodes.contains(where: { $0 == node })
      else { return false }
    }
    guard let headers = settings.headers else { return true }
    return head.matches(headers)
  }

  /// Whether chance picks this request. A request may only lower the share that is configured.
  private func isPicked<Kind>(
    _ fault: Fault<Kind>, lowering name: ByteView?, _ head: borrowing RequestHeadView,
    _ context: borrowing StreamContext
  ) -> Bool {
    if let percent = context.runtimeOverride(fault.shareKey) {
      return context.isPicked(Share(percent: percent))
    }
    guard let name, let asked = head[name]?.decimal else { return context.isPicked(fault.share) }
    let (millionths, overflow) = asked.multipliedReportingOverflow(by: fault.unit)
    guard !overflow, millionths < fault.share.millionths else {
      return context.isPicked(fault.share)
    }
    return context.isPicked(Share(percent: Double(millionths) / 10_000))
  }

  /// Counts the stream among the active faults.
  private mutating func activate(_ chain: borrowing Config, _ context: borrowing StreamContext) {
    guard !isActive else { return }
    isActive = true
    chain.active.add(1)
    context.add(1, to: chain.statistics.active)
  }
}

// MARK: 2. what

extension FaultInjectionFilter {
  private mutating func startThrottling(
    _ settings: borrowing Config, _ head: borrowing RequestHeadView, _ chain: borrowing Config,
    _ context: borrowing StreamContext
  ) {
    guard let fault = settings.throttle else { return }
    var rate: UInt64?
    var lowering: ByteView?
    switch fault.kind {
    case .fixed(let configured): rate = configured
    case .header:
      rate = head["x-envoy-fault-throughput-response"]?.decimal
      lowering = "x-envoy-fault-throughput-response-percentage"
    }
    guard isPicked(fault, lowering: lowering, head, context), let rate, rate > 0 else { return }
    throttle = ThrottleState(kibibytesPerSecond: rate)
    activate(chain, context)
    context.add(to: chain.statistics.throttles)
  }

  /// Whether the request waits now.
  private mutating func startDelay(
    _ settings: borrowing Config, _ head: borrowing RequestHeadView, _ chain: borrowing Config,
    _ context: borrowing StreamContext
  ) -> Bool {
    guard let fault = settings.delay else { return false }
    var milliseconds: UInt64?
    var lowering: ByteView?
    switch fault.kind {
    case .fixed(let configured): milliseconds = configured
    case .header:
      milliseconds = head["x-envoy-fault-delay-request"]?.decimal
      lowering = "x-envoy-fault-delay-request-percentage"
    }
    guard isPicked(fault, lowering: lowering, head, context), var milliseconds else { return false }
    if let override = fault.valueKey.flatMap({ context.runtimeOverride($0) }) {
      milliseconds = UInt64(min(override, 1e15))
    }
    guard milliseconds > 0 else { return false }
    _ = context.startTimer(afterMilliseconds: milliseconds, tag: Tag.delay)
    activate(chain, context)
    context.add(to: chain.statistics.delays)
    context.set(.delayInjected)
    return true
  }

  /// An abort may follow a delay; otherwise the request goes on.
  private mutating func endDelay(
    _ settings: borrowing Config, _ chain: borrowing Config, _ context: borrowing StreamContext
  ) {
    let head = context.requestHead
    if abort(settings, head, chain, context) == nil { context.resumeRequest() }
  }

  /// Answers the request here; nil when it goes on.
  private mutating func abort(
    _ settings: borrowing Config, _ head: borrowing RequestHeadView, _ chain: borrowing Config,
    _ context: borrowing StreamContext
  ) -> Verdict? {
    guard let fault = settings.abort else { return nil }
    var lowering: ByteView?
    if case .header = fault.kind { lowering = "x-envoy-fault-abort-request-percentage" }
    guard isPicked(fault, lowering: lowering, head, context) else { return nil }
    let (http, grpc) = abortStatus(fault, head, context)
    guard http != nil || grpc != nil else { return nil }
    activate(chain, context)
    context.add(to: chain.statistics.aborts)
    context.set(.faultInjected)
    return context.reply(
      status: http ?? 200, body: "fault filter abort", details: "fault_filter_abort",
      grpcStatus: http == nil ? Int32(clamping: grpc ?? 0) : -1)
  }

  /// The status to answer with, in HTTP's terms or else in gRPC's.
  private func abortStatus(
    _ fault: Fault<Abort>, _ head: borrowing RequestHeadView, _ context: borrowing StreamContext
  ) -> (http: UInt32?, grpc: UInt32?) {
    var http: UInt32?
    var grpc: UInt32?
    switch fault.kind {
    case .http(let status): http = status
    case .grpc(let status): grpc = status
    case .header:
      let asked = head["x-envoy-fault-abort-request"]?.decimal
      http = asked.flatMap { (200...599).contains($0) ? UInt32(clamping: $0) : nil }
      grpc = head["x-envoy-fault-abort-grpc-request"]?.decimal.map { UInt32(clamping: $0) }
    }
    if http != nil, let override = fault.valueKey.flatMap({ context.runtimeOverride($0) }) {
      http = (200...599).contains(override) ? UInt32(override) : http
    }
    if grpc != nil, let override = fault.grpcKey.flatMap({ context.runtimeOverride($0) }) {
      grpc = UInt32(min(override, Double(Int32.max)))
    }
    return (http, grpc)
  }
}
