import MeshMessages
import MeshModel

/// What a gateway proxy is to listen for: the servers of all Gateways that select its workload.
struct GatewayServers {
  typealias Server = Istio_Networking_V1alpha3_Server

  /// One server of one Gateway.
  struct Entry {
    let gateway: Rule<Gateway>
    let server: Server

    /// `namespace/name`, as rules name the gateway.
    var gatewayName: String { "\(gateway.namespace)/\(gateway.object.name)" }

    /// The hosts of the server, without the namespaces that may bind to them.
    var hosts: [String] { server.hosts.map { GatewayServers.split($0).host } }

    var spoken: PortProtocol { PortProtocol(word: server.port.protocol) ?? .tcp }

    /// TLS ends here, and requests are read.
    var isHTTPS: Bool {
      spoken == .https && server.tls.mode != .passthrough && server.tls.mode != .autoPassthrough
    }

    /// TLS ends here, and what was in it is carried as bytes.
    var endsTLS: Bool {
      spoken == .tls && server.tls.mode != .passthrough && server.tls.mode != .autoPassthrough
    }

    /// What the server's routes are called.
    var routeName: String {
      guard isHTTPS else { return "http.\(server.port.number)" }
      let bind = server.bind.isEmpty ? "" : "." + server.bind
      return "https.\(server.port.number).\(server.port.name).\(gateway.object.name)"
        + ".\(gateway.namespace)\(bind)"
    }
  }

  let entries: [Entry]

  init(_ snapshot: MeshSnapshot, for node: ProxyNode) {
    entries = snapshot.gateways.filter { rule in
      // A selector without labels selects every gateway.
      node.labels.contains(labels: rule.spec.selector)
    }.flatMap { rule in rule.spec.servers.map { Entry(gateway: rule, server: $0) } }
  }

  /// `namespace/host`, or a host for any namespace.
  static func split(_ text: String) -> (namespace: String, host: String) {
    let parts = text.split(separator: "/", maxSplits: 1).map(String.init)
    return parts.count == 2 ? (parts[0], parts[1]) : ("*", text)
  }

  /// The hosts that a rule and a server have in common: of each pair, the narrower.
  static func hosts(
    of rule: Rule<VirtualService>, at entry: Entry, in snapshot: MeshSnapshot
  ) -> [String] {
    var found: [String] = []
    for written in rule.spec.hosts {
      let host = snapshot.fullName(written, in: rule.namespace)
      for pattern in entry.server.hosts {
        let (namespace, served) = split(pattern)
        let isFrom =
          switch namespace {
          case "*": true
          case ".": rule.namespace == entry.gateway.namespace
          default: rule.namespace == namespace
          }
        guard isFrom else { continue }
        if HostPattern.matches(served, host) {
          found.append(host)
        } else if HostPattern.matches(host, served) {
          found.append(served)
        }
      }
    }
    var seen: Set<String> = []
    return found.filter { seen.insert($0).inserted }
  }

  /// Whether a rule is bound to a gateway.
  static func binds(_ rule: Rule<VirtualService>, to entry: Entry) -> Bool {
    rule.spec.gateways.contains { name in
      name == entry.gatewayName
        || (!name.contains("/") && name == entry.gateway.object.name
          && rule.namespace == entry.gateway.namespace)
    }
  }
}
