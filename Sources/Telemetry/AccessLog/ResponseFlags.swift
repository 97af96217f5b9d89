/// What went wrong with a request, in Envoy's letters.
@usableFromInline
package struct ResponseFlags: OptionSet, Sendable, Hashable {
  @usableFromInline
  package let rawValue: UInt32

  @inlinable
  package init(rawValue: UInt32) { self.rawValue = rawValue }

  /// Local service failed its health check.
  @usableFromInline
  package static let failedLocalHealthCheck = ResponseFlags(rawValue: 1 << 0)
  /// No healthy upstream.
  @usableFromInline
  package static let noHealthyUpstream = ResponseFlags(rawValue: 1 << 1)
  /// Upstream request timed out.
  @usableFromInline
  package static let upstreamRequestTimeout = ResponseFlags(rawValue: 1 << 2)
  /// The proxy reset the upstream request.
  @usableFromInline
  package static let localReset = ResponseFlags(rawValue: 1 << 3)
  /// The upstream reset the request.
  @usableFromInline
  package static let upstreamRemoteReset = ResponseFlags(rawValue: 1 << 4)
  /// No connection to the upstream.
  @usableFromInline
  package static let upstreamConnectionFailure = ResponseFlags(rawValue: 1 << 5)
  /// The upstream connection ended.
  @usableFromInline
  package static let upstreamConnectionTermination = ResponseFlags(rawValue: 1 << 6)
  /// A circuit breaker was open.
  @usableFromInline
  package static let upstreamOverflow = ResponseFlags(rawValue: 1 << 7)
  /// No route for the request.
  @usableFromInline
  package static let noRouteFound = ResponseFlags(rawValue: 1 << 8)
  /// A fault filter delayed the request.
  @usableFromInline
  package static let delayInjected = ResponseFlags(rawValue: 1 << 9)
  /// A fault filter answered the request.
  @usableFromInline
  package static let faultInjected = ResponseFlags(rawValue: 1 << 10)
  /// A rate limit refused the request.
  @usableFromInline
  package static let rateLimited = ResponseFlags(rawValue: 1 << 11)
  /// An external authorization service refused the request.
  @usableFromInline
  package static let unauthorizedExternalService = ResponseFlags(rawValue: 1 << 12)
  /// The rate limit service failed.
  @usableFromInline
  package static let rateLimitServiceError = ResponseFlags(rawValue: 1 << 13)
  /// The downstream connection ended.
  @usableFromInline
  package static let downstreamConnectionTermination = ResponseFlags(rawValue: 1 << 14)
  /// All retries are spent.
  @usableFromInline
  package static let upstreamRetryLimitExceeded = ResponseFlags(rawValue: 1 << 15)
  /// The stream's idle timeout passed.
  @usableFromInline
  package static let streamIdleTimeout = ResponseFlags(rawValue: 1 << 16)
  /// An `x-envoy-*` header was invalid.
  @usableFromInline
  package static let invalidEnvoyRequestHeaders = ResponseFlags(rawValue: 1 << 17)
  /// The downstream broke the protocol.
  @usableFromInline
  package static let downstreamProtocolError = ResponseFlags(rawValue: 1 << 18)
  /// The upstream stream's maximum duration passed.
  @usableFromInline
  package static let upstreamMaxStreamDurationReached = ResponseFlags(rawValue: 1 << 19)
  /// The answer came from a cache.
  @usableFromInline
  package static let responseFromCacheFilter = ResponseFlags(rawValue: 1 << 20)
  /// A filter's configuration had not arrived.
  @usableFromInline
  package static let noFilterConfigFound = ResponseFlags(rawValue: 1 << 21)
  /// The connection's maximum duration passed.
  @usableFromInline
  package static let durationTimeout = ResponseFlags(rawValue: 1 << 22)
  /// The upstream broke the protocol.
  @usableFromInline
  package static let upstreamProtocolError = ResponseFlags(rawValue: 1 << 23)
  /// The route's cluster does not exist.
  @usableFromInline
  package static let noClusterFound = ResponseFlags(rawValue: 1 << 24)
  /// The overload manager ended the request.
  @usableFromInline
  package static let overloadManagerTerminated = ResponseFlags(rawValue: 1 << 25)
  /// The upstream's name did not resolve.
  @usableFromInline
  package static let dnsResolutionFailed = ResponseFlags(rawValue: 1 << 26)
  /// Dropped by the cluster's drop policy.
  @usableFromInline
  package static let dropOverload = ResponseFlags(rawValue: 1 << 27)
  /// The downstream reset the request.
  @usableFromInline
  package static let downstreamRemoteReset = ResponseFlags(rawValue: 1 << 28)
  /// Dropped whatever the load.
  @usableFromInline
  package static let unconditionalDropOverload = ResponseFlags(rawValue: 1 << 29)

  /// Letters and long name of each bit, in the order of the bits, which is the order in which they
  /// are printed.
  private static let names: [(short: StaticString, long: StaticString)] = [
    ("LH", "FailedLocalHealthCheck"), ("UH", "NoHealthyUpstream"),
    ("UT", "UpstreamRequestTimeout"), ("LR", "LocalReset"), ("UR", "UpstreamRemoteReset"),
    ("UF", "UpstreamConnectionFailure"), ("UC", "UpstreamConnectionTermination"),
    ("UO", "UpstreamOverflow"), ("NR", "NoRouteFound"), ("DI", "DelayInjected"),
    ("FI", "FaultInjected"), ("RL", "RateLimited"), ("UAEX", "UnauthorizedExternalService"),
    ("RLSE", "RateLimitServiceError"), ("DC", "DownstreamConnectionTermination"),
    ("URX", "UpstreamRetryLimitExceeded"), ("SI", "StreamIdleTimeout"),
    ("IH", "InvalidEnvoyRequestHeaders"), ("DPE", "DownstreamProtocolError"),
    ("UMSDR", "UpstreamMaxStreamDurationReached"), ("RFCF", "ResponseFromCacheFilter"),
    ("NFCF", "NoFilterConfigFound"), ("DT", "DurationTimeout"), ("UPE", "UpstreamProtocolError"),
    ("NC", "NoClusterFound"), ("OM", "OverloadManagerTerminated"),
    ("DF", "DnsResolutionFailed"), ("DO", "DropOverload"), ("DR", "DownstreamRemoteReset"),
    ("UDO", "UnconditionalDropOverload"),
  ]

  /// The flag of these letters, for filters that name flags in the configuration.
  @usableFromInline
  package init?(letters: String) {
    guard let bit = Self.names.firstIndex(where: { $0.short.description == letters }) else {
      return nil
    }
    self.init(rawValue: 1 << UInt32(bit))
  }

  /// All letters there are.
  @usableFromInline
  package static var allLetters: [String] { names.map(\.short.description) }

  /// Envoy prints flags in the order in which they were set. A delay comes before everything
  /// else, and a request's spent retries before the reason of the last attempt: `DI,URX,UF`.
  private static let early: [ResponseFlags] = [.delayInjected, .upstreamRetryLimitExceeded]
  /// No flag, but a mark that spent retries were noted last: `UF,URX`, as for TCP sessions.
  package static let retriesSpentLast = ResponseFlags(rawValue: 1 << 31)

  /// Appends the flags, separated by commas; `-` for none.
  @usableFromInline
  package func append(to sink: inout ByteSink, long: Bool = false) {
    guard !isEmpty else { return sink.append(UInt8(ascii: "-")) }
    let spentLast: ResponseFlags = [.retriesSpentLast, .upstreamRetryLimitExceeded]
    let endsSpent = isSuperset(of: spentLast)
    var rest = endsSpent ? subtracting(spentLast) : self
    var isFirst = true
    for flag in Self.early where rest.remove(flag) != nil {
      Self.append(flag, to: &sink, long: long, isFirst: &isFirst)
    }
    while !rest.isEmpty {
      let lowest = ResponseFlags(rawValue: rest.rawValue & (~rest.rawValue &+ 1))
      rest.remove(lowest)
      Self.append(lowest, to: &sink, long: long, isFirst: &isFirst)
    }
    if endsSpent {
      Self.append(.upstreamRetryLimitExceeded, to: &sink, long: long, isFirst: &isFirst)
    }
  }

  private static func append(
    _ flag: ResponseFlags, to sink: inout ByteSink, long: Bool, isFirst: inout Bool
  ) {
    let bit = flag.rawValue.trailingZeroBitCount
    guard bit < names.count else { return }
    if !isFirst { sink.append(UInt8(ascii: ",")) }
    isFirst = false
    sink.append(long ? names[bit].long : names[bit].short)
  }
}
