import ResourceModel
import Resources
import SwiftProtobuf

/// Everything that is served to one client at one time. Immutable; clients that are behind need nothing
/// older.
struct ResourceSet {
  /// A type of resource, by its URL: what `type_url` says on a stream.
  enum TypeURL {
    static let cluster = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
    static let endpoints = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
    static let listener = "type.googleapis.com/envoy.config.listener.v3.Listener"
    static let routes = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
    static let secret = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
    /// Configurations of filters that take them by name.
    static let extensionConfig = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig"
    /// Istio's: no resource, but what a proxy says of its application.
    static let health = "type.googleapis.com/istio.v1.HealthInformation"

    /// Make before break: what is named by others comes before them. Other types come last.
    static let pushOrder = [cluster, endpoints, listener, routes, secret, extensionConfig]

    /// Clients that name nothing get all of these.
    static let wildcard: Set<String> = [cluster, listener]

    /// What people call a type, as in `CDS`; the last part of its URL for others.
    static func shortName(_ type: String) -> String {
      switch type {
      case cluster: "CDS"
      case endpoints: "EDS"
      case listener: "LDS"
      case routes: "RDS"
      case secret: "SDS"
      case extensionConfig: "ECDS"
      default: type.split(separator: ".").last.map(String.init) ?? type
      }
    }
  }

  /// Of one name in several layers, the first one's counts.
  private let layers: [ResourceLayer]

  /// No resources.
  init() { layers = [] }

  init(_ layers: [ResourceLayer]) { self.layers = layers }

  /// - Parameter resources: by type's URL; each name once.
  init(_ resources: [String: [ServedResource]]) { layers = [ResourceLayer(resources)] }

  /// The same, and a layer of what is one client's alone.
  func adding(_ layer: ResourceLayer) -> ResourceSet { ResourceSet(layers + [layer]) }

  /// How many there are of a type.
  func count(of type: String) -> Int { all(of: type).count }

  /// All of a type, in the order of their names.
  func all(of type: String) -> [ServedResource] {
    let found = layers.compactMap { $0.kinds[type] }.filter { !$0.sorted.isEmpty }
    guard var all = found.first?.sorted else { return [] }
    for kind in found.dropFirst() { all = Self.merge(all, kind.sorted) }
    return all
  }

  /// Both, in the order of their names; of one name, the first list's counts.
  private static func merge(
    _ first: [ServedResource], _ second: [ServedResource]
  ) -> [ServedResource] {
    var merged: [ServedResource] = []
    merged.reserveCapacity(first.count + second.count)
    var left = first[...]
    for resource in second {
      while let next = left.first, next.name < resource.name {
        merged.append(next)
        left = left.dropFirst()
      }
      if left.first?.name != resource.name { merged.append(resource) }
    }
    return merged + left
  }

  /// The resource of a name.
  func resource(of type: String, _ name: String) -> ServedResource? {
    for layer in layers {
      if let found = layer.kinds[type]?[name] { return found }
    }
    return nil
  }

  /// What all resources of a type come to: as long as that is the same, so are they.
  func digests(of type: String) -> [UInt64] { layers.map { $0.kinds[type]?.digest ?? 0 } }

  /// The names of what may differ from what it was at these digests; nil when nobody remembers.
  func changes(of type: String, since digests: [UInt64]) -> [String]? {
    guard digests.count == layers.count else { return nil }
    var names: [String] = []
    for (layer, digest) in zip(layers, digests) {
      guard let kind = layer.kinds[type] else {
        if digest != 0 { return nil }
        continue
      }
      guard let changed = kind.changes(since: digest) else { return nil }
      names += changed
    }
    return names
  }

  /// What a client that asked for a name is answered. Endpoints and routes that do not exist are
  /// answered with empty ones: a proxy does not take a cluster or a listener into use before it knows
  /// them, and would wait for its `initial_fetch_timeout` otherwise.
  func answer(of type: String, for name: String) -> ServedResource? {
    if let found = resource(of: type, name) { return found }
    switch type {
    case TypeURL.endpoints:
      let empty = Envoy_Config_Endpoint_V3_ClusterLoadAssignment.with { $0.clusterName = name }
      return placeholder(type, name, empty)
    case TypeURL.routes:
      let empty = Envoy_Config_Route_V3_RouteConfiguration.with { $0.name = name }
      return placeholder(type, name, empty)
    default: return nil
    }
  }

  private func placeholder(_ type: String, _ name: String, _ message: some Message)
    -> ServedResource?
  {
    guard let bytes: [UInt8] = try? message.serializedBytes() else { return nil }
    return ServedResource(type: type, name: name, bytes: bytes)
  }
}
