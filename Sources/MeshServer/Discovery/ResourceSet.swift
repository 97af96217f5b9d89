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

/// Resources that several clients may share. Immutable.
final class ResourceLayer {
  fileprivate struct Kind {
    /// In the order of their names.
    let sorted: [ServedResource]
    let indices: [String: Int]
  }

  fileprivate let kinds: [String: Kind]

  /// - Parameter resources: by type's URL; of a name, the first counts.
  init(_ resources: [String: [ServedResource]]) {
    kinds = resources.mapValues { list in
      var seen: Set<String> = []
      let sorted = list.filter { seen.insert($0.name).inserted }.sorted { $0.name < $1.name }
      return Kind(
        sorted: sorted,
        indices: Dictionary(
          sorted.enumerated().map { ($1.name, $0) }, uniquingKeysWith: { first, _ in first }))
    }
  }
}

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

    /// Make before break: what is named by others comes before them. Other types come last.
    static let pushOrder = [cluster, endpoints, listener, routes, secret]

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

  /// How many there are of a type.
  func count(of type: String) -> Int { all(of: type).count }

  /// All of a type, in the order of their names.
  func all(of type: String) -> [ServedResource] {
    let found = layers.compactMap { $0.kinds[type] }
    guard found.count > 1 else { return found.first?.sorted ?? [] }
    var all = found[0].sorted
    for (position, kind) in found.enumerated().dropFirst() {
      all += kind.sorted.filter { resource in
        !found[..<position].contains { $0.indices[resource.name] != nil }
      }
    }
    return all.sorted { $0.name < $1.name }
  }

  /// What a client that asked for a name is answered. Endpoints and routes that do not exist are
  /// answered with empty ones: a proxy does not take a cluster or a listener into use before it knows
  /// them, and would wait for its `initial_fetch_timeout` otherwise.
  func answer(of type: String, for name: String) -> ServedResource? {
    for layer in layers {
      if let kind = layer.kinds[type], let index = kind.indices[name] { return kind.sorted[index] }
    }
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
