import ResourceModel
import Resources
import SwiftProtobuf
import Telemetry

/// A resource as clients get it. Its version is the hash of its content, so that whoever has it already
/// is not sent it again, whoever read the file that it is from.
struct ServedResource: Equatable {
  let name: String
  let version: String
  let message: Google_Protobuf_Any

  init(type: String, name: String, bytes: [UInt8]) {
    self.name = name
    version = XXHash64.hexadecimal(bytes)
    message = .with {
      $0.typeURL = type
      $0.value = .init(bytes)
    }
  }
}

/// Everything that is served at one time. Immutable; clients that are behind need nothing older.
struct ResourceSet {
  /// A type of resource, by its URL: what `type_url` says on a stream.
  enum TypeURL {
    static let cluster = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
    static let endpoints = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
    static let listener = "type.googleapis.com/envoy.config.listener.v3.Listener"
    static let routes = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"

    /// Make before break: what is named by others comes before them. Other types come last.
    static let pushOrder = [cluster, endpoints, listener, routes]

    /// Clients that name nothing get all of these.
    static let wildcard: Set<String> = [cluster, listener]
  }

  private let resources: [String: [String: ServedResource]]

  /// No resources.
  init() { resources = [:] }

  /// - Parameter resources: by type's URL; each name once.
  init(_ resources: [String: [ServedResource]]) {
    self.resources = resources.mapValues { list in
      Dictionary(list.map { ($0.name, $0) }) { first, _ in first }
    }
  }

  /// How many there are of a type.
  func count(of type: String) -> Int { resources[type]?.count ?? 0 }

  /// All of a type, in the order of their names.
  func all(of type: String) -> [ServedResource] {
    (resources[type] ?? [:]).values.sorted { $0.name < $1.name }
  }

  /// What a client that asked for a name is answered. Endpoints and routes that do not exist are
  /// answered with empty ones: a proxy does not take a cluster or a listener into use before it knows
  /// them, and would wait for its `initial_fetch_timeout` otherwise.
  func answer(of type: String, for name: String) -> ServedResource? {
    if let known = resources[type]?[name] { return known }
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
