import CFilterABI
import Engine
import HTTPModel
import Telemetry

/// One compiled route. Everything it leads to lasts as long as the process, and reading it counts no
/// reference.
package struct RouteEntry: BitwiseCopyable {
  /// What a matching request meets.
  package enum Action: BitwiseCopyable {
    case forward(Ref<ForwardAction>)
    case redirect(Ref<RedirectAction>)
    case respond(Ref<DirectResponse>)
  }

  package let name: Bytes
  package let virtualHost: Ref<VirtualHost>
  package let action: Action
  /// `request_body_buffer_limit` of the route or its virtual host.
  package let bodyBufferLimit: UInt64?
  let conditions: RouteConditions
  /// From the first to be applied to the last: the later one wins.
  let requestMutations: Table<HeaderMutations>
  let responseMutations: Table<HeaderMutations>
  let filters: FilterConfigs

  /// The request's head stays as it is, unless a weighted cluster changes it.
  @inline(__always)
  var leavesRequest: Bool {
    guard requestMutations.isEmpty else { return false }
    guard case .forward(let action) = action else { return true }
    if case .none = action.value.hostRewrite, case .none = action.value.pathRewrite { return true }
    return false
  }
}

/// What a route's virtual host adds to it.
package struct VirtualHost: BitwiseCopyable {
  /// Which requests must come over TLS.
  package enum TLSRequirement: BitwiseCopyable {
    case none
    case external
    case all
  }

  package let name: Bytes
  package let tlsRequirement: TLSRequirement
  /// The upstream is told in `x-envoy-attempt-count` which attempt it sees.
  package let includesAttemptCount: Bool
  /// The client is told how many attempts there were.
  package let includesAttemptCountInResponse: Bool
  /// The upstream is told that the attempt before this one timed out.
  package let includesIsTimeoutRetry: Bool
  let filters: FilterConfigs
}

/// Forwards to a cluster: a compiled `envoy.config.route.v3.RouteAction`.
// SAFETY: the pointers inside a retry policy are for ever, and only C reads them.
@safe
package struct ForwardAction: BitwiseCopyable {
  /// How the cluster is found.
  package enum Target: BitwiseCopyable {
    case cluster(ClusterReference)
    /// The value of this field is the cluster's name.
    case header(HeaderName)
    case weighted(Ref<WeightedClusters>)
  }

  package let target: Target
  package let pathRewrite: PathRewrite
  package let hostRewrite: HostRewrite
  package let appendsForwardedHost: Bool
  /// The status for a cluster that does not exist.
  package let clusterNotFoundStatus: UInt16
  package let timeouts: Ref<fl_timeouts>
  /// Overrides the connection manager's `stream_idle_timeout`; 0 disables it.
  package let idleTimeoutMilliseconds: UInt64?
  package let maxStreamDuration: MaxStreamDuration?
  /// The route's, or else its virtual host's.
  package let retryPolicy: Ref<fl_retry_policy>?
  package let mirrors: Table<MirrorPolicy>
  package let internalRedirect: Ref<InternalRedirectPolicy>?
  package let isHighPriority: Bool
  package let upgrades: Table<UpgradePolicy>
}

/// A cluster, by its place in the caller's table. The name is kept for one that does not exist.
package struct ClusterReference: BitwiseCopyable {
  package let name: Bytes
  /// nil: there is no such cluster.
  package let index: UInt32?

  package init(name: Bytes, index: UInt32?) {
    self.name = name
    self.index = index
  }
}

/// `max_stream_duration` of a route. Times are in milliseconds; 0 is no limit.
package struct MaxStreamDuration: BitwiseCopyable {
  package let milliseconds: UInt64?
  /// `grpc-timeout` is respected, up to this; 0 is without a limit.
  package let grpcTimeoutHeaderMax: UInt64?
  /// Taken from `grpc-timeout`, so that the answer still reaches the client in time.
  package let grpcTimeoutHeaderOffset: UInt64?
}

/// Copies requests to another cluster, without waiting for its answers.
package struct MirrorPolicy: BitwiseCopyable {
  package enum Target: BitwiseCopyable {
    case cluster(ClusterReference)
    case header(HeaderName)
  }

  package let target: Target
  package let appendsShadowSuffix: Bool
  package let hostRewrite: Bytes?
  private let fraction: RuntimeFraction?

  init(
    target: Target, appendsShadowSuffix: Bool, hostRewrite: Bytes?, fraction: RuntimeFraction?
  ) {
    self.target = target
    self.appendsShadowSuffix = appendsShadowSuffix
    self.hostRewrite = hostRewrite
    self.fraction = fraction
  }

  /// Whether the request with this random number is copied.
  package func applies(random: UInt64) -> Bool { fraction?.includes(random) ?? true }
}

/// Follows redirects of the upstream on the client's behalf.
package struct InternalRedirectPolicy: BitwiseCopyable {
  package let maxRedirects: UInt32
  package let allowsCrossScheme: Bool
  package let copiedHeaders: Table<HeaderName>
  private let statuses: Table<UInt32>

  init(
    maxRedirects: UInt32, allowsCrossScheme: Bool, copiedHeaders: [HeaderName], statuses: [UInt32]
  ) {
    self.maxRedirects = maxRedirects
    self.allowsCrossScheme = allowsCrossScheme
    self.copiedHeaders = Table.configured(copiedHeaders)
    self.statuses = Table.configured(statuses)
  }

  /// Whether a response with this status is followed.
  package func follows(status: Int) -> Bool {
    var index = 0
    while index < statuses.count {
      if Int(statuses[index]) == status { return true }
      index &+= 1
    }
    return false
  }
}

/// Whether one upgrade (`websocket`) is let through, whatever the connection manager says.
package struct UpgradePolicy: BitwiseCopyable {
  /// Compared without case.
  package let type: Bytes
  package let isEnabled: Bool
}

/// Answers without an upstream.
package struct DirectResponse: BitwiseCopyable {
  package let status: UInt16
  package let body: Bytes
  /// What the body is made of, if not sent as it is: `body` is its `%LOCAL_REPLY_BODY%` then.
  package let format: ReplyFormat?
}

/// Clusters that share a route's requests by weight.
package struct WeightedClusters: BitwiseCopyable {
  /// One of them, with what it adds to the route.
  package struct Choice: BitwiseCopyable {
    package let target: ForwardAction.Target
    package let hostRewrite: Bytes?
    /// Up to and without which selected value this one is chosen.
    let upperBound: UInt64
    let requestMutations: HeaderMutations
    let responseMutations: HeaderMutations
    let filters: FilterConfigs
  }

  package let choices: Table<Choice>
  /// A field that may bring the random number.
  let randomHeader: HeaderName?

  /// The choice for a request.
  func choose(_ headers: borrowing HeaderMap, random: UInt64) -> Int {
    let total = choices[choices.count &- 1].upperBound
    let selected = (headerValue(headers) ?? random) % max(total, 1)
    var index = 0
    while index < choices.count &- 1, choices[index].upperBound <= selected { index &+= 1 }
    return index
  }

  /// Several values are as good as none: hops that chose different ones would disagree.
  private func headerValue(_ headers: borrowing HeaderMap) -> UInt64? {
    guard let name = randomHeader, let index = headers.find(name.text, id: name.id),
      headers.find(name.text, id: name.id, from: index &+ 1) == nil
    else { return nil }
    return headers.value(index).unsignedDecimal
  }
}
