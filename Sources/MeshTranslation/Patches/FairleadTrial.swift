import ResourceModel
import Resources
import SwiftProtobuf

/// What Fairlead would have against a resource: the words of its own reader and validator.
enum FairleadTrial {
  static func problems(_ listener: Envoy_Config_Listener_V3_Listener) -> Set<String> {
    let conditions = listener.filterChains.map(\.filterChainMatch)
    // Only the proxy's compiler compares them; this much can be told from here.
    if Set(conditions).count < conditions.count {
      return ["filter_chains: two have the same conditions"]
    }
    return problems(listener, ResourceType.listeners.rawValue) {
      $0.validate(listener, at: .root, clusters: [])
    }
  }

  static func problems(_ cluster: Envoy_Config_Cluster_V3_Cluster) -> Set<String> {
    problems(cluster, ResourceType.clusters.rawValue) { $0.validate(cluster, at: .root) }
  }

  static func problems(_ routes: Envoy_Config_Route_V3_RouteConfiguration) -> Set<String> {
    // Whether a cluster exists decides nothing, unless the routes say so, and the mesh's do not.
    problems(routes, ResourceType.routes.rawValue) {
      $0.validate(routes, at: .root, clusters: [], filters: [])
    }
  }

  static func problems(_ configuration: Envoy_Config_Core_V3_TypedExtensionConfig) -> Set<String> {
    problems(configuration, Envoy_Config_Core_V3_TypedExtensionConfig.protoMessageName) { _ in }
  }

  private static func problems(
    _ message: some Message, _ type: String, _ validate: (ResourceValidator) -> Void
  ) -> Set<String> {
    guard let bytes = try? message.steadyBytes() else { return ["it cannot be written"] }
    let read: DiscoveredResource
    do throws(DiscoveryMessage.UnknownType) {
      read = try DiscoveryMessage.read(
        typeURL: "type.googleapis.com/" + type, value: bytes, origin: "")
    } catch {
      return [error.description]
    }
    validate(ResourceValidator(diagnostics: read.diagnostics))
    return Set(
      read.diagnostics.all.filter { $0.severity == .error }.map { found in
        found.path.isEmpty ? found.message : "\(found.path): \(found.message)"
      })
  }
}
