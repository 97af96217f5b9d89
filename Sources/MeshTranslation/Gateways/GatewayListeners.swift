import MeshMessages
import MeshModel
import ResourceModel
import SwiftProtobuf

/// The listeners of a gateway: one for each address and port, with a chain for each server that TLS or a
/// name tells apart.
struct GatewayListeners {
  typealias Listener = Envoy_Config_Listener_V3_Listener
  typealias Chain = Envoy_Config_Listener_V3_FilterChain
  typealias TLSContext = Envoy_Extensions_TransportSockets_Tls_V3_DownstreamTlsContext

  let scope: OutboundScope
  let servers: GatewayServers
  let profile: ClientProfile
  let notes: OmissionNotes

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
    guard let context = context(of: entry) else { return nil }
    return .with {
      $0.name = entry.routeName
      $0.filterChainMatch.serverNames = serverNames(entry.hosts)
      $0.filters = [
        filters.gateway(statPrefix: "outbound_\(name)", routes: entry.routeName)
      ]
      $0.transportSocket = .with {
        $0.name = "envoy.transport_sockets.tls"
        $0.typedConfig = context.packed
      }
    }
  }

  private func serverNames(_ hosts: [String]) -> [String] {
    hosts.contains("*") ? [] : hosts
  }

  private func context(of entry: GatewayServers.Entry) -> TLSContext? {
    let tls = entry.server.tls
    guard tls.credentialName.isEmpty, tls.credentialNames.isEmpty, tls.mode != .istioMutual else {
      notes.note(
        entry.gateway.object.id, "servers.tls.credentialName",
        "the port does not listen: give serverCertificate and privateKey as files")
      return nil
    }
    guard !tls.serverCertificate.isEmpty, !tls.privateKey.isEmpty else { return nil }
    return .with {
      $0.commonTlsContext.tlsCertificates = [
        .with {
          $0.certificateChain = .with { $0.filename = tls.serverCertificate }
          $0.privateKey = .with { $0.filename = tls.privateKey }
        }
      ]
      $0.commonTlsContext.alpnProtocols = ["h2", "http/1.1"]
      $0.commonTlsContext.tlsParams = .with {
        $0.tlsMinimumProtocolVersion = Self.version(tls.minProtocolVersion) ?? .tlsv12
        if let newest = Self.version(tls.maxProtocolVersion) {
          $0.tlsMaximumProtocolVersion = newest
        }
        $0.cipherSuites = tls.cipherSuites
      }
      let demands = tls.mode == .mutual
      guard demands || tls.mode == .optionalMutual else { return }
      $0.requireClientCertificate = .init(demands)
      $0.commonTlsContext.validationContext = .with {
        if !tls.caCertificates.isEmpty { $0.trustedCa = .with { $0.filename = tls.caCertificates } }
        if !tls.caCrl.isEmpty { $0.crl = .with { $0.filename = tls.caCrl } }
        $0.verifyCertificateHash = tls.verifyCertificateHash
        $0.verifyCertificateSpki = tls.verifyCertificateSpki
        $0.matchTypedSubjectAltNames = tls.subjectAltNames.map { name in
          .with {
            $0.sanType = name.contains("://") ? .uri : .dns
            $0.matcher = .with { $0.exact = name }
          }
        }
      }
    }
  }

  private static func version(
    _ wanted: Istio_Networking_V1alpha3_ServerTLSSettings.TLSProtocol
  ) -> Envoy_Extensions_TransportSockets_Tls_V3_TlsParameters.TlsProtocol? {
    switch wanted {
    case .tlsv10: .tlsv10
    case .tlsv11: .tlsv11
    case .tlsv12: .tlsv12
    case .tlsv13: .tlsv13
    case .tlsAuto, .UNRECOGNIZED: nil
    }
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
      for route in rule.spec.tcp {
        let isMeant =
          route.match.isEmpty || route.match.contains { applies($0.gateways, $0.port, entry) }
        if isMeant { chains.append(chain(route.route, actions) { _ in }) }
      }
    }
    return chains
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
