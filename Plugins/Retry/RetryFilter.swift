import FilterSDK

/// The table for `fairlead.filters.http.retry.v1.Retry`.
public let retryFilter = FilterTable(RetryFilter.self)

/// Sends a failed request again, as the route's retry policy and a trusted caller's x-envoy- fields
/// say. The filters behind it form the attempt; once a response has passed, nothing is repeated.
///
/// Withstands an untrusted downstream, whose x-envoy- fields the connection manager has removed,
/// and an untrusted upstream: what it asks for in reset headers is bounded by the policy.
public struct RetryFilter: RouteConfigurable, ReplayingFilter, RequestHeadFilter,
  RequestBodyFilter, RequestTrailersFilter, TimerFilter, EndFilter
{
  private enum Tag {
    static let perTry: UInt64 = 0
    static let perTryIdle: UInt64 = 1
  }

  private var state = RetryState()
  private var policy: RetryPolicy?
  private var perTryMilliseconds: UInt64 = 0
  private var perTryIdleMilliseconds: UInt64 = 0
  private var perTryTimer = Ticket.none
  private var idleTimer = Ticket.none
  private var idle: IdleWatch?
  private var requestEnded = false
  private var responsePassed = false
  /// What the request's own fields add to the policy; seldom there.
  private var retriableStatuses = HeldText()
  private var retriableHeaderNames = HeldText()

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
    readPolicy(config.policy ?? context.routeRetryPolicy, head)
    if !config.ignoresRequestHeaders, head.mayHave(anyOf: config.requestFields) {
      readRequestHeaders(head)
    }
    limitByRequestHeaders(head)
    announcePerTryTimeout(head, context)

    guard !state.conditions.isEmpty || perTryMilliseconds > 0 || perTryIdleMilliseconds > 0 else {
      return leave(context)
    }
    if !state.conditions.isEmpty {
      context.retainBody(limit: config.bodyLimit ?? context.bufferLimit)
    }
    startIdleTimer(afterDelay: 0, context)
    if head.endsStream { endRequest(context) }
  }

  public mutating func onRequestBody(
    _ body: borrowing BodyView, config: borrowing Config, _ context: borrowing StreamContext
  ) -> Verdict {
    if body.endsStream { endRequest(context) }
    return .continue
  }

  public mutating func onRequestTrailers(
    _ trailers: borrowing TrailersView, config: borrowing Config, _ context: borrowing StreamContext
  ) -> Verdict {
    endRequest(context)
    return .continue
  }

  public mutating func onResponseHead(
    _ head: borrowing ResponseHeadView, config: borrowing Config, _ context: borrowing StreamContext
  ) -> Verdict {
    context.cancel(timer: &perTryTimer)
    guard !state.conditions.isEmpty else { return pass() }
    let attempt = context.attempt
    let isWorthRepeating = isWorthRepeating(head, attempt)
    if !isWorthRepeating, state.hasRetried, attempt.failure == .none {
      context.count(.retrySuccess)
    }
    // A body that was not kept cannot be sent again, whatever the policy says.
    switch state.decide(isWorthRepeating: isWorthRepeating && attempt.bodyRetained) {
    case .pass:
      return pass()
    case .limitExceeded:
      context.count(.retryLimitExceeded)
      context.set(.retriesSpent)
      return pass()
    case .retry(let number):
      guard context.admitRetry() else {
        context.count(.retryOverflow)
        context.set(.upstreamOverflow)
        return pass()
      }
      context.count(.retry)
      return startAttempt(afterMilliseconds: backOff(number, head, context), context)
    }
  }

  public mutating func onTimer(
    _ tag: UInt64, config: borrowing Config, _ context: borrowing StreamContext
  ) {
    if tag == Tag.perTryIdle {
      askIdle(context)
    } else {
      perTryTimer = .none
      context.count(.perTryTimeout)
      context.failAttempt(.perTryTimeout)
    }
  }

  public mutating func onEnd(config: borrowing Config, _ context: borrowing StreamContext) {
    releaseTexts()
  }
}

// MARK: 1. what is wanted, from the policy and the request

extension RetryFilter {
  private mutating func readPolicy(_ policy: RetryPolicy?, _ head: borrowing RequestHeadView) {
    self.policy = policy
    state.remaining = policy?.numberOfRetries ?? 1
    guard let policy else { return }
    state.conditions = policy.conditions
    perTryMilliseconds = policy.perTryMilliseconds
    perTryIdleMilliseconds = policy.perTryIdleMilliseconds
  }

