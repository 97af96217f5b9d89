/// Which types an `Any` may hold, place by place. A type that exists but does not belong somewhere
/// is as wrong there as one that does not exist.
enum ExtensionPoints {
  /// The types for an `Any` in `field` of `message`.
  static func types(for field: String, of message: String) -> [String] {
    if field == "typed_per_filter_config" { return [filterConfig] + perRoute }
    switch message + "." + field {
    case "envoy.config.listener.v3.Filter.typed_config": return networkFilters
    case "envoy.config.listener.v3.ListenerFilter.typed_config": return listenerFilters
    case connectionManager + "HttpFilter.typed_config": return httpFilters
    case "envoy.config.route.v3.FilterConfig.config": return perRoute
    case "envoy.config.accesslog.v3.AccessLog.typed_config": return accessLogs
    case "envoy.config.cluster.v3.Cluster.typed_extension_protocol_options":
      return ["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"]
    case "envoy.config.core.v3.TransportSocket.typed_config": return transportSockets
    case "envoy.config.overload.v3.ResourceMonitor.typed_config": return resourceMonitors
    case "envoy.config.route.v3.RetryPolicy.RetryHostPredicate.typed_config":
      return ["envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"]
    case "envoy.config.core.v3.TypedExtensionConfig.typed_config":
      // What configures a resolver, or what comes by itself: the place says which.
      return [caresResolver] + discoverableFilters
    case "envoy.config.core.v3.ExtensionConfigSource.default_config": return discoverableFilters
    case "envoy.service.discovery.v3.DiscoveryResponse.resources":
      return ResourceType.allCases.map(\.rawValue)
    default: return []
    }
  }

  /// Why a type that is not among those allowed is refused.
  static func refusal(of name: String, url: String, allowed: [String]) -> String {
    let known = SchemaCatalog.shared.index(ofMessage: name) != nil
    if known, !url.contains("/") {
      return "expected '@type: type.googleapis.com/\(name)', found '\(ScalarReader.shorten(url))'"
    }
    if known { return "'\(name)' does not belong here; expected \(choice(allowed))" }
    if PublishedNames.envoy.hasExtension(name) {
      return "extension '\(name)' is known to Envoy, not supported by Fairlead"
    }
    return "no such extension type '\(ScalarReader.shorten(name))'"
      + Suggestion.phrase(for: name, among: allowed)
  }

  /// What could stand there instead.
  static func choice(_ names: [String]) -> String {
    names.count == 1 ? "'\(names[0])'" : "one of " + names.joined(separator: ", ")
  }

  static let filterConfig = "envoy.config.route.v3.FilterConfig"
  static let router = "envoy.extensions.filters.http.router.v3.Router"
  static let caresResolver =
    "envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig"

  /// HTTP filters whose configuration may come by itself: all but those that every chain has.
  static let discoverableFilters = httpFilters.filter { name in
    ![router, fairlead + "retry.v1.Retry", fairlead + "timeout.v1.Timeout"].contains(name)
  }

  private static let connectionManager =
    "envoy.extensions.filters.network.http_connection_manager.v3."
  private static let filters = "envoy.extensions.filters.http."
  private static let network = "envoy.extensions.filters.network."
  private static let fairlead = "fairlead.filters.http."
  private static let networkFilters = [
    connectionManager + "HttpConnectionManager",
    network + "connection_limit.v3.ConnectionLimit",
    network + "direct_response.v3.Config",
    network + "echo.v3.Echo",
    network + "local_ratelimit.v3.LocalRateLimit",
    network + "rbac.v3.RBAC",
    network + "sni_cluster.v3.SniCluster",
    network + "tcp_proxy.v3.TcpProxy",
  ]

  private static let listenerFilters = [
    "envoy.extensions.filters.listener.http_inspector.v3.HttpInspector",
    "envoy.extensions.filters.listener.original_dst.v3.OriginalDst",
    "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol",
    "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector",
  ]

  private static let transportSockets = [
    "envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport",
    "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer",
    "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
    "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
  ]

  private static let resourceMonitors = [
    "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
    "envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig",
  ]

  private static let httpFilters = [
    router,
    filters + "buffer.v3.Buffer",
    filters + "fault.v3.HTTPFault",
    filters + "grpc_stats.v3.FilterConfig",
    filters + "grpc_web.v3.GrpcWeb",
    filters + "header_mutation.v3.HeaderMutation",
    filters + "health_check.v3.HealthCheck",
    filters + "local_ratelimit.v3.LocalRateLimit",
    filters + "rbac.v3.RBAC",
    fairlead + "mtls.v1.MTLS",
    fairlead + "retry.v1.Retry",
    fairlead + "timeout.v1.Timeout",
  ]

  /// What a filter takes at a route, virtual host or weighted cluster.
  private static let perRoute = [
    filters + "buffer.v3.BufferPerRoute",
    filters + "fault.v3.HTTPFault",
    filters + "header_mutation.v3.HeaderMutationPerRoute",
    filters + "local_ratelimit.v3.LocalRateLimit",
    filters + "rbac.v3.RBACPerRoute",
    fairlead + "mtls.v1.MTLS",
    fairlead + "retry.v1.Retry",
    fairlead + "timeout.v1.Timeout",
  ]

  private static let accessLogs = [
    "envoy.extensions.access_loggers.file.v3.FileAccessLog",
    "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
    "envoy.extensions.access_loggers.stream.v3.StderrAccessLog",
  ]
}
