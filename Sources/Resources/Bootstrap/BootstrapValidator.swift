import ResourceModel
import SwiftProtobuf

/// Finds the mistakes that no single field shows: names that lead nowhere or twice somewhere, chains
/// without an end, addresses that are none.
///
/// Compilers report what only they can know, such as a regular expression that does not parse.
package struct BootstrapValidator {
  let diagnostics: Diagnostics

  package init(diagnostics: Diagnostics) { self.diagnostics = diagnostics }

  /// Reports everything that does not fit together.
  package func validate(_ bootstrap: Envoy_Config_Bootstrap_V3_Bootstrap) {
    let resources = ConfigPath.root.field("static_resources")
    let clusters = Set(bootstrap.staticResources.clusters.map(\.name))
    validate(bootstrap.staticResources.clusters, at: resources.field("clusters"))
    validate(
      bootstrap.staticResources.listeners, at: resources.field("listeners"), clusters: clusters)
    let resolver = bootstrap.typedDnsResolverConfig.typedConfig.typeURL
    if !resolver.isEmpty, !resolver.hasSuffix("/" + ExtensionPoints.caresResolver) {
      diagnostics.error(
        at: ConfigPath.root.field("typed_dns_resolver_config").field("typed_config"),
        "expected '\(ExtensionPoints.caresResolver)'")
    }
    if bootstrap.hasAdmin { validate(bootstrap.admin, at: ConfigPath.root.field("admin")) }
    let layers = ConfigPath.root.field("layered_runtime").field("layers")
    reportTwins(bootstrap.layeredRuntime.layers.map(\.name), "runtime layer") {
      layers.index($0).field("name")
    }
    let local = bootstrap.clusterManager.localClusterName
    if !local.isEmpty, !clusters.contains(local) {
      diagnostics.error(
        at: ConfigPath.root.field("cluster_manager").field("local_cluster_name"),
        unknownCluster(local, clusters))
    }
  }

  private func validate(_ admin: Envoy_Config_Bootstrap_V3_Admin, at path: ConfigPath) {
    guard admin.hasAddress else { return }
    validate(admin.address, at: path.field("address"))
  }

  // MARK: Clusters

  private func validate(_ clusters: [Envoy_Config_Cluster_V3_Cluster], at path: ConfigPath) {
    reportTwins(clusters.map(\.name), "cluster") { path.index($0).field("name") }
    for (position, cluster) in clusters.enumerated() {
      validate(cluster, at: path.index(position))
    }
  }

  func validate(_ cluster: Envoy_Config_Cluster_V3_Cluster, at path: ConfigPath) {
    let localities = cluster.loadAssignment.endpoints
    if cluster.type == .logicalDns, localities.reduce(0, { $0 + $1.lbEndpoints.count }) != 1 {
      diagnostics.error(
        at: path.field("load_assignment"), "a LOGICAL_DNS cluster has exactly one endpoint")
    }
    // Only the names of DNS clusters are resolved.
    if cluster.type == .static {
      validate(cluster.loadAssignment, at: path.field("load_assignment"))
    }
    let eds = path.field("eds_cluster_config")
    if cluster.type == .eds {
      if !cluster.edsClusterConfig.hasEdsConfig, diagnostics.tree?.isWritten(eds) != true {
        diagnostics.error(at: eds, "missing; a cluster of type EDS needs an eds_config")
      }
      if cluster.hasLoadAssignment {
        diagnostics.error(
          at: path.field("load_assignment"), "the endpoints of a cluster of type EDS are sent")
      }
    } else if cluster.hasEdsClusterConfig {
      diagnostics.error(at: eds, "goes with clusters of type EDS only")
    }
    validateDestinations(of: cluster, at: path)
    let options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    for key in cluster.typedExtensionProtocolOptions.keys.sorted() where key != options {
      diagnostics.error(
        at: path.field("typed_extension_protocol_options").key(key),
        "no such protocol options; expected '\(options)'")
    }
    let rate = cluster.dnsFailureRefreshRate
    if rate.hasMaxInterval, rate.maxInterval.isBelow(rate.baseInterval) {
      diagnostics.error(
        at: path.field("dns_failure_refresh_rate").field("max_interval"),
        "less than the base_interval")
    }
  }

  /// An ORIGINAL_DST cluster has no hosts of its own, and balances nothing.
  private func validateDestinations(
    of cluster: Envoy_Config_Cluster_V3_Cluster, at path: ConfigPath
  ) {
    let isOriginal = cluster.type == .originalDst
    if isOriginal != (cluster.lbPolicy == .clusterProvided) {
      diagnostics.error(
        at: path.field("lb_policy"),
        isOriginal
          ? "a cluster of type ORIGINAL_DST needs lb_policy: CLUSTER_PROVIDED"
          : "CLUSTER_PROVIDED goes with clusters of type ORIGINAL_DST only")
    }
    let options = path.field("original_dst_lb_config")
    if isOriginal, cluster.hasLoadAssignment {
      diagnostics.error(
        at: path.field("load_assignment"),
        "a cluster of type ORIGINAL_DST goes where connections were going; it names no endpoints")
    }
    if isOriginal, !cluster.healthChecks.isEmpty {
      diagnostics.error(
        at: path.field("health_checks"),
        "a cluster of type ORIGINAL_DST goes where connections were going, healthy or not")
    }
    guard case .originalDstLbConfig(let config)? = cluster.lbConfig else { return }
    if !isOriginal {
      diagnostics.error(at: options, "goes with clusters of type ORIGINAL_DST only")
    }
    if !config.httpHeaderName.isEmpty, !config.useHTTPHeader {
      diagnostics.error(at: options.field("http_header_name"), "needs use_http_header: true")
    }
  }

  func validate(
    _ assignment: Envoy_Config_Endpoint_V3_ClusterLoadAssignment, at path: ConfigPath
  ) {
    let endpoints = path.field("endpoints")
    for (position, locality) in assignment.endpoints.enumerated() {
      validate(locality, at: endpoints.index(position).field("lb_endpoints"))
    }
  }

  private func validate(
    _ locality: Envoy_Config_Endpoint_V3_LocalityLbEndpoints, at path: ConfigPath
  ) {
    for (position, host) in locality.lbEndpoints.enumerated() {
      let endpoint = path.index(position).field("endpoint")
      guard host.endpoint.hasAddress else {
        diagnostics.error(at: endpoint.field("address"), "missing")
        continue
      }
      validate(
        host.endpoint.address, at: endpoint.field("address"),
        hint: "; a host name needs the cluster type STRICT_DNS or LOGICAL_DNS")
      let more = endpoint.field("additional_addresses")
      for (position, additional) in host.endpoint.additionalAddresses.enumerated() {
        validate(additional.address, at: more.index(position).field("address"))
      }
    }
  }

  /// An address that nobody resolves has to be an IP address.
  func validate(_ address: Envoy_Config_Core_V3_Address, at path: ConfigPath, hint: String = "") {
    guard case .socketAddress(let socket)? = address.address else { return }
    guard !socket.address.isEmpty, !IPAddressText.isValid(socket.address) else { return }
    diagnostics.error(
      at: path.field("socket_address").field("address"),
      "expected an IP address, found \"\(ScalarReader.shorten(socket.address))\"" + hint)
  }

  // MARK: Words

  /// Reports every name that stands in a list a second time.
  func reportTwins(
    _ names: [String], _ noun: String, severity: Diagnostic.Severity = .error,
    at path: (Int) -> ConfigPath
  ) {
    var first: [String: Int] = [:]
    for (position, name) in names.enumerated() where !name.isEmpty {
      guard let earlier = first.updateValue(position, forKey: name) else { continue }
      first[name] = earlier
      let place = path(position)
      let line = diagnostics.location(of: path(earlier)).line
      diagnostics.report(
        severity, "there is already a \(noun) '\(ScalarReader.shorten(name))' on line \(line)",
        path: place, at: diagnostics.location(of: place))
    }
  }

  /// How a cluster that does not exist is refused.
  func unknownCluster(_ name: String, _ clusters: Set<String>) -> String {
    "unknown cluster '\(ScalarReader.shorten(name))'"
      + Suggestion.phrase(for: name, among: clusters.sorted())
  }

  /// The message inside an `Any`, if it is of this type.
  func content<M: Message>(_ any: Google_Protobuf_Any, as type: M.Type) -> M? {
    guard any.isA(type) else { return nil }
    return try? M(serializedBytes: any.value)
  }
}

extension Google_Protobuf_Duration {
  fileprivate func isBelow(_ other: Google_Protobuf_Duration) -> Bool {
    (seconds, nanos) < (other.seconds, other.nanos)
  }
}
