import MeshMessages
import ResourceModel
import SwiftProtobuf

/// What a resource names, and whoever is sent it asks for next.
enum ResourceReferences {
  private typealias TypeURL = ResourceSet.TypeURL
  private typealias Manager =
    Envoy_Extensions_Filters_Network_HttpConnectionManager_V3_HttpConnectionManager

  /// By type's URL.
  static func of(_ resource: ServedResource) -> [(type: String, name: String)] {
    let bytes = resource.message.value
    switch resource.message.typeURL {
    case TypeURL.cluster: return (resource.awaited ?? []).map { (TypeURL.endpoints, $0) }
    case TypeURL.listener:
      // What was made here can be read; where it cannot, nothing is known to follow.
      guard let listener = try? Envoy_Config_Listener_V3_Listener(serializedBytes: bytes) else {
        return []
      }
      // Of those who are no proxies, which our own model of a listener does not have.
      let more = try? Fairlead_Mesh_Envoy_V1_ListenerMore(serializedBytes: bytes)
      return references(of: listener, more?.apiListener.apiListener)
    case TypeURL.routes:
      guard let routes = try? Envoy_Config_Route_V3_RouteConfiguration(serializedBytes: bytes)
      else { return [] }
      return references(of: routes)
    default: return []
    }
  }

  private static func references(
    of listener: Envoy_Config_Listener_V3_Listener, _ apiListener: Google_Protobuf_Any?
  ) -> [(type: String, name: String)] {
    let chains = listener.filterChains + [listener.defaultFilterChain]
    let configurations =
      chains.flatMap(\.filters).map(\.typedConfig) + [apiListener].compactMap(\.self)
    return configurations.flatMap { configuration -> [(type: String, name: String)] in
      guard configuration.typeURL.hasSuffix(Manager.protoMessageName),
        let manager = try? Manager(serializedBytes: configuration.value)
      else { return [] }
      if !manager.rds.routeConfigName.isEmpty {
        return [(TypeURL.routes, manager.rds.routeConfigName)]
      }
      return references(of: manager.routeConfig)
    }
  }

  private static func references(
    of routes: Envoy_Config_Route_V3_RouteConfiguration
  ) -> [(type: String, name: String)] {
    var names: Set<String> = []
    for route in routes.virtualHosts.flatMap(\.routes) {
      if !route.route.cluster.isEmpty { names.insert(route.route.cluster) }
      names.formUnion(route.route.weightedClusters.clusters.map(\.name))
    }
    return names.sorted().map { (TypeURL.cluster, $0) }
  }
}
