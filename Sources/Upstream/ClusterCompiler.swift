import Engine
import HTTPModel
import ResourceModel
import Resources
import SwiftProtobuf

/// Compiles a configuration's clusters into flat tables, and reports what does not fit together.
///
/// Bounds on single fields have been checked before (`Resources`); here are those that take more than
/// one field. A cluster with a mistake still compiles, so that all mistakes of a file are found.
package struct ClusterCompiler {
  typealias Message = Envoy_Config_Cluster_V3_Cluster

  let diagnostics: Diagnostics
  /// The runtime's number under a key; nil when no layer has one.
  let runtime: (String) -> UInt64?

  /// `cluster_manager.upstream_bind_config`: for clusters that say nothing of it.
  let bindConfig: Envoy_Config_Core_V3_BindConfig?

  package init(
    diagnostics: Diagnostics, bindConfig: Envoy_Config_Core_V3_BindConfig? = nil,
    runtime: @escaping (String) -> UInt64? = { _ in nil }
  ) {
    self.bindConfig = bindConfig
    self.diagnostics = diagnostics
    self.runtime = runtime
  }

  /// Compiles one cluster.
  package func compile(
    _ cluster: Envoy_Config_Cluster_V3_Cluster, at path: ConfigPath
  ) -> Ref<ClusterConfig> {
    let limits = breakers(of: cluster, at: path.field("circuit_breakers"))
    let name = Bytes.configured(cluster.name)
    let statName = cluster.altStatName.isEmpty ? cluster.name : cluster.altStatName
    let eyeballs = cluster.upstreamConnectionOptions.happyEyeballsConfig
    let endpoints = EndpointCompiler(diagnostics: diagnostics, discovery: discovery(cluster))
      .compile(cluster.loadAssignment, at: path.field("load_assignment"))
    let http = httpOptions(cluster, at: path)
    return .configured(
      ClusterConfig(
        name: name,
        statName: .configured(Self.withoutColons(statName)),
        discovery: discovery(cluster),
        balancing: balancing(cluster, at: path),
        connectTimeout: cluster.hasConnectTimeout
          ? cluster.connectTimeout.milliseconds : Defaults.connectTimeout.wholeMilliseconds,
        connectionBufferLimit: cluster.hasPerConnectionBufferLimitBytes
          ? Int(cluster.perConnectionBufferLimitBytes.value) : Defaults.connectionBufferLimitBytes,
        displayName: cluster.altStatName.isEmpty ? name : .configured(cluster.altStatName),
        defaultLimits: limits.normal,
        highLimits: limits.high,
        http: http,
        keepalive: keepalive(cluster),
        source: source(cluster, at: path),
        announcement: announcement(cluster, at: path),
        firstFamily: eyeballs.firstAddressFamilyVersion.family,
        firstFamilyCount: eyeballs.hasFirstAddressFamilyCount
          ? Int(eyeballs.firstAddressFamilyCount.value) : 1,
        dns: dnsOptions(cluster, at: path),
        healthCheck: HealthCheckCompiler(diagnostics: diagnostics)
          .compile(cluster, at: path.field("health_checks")),
        ignoresHealthOnRemoval: cluster.ignoreHealthOnHostRemoval,
        ignoresUncheckedHosts: cluster.commonLbConfig.ignoreNewHostsUntilFirstHc,
        panicPercent: panicPercent(cluster),
        endpoints: .configured(endpoints),
        destination: destination(cluster),
        socketMatches: SocketMatchCompiler.matches(cluster, at: path, diagnostics)))
  }

  /// Colons separate a statistic's name from its value, so Envoy replaces them.
  static func withoutColons(_ name: String) -> String {
    String(name.map { $0 == ":" ? "_" : $0 })
  }

  /// Rounded as Envoy does; the runtime may say otherwise.
  private func panicPercent(_ cluster: Message) -> Int {
    let lb = cluster.commonLbConfig
    let own =
      lb.hasHealthyPanicThreshold
      ? Int(max(0, min(100, lb.healthyPanicThreshold.value)).rounded())
      : Defaults.healthyPanicThreshold
    return runtime("upstream.healthy_panic_threshold").map { Int(min($0, 100)) } ?? own
  }

  private func discovery(_ cluster: Message) -> ClusterConfig.Discovery {
    switch cluster.type {
    case .strictDns: .strictDNS
    case .logicalDns: .logicalDNS
    case .eds: .assigned
    case .originalDst: .originalDestination
    case .static, .UNRECOGNIZED: .fixed
    }
  }

  private func balancing(_ cluster: Message, at path: ConfigPath) -> BalancingPolicy {
    let options = cluster.leastRequestLbConfig
    let bias = options.hasActiveRequestBias ? options.activeRequestBias.defaultValue : 1
    let isLeastRequest = cluster.lbPolicy == .leastRequest
    if case .leastRequestLbConfig? = cluster.lbConfig, !isLeastRequest {
      diagnostics.error(
        at: path.field("least_request_lb_config"), "goes with lb_policy LEAST_REQUEST only")
    }
    if !(bias >= 0 && bias.isFinite) {
      diagnostics.error(
        at: path.field("least_request_lb_config").field("active_request_bias"),
        "expected a number of at least 0, found \(bias)")
    }
    let algorithm: BalancingPolicy.Algorithm =
      switch cluster.lbPolicy {
      case .leastRequest: .leastRequest
      case .random: .random
      // The cluster finds its hosts by their addresses, and never asks.
      case .roundRobin, .clusterProvided, .UNRECOGNIZED: .roundRobin
      }
    return BalancingPolicy(
      algorithm: algorithm,
      choiceCount: options.hasChoiceCount ? Int(options.choiceCount.value) : 2,
      activeRequestBias: bias)
  }

  /// How an ORIGINAL_DST cluster finds its hosts.
  private func destination(_ cluster: Message) -> Ref<DestinationOptions>? {
    guard cluster.type == .originalDst else { return nil }
    let options = cluster.originalDstLbConfig
    let name =
      options.httpHeaderName.isEmpty
      ? Defaults.originalDestinationHeader : options.httpHeaderName.lowercased()
    let locality = Ref.configured(
      LocalityConfig(region: .empty, zone: .empty, subZone: .empty))
    return .configured(
      DestinationOptions(
        headerName: options.useHTTPHeader ? .configured(name) : .empty,
        port: options.hasUpstreamPortOverride
          ? UInt16(clamping: options.upstreamPortOverride.value) : nil,
        cleanupInterval: cluster.hasCleanupInterval
          ? cluster.cleanupInterval.milliseconds
          : UInt64(Defaults.cleanupInterval.components.seconds) * 1000,
        endpoint: .configured(
          EndpointConfig(
            index: 0, dnsName: .empty, port: 0, addresses: .empty, hostname: .empty, weight: 1,
            priority: 0, health: .healthy, healthCheckPort: 0, healthCheckName: .empty,
            isUnchecked: true, locality: locality))))
  }

  // MARK: Circuit breakers

  private func breakers(
    of cluster: Message, at path: ConfigPath
  ) -> (normal: BreakerLimits, high: BreakerLimits) {
    let breakers = cluster.circuitBreakers
    var normal: BreakerLimits?
    var high: BreakerLimits?
    for (index, thresholds) in breakers.thresholds.enumerated() {
      let isRepeated = thresholds.priority == .high ? high != nil : normal != nil
      if isRepeated {
        // As in Envoy, the first counts; unlike Envoy, the second is not ignored in silence.
        diagnostics.warning(
          at: path.field("thresholds").index(index),
          "thresholds of this priority stand above already; these have no effect")
      } else if thresholds.priority == .high {
        high = limits(thresholds)
      } else {
        normal = limits(thresholds)
      }
    }
    return (
      moved(normal ?? BreakerLimits(), "circuit_breakers.\(cluster.name).default."),
      moved(high ?? BreakerLimits(), "circuit_breakers.\(cluster.name).high.")
    )
  }

  /// The limits with what the runtime says of them (Envoy docs: "Circuit breaking", runtime).
  private func moved(_ limits: BreakerLimits, _ prefix: String) -> BreakerLimits {
    var limits = limits
    limits.connections = runtime(prefix + "max_connections") ?? limits.connections
    limits.pendingRequests = runtime(prefix + "max_pending_requests") ?? limits.pendingRequests
    limits.requests = runtime(prefix + "max_requests") ?? limits.requests
    limits.retries = runtime(prefix + "max_retries") ?? limits.retries
    return limits
  }

  private func limits(
    _ thresholds: Envoy_Config_Cluster_V3_CircuitBreakers.Thresholds
  ) -> BreakerLimits {
    var limits = BreakerLimits()
    if thresholds.hasMaxConnections { limits.connections = UInt64(thresholds.maxConnections.value) }
    if thresholds.hasMaxPendingRequests {
      limits.pendingRequests = UInt64(thresholds.maxPendingRequests.value)
    }
    if thresholds.hasMaxRequests { limits.requests = UInt64(thresholds.maxRequests.value) }
    if thresholds.hasMaxRetries { limits.retries = UInt64(thresholds.maxRetries.value) }
    limits.tracksRemaining = thresholds.trackRemaining
    if thresholds.hasRetryBudget {
      var budget = RetryBudget()
      if thresholds.retryBudget.hasBudgetPercent {
        budget.percent = thresholds.retryBudget.budgetPercent.value
      }
      if thresholds.retryBudget.hasMinRetryConcurrency {
        budget.minimumConcurrency = UInt64(thresholds.retryBudget.minRetryConcurrency.value)
      }
      limits.retryBudget = budget
    }
    return limits
  }

  // MARK: Connections

  private func keepalive(_ cluster: Message) -> KeepaliveOptions? {
    guard cluster.upstreamConnectionOptions.hasTcpKeepalive else { return nil }
    let options = cluster.upstreamConnectionOptions.tcpKeepalive
    return KeepaliveOptions(
      probes: options.hasKeepaliveProbes ? options.keepaliveProbes.value : nil,
      time: options.hasKeepaliveTime ? options.keepaliveTime.value : nil,
      interval: options.hasKeepaliveInterval ? options.keepaliveInterval.value : nil)
  }

  private static let httpOptionsName = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

  private func httpOptions(_ cluster: Message, at path: ConfigPath) -> UpstreamHTTPOptions {
    var options = UpstreamHTTPOptions()
    var common = cluster.commonHTTPProtocolOptions
    var http1 = cluster.httpProtocolOptions
    var http2 = cluster.hasHTTP2ProtocolOptions ? cluster.http2ProtocolOptions : nil
    if http2 != nil { options.speaks = .http2 }
    let typedPath = path.field("typed_extension_protocol_options")
    for (key, value) in cluster.typedExtensionProtocolOptions.sorted(by: { $0.key < $1.key }) {
      guard key == Self.httpOptionsName,
        let typed = try? Envoy_Extensions_Upstreams_Http_V3_HttpProtocolOptions(unpackingAny: value)
      else {
        diagnostics.error(
          at: typedPath.key(key),
          "no protocol options of this name"
            + Suggestion.phrase(for: key, among: [Self.httpOptionsName]))
        continue
      }
      options.names = names(typed.upstreamHTTPProtocolOptions)
      // As in Envoy, they take the place of the old fields altogether.
      common = typed.commonHTTPProtocolOptions
      (options.speaks, http1, http2) = spoken(typed)
    }
    if common.hasIdleTimeout { options.idleTimeout = common.idleTimeout.limit }
    if common.hasMaxConnectionDuration {
      options.maxConnectionDuration = common.maxConnectionDuration.limit
    }
    if common.hasMaxStreamDuration { options.maxStreamDuration = common.maxStreamDuration.limit }
    if common.hasMaxHeadersCount { options.maxResponseHeaders = Int(common.maxHeadersCount.value) }
    if common.hasMaxResponseHeadersKb {
      options.maxHTTP1HeadBytes = Int(common.maxResponseHeadersKb.value) * 1024
      options.maxHTTP2HeadBytes = options.maxHTTP1HeadBytes
    }
    options.maxRequestsPerConnection = requestsPerConnection(cluster, common, at: path)
    options.headersWithUnderscores =
      switch common.headersWithUnderscoresAction {
      case .rejectRequest: .reject
      case .dropHeader: .drop
      case .allow, .UNRECOGNIZED: .allow
      }
    options.enableTrailers = http1.enableTrailers
    if options.speaks.mayBeHTTP2 {
      let http2 = http2 ?? HTTP2Compiler.Message()
      options.http2 = HTTP2Compiler.options(http2, role: .client)
      options.http2Keepalive = HTTP2Compiler.keepalive(http2)
    }
    return options
  }

  private func spoken(
    _ options: Envoy_Extensions_Upstreams_Http_V3_HttpProtocolOptions
  ) -> (UpstreamProtocol, Envoy_Config_Core_V3_Http1ProtocolOptions, HTTP2Compiler.Message?) {
    switch options.upstreamProtocolOptions {
    case .autoConfig(let config):
      return (.negotiated, config.httpProtocolOptions, config.http2ProtocolOptions)
    case .useDownstreamProtocolConfig(let config):
      return (.downstream, config.httpProtocolOptions, config.http2ProtocolOptions)
    case .explicitHTTPConfig(let config):
      guard case .http2ProtocolOptions(let http2)? = config.protocolConfig else {
        return (.http1, config.httpProtocolOptions, nil)
      }
      return (.http2, config.httpProtocolOptions, http2)
    case nil: return (.http1, Envoy_Config_Core_V3_Http1ProtocolOptions(), nil)
    }
  }

  private func names(
    _ message: Envoy_Config_Core_V3_UpstreamHttpProtocolOptions
  ) -> NamesFromRequests {
    var names = NamesFromRequests()
    names.asks = message.autoSni
    names.verifies = message.autoSanValidation
    guard !message.overrideAutoSniHeader.isEmpty else { return names }
    names.field = .configured(message.overrideAutoSniHeader.lowercased())
    names.fieldID = HeaderID.of(names.field)
    return names
  }

  private func requestsPerConnection(
    _ cluster: Message, _ common: Envoy_Config_Core_V3_HttpProtocolOptions, at path: ConfigPath
  ) -> UInt64? {
    if cluster.hasMaxRequestsPerConnection, common.hasMaxRequestsPerConnection {
      diagnostics.error(
        at: path.field("max_requests_per_connection"),
        "is set here and in the HTTP protocol options; keep one")
    }
    let value =
      common.hasMaxRequestsPerConnection
      ? common.maxRequestsPerConnection.value
      : cluster.hasMaxRequestsPerConnection ? cluster.maxRequestsPerConnection.value : 0
    return value == 0 ? nil : UInt64(value)
  }

  // MARK: DNS

  private func dnsOptions(_ cluster: Message, at path: ConfigPath) -> DNSOptions {
    var options = DNSOptions()
    options.lookup =
      switch cluster.dnsLookupFamily {
      case .v4Only: .v4Only
      case .v6Only: .v6Only
      case .v4Preferred: .v4Preferred
      case .all: .all
      case .auto, .UNRECOGNIZED: .auto
      }
    if cluster.hasDnsRefreshRate { options.refreshRate = cluster.dnsRefreshRate.milliseconds }
    options.respectsTTL = cluster.respectDnsTtl
    if cluster.hasDnsFailureRefreshRate {
      options.failureBackoff = backoff(cluster.dnsFailureRefreshRate, at: path)
    }
    if cluster.hasTypedDnsResolverConfig {
      options.resolver = resolver(
        cluster.typedDnsResolverConfig, at: path.field("typed_dns_resolver_config"))
    }
    return options
  }

  private func backoff(_ rate: Message.RefreshRate, at path: ConfigPath) -> BackoffRange {
    let base = rate.baseInterval.milliseconds
    // Envoy's default: ten times the base.
    let most = rate.hasMaxInterval ? rate.maxInterval.milliseconds : base * 10
    if most < base {
      diagnostics.error(
        at: path.field("dns_failure_refresh_rate").field("max_interval"),
        "is less than base_interval")
    }
    return BackoffRange(base: base, most: most)
  }

  private func resolver(
    _ config: Envoy_Config_Core_V3_TypedExtensionConfig, at path: ConfigPath
  ) -> ResolverOptions {
    var options = ResolverOptions()
    let typedPath = path.field("typed_config")
    guard
      let cares = try? Envoy_Extensions_Network_DnsResolver_Cares_V3_CaresDnsResolverConfig(
        unpackingAny: config.typedConfig)
    else {
      diagnostics.error(
        at: typedPath,
        "expected envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig")
      return options
    }
    var servers: [SocketAddress] = []
    for (index, address) in cares.resolvers.enumerated() {
      let socket = address.socketAddress
      // DNS' own port where none is given.
      let port = socket.portValue == 0 ? 53 : UInt16(clamping: socket.portValue)
      if case .socketAddress? = address.address,
        let server = SocketAddress(ip: socket.address, port: port)
      {
        servers.append(server)
      } else {
        diagnostics.error(
          at: typedPath.field("resolvers").index(index), "expected the IP address of a name server")
      }
    }
    options.servers = .configured(servers)
    if cares.hasQueryTimeoutSeconds {
      options.queryTimeout = min(cares.queryTimeoutSeconds.value, 3600) * 1000
    }
    if cares.hasQueryTries { options.tries = cares.queryTries.value }
    return options
  }
}

extension Envoy_Config_Cluster_V3_UpstreamConnectionOptions.FirstAddressFamilyVersion {
  fileprivate var family: AddressFamily? {
    switch self {
    case .v4: .v4
    case .v6: .v6
    case .default, .UNRECOGNIZED: nil
    }
  }
}
