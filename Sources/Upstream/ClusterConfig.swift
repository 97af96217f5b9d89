import Engine
import HTTPCodec
import HTTPModel
import Resources

// Compiled once, read by every worker for as long as the cluster is in use: plain
// values and handles, nothing that counts references. Times are milliseconds; nil means no limit.

/// Bounds on a cluster that the configuration language does not set field by field.
package enum ConfigBounds {
  /// Priorities 0 to 128, as Envoy validates.
  package static let priorities = 129
  /// Addresses of one host that are tried in turn. Happy eyeballs wants one of each family soon; a
  /// name with more records than this is balanced better as STRICT_DNS.
  package static let addressesPerHost = 8
  /// Statistics of one cluster whose names are made from requests: a few hundred gRPC methods with
  /// all that is counted for each, or the memory that a caller can take who invents methods.
  package static let namedStatistics = 4096
  /// Bytes of such a name. Service and method of gRPC come to about a hundred.
  package static let namedStatisticBytes = 512
  /// Hosts one name may resolve to: the most that fit into a DNS message over TCP.
  package static let hostsPerName = 4096
  /// Hosts that one worker knows of one ORIGINAL_DST cluster, where whoever connects may choose the
  /// addresses. A busy machine opens connections to some hundreds between two cleanups; with its pool
  /// a host takes about a kilobyte.
  package static let destinationsPerCluster = 8192
}

/// Everything a cluster's configuration says.
package struct ClusterConfig: BitwiseCopyable {
  /// How a cluster learns its hosts.
  package enum Discovery: UInt8, BitwiseCopyable {
    case fixed
    case strictDNS
    case logicalDNS
    /// Somebody sends them (EDS).
    case assigned
    /// Each is where a connection was going (ORIGINAL_DST).
    case originalDestination

    /// Envoy's name.
    package var name: StaticString {
      switch self {
      case .fixed: "STATIC"
      case .strictDNS: "STRICT_DNS"
      case .logicalDNS: "LOGICAL_DNS"
      case .assigned: "EDS"
      case .originalDestination: "ORIGINAL_DST"
      }
    }
  }

  package let name: Bytes
  /// What its statistics are filed under: the alternative name or the name, without colons.
  package let statName: Bytes
  package let discovery: Discovery
  package let balancing: BalancingPolicy
  package let connectTimeout: UInt64
  /// Bytes that one connection may buffer before its source is asked to pause.
  package let connectionBufferLimit: Int
  /// What logs call it: `alt_stat_name`, or the name.
  package let displayName: Bytes
  package let defaultLimits: BreakerLimits
  package let highLimits: BreakerLimits
  package let http: UpstreamHTTPOptions
  package let keepalive: KeepaliveOptions?
  /// Where connections begin; nil: where the kernel lets them.
  package let source: SourceBinding?
  /// What each connection says before anything else.
  package let announcement: Ref<ProxyAnnouncement>?
  /// The family of the first address tried; nil takes that of the first address.
  package let firstFamily: AddressFamily?
  /// How many addresses of that family go before the first of the other.
  package let firstFamilyCount: Int
  package let dns: DNSOptions
  /// nil: every host is believed to be healthy.
  package let healthCheck: Ref<HealthCheckConfig>?
  /// A host leaves as soon as it is no longer sent, and not when its health checks fail.
  package let ignoresHealthOnRemoval: Bool
  /// A host does not count among its priority's before it has been checked once.
  package let ignoresUncheckedHosts: Bool
  /// Below so many percent of usable hosts, health is not believed any more.
  package let panicPercent: Int
  package let endpoints: Table<Ref<EndpointConfig>>
  /// Only of a cluster that goes where connections were going.
  package let destination: Ref<DestinationOptions>?
  /// The number of its TLS configuration; -1 for plain bytes. Set before any worker sees the cluster.
  package var security: Int32 = -1
  /// Transport sockets for those endpoints that ask for them; the first that fits counts.
  package let socketMatches: Table<Ref<SocketMatch>>

  /// Requests for different names need connections of their own. Not without TLS, which alone has a use
  /// for names: whoever connects could otherwise choose how many connections there are.
  @inline(__always)
  package var hasPoolsByName: Bool { http.names.areUsed && mayBeSecured }

  /// The limits that requests of a priority meet.
  package func limits(_ priority: RequestPriority) -> BreakerLimits {
    priority == .high ? highLimits : defaultLimits
  }
}

