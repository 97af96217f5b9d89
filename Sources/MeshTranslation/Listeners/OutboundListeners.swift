import MeshMessages
import MeshModel
import ResourceModel
import SwiftProtobuf

/// Where a workload's own connections come to its proxy. Captured connections all arrive at one
/// listener, which hands them over to that of the address they were going to; where nothing is captured,
/// each listens for itself.
struct OutboundListeners {
  typealias Listener = Envoy_Config_Listener_V3_Listener

  let scope: OutboundScope
  let profile: ClientProfile
  let notes: OmissionNotes

  private var node: ProxyNode { scope.node }
  private var settings: MeshSettings { scope.snapshot.settings }
  private var isCaptured: Bool { node.interception != .none }
  private var filters: NetworkFilters {
    NetworkFilters(
      settings: settings, profile: profile,
      accessLogs: scope.accessLogs(.client, profile, notes))
  }

  func build() -> [Listener] {
    var drafts: [String: ListenerDraft] = [:]
    for service in scope.services {
      for port in service.ports where port.spoken != .udp { add(service, port, to: &drafts) }
    }
    var found = drafts.values.sorted { ($0.port, $0.address) < ($1.port, $1.address) }.map {
      $0.listener(
        filters, isCaptured: isCaptured, passthrough: passthroughChain,
        detection: settings.protocolDetectionTimeout)
    }
    if let port = node.httpProxyPort { found.append(proxyListener(port)) }
    if isCaptured { found.append(virtualOutbound) }
    return found
  }

  // MARK: A service

  private func add(
    _ service: MeshService, _ port: MeshPort, to drafts: inout [String: ListenerDraft]
  ) {
    let wildcard = isCaptured ? "0.0.0.0" : node.bindAddress
    if port.spoken.isHTTP {
      change(wildcard, port.number, &drafts) { $0.routes = String(port.number) }
      return
    }
    for address in addresses(of: service, port, wildcard) {
      let isShared = address == wildcard
      change(address, port.number, &drafts) { draft in
        if port.spoken == .auto, draft.routes == nil {
          draft.routes = "\(service.hostname):\(port.number)"
        }
        for chain in chains(for: service, port, isShared: isShared) where !draft.add(chain) {
          notes.note(
            service.origin, "ports[\(port.number)]",
            "another service is at \(draft.name) already, and gets its connections")
        }
      }
    }
  }

  private func change(
    _ address: String, _ port: UInt32, _ drafts: inout [String: ListenerDraft],
    _ body: (inout ListenerDraft) -> Void
  ) {
    var draft = drafts["\(address)_\(port)"] ?? ListenerDraft(address: address, port: port)
    body(&draft)
    drafts[draft.name] = draft
  }

  /// Where clients connect to for a service: its own addresses, those of its workloads if it has none,
  /// or any.
  private func addresses(
    of service: MeshService, _ port: MeshPort, _ wildcard: String
  ) -> [String] {
    guard isCaptured else { return [wildcard] }
    let own = service.addresses.filter { !$0.contains("/") }
    if !own.isEmpty { return own }
    if service.isHeadless {
      return scope.snapshot.registry.endpoints(of: service, port: port.number)
        .map(\.address).filter { !node.addresses.contains($0) }
    }
    return [wildcard]
  }

  /// The clusters of a service's connections.
  private func chains(
    for service: MeshService, _ port: MeshPort, isShared: Bool
  ) -> [ListenerDraft.TCPChain] {
    var chains: [ListenerDraft.TCPChain] = []
    for rule in scope.virtualServices(for: service.hostname) {
      if port.spoken.isTLS || port.spoken == .tcp { chains += tlsChains(of: rule, port) }
      if let chain = tcpChain(of: rule, port) {
        chains.append(chain)
        return chains
      }
    }
    var own = ListenerDraft.TCPChain(
      clusters: [(ClusterName.outbound(service.hostname, port.number), 1)])
    let ranges = service.addresses.filter { $0.contains("/") }.compactMap(CIDR.range)
    if isShared {
      own.destinations = ranges
      // Of services that share an address, a client's SNI says which it means.
      if ranges.isEmpty, port.spoken.isTLS, isCaptured { own.serverNames = [service.hostname] }
    }
    // What a rule says about some of a host's names leaves the others as they are.
    if own.serverNames.isEmpty || !chains.contains(where: { $0.serverNames == own.serverNames }) {
      chains.append(own)
    }
    return chains
  }

