import ResourceModel

extension BootstrapValidator {
  typealias ConnectionManager =
    Envoy_Extensions_Filters_Network_HttpConnectionManager_V3_HttpConnectionManager
  private typealias ConnectionLimit =
    Envoy_Extensions_Filters_Network_ConnectionLimit_V3_ConnectionLimit
  private typealias TCPProxy = Envoy_Extensions_Filters_Network_TcpProxy_V3_TcpProxy
  typealias HTTPFilter = Envoy_Extensions_Filters_Network_HttpConnectionManager_V3_HttpFilter

  func validate(
    _ listeners: [Envoy_Config_Listener_V3_Listener], at path: ConfigPath, clusters: Set<String>
  ) {
    reportTwins(listeners.map(\.name), "listener") { path.index($0).field("name") }
    reportTwins(listeners.map(\.address.boundText), "listener at") {
      path.index($0).field("address")
    }
    for (position, listener) in listeners.enumerated() {
      validate(listener, at: path.index(position), clusters: clusters)
    }
  }

  func validate(
    _ listener: Envoy_Config_Listener_V3_Listener, at path: ConfigPath, clusters: Set<String>
  ) {
    if listener.hasAddress {
      validate(listener.address, at: path.field("address"))
    } else {
      diagnostics.error(at: path.field("address"), "missing")
    }
    let chains = path.field("filter_chains")
    if listener.filterChains.isEmpty, !listener.hasDefaultFilterChain {
      diagnostics.error(at: chains, "missing; expected a filter chain")
    }
    for (position, chain) in listener.filterChains.enumerated() {
      let at = chains.index(position)
      validate(chain, at: at, clusters: clusters)
      validate(chain.filterChainMatch, at: at.field("filter_chain_match"))
    }
    if listener.hasDefaultFilterChain {
      validate(
        listener.defaultFilterChain, at: path.field("default_filter_chain"), clusters: clusters)
    }
    for (position, filter) in listener.listenerFilters.enumerated() where filter.configType == nil {
      let at = path.field("listener_filters").index(position).field("typed_config")
      if diagnostics.tree?.isWritten(at) != true { diagnostics.error(at: at, "missing") }
    }
  }

  private func validate(
    _ match: Envoy_Config_Listener_V3_FilterChainMatch, at path: ConfigPath
  ) {
    for (ranges, name) in [
      (match.prefixRanges, "prefix_ranges"), (match.sourcePrefixRanges, "source_prefix_ranges"),
      (match.directSourcePrefixRanges, "direct_source_prefix_ranges"),
    ] {
      for (position, range) in ranges.enumerated() {
        validate(range, at: path.field(name).index(position))
      }
    }
    for (position, name) in match.serverNames.enumerated() {
      let bare = name.hasPrefix("*.") ? String(name.dropFirst(2)) : name
      guard bare.isEmpty || bare.contains("*") else { continue }
      diagnostics.error(
        at: path.field("server_names").index(position),
        "expected a name, or '*.' and a name; \"\(ScalarReader.shorten(name))\" is neither")
    }
  }

  private func validate(_ range: Envoy_Config_Core_V3_CidrRange, at path: ConfigPath) {
    guard IPAddressText.isValid(range.addressPrefix) else {
      return diagnostics.error(
        at: path.field("address_prefix"),
        "expected an IP address, found \"\(ScalarReader.shorten(range.addressPrefix))\"")
    }
    let most: UInt32 = range.addressPrefix.contains(":") ? 128 : 32
    if range.prefixLen.value > most {
      diagnostics.error(
        at: path.field("prefix_len"), "expected at most \(most), found \(range.prefixLen.value)")
    }
  }

  private func validate(
    _ chain: Envoy_Config_Listener_V3_FilterChain, at path: ConfigPath, clusters: Set<String>
  ) {
    let filters = path.field("filters")
    if chain.filters.isEmpty {
      diagnostics.error(
        at: filters, "missing; expected an HTTP connection manager")
    }
    for (position, filter) in chain.filters.enumerated() {
      let at = filters.index(position)
      if filter.configType == nil {
        if diagnostics.tree?.isWritten(at.field("typed_config")) != true {
          diagnostics.error(at: at.field("typed_config"), "missing")
        }
        continue
      }
      let isLast = position == chain.filters.count - 1
      if isLast == Self.networkFiltersInFront.contains(where: filter.typedConfig.typeURL.hasSuffix)
      {
        diagnostics.error(
          at: at,
          isLast
            ? "'\(filter.name)' is the last network filter; expected one after it that takes the "
              + "connection"
            : "'\(filter.name)' ends the chain of network filters, and has to be its last")
      }
      if let manager = content(filter.typedConfig, as: ConnectionManager.self) {
        validate(manager, at: at.field("typed_config"), clusters: clusters)
      } else if let proxy = content(filter.typedConfig, as: TCPProxy.self) {
        validate(proxy, at: at.field("typed_config"), clusters: clusters)
      } else if let limit = content(filter.typedConfig, as: ConnectionLimit.self),
        !limit.hasMaxConnections
      {
        diagnostics.error(at: at.field("typed_config").field("max_connections"), "missing")
      }
    }
  }

