import MeshMessages
import MeshModel
import ResourceModel
import SwiftProtobuf

/// The routes of a gateway's servers: of each, the rules that are bound to it.
struct GatewayRoutes {
  typealias Configuration = Envoy_Config_Route_V3_RouteConfiguration
  typealias VirtualHost = Envoy_Config_Route_V3_VirtualHost

  let scope: OutboundScope
  let servers: GatewayServers
  let outbound: OutboundRoutes

  func build() -> [Configuration] {
    let groups = Dictionary(
      grouping: servers.entries.filter { $0.spoken.isHTTP || $0.isHTTPS }, by: \.routeName)
    return groups.sorted { $0.key < $1.key }.map { configuration($0.key, $0.value) }
  }

  private func configuration(_ name: String, _ entries: [GatewayServers.Entry]) -> Configuration {
    var hosts: [String: VirtualHost] = [:]
    for entry in entries {
      let port = entry.server.port.number
      // Rules for one host are joined here, the oldest one's routes first.
      for rule in scope.snapshot.virtualServices where GatewayServers.binds(rule, to: entry) {
        let names = [entry.gatewayName, entry.gateway.object.name]
        let made = outbound.routes(of: rule, port, gateways: Set(names))
        guard !made.isEmpty else { continue }
        for host in GatewayServers.hosts(of: rule, at: entry, in: scope.snapshot) {
          var known =
            hosts[host]
            ?? .with {
              $0.name = "\(host):\(port)"
              $0.domains = [host]
              $0.includeRequestAttemptCount = true
            }
          // Whatever comes behind a route that takes everything could never match.
          if !known.routes.contains(where: { RouteMatches.isCatchAll($0.match) }) {
            known.routes += made
          }
          hosts[host] = known
        }
      }
      guard entry.server.tls.httpsRedirect else { continue }
      for host in entry.hosts {
        var known =
          hosts[host]
          ?? .with {
            $0.name = "\(host):\(port)"
            $0.domains = [host]
          }
        known.requireTls = .all
        hosts[host] = known
      }
    }
    var sorted = hosts.values.sorted { $0.name < $1.name }
    if sorted.isEmpty {
      let port = entries.first?.server.port.number ?? 0
      sorted = [
        .with {
          $0.name = "blackhole:\(port)"
          $0.domains = ["*"]
        }
      ]
    }
    return .with {
      $0.name = name
      $0.virtualHosts = sorted
      $0.validateClusters = .init(false)
      $0.ignorePortInHostMatching = true
      $0.maxDirectResponseBodySizeBytes = .init(1_048_576)
    }
  }
}
