import FilterSDK

/// The table for `fairlead.filters.http.timeout.v1.Timeout`.
public let timeoutFilter = FilterTable(TimeoutFilter.self)

/// Gives up on what is behind it when that takes too long: 504 `UT` when no response has begun, a
/// reset when one has. Before Retry it bounds the whole request, behind Retry each attempt.
///
/// The time runs from the end of the request, as in Envoy, so that a slow sender is not held
/// against the upstream.
///
/// Withstands an untrusted downstream, whose x-envoy- fields the connection manager has removed,
/// and an untrusted upstream.
public struct TimeoutFilter: RouteConfigurable, RequestHeadFilter, RequestBodyFilter,
  RequestTrailersFilter, ResponseHeadFilter, TimerFilter
{
  private enum Tag {
    static let response: UInt64 = 0
    static let idle: UInt64 = 1
  }

  /// 0: no bound.
  private var boundMilliseconds: UInt64 = 0
  private var idle: IdleWatch?
  /// A trusted caller asked for an empty 204 in a 504's place.
  private var repliesNoContent = false
  private var requestEnded = false
  private var responseStarted = false

  public init(config: borrowing Config) {}

  public mutating func onRequestHead(
    _ head: borrowing RequestHeadView, config: borrowing Config, _ context: borrowing StreamContext
  ) -> Verdict {
    if let route = context.routeConfig(of: Self.self) {
      begin(head, config.overridden(by: route.value), context)
    } else {
      begin(head, config, context)
    }
    return .continue
  }

  private mutating func begin(
    _ head: borrowing RequestHeadView, _ config: borrowing Config,
    _ context: borrowing StreamContext
  ) {
    let route = context.routeTimeouts
    boundMilliseconds = config.timeoutMilliseconds ?? route.routeMilliseconds
    if !config.ignoresRequestHeaders, head.mayHave(anyOf: config.requestFields) {
      let asked = readRequestHeaders(head, respectingExpected: route.respectsExpectedTimeout)
      if config.timeoutMilliseconds == nil, let asked { boundMilliseconds = asked }
    }
    // 0 would read as "for ever" there, which is what an absent field says already.
    if boundMilliseconds > 0, !route.suppressesEnvoyHeaders {
      head.set("x-envoy-expected-rq-timeout-ms", number: boundMilliseconds)
    }
    if let bound = config.idleMilliseconds, bound > 0 { watchIdle(bound, context) }
    // Neither bound: nothing to wait for.
    guard boundMilliseconds > 0 || idle != nil else { return context.leave(Self.self) }
    if head.endsStream { startWaiting(context) }
  }

  public mutating func onRequestBody(
    _ body: borrowing BodyView, config: borrowing Config, _ context: borrowing StreamContext
  ) -> Verdict {
    if body.endsStream { startWaiting(context) }
    return .continue
  }

  public mutating func onRequestTrailers(
    _ trailers: borrowing TrailersView, config: borrowing Config, _ context: borrowing StreamContext
  ) -> Verdict {
    startWaiting(context)
    return .continue
  }

  public mutating func onResponseHead(
    _ head: borrowing ResponseHeadView, config: borrowing Config, _ context: borrowing StreamContext
  ) -> Verdict {
    responseStarted = true
    return .continue
  }

  public mutating func onTimer(
    _ tag: UInt64, config: borrowing Config, _ context: borrowing StreamContext
  ) {
    if tag == Tag.idle { askIdle(context) } else { giveUpWaiting(context) }
  }
}

// MARK: the response's time

extension TimeoutFilter {
  /// Takes out the fields with which a trusted caller overrides the route's timeout; nil when it
  /// does not.
  private mutating func readRequestHeaders(
    _ head: borrowing RequestHeadView, respectingExpected: Bool
  ) -> UInt64? {
    if head["x-envoy-upstream-rq-timeout-alt-response"] != nil {
      repliesNoContent = true
      head.remove("x-envoy-upstream-rq-timeout-alt-response")
    }
    // An Envoy before us has put its own timeout there and removed the caller's field.
    if respectingExpected, let expected = head["x-envoy-expected-rq-timeout-ms"] {
      return expected.decimal
    }
    return head.takeDecimal("x-envoy-upstream-rq-timeout-ms")
  }

  /// The request is whole: from now on the upstream is waited for.
  private mutating func startWaiting(_ context: borrowing StreamContext) {
    guard !requestEnded else { return }
    requestEnded = true
    guard boundMilliseconds > 0 else { return }
    _ = context.startTimer(afterMilliseconds: boundMilliseconds, tag: Tag.response)
  }

  private func giveUpWaiting(_ context: borrowing StreamContext) {
    context.count(.timeout)
    context.set(.upstreamTimeout)
    if responseStarted {
      context.reset(details: "response_timeout")
    } else if repliesNoContent {
      context.reply(status: 204, details: "response_timeout")
    } else {
      context.reply(status: 504, body: "upstream request timeout", details: "response_timeout")
    }
  }
}

// MARK: silence

extension TimeoutFilter {
  private mutating func watchIdle(_ bound: UInt64, _ context: borrowing StreamContext) {
    let watch = IdleWatch(
      boundMilliseconds: bound, amount: moved(context), now: context.monotonicNanoseconds)
    _ = context.startTimer(afterMilliseconds: watch.firstMilliseconds, tag: Tag.idle)
    idle = watch
  }

  private mutating func askIdle(_ context: borrowing StreamContext) {
    let moved = moved(context)
    switch idle?.ask(amount: moved, now: context.monotonicNanoseconds) {
    case .ask(let delay): _ = context.startTimer(afterMilliseconds: delay, tag: Tag.idle)
    case .idle: giveUpIdle(context)
    case nil: break
    }
  }

  /// A number that grows with every byte and with the response's head.
  private func moved(_ context: borrowing StreamContext) -> UInt64 {
    context.requestBodyBytes &+ context.responseBodyBytes &+ (responseStarted ? 1 : 0)
  }

  private func giveUpIdle(_ context: borrowing StreamContext) {
    context.set(.streamIdleTimeout)
    if responseStarted {
      context.reset(details: "stream_idle_timeout")
    } else {
      // Whoever kept silent is told so: the caller with 408, the upstream with 504.
      context.reply(
        status: requestEnded ? 504 : 408, body: "stream timeout", details: "stream_idle_timeout")
    }
  }
}