  /// Network filters that hand a connection on; all others take it.
  private static let networkFiltersInFront = [
    "/envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit",
    "/envoy.extensions.filters.network.local_ratelimit.v3.LocalRateLimit",
    "/envoy.extensions.filters.network.rbac.v3.RBAC",
    "/envoy.extensions.filters.network.sni_cluster.v3.SniCluster",
  ]

  /// As in Envoy, a cluster may be missing: the connections that need it are closed.
  private func validate(_ proxy: TCPProxy, at path: ConfigPath, clusters: Set<String>) {
    var named: [(name: String, path: ConfigPath)] = []
    switch proxy.clusterSpecifier {
    case .cluster(let name): named.append((name, path.field("cluster")))
    case .weightedClusters(let weighted):
      for (position, one) in weighted.clusters.enumerated() {
        let at = path.field("weighted_clusters").field("clusters").index(position)
        named.append((one.name, at.field("name")))
      }
    case nil: break
    }
    for (name, at) in named where !clusters.contains(name) {
      diagnostics.warning(at: at, unknownCluster(name, clusters))
    }
  }

  private func validate(_ manager: ConnectionManager, at path: ConfigPath, clusters: Set<String>) {
    validate(manager.httpFilters, at: path.field("http_filters"))
    guard case .routeConfig(let routes)? = manager.routeSpecifier else { return }
    RouteValidator(
      validator: self, clusters: clusters, filters: Set(manager.httpFilters.map(\.name)),
      requiresClusters: routes.hasValidateClusters
        ? routes.validateClusters.value : Defaults.validateClusters
    ).validate(routes, at: path.field("route_config"))
  }

  private func validate(_ filters: [HTTPFilter], at path: ConfigPath) {
    // Legal in Envoy: but what a route says for the name then goes to each of them.
    reportTwins(filters.map(\.name), "filter", severity: .warning) {
      path.index($0).field("name")
    }
    for (position, filter) in filters.enumerated() {
      let at = path.index(position)
      if case .configDiscovery(let source)? = filter.configType {
        validate(source, at: at.field("config_discovery"))
      }
      if position == filters.count - 1, filter.configType != nil,
        !filter.typedConfig.typeURL.hasSuffix("/" + ExtensionPoints.router)
      {
        diagnostics.error(
          at: at, "'\(filter.name)' is the last HTTP filter; expected the router after it")
      }
      if case .configDiscovery? = filter.configType { continue }
      guard case .typedConfig(let config)? = filter.configType else {
        if diagnostics.tree?.isWritten(at.field("typed_config")) != true {
          diagnostics.error(at: at.field("typed_config"), "missing")
        }
        continue
      }
      let isRouter = config.typeURL.hasSuffix("/" + ExtensionPoints.router)
      if isRouter, position < filters.count - 1 {
        diagnostics.error(at: at, "the router '\(filter.name)' has to be the last HTTP filter")
      }
      if isRouter, filter.disabled {
        diagnostics.error(at: at.field("disabled"), "the router cannot be disabled")
      }
    }
    if filters.isEmpty {
      diagnostics.error(at: path, "missing; expected at least the router")
    }
  }

  /// Where a filter's configuration comes from by itself.
  private func validate(
    _ source: Envoy_Config_Core_V3_ExtensionConfigSource, at path: ConfigPath
  ) {
    let types = source.typeUrls.map { $0.split(separator: "/").last.map(String.init) ?? "" }
    for (position, type) in types.enumerated() {
      let at = path.field("type_urls").index(position)
      let allowed = ExtensionPoints.discoverableFilters
      guard !allowed.contains(type), !diagnostics.hasError(at: at) else { continue }
      diagnostics.error(
        at: at,
        ExtensionPoints.refusal(of: type, url: source.typeUrls[position], allowed: allowed))
    }
    if source.hasDefaultConfig {
      let type = source.defaultConfig.typeURL.split(separator: "/").last.map(String.init) ?? ""
      if !type.isEmpty, !types.contains(type) {
        diagnostics.error(
          at: path.field("default_config"),
          "'\(type)' is not among type_urls; expected \(ExtensionPoints.choice(types))")
      }
    } else if source.applyDefaultConfigWithoutWarming {
      diagnostics.error(
        at: path.field("apply_default_config_without_warming"),
        "there is no default_config to apply")
    }
  }
}

extension Envoy_Config_Core_V3_Address {
  /// What is bound, as text; empty where several listeners may ask for the same, as for port 0.
  fileprivate var boundText: String {
    switch address {
    case .socketAddress(let socket):
      guard case .portValue(let port)? = socket.portSpecifier, port != 0 else { return "" }
      return socket.address.contains(":")
        ? "[\(socket.address)]:\(port)" : "\(socket.address):\(port)"
    case .pipe(let pipe): return pipe.path
    case nil: return ""
    }
  }
}

extension ConfigTree {
  /// Whether something was written at a path, fit or not.
  func isWritten(_ path: ConfigPath) -> Bool { node(at: path) != nil }
}
