import Resources

/// What a stream to a control plane is for, by which its method is called.
package enum DiscoveryService: Equatable {
  /// All kinds of resources (ADS).
  case aggregated
  /// One kind.
  case single(ResourceType)

  /// The path of the method.
  func path(_ variant: DiscoveryVariant) -> String {
    let isDelta = variant == .delta
    switch self {
    case .aggregated:
      return "/envoy.service.discovery.v3.AggregatedDiscoveryService/"
        + (isDelta ? "DeltaAggregatedResources" : "StreamAggregatedResources")
    case .single(let type):
      let (package, service, noun) = Self.names(type)
      return "/envoy.service.\(package).v3.\(service)DiscoveryService/"
        + (isDelta ? "Delta" : "Stream") + noun
    }
  }

  private static func names(
    _ type: ResourceType
  ) -> (package: String, service: String, noun: String) {
    switch type {
    case .clusters: ("cluster", "Cluster", "Clusters")
    case .endpoints: ("endpoint", "Endpoint", "Endpoints")
    case .listeners: ("listener", "Listener", "Listeners")
    case .routes: ("route", "Route", "Routes")
    case .secrets: ("secret", "Secret", "Secrets")
    case .extensions: ("extension", "ExtensionConfig", "ExtensionConfigs")
    }
  }

  /// As logs call it.
  package var title: String {
    switch self {
    case .aggregated: "ADS"
    case .single(let type): Self.names(type).noun
    }
  }
}
