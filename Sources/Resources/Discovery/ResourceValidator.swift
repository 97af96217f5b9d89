import ResourceModel

/// Finds, in resources that come while the process runs, the mistakes that no single field shows.
package struct ResourceValidator {
  private let validator: BootstrapValidator

  package init(diagnostics: Diagnostics) {
    validator = BootstrapValidator(diagnostics: diagnostics)
  }

  /// Reports what does not fit together in a listener.
  /// - Parameter clusters: every cluster there is.
  package func validate(
    _ listener: Envoy_Config_Listener_V3_Listener, at path: ConfigPath, clusters: Set<String>
  ) {
    validator.validate(listener, at: path, clusters: clusters)
  }

  /// Reports what does not fit together in a cluster.
  package func validate(_ cluster: Envoy_Config_Cluster_V3_Cluster, at path: ConfigPath) {
    validator.validate(cluster, at: path)
  }

  /// Reports what does not fit together in the endpoints of a cluster.
  package func validate(
    _ assignment: Envoy_Config_Endpoint_V3_ClusterLoadAssignment, at path: ConfigPath
  ) {
    validator.validate(assignment, at: path)
  }

  /// Reports what does not fit together in a route configuration for one connection manager.
  /// - Parameters:
  ///   - clusters: every cluster there is. Only `validate_clusters` makes an unknown one a mistake:
  ///     routes and clusters come one by one.
  ///   - filters: the names of the chain's HTTP filters.
  package func validate(
    _ routes: Envoy_Config_Route_V3_RouteConfiguration, at path: ConfigPath,
    clusters: Set<String>, filters: Set<String>
  ) {
    RouteValidator(
      validator: validator, clusters: clusters, filters: filters,
      requiresClusters: routes.validateClusters.value
    ).validate(routes, at: path)
  }
}
