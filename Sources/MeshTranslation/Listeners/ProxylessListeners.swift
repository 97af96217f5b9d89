import MeshMessages
import MeshModel
import ResourceModel
import SwiftProtobuf

/// What a gRPC client asks for by the names that its program uses: a listener for each name of each
/// service, with the routes of that service alone.
struct ProxylessListeners {
  typealias Listener = Envoy_Config_Listener_V3_Listener
  typealias Configuration = Envoy_Config_Route_V3_RouteConfiguration

  let scope: OutboundScope
  let profile: ClientProfile
  let notes: OmissionNotes

  /// Listeners and routes.
  func build() -> (listeners: [Listener], routes: [Configuration]) {
    var listeners: [Listener] = []
    var routes: [Configuration] = []
    var taken: Set<String> = []
    for service in scope.services {
      for port in service.ports where port.spoken.isHTTP || port.spoken == .auto {
        let name = ClusterName.outbound(service.hostname, port.number)
        let domains = ServiceDomains.domains(
          of: service, for: scope.node, withPort: port.number, isForAnyPort: true)
        for domain in domains where domain.hasSuffix(":\(port.number)") {
          if taken.insert(domain).inserted { listeners.append(listener(domain, routes: name)) }
        }
        routes.append(configuration(name, service, port, domains))
      }
    }
    return (listeners, routes)
  }

  private func configuration(
    _ name: String, _ service: MeshService, _ port: MeshPort, _ domains: [String]
  ) -> Configuration {
    let outbound = OutboundRoutes(scope: scope, profile: profile, notes: notes)
    return .with {
      $0.name = name
      $0.virtualHosts = [
        .with {
          $0.name = "\(service.hostname):\(port.number)"
          $0.domains = domains
          $0.routes = outbound.routes(for: service, port.number)
        }
      ]
    }
  }

  private func listener(_ name: String, routes: String) -> Listener {
    typealias Manager =
      Envoy_Extensions_Filters_Network_HttpConnectionManager_V3_HttpConnectionManager
    let manager = Manager.with {
      $0.rds = .with {
        $0.routeConfigName = routes
        $0.configSource = .fromControlPlane
      }
      $0.httpFilters = [NetworkFilters.router]
    }
    return Listener.with { $0.name = name }.adding(
      Fairlead_Mesh_Envoy_V1_ListenerMore.with {
        $0.apiListener = .with { $0.apiListener = manager.packed }
      })
  }
}
