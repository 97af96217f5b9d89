import MeshMessages
import MeshModel
import ResourceModel
import SwiftProtobuf

/// Where connections to a workload come to its proxy, and the clusters by which they reach it.
struct InboundListeners {
  typealias Listener = Envoy_Config_Listener_V3_Listener
  typealias Chain = Envoy_Config_Listener_V3_FilterChain
  typealias Cluster = Envoy_Config_Cluster_V3_Cluster

  let scope: OutboundScope
  let profile: ClientProfile
  let notes: OmissionNotes

  /// A port of the workload: what is spoken there, for which of its services.
  struct Port {
    let number: UInt32
    let spoken: PortProtocol
    let services: [MeshService]
    /// Where the application is, if a Sidecar says so: an address and a port, or a path.
    var endpoint: (address: String, port: UInt32)?
    /// Where the proxy listens, if a Sidecar says so.
    var bind: String?
  }

  private var node: ProxyNode { scope.node }
  private var settings: MeshSettings { scope.snapshot.settings }
  private var isCaptured: Bool { node.interception != .none }
  private var filters: NetworkFilters {
    NetworkFilters(
      settings: settings, profile: profile,
      accessLogs: scope.accessLogs(.server, profile, notes),
      authorization: AuthorizationFilters(scope.snapshot, for: node, notes: notes),
      tokens: tokens)
  }

  private var tokens: TokenFilters { TokenFilters(scope, profile: profile, notes: notes) }

  /// The workload's ports: those a Sidecar names, or else those of its services.
  var ports: [Port] {
    if let ingress = scope.sidecar?.spec.ingress, !ingress.isEmpty { return ingress.map(port) }
    var found: [UInt32: Port] = [:]
    let mine = scope.snapshot.registry.services(
      of: node.labels, namespace: node.namespace, addresses: node.addresses)
    for one in mine.sorted(by: { $0.service.sequence < $1.service.sequence })
    where one.port.spoken != .udp {
      guard let known = found[one.target] else {
        found[one.target] = Port(
          number: one.target, spoken: one.port.spoken, services: [one.service])
        continue
      }
      if known.spoken != one.port.spoken {
        notes.note(
          one.service.origin, "ports[\(one.port.number)]",
          "port \(one.target) of the workload speaks \(known.spoken.rawValue), as "
            + "\(known.services[0].hostname) says")
      }
      found[one.target] = Port(
        number: one.target, spoken: known.spoken, services: known.services + [one.service])
    }
    return found.values.sorted { $0.number < $1.number }
  }

  /// The services that each cluster leads to the workload for.
  var hosts: [String: [String]] {
    Dictionary(
      ports.map { (ClusterName.inbound($0.number), $0.services.map(\.hostname)) },
      uniquingKeysWith: { first, _ in first })
  }

  private func port(_ ingress: Istio_Networking_V1alpha3_IstioIngressListener) -> Port {
    let spoken =
      PortProtocol(word: ingress.port.protocol) ?? PortProtocol(portName: ingress.port.name) ?? .tcp
    var port = Port(number: ingress.port.number, spoken: spoken, services: [])
    port.endpoint = Self.endpoint(ingress.defaultEndpoint, node)
    if !ingress.bind.isEmpty { port.bind = ingress.bind }
    return port
  }

  /// `127.0.0.1:8080`, `0.0.0.0:8080` (the workload's own address) or `unix:///path`.
  private static func endpoint(
    _ text: String, _ node: ProxyNode
  ) -> (address: String, port: UInt32)? {
    guard !text.isEmpty else { return nil }
    if text.hasPrefix("unix://") { return (text, 0) }
    guard let colon = text.lastIndex(of: ":"), let port = UInt32(text[text.index(after: colon)...])
    else { return nil }
    var address = String(text[..<colon])
    if address.hasPrefix("["), address.hasSuffix("]") {
      address = String(address.dropFirst().dropLast())
    }
    if address == "0.0.0.0" || address == "::" { address = node.addresses.first ?? "127.0.0.1" }
    return (address, port)
  }

  // MARK: Listeners

  func build() -> [Listener] {
    if isCaptured { return [virtualInbound] }
    // Without capture the proxy takes what comes to the workload's address only if it is told where
    // the application is instead.
    return ports.filter { $0.endpoint != nil || node.applicationAddress != nil }.map { port in
      let bind = port.bind ?? node.addresses.first ?? node.bindAddress
      var listener = Listener.with {
        $0.name = "\(bind)_\(port.number)"
        $0.address = .socket(bind, port.number)
        $0.trafficDirection = .inbound
        $0.filterChains = chains(port)
      }
      if layout.inspects(port.number) {
        listener.listenerFilters = [ListenerFilters.tls]
        listener.listenerFiltersTimeout = settings.protocolDetectionTimeout
        listener.continueOnListenerFiltersTimeout = true
      }
      return listener
    }
  }

  private var layout: InboundChains {
    InboundChains(
      tls: MeshTLS(settings: settings),
      modes: PeerModes(
        of: node.labels, namespace: node.namespace, in: scope.snapshot, notes: notes),
      hasCertificate: node.hasCertificate, notes: notes)
  }

  private func chains(_ port: Port) -> [Chain] {
    let cluster = ClusterName.inbound(port.number)
    let isDetected = port.spoken == .auto
    return layout.chains(
      named: "0.0.0.0_\(port.number)", port: port.number, isMatched: isCaptured,
      port.spoken.isHTTP || isDetected && !isCaptured
        ? .requests : isDetected ? .detected : .bytes,
      requests: { [http(port.number)] },
      bytes: { filters.tcp(statPrefix: cluster, [(cluster, 1)]) }, closed: { blackHole })
  }