  /// Nobody asks for anything of this filter, as on most routes.
  private mutating func leave(_ context: borrowing StreamContext) {
    releaseTexts()
    context.leave(Self.self)
  }

  private mutating func releaseTexts() {
    retriableStatuses.release()
    retriableHeaderNames.release()
  }

  /// Takes out the fields with which a trusted caller adds to the policy. They are for us alone:
  /// the next hop would multiply our retries by its own.
  private mutating func readRequestHeaders(_ head: borrowing RequestHeadView) {
    if let text = head["x-envoy-retry-on"] {
      state.conditions.formUnion(RetryConditions(retryOn: text))
      head.remove("x-envoy-retry-on")
    }
    if let text = head["x-envoy-retry-grpc-on"] {
      state.conditions.formUnion(RetryConditions(retryGRPCOn: text))
      head.remove("x-envoy-retry-grpc-on")
    }
    if let retries = head.takeDecimal("x-envoy-max-retries") {
      state.remaining = UInt32(clamping: retries)
    }
    if let milliseconds = head.takeDecimal("x-envoy-upstream-rq-per-try-timeout-ms") {
      perTryMilliseconds = milliseconds
    }
    if let text = head["x-envoy-retriable-status-codes"] {
      retriableStatuses = HeldText(copying: text)
      head.remove("x-envoy-retriable-status-codes")
    }
    if let text = head["x-envoy-retriable-header-names"] {
      retriableHeaderNames = HeldText(copying: text)
      head.remove("x-envoy-retriable-header-names")
    }
  }

  /// A policy may ask for fields without which nothing is retried, whoever wanted it.
  private mutating func limitByRequestHeaders(_ head: borrowing RequestHeadView) {
    guard let needed = policy?.retriableRequestHeaders, !head.matches(needed) else { return }
    state.conditions = []
  }

  /// The upstream should know how long it is waited for: here no longer than one attempt lasts.
  private func announcePerTryTimeout(
    _ head: borrowing RequestHeadView, _ context: borrowing StreamContext
  ) {
    guard perTryMilliseconds > 0, !context.routeTimeouts.suppressesEnvoyHeaders,
      // Who would rather have a second attempt beside the first waits for the whole.
      head["x-envoy-hedge-on-per-try-timeout"] == nil
    else { return }
    let whole = head["x-envoy-expected-rq-timeout-ms"]?.decimal ?? .max
    guard perTryMilliseconds < whole else { return }
    head.set("x-envoy-expected-rq-timeout-ms", number: perTryMilliseconds)
  }
}

// MARK: 2. an attempt's time

extension RetryFilter {
  /// The request is whole: the attempt's time runs.
  private mutating func endRequest(_ context: borrowing StreamContext) {
    guard !requestEnded else { return }
    requestEnded = true
    guard !responsePassed else { return }
    startPerTryTimer(afterDelay: 0, context)
  }

  private mutating func startPerTryTimer(
    afterDelay delay: UInt64, _ context: borrowing StreamContext
  ) {
    guard perTryMilliseconds > 0, requestEnded else { return }
    context.cancel(timer: &perTryTimer)
    perTryTimer = context.startTimer(
      afterMilliseconds: delay.addingClamped(perTryMilliseconds), tag: Tag.perTry)
  }

  private mutating func startIdleTimer(
    afterDelay delay: UInt64, _ context: borrowing StreamContext
  ) {
    guard perTryIdleMilliseconds > 0 else { return }
    let start = context.monotonicNanoseconds &+ delay &* 1_000_000
    let watch = IdleWatch(
      boundMilliseconds: perTryIdleMilliseconds, amount: moved(context), now: start)
    context.cancel(timer: &idleTimer)
    idleTimer = context.startTimer(
      afterMilliseconds: delay.addingClamped(watch.firstMilliseconds), tag: Tag.perTryIdle)
    idle = watch
  }

  private mutating func askIdle(_ context: borrowing StreamContext) {
    idleTimer = .none
    let moved = moved(context)
    switch idle?.ask(amount: moved, now: context.monotonicNanoseconds) {
    case .ask(let delay):
      idleTimer = context.startTimer(afterMilliseconds: delay, tag: Tag.perTryIdle)
    case .idle:
      context.count(.perTryIdleTimeout)
      guard responsePassed else { return context.failAttempt(.perTryIdleTimeout) }
      context.set(.upstreamTimeout)
      context.reset(details: "upstream_per_try_idle_timeout")
    case nil:
      break
    }
  }

