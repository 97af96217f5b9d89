import ResourceModel

/// The part of validation that concerns one route configuration.
struct RouteValidator {
  let validator: BootstrapValidator
  /// Every cluster there is.
  let clusters: Set<String>
  /// The names of the chain's HTTP filters.
  let filters: Set<String>
  /// Whether a route to a cluster that does not exist is a mistake (`validate_clusters`).
  let requiresClusters: Bool

  private var diagnostics: Diagnostics { validator.diagnostics }

  /// Reports what does not fit together in a route configuration.
  func validate(_ routes: Envoy_Config_Route_V3_RouteConfiguration, at path: ConfigPath) {
    let hosts = path.field("virtual_hosts")
    // Legal in Envoy, though it makes statistics and reports ambiguous.
    validator.reportTwins(routes.virtualHosts.map(\.name), "virtual host", severity: .warning) {
      hosts.index($0).field("name")
    }
    validateDomains(routes.virtualHosts, at: hosts)
    validateFilters(routes.typedPerFilterConfig.keys, at: path)
    HeaderRules(diagnostics: diagnostics).check(routes, at: path)
    validateMirrors(routes.requestMirrorPolicies, at: path)
    for (position, host) in routes.virtualHosts.enumerated() {
      let at = hosts.index(position)
      validateFilters(host.typedPerFilterConfig.keys, at: at)
      HeaderRules(diagnostics: diagnostics).check(host, at: at)
      validateMirrors(host.requestMirrorPolicies, at: at)
      if host.hasRetryPolicy { validate(host.retryPolicy, at: at.field("retry_policy")) }
      for (position, route) in host.routes.enumerated() {
        validate(route, at: at.field("routes").index(position))
      }
    }
  }

  /// A domain leads to one virtual host. Domains know no upper and lower case.
  private func validateDomains(
    _ hosts: [Envoy_Config_Route_V3_VirtualHost], at path: ConfigPath
  ) {
    var places: [ConfigPath] = []
    var domains: [String] = []
    for (position, host) in hosts.enumerated() {
      for (domain, text) in host.domains.enumerated() {
        places.append(path.index(position).field("domains").index(domain))
        domains.append(text.lowercased())
      }
    }
    validator.reportTwins(domains, "domain") { places[$0] }
  }

  private func validateFilters(_ names: some Sequence<String>, at path: ConfigPath) {
    for name in names.sorted() where !filters.contains(name) {
      diagnostics.warning(
        at: path.field("typed_per_filter_config").key(name),
        "no HTTP filter has the name '\(ScalarReader.shorten(name))', so this has no effect"
          + Suggestion.phrase(for: name, among: filters.sorted()))
    }
  }

  // MARK: Routes

  private func validate(_ route: Envoy_Config_Route_V3_Route, at path: ConfigPath) {
    validateFilters(route.typedPerFilterConfig.keys, at: path)
    HeaderRules(diagnostics: diagnostics).check(route, at: path)
    guard case .route(let action)? = route.action else { return }
    validate(action, at: path.field("route"))
  }

  private func validate(_ action: Envoy_Config_Route_V3_RouteAction, at path: ConfigPath) {
    switch action.clusterSpecifier {
    case .cluster(let name): requireCluster(name, at: path.field("cluster"))
    case .weightedClusters(let weighted):
      validate(weighted, at: path.field("weighted_clusters"))
    case .clusterHeader, nil: break
    }
    validateMirrors(action.requestMirrorPolicies, at: path)
    if action.hasRetryPolicy { validate(action.retryPolicy, at: path.field("retry_policy")) }
    if !action.prefixRewrite.isEmpty, action.hasRegexRewrite {
      diagnostics.error(
        at: path.field("regex_rewrite"), "cannot be set together with 'prefix_rewrite'")
    }
  }

  private func validate(_ weighted: Envoy_Config_Route_V3_WeightedCluster, at path: ConfigPath) {
    var total: UInt64 = 0
    for (position, cluster) in weighted.clusters.enumerated() {
      let at = path.field("clusters").index(position)
      total += UInt64(cluster.weight.value)
      if !cluster.hasWeight { diagnostics.error(at: at.field("weight"), "missing") }
      validateFilters(cluster.typedPerFilterConfig.keys, at: at)
      HeaderRules(diagnostics: diagnostics).check(cluster, at: at)
      switch (cluster.name.isEmpty, cluster.clusterHeader.isEmpty) {
      case (true, true): diagnostics.error(at: at, "one of name, cluster_header is missing")
      case (false, false):
        diagnostics.error(at: at.field("cluster_header"), "cannot be set together with 'name'")
      case (false, true): requireCluster(cluster.name, at: at.field("name"))
      case (true, false): break
      }
    }
    let clusters = path.field("clusters")
    if total == 0, !weighted.clusters.isEmpty, weighted.clusters.allSatisfy(\.hasWeight) {
      diagnostics.error(at: clusters, "expected weights that add up to more than 0")
    }
    if total > UInt64(UInt32.max) {
      diagnostics.error(at: clusters, "expected weights that add up to at most \(UInt32.max)")
    }
  }

  private func validateMirrors(
    _ policies: [Envoy_Config_Route_V3_RouteAction.RequestMirrorPolicy], at path: ConfigPath
  ) {
    for (position, policy) in policies.enumerated() {
      let at = path.field("request_mirror_policies").index(position)
      switch (policy.cluster.isEmpty, policy.clusterHeader.isEmpty) {
      case (true, true): diagnostics.error(at: at, "one of cluster, cluster_header is missing")
      case (false, false):
        diagnostics.error(at: at.field("cluster_header"), "cannot be set together with 'cluster'")
      case (false, true): requireCluster(policy.cluster, at: at.field("cluster"))
      case (true, false): break
      }
    }
  }

  private func validate(_ policy: Envoy_Config_Route_V3_RetryPolicy, at path: ConfigPath) {
    let backOff = policy.retryBackOff
    guard backOff.hasBaseInterval, backOff.hasMaxInterval else { return }
    let base = (backOff.baseInterval.seconds, backOff.baseInterval.nanos)
    guard (backOff.maxInterval.seconds, backOff.maxInterval.nanos) < base else { return }
    diagnostics.error(
      at: path.field("retry_back_off").field("max_interval"), "less than the base_interval")
  }

  private func requireCluster(_ name: String, at path: ConfigPath) {
    guard requiresClusters, !name.isEmpty, !clusters.contains(name) else { return }
    diagnostics.error(at: path, validator.unknownCluster(name, clusters))
  }
}
