import MeshModel
import ResourceModel
import SwiftProtobuf

/// A listener while services are added to it: several may share an address and a port.
struct ListenerDraft {
  typealias Chain = Envoy_Config_Listener_V3_FilterChain

  let address: String
  let port: UInt32
  /// Requests are read, with the routes of this name.
  var routes: String?
  /// Bytes go to clusters, by what a client says first or where it is going.
  var tcp: [TCPChain] = []

  struct TCPChain {
    var serverNames: [String] = []
    var destinations: [Envoy_Config_Core_V3_CidrRange] = []
    var clusters: [(name: String, weight: UInt32)]

    var hasCondition: Bool { !serverNames.isEmpty || !destinations.isEmpty }
    var key: [String] {
      serverNames.sorted() + destinations.map { "\($0.addressPrefix)/\($0.prefixLen.value)" }
    }
  }

  var name: String { "\(address)_\(port)" }

  /// Adds a chain, unless one with the same condition was there first.
  mutating func add(_ chain: TCPChain) -> Bool {
    guard !tcp.contains(where: { $0.key == chain.key }) else { return false }
    tcp.append(chain)
    return true
  }

  /// The listener.
  /// - Parameters:
  ///   - isCaptured: connections are handed over to it; it listens on no socket of its own.
  ///   - passthrough: for what belongs to no service; nil closes such connections.
  func listener(
    _ filters: NetworkFilters, isCaptured: Bool, passthrough: Chain?, detection: ProtobufDuration
  ) -> Envoy_Config_Listener_V3_Listener {
    var listener = Envoy_Config_Listener_V3_Listener()
    listener.name = name
    listener.address = .socket(address, port)
    listener.trafficDirection = .outbound
    if isCaptured { listener.bindToPort = .init(false) }
    let needsHTTP = routes != nil && (isCaptured || !tcp.isEmpty)
    let needsTLS = needsHTTP || tcp.contains { !$0.serverNames.isEmpty }
    if needsTLS { listener.listenerFilters.append(ListenerFilters.tls) }
    if needsHTTP { listener.listenerFilters.append(ListenerFilters.http) }
    if needsTLS || needsHTTP {
      listener.listenerFiltersTimeout = detection
      listener.continueOnListenerFiltersTimeout = true
    }
    if let routes {
      var chain = Chain()
      chain.filters = [filters.http(.outbound, statPrefix: "outbound_\(name)", routes: routes)]
      if needsHTTP {
        chain.filterChainMatch = .with {
          $0.transportProtocol = "raw_buffer"
          $0.applicationProtocols = ["http/1.1", "h2c"]
        }
      }
      listener.filterChains.append(chain)
    }
    var rest: Chain?
    for one in tcp {
      var chain = Chain()
      chain.filters = filters.tcp(statPrefix: one.clusters[0].name, one.clusters)
      guard one.hasCondition else {
        rest = chain
        continue
      }
      chain.filterChainMatch = .with {
        $0.serverNames = one.serverNames
        $0.prefixRanges = one.destinations
      }
      listener.filterChains.append(chain)
    }
    if let rest {
      // Alone it needs no condition; behind others it is what is left.
      if listener.filterChains.isEmpty {
        listener.filterChains = [rest]
      } else {
        listener.defaultFilterChain = rest
      }
    } else if let passthrough, isCaptured {
      listener.defaultFilterChain = passthrough
    }
    return listener
  }
}
