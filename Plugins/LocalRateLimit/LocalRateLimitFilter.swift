import FilterSDK

/// The table for `envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit`.
public let localRateLimitFilter = FilterTable(LocalRateLimitFilter.self)

/// Refuses requests beyond a rate: a token bucket for the process, whatever the number of workers,
/// or for each downstream connection; a route may have its own.
///
/// Withstands an untrusted downstream, against which it is made, and an untrusted upstream.
public struct LocalRateLimitFilter: RouteConfigurable, RequestHeadFilter, ResponseHeadFilter {
  private enum Outcome {
    /// The filter is off, or off for this request.
    case unasked
    case passed
    case refused
  }

  private var outcome = Outcome.unasked

  public init(config: borrowing Config) {}

  public mutating func onRequestHead(
    _ head: borrowing RequestHeadView, config: borrowing Config, _ context: borrowing StreamContext
  ) -> Verdict {
    guard let route = context.routeConfig(of: Self.self) else {
      return limit(head, config, context)
    }
    return limit(head, route.value, context)
  }

  public mutating func onResponseHead(
    _ head: borrowing ResponseHeadView, config: borrowing Config, _ context: borrowing StreamContext
  ) -> Verdict {
    guard outcome != .unasked else { return .continue }
    if let route = context.routeConfig(of: Self.self) {
      announce(head, route.value, context)
    } else {
      announce(head, config, context)
    }
    return .continue
  }

  private mutating func limit(
    _ head: borrowing RequestHeadView, _ config: borrowing Config,
    _ context: borrowing StreamContext
  ) -> Verdict {
    guard context.isPicked(config.enabled), let bucket = bucket(config, context) else {
      context.leave(Self.self)
      return .continue
    }
    outcome = .passed
    context.add(to: config.statistics.enabled)
    guard !bucket.take(now: context.monotonicNanoseconds) else {
      context.add(to: config.statistics.ok)
      // The response need not know.
      if !config.announces { context.leave(Self.self) }
      return .continue
    }
    context.add(to: config.statistics.rateLimited)
    guard context.isPicked(config.enforced) else {
      if let edits = config.unenforcedRequestEdits { head.apply(edits) }
      return .continue
    }
    outcome = .refused
    context.add(to: config.statistics.enforced)
    context.set(.rateLimited)
    return context.reply(
      status: config.status, body: "local_rate_limited", details: "local_rate_limited",
      grpcStatus: config.grpcStatus)
  }

  /// The bucket that this stream draws from. As in Envoy, a connection has one, whatever routes its
  /// requests take.
  private func bucket(
    _ config: borrowing Config, _ context: borrowing StreamContext
  ) -> TokenBucket? {
    guard config.isPerConnection, var bucket = config.bucket else { return config.bucket }
    if let own = context.connectionNumber(first: TokenBucket.full) { bucket.emptyAt = own }
    return bucket
  }

  private func announce(
    _ head: borrowing ResponseHeadView, _ config: borrowing Config,
    _ context: borrowing StreamContext
  ) {
    if outcome == .refused, let edits = config.responseEdits { head.apply(edits) }
    guard config.announces, let bucket = bucket(config, context) else { return }
    let now = context.monotonicNanoseconds
    head.set("x-ratelimit-limit", number: UInt64(bucket.maxTokens))
    head.set("x-ratelimit-remaining", number: bucket.remaining(now: now))
    head.set("x-ratelimit-reset", number: bucket.secondsUntilNext(now: now))
  }
}