/// A route's priority: which set of circuit breakers a request meets.
package enum RequestPriority: UInt8, BitwiseCopyable, CaseIterable {
  case normal
  case high

  /// The part of a statistic's name.
  var statName: StaticString {
    switch self {
    case .normal: "default"
    case .high: "high"
    }
  }
}

/// How one of several hosts is chosen.
package struct BalancingPolicy: BitwiseCopyable {
  package enum Algorithm: UInt8, BitwiseCopyable {
    case roundRobin
    case leastRequest
    case random
  }

  package let algorithm: Algorithm
  /// LEAST_REQUEST: hosts that are compared for one pick.
  package let choiceCount: Int
  /// LEAST_REQUEST with differing weights: how much a running request lightens its host.
  package let activeRequestBias: Double

  /// RANDOM ignores weights, as Envoy's does.
  var usesWeights: Bool { algorithm != .random }

  package init(
    algorithm: Algorithm, choiceCount: Int = 2, activeRequestBias: Double = 1
  ) {
    self.algorithm = algorithm
    self.choiceCount = choiceCount
    self.activeRequestBias = activeRequestBias
  }
}

/// One priority's circuit breakers.
package struct BreakerLimits: BitwiseCopyable {
  package var connections: UInt64 = 1024
  package var pendingRequests: UInt64 = 1024
  package var requests: UInt64 = 1024
  package var retries: UInt64 = 3
  /// In place of `retries`: retries as a share of what is running.
  package var retryBudget: RetryBudget?
  /// Gauges tell how much is left.
  package var tracksRemaining = false

  package init() {}
}

/// Retries as a percentage of requests that run or wait, and how many are always allowed.
package struct RetryBudget: BitwiseCopyable {
  package var percent: Double = 20
  package var minimumConcurrency: UInt64 = 3

  package init() {}
}

/// HTTP towards a cluster.
package struct UpstreamHTTPOptions: BitwiseCopyable {
  package var idleTimeout: UInt64? = Defaults.connectionIdleTimeout.wholeMilliseconds
  package var maxConnectionDuration: UInt64?
  package var maxStreamDuration: UInt64?
  package var maxRequestsPerConnection: UInt64?
  package var maxResponseHeaders = Defaults.maxHeadersCount
  package var maxHTTP1HeadBytes = Defaults.maxHTTP1ResponseHeadersKilobytes * 1024
  package var maxHTTP2HeadBytes = Defaults.maxHeadersKilobytes * 1024
  /// Trailers pass in both directions instead of being dropped.
  package var enableTrailers = false
  package var headersWithUnderscores = UnderscoreHandling.allow
  /// What is spoken to the cluster's hosts.
  package var speaks = UpstreamProtocol.http1
  package var http2 = HTTP2Options()
  package var http2Keepalive = HTTP2Keepalive()
  package var names = NamesFromRequests()

  package init() {}

  /// What happens to response headers whose names have an underscore.
  package enum UnderscoreHandling: UInt8, BitwiseCopyable {
    case allow
    case reject
    case drop
  }
}

/// What is spoken on connections to a cluster's hosts.
package enum UpstreamProtocol: UInt8, BitwiseCopyable {
  case http1
  case http2
  /// What TLS agrees upon: HTTP/2, or HTTP/1.1 where the host does not speak that (`auto_config`).
  case negotiated
  /// What the client speaks (`use_downstream_protocol_config`).
  case downstream

  /// Some connection may be HTTP/2's.
  package var mayBeHTTP2: Bool { self != .http1 }
}