  private func tlsChains(
    of rule: Rule<VirtualService>, _ port: MeshPort
  ) -> [ListenerDraft.TCPChain] {
    rule.spec.tls.flatMap { route in
      route.match.filter { match in
        (match.port == 0 || match.port == port.number)
          && (match.gateways.isEmpty || match.gateways.contains("mesh"))
          && (match.sourceNamespace.isEmpty || match.sourceNamespace == node.namespace)
          && node.labels.contains(labels: match.sourceLabels)
      }.map { match in
        ListenerDraft.TCPChain(
          serverNames: match.sniHosts,
          destinations: match.destinationSubnets.compactMap(CIDR.range),
          clusters: clusters(route.route, rule, port))
      }
    }
  }

  private func tcpChain(
    of rule: Rule<VirtualService>, _ port: MeshPort
  ) -> ListenerDraft.TCPChain? {
    for route in rule.spec.tcp {
      guard !route.match.isEmpty else { return .init(clusters: clusters(route.route, rule, port)) }
      for match in route.match
      where (match.port == 0 || match.port == port.number)
        && (match.gateways.isEmpty || match.gateways.contains("mesh"))
        && (match.sourceNamespace.isEmpty || match.sourceNamespace == node.namespace)
        && node.labels.contains(labels: match.sourceLabels)
      {
        return .init(
          destinations: match.destinationSubnets.compactMap(CIDR.range),
          clusters: clusters(route.route, rule, port))
      }
    }
    return nil
  }

  private func clusters(
    _ destinations: [Istio_Networking_V1alpha3_RouteDestination], _ rule: Rule<VirtualService>,
    _ port: MeshPort
  ) -> [(name: String, weight: UInt32)] {
    let actions = RouteActions(
      scope: scope, profile: profile, notes: notes, rule: rule, port: port.number)
    return actions.clusters(destinations)
  }

  // MARK: What every proxy has

  private var passthroughChain: Envoy_Config_Listener_V3_FilterChain {
    let cluster = scope.allowsAny ? ClusterName.passthrough : ClusterName.blackHole
    return .with {
      $0.name = "PassthroughFilterChain"
      $0.filters = filters.tcp(statPrefix: cluster, [(cluster, 1)])
    }
  }

  private var virtualOutbound: Listener {
    let catchAll = scope.allowsAny ? ClusterName.passthrough : ClusterName.blackHole
    return .with {
      $0.name = "virtualOutbound"
      $0.address = .socket("0.0.0.0", settings.outboundPort)
      $0.trafficDirection = .outbound
      $0.useOriginalDst = .init(true)
      if node.interception == .tproxy { $0.transparent = .init(true) }
      $0.filterChains = [
        // Whoever connects to the listener itself would be sent to itself for ever.
        .with {
          $0.name = "virtualOutbound-blackhole"
          $0.filterChainMatch = .with { $0.destinationPort = .init(settings.outboundPort) }
          $0.filters = filters.tcp(statPrefix: ClusterName.blackHole, [(ClusterName.blackHole, 1)])
        },
        .with {
          $0.name = "virtualOutbound-catchall-tcp"
          $0.filters = filters.tcp(statPrefix: catchAll, [(catchAll, 1)])
        },
      ]
    }
  }

  private func proxyListener(_ port: UInt32) -> Listener {
    .with {
      $0.name = "\(node.bindAddress)_\(port)"
      $0.address = .socket(node.bindAddress, port)
      $0.trafficDirection = .outbound
      $0.filterChains = [
        .with {
          $0.filters = [
            filters.http(.outbound, statPrefix: "http_proxy", routes: "http_proxy")
          ]
        }
      ]
    }
  }
}

/// Ranges of addresses as rules write them.
enum CIDR {
  /// `10.0.0.0/8`, or one address; nil for anything else.
  static func range(_ text: String) -> Envoy_Config_Core_V3_CidrRange? {
    let parts = text.split(separator: "/", maxSplits: 1).map(String.init)
    guard let address = parts.first, !address.isEmpty else { return nil }
    let whole: UInt32 = address.contains(":") ? 128 : 32
    guard let length = parts.count > 1 ? UInt32(parts[1]) : whole, length <= whole else {
      return nil
    }
    return .with {
      $0.addressPrefix = address
      $0.prefixLen = .init(length)
    }
  }
}
