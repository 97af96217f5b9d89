import MeshMessages
import MeshModel
import ResourceModel
import SwiftProtobuf

/// The listeners of a gateway: one for each address and port, with a chain for each server that TLS or a
/// name tells apart.
struct GatewayListeners {
  typealias Listener = Envoy_Config_Listener_V3_Listener
  typealias Chain = Envoy_Config_Listener_V3_FilterChain

  let scope: OutboundScope
  let servers: GatewayServers
  let profile: ClientProfile
  let notes: OmissionNotes

  private var tls: GatewayTLS {
    GatewayTLS(node: scope.node, settings: settings, notes: notes)
  }
  private var settings: MeshSettings { scope.snapshot.settings }
  private var filters: NetworkFilters {
    NetworkFilters(
      settings: settings, profile: profile,
      accessLogs: scope.accessLogs(.client, profile, notes),
      authorization: AuthorizationFilters(scope.snapshot, for: scope.node, notes: notes),
      tokens: TokenFilters(scope, profile: profile, notes: notes))
  }

  func build() -> [Listener] {
    let groups = Dictionary(grouping: servers.entries) { entry in
      "\(bind(entry))_\(entry.server.port.number)"
    }
    return groups.sorted { $0.key < $1.key }.compactMap { listener($0.key, $0.value) }
  }

  private func bind(_ entry: GatewayServers.Entry) -> String {
    if !entry.server.bind.isEmpty { return entry.server.bind }
    return scope.node.interception == .none ? scope.node.bindAddress : "0.0.0.0"
  }

  private func listener(_ name: String, _ entries: [GatewayServers.Entry]) -> Listener? {
    guard let first = entries.first else { return nil }
    var listener = Listener()
    listener.name = name
    listener.address = .socket(bind(first), first.server.port.number)
    listener.trafficDirection = .outbound
    let isPlain = entries.contains { $0.spoken.isHTTP }
    if isPlain {
      // Plain requests need no chain of their own for each server: their routes tell them apart.
      listener.filterChains = [
        .with {
          $0.filters = [
            filters.gateway(
              statPrefix: "outbound_\(name)", routes: "http.\(first.server.port.number)")
          ]
        }
      ]
      return listener
    }
    for entry in entries {
      if entry.isHTTPS {
        if let chain = secured(entry, name) { listener.filterChains.append(chain) }
      } else if entry.endsTLS {
        if let chain = decrypted(entry) { listener.filterChains.append(chain) }
      } else {
        listener.filterChains += opaque(entry)
      }
    }
    guard !listener.filterChains.isEmpty else { return nil }
    if listener.filterChains.contains(where: { !$0.filterChainMatch.serverNames.isEmpty }) {
      listener.listenerFilters = [ListenerFilters.tls]
    }
    return listener
  }

  // MARK: TLS that ends here

  private func secured(_ entry: GatewayServers.Entry, _ name: String) -> Chain? {
    guard let socket = tls.socket(of: entry) else { return nil }
    return .with {
      $0.name = entry.routeName
      $0.filterChainMatch.serverNames = serverNames(entry.hosts)
      $0.filters = [
        filters.gateway(statPrefix: "outbound_\(name)", routes: entry.routeName)
      ]
      $0.transportSocket = socket
    }
  }

  private func serverNames(_ hosts: [String]) -> [String] {
    hosts.contains("*") ? [] : hosts
  }

  /// Bytes out of TLS: where they go is not told by anything in them, so the first rule counts.
  private func decrypted(_ entry: GatewayServers.Entry) -> Chain? {
    guard let socket = tls.socket(of: entry) else { return nil }
    for rule in scope.snapshot.virtualServices where GatewayServers.binds(rule, to: entry) {
      let actions = RouteActions(
        scope: scope, profile: profile, notes: notes, rule: rule, port: entry.server.port.number)
      for route in rule.spec.tcp where isMeant(route, entry) {
        var made = chain(route.route, actions) { $0.serverNames = serverNames(entry.hosts) }
        made.transportSocket = socket
        return made
      }
    }
    return nil
  }

  // MARK: Bytes

  /// Connections that are carried as they come: by the name that TLS asks for, or all.
  private func opaque(_ entry: GatewayServers.Entry) -> [Chain] {
    var chains: [Chain] = []
    for rule in scope.snapshot.virtualServices where GatewayServers.binds(rule, to: entry) {
      let actions = RouteActions(
        scope: scope, profile: profile, notes: notes, rule: rule, port: entry.server.port.number)
      for route in rule.spec.tls {
        for match in route.match where applies(match.gateways, match.port, entry) {
          chains.append(
            chain(route.route, actions) {
              $0.serverNames = serverNames(match.sniHosts)
              $0.prefixRanges = match.destinationSubnets.compactMap(CIDR.range)
            })
        }
      }
      for route in rule.spec.tcp where isMeant(route, entry) {
        chains.append(chain(route.route, actions) { _ in })
      }
    }
    return chains
  }

  private func isMeant(
    _ route: Istio_Networking_V1alpha3_TCPRoute, _ entry: GatewayServers.Entry
  ) -> Bool {
    route.match.isEmpty || route.match.contains { applies($0.gateways, $0.port, entry) }
  }

  private func applies(_ gateways: [String], _ port: UInt32, _ entry: GatewayServers.Entry) -> Bool
  {
    (port == 0 || port == entry.server.port.number)
      && (gateways.isEmpty || gateways.contains(entry.gatewayName)
        || gateways.contains(entry.gateway.object.name))
  }

  private func chain(
    _ destinations: [Istio_Networking_V1alpha3_RouteDestination], _ actions: RouteActions,
    _ match: (inout Envoy_Config_Listener_V3_FilterChainMatch) -> Void
  ) -> Chain {
    let clusters = actions.clusters(destinations)
    var chain = Chain()
    match(&chain.filterChainMatch)
    chain.filters = filters.tcp(statPrefix: clusters.first?.name ?? "", clusters)
    if chain.filterChainMatch == .init() { chain.clearFilterChainMatch() }
    return chain
  }
}