  private var blackHole: [Envoy_Config_Listener_V3_Filter] {
    filters.tcp(statPrefix: ClusterName.blackHole, [(ClusterName.blackHole, 1)])
  }

  private func http(_ port: UInt32) -> Envoy_Config_Listener_V3_Filter {
    filters.http(
      .inbound, statPrefix: "inbound_0.0.0.0_\(port)",
      inline: routes(to: ClusterName.inbound(port), name: "inbound|http|\(port)"))
  }

  private func routes(
    to cluster: String, name: String
  ) -> Envoy_Config_Route_V3_RouteConfiguration {
    .with {
      $0.name = cluster
      $0.validateClusters = .init(false)
      $0.virtualHosts = [
        .with {
          $0.name = name
          $0.domains = ["*"]
          $0.routes = [
            .with {
              $0.name = "default"
              $0.match = RouteMatches.all
              $0.route = .with {
                $0.cluster = cluster
                $0.timeout = .init()
                $0.maxStreamDuration = .with { $0.grpcTimeoutHeaderMax = .init() }
              }
            }
          ]
        }
      ]
    }
  }

  private var virtualInbound: Listener {
    var listener = Listener()
    listener.name = "virtualInbound"
    listener.address = .socket("0.0.0.0", settings.inboundPort)
    listener.trafficDirection = .inbound
    if node.interception == .tproxy { listener.transparent = .init(true) }
    listener.listenerFilters = [
      ListenerFilters.originalDestination, ListenerFilters.tls, ListenerFilters.http,
    ]
    listener.listenerFiltersTimeout = settings.protocolDetectionTimeout
    listener.continueOnListenerFiltersTimeout = true
    listener.filterChains = [
      .with {
        $0.name = "virtualInbound-blackhole"
        $0.filterChainMatch = .with { $0.destinationPort = .init(settings.inboundPort) }
        $0.filters = blackHole
      }
    ]
    for port in ports { listener.filterChains += chains(port) }
    // What a rule says of a port counts whether a service has it or not.
    let known = Set(ports.map(\.number) + [settings.inboundPort])
    let rest = layout.modes.namedPorts.filter { !known.contains($0) }.map(Optional.some) + [nil]
    let others = rest.flatMap(passthrough)
    listener.filterChains += others.map { chain in
      guard chain.filters.last?.name == "envoy.filters.network.http_connection_manager" else {
        return chain
      }
      var chain = chain
      chain.name = "virtualInbound-catchall-http"
      return chain
    }
    return listener
  }

  /// The chains for a port that no service has; nil: for all others.
  private func passthrough(_ port: UInt32?) -> [Chain] {
    let cluster = ClusterName.inboundPassthrough
    return layout.chains(
      named: "virtualInbound", port: port, isMatched: true, .detected,
      requests: {
        [
          filters.http(
            .inbound, statPrefix: cluster, inline: routes(to: cluster, name: "inbound|http|0"))
        ]
      },
      bytes: { filters.tcp(statPrefix: cluster, [(cluster, 1)]) }, closed: { blackHole })
  }

  // MARK: Clusters

  /// The clusters that lead to the application.
  func clusters() -> [Cluster] {
    var found = ports.map(cluster)
    if isCaptured {
      found.append(original(ClusterName.inboundPassthrough))
    }
    return found
  }

  private func cluster(_ port: Port) -> Cluster {
    let name = ClusterName.inbound(port.number)
    let target =
      port.endpoint ?? node.applicationAddress.map { (address: $0, port: port.number) }
    var cluster: Cluster
    if let target {
      cluster = .with {
        $0.name = name
        $0.type = .static
        $0.connectTimeout = settings.connectTimeout
        $0.loadAssignment = .with {
          $0.clusterName = name
          $0.endpoints = [
            .with {
              $0.lbEndpoints = [
                .with {
                  $0.endpoint = .with { $0.address = .socket(target.address, target.port) }
                }
              ]
            }
          ]
        }
      }
    } else {
      cluster = original(name)
    }
    cluster.circuitBreakers = ClusterPolicy.unboundedBreakers
    if port.spoken.isHTTP || port.spoken == .auto {
      typealias Options = Envoy_Extensions_Upstreams_Http_V3_HttpProtocolOptions
      let options: Options =
        port.spoken == .auto
        ? .with { $0.useDownstreamProtocolConfig = .with { $0.http2ProtocolOptions = .init() } }
        : port.spoken.isHTTP2
          ? .with { $0.explicitHTTPConfig = .with { $0.http2ProtocolOptions = .init() } }
          : .with { $0.explicitHTTPConfig = .with { $0.httpProtocolOptions = .init() } }
      cluster.typedExtensionProtocolOptions[Options.protoMessageName] = options.packed
    }
    return cluster
  }

  /// To where the connection was going, from an address that capture lets pass.
  private func original(_ name: String) -> Cluster {
    .with {
      $0.name = name
      $0.type = .originalDst
      $0.lbPolicy = .clusterProvided
      $0.connectTimeout = settings.connectTimeout
      $0.circuitBreakers = ClusterPolicy.unboundedBreakers
      $0.upstreamBindConfig = .with {
        $0.sourceAddress = .with {
          $0.address = "127.0.0.6"
          // Any; the field has to be there.
          $0.portValue = 0
        }
      }
    }
  }
}