  /// A number that grows with every byte and with the response's head.
  private func moved(_ context: borrowing StreamContext) -> UInt64 {
    context.requestBodyBytes &+ context.responseBodyBytes &+ (responsePassed ? 1 : 0)
  }
}

// MARK: 3. an attempt's end

extension RetryFilter {
  private func isWorthRepeating(_ head: borrowing ResponseHeadView, _ attempt: Attempt) -> Bool {
    guard attempt.failure == .none else {
      return state.isWorthRepeating(attempt.failure, requestStarted: attempt.requestStarted)
    }
    var facts = ResponseFacts(status: head.status)
    facts.isRateLimited = head["x-envoy-ratelimited"] != nil
    if !state.conditions.isDisjoint(with: .anyGRPC) {
      facts.grpcStatus = head["grpc-status"]?.decimal
    }
    if state.conditions.contains(.retriableStatusCodes) {
      facts.hasRetriableStatus =
        policy?.isRetriable(status: facts.status) ?? false || isListed(status: facts.status)
    }
    if state.conditions.contains(.retriableHeaders) {
      facts.hasRetriableHeader = hasRetriableHeader(head)
    }
    return state.isWorthRepeating(facts)
  }

  private func isListed(status: Int) -> Bool {
    var found = false
    retriableStatuses.view.forEachListItem { item in
      found = item.decimal == UInt64(status)
      return !found
    }
    return found
  }

  private func hasRetriableHeader(_ head: borrowing ResponseHeadView) -> Bool {
    if let matchers = policy?.retriableHeaders, head.matches(matchers) { return true }
    guard !retriableHeaderNames.isEmpty else { return false }
    // The names came from outside in any case, those of fields are lower-case.
    let names = retriableHeaderNames.view
    var found = false
    head.forEachField { field in
      names.forEachListItem { name in
        found = name.equalsIgnoringCase(field.name)
        return !found
      }
      return !found
    }
    return found
  }

  /// How long to wait: as long as the upstream asked, if it may; else longer each time.
  private func backOff(
    _ number: UInt32, _ head: borrowing ResponseHeadView, _ context: borrowing StreamContext
  ) -> UInt64 {
    if let asked = askedFor(head, context) {
      context.count(.retryBackoffRateLimited)
      return BackOff.milliseconds(askedFor: asked, random: context.random())
    }
    context.count(.retryBackoffExponential)
    let backOff = BackOff(
      baseMilliseconds: policy?.baseIntervalMilliseconds ?? Self.baseMilliseconds,
      maxMilliseconds: policy?.maxIntervalMilliseconds ?? 10 * Self.baseMilliseconds)
    return backOff.milliseconds(beforeRetry: number, random: context.random())
  }

  /// Envoy's base, for requests that bring the only policy there is.
  private static var baseMilliseconds: UInt64 { 25 }

  private func askedFor(
    _ head: borrowing ResponseHeadView, _ context: borrowing StreamContext
  ) -> UInt64? {
    guard let policy else { return nil }
    var asked: UInt64?
    policy.forEachResetHeader { name, isUnixTimestamp in
      guard let value = head[name] else { return true }
      asked = BackOff.milliseconds(
        resetHeader: value, isUnixTimestamp: isUnixTimestamp,
        nowSeconds: context.wallClockNanoseconds / 1_000_000_000,
        limit: policy.resetMaxIntervalMilliseconds)
      return asked == nil
    }
    return asked
  }

  private mutating func startAttempt(
    afterMilliseconds delay: UInt64, _ context: borrowing StreamContext
  ) -> Verdict {
    if let attempts = policy?.avoidsPreviousHosts { context.avoidPreviousHosts(attempts: attempts) }
    startPerTryTimer(afterDelay: delay, context)
    startIdleTimer(afterDelay: delay, context)
    return context.replay(afterMilliseconds: delay)
  }

  /// This response goes on; from here nothing can be repeated.
  private mutating func pass() -> Verdict {
    responsePassed = true
    return .continue
  }
}

extension UInt64 {
  fileprivate func addingClamped(_ other: UInt64) -> UInt64 {
    let (sum, overflow) = addingReportingOverflow(other)
    return overflow ? .max : sum
  }
}