/// `upstream_http_protocol_options`: whom TLS asks for, and whom it believes, is what the request says
/// that a connection is made for.
package struct NamesFromRequests: BitwiseCopyable {
  /// `auto_sni`: the name is asked for.
  package var asks = false
  /// `auto_san_validation`: the certificate has to carry the name.
  package var verifies = false
  /// `override_auto_sni_header`: the field that has the name, where the request has the field; in
  /// lower case. Empty: it is the request's host.
  package var field: Bytes = .empty
  package var fieldID = HeaderID.other

  @inline(__always)
  package var areUsed: Bool { asks || verifies }
}

/// TCP keepalive probes; nil leaves the kernel's value.
package struct KeepaliveOptions: BitwiseCopyable {
  package var probes: UInt32?
  /// Seconds of silence before the first probe.
  package var time: UInt32?
  /// Seconds between probes.
  package var interval: UInt32?
}

package enum AddressFamily: UInt8, BitwiseCopyable {
  case v4
  case v6
}

/// How a DNS cluster asks.
package struct DNSOptions: BitwiseCopyable {
  /// Which families are looked up.
  package enum Lookup: UInt8, BitwiseCopyable {
    /// IPv6, and IPv4 when there is none.
    case auto
    case v4Only
    case v6Only
    /// IPv4, and IPv6 when there is none.
    case v4Preferred
    /// Both at once.
    case all
  }

  package var lookup = Lookup.auto
  package var refreshRate = Defaults.dnsRefreshRate.wholeMilliseconds
  package var respectsTTL = false
  /// After a failure; nil asks again at the ordinary rate.
  package var failureBackoff: BackoffRange?
  package var resolver = ResolverOptions()

  package init() {}
}

/// Random waits that grow from one bound to the other.
package struct BackoffRange: BitwiseCopyable {
  package var base: UInt64
  package var most: UInt64
}

/// The name servers to ask, and how patiently. Clusters with equal options share a resolver.
package struct ResolverOptions: BitwiseCopyable {
  /// Empty: those of `/etc/resolv.conf`.
  package var servers: Table<SocketAddress> = .empty
  package var queryTimeout: UInt64 = 5000
  package var tries: UInt32 = 4

  package init() {}

  static func == (a: ResolverOptions, b: ResolverOptions) -> Bool {
    a.queryTimeout == b.queryTimeout && a.tries == b.tries && a.servers.count == b.servers.count
      && (0..<a.servers.count).allSatisfy { a.servers[$0] == b.servers[$0] }
  }
}

/// How an ORIGINAL_DST cluster finds out where a request goes.
package struct DestinationOptions: BitwiseCopyable {
  /// The request's field that may name the address; empty for none.
  package let headerName: Bytes
  /// In place of the destination's own port.
  package let port: UInt16?
  /// How long a host to which nothing goes is kept, in milliseconds.
  let cleanupInterval: UInt64
  /// What there is to say about every host.
  let endpoint: Ref<EndpointConfig>
}

/// One configured endpoint: an address, or a name that resolves to addresses.
package struct EndpointConfig: BitwiseCopyable {
  /// Its place among the cluster's endpoints.
  package let index: Int
  /// The name to resolve; empty where `addresses` say everything.
  package let dnsName: Bytes
  package let port: UInt16
  package let addresses: Table<SocketAddress>
  /// For logs and host rewriting; may be empty.
  package let hostname: Bytes
  package let weight: UInt32
  package let priority: UInt32
  package let health: HostHealth
  /// For active health checks: another port (0 for the same), another name (or none), or no checks.
  package let healthCheckPort: UInt16
  package let healthCheckName: Bytes
  package let isUnchecked: Bool
  package let locality: Ref<LocalityConfig>
  /// What its metadata says of its transport socket.
  package var socketLabels: Table<SocketLabel> = .empty
}

/// Where endpoints are.
package struct LocalityConfig: BitwiseCopyable {
  package let region: Bytes
  package let zone: Bytes
  package let subZone: Bytes
}
