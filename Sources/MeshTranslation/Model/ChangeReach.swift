import MeshModel

/// Parts of what a client is told, by the type of their resources.
package struct ConfigurationParts: OptionSet, Hashable, Sendable {
  package let rawValue: UInt8

  package init(rawValue: UInt8) { self.rawValue = rawValue }

  package static let clusters = Self(rawValue: 1)
  package static let endpoints = Self(rawValue: 2)
  package static let listeners = Self(rawValue: 4)
  package static let routes = Self(rawValue: 8)
  /// Configurations that filters take by their name: EnvoyFilters have them, and change all other parts.
  package static let extensions = Self(rawValue: 16)
  package static let all: Self = [.clusters, .endpoints, .listeners, .routes, .extensions]
}

/// What of clients' configurations may be different after objects have changed. Everything else stands
/// as it was made: a rule for one workload is not the affair of a thousand others.
package struct ChangeReach {
  /// Of workloads' own connections, in every namespace.
  private var outbound: ConfigurationParts = []
  /// Namespaces whose proxies' whole configuration may be different.
  private var namespaces = Places()
  /// Those where only what comes to workloads may be.
  private var inbound = Places()
  /// Gateways depend on too much to be told apart.
  private var isGateways = false
  private var envoyFilters: Set<ObjectID> = []

  /// Some namespaces, or all.
  private struct Places {
    private var isAll = false
    private var names: Set<String> = []

    mutating func insert(_ namespace: String, roots: Set<String>) {
      // What stands in the root namespace is for the whole mesh.
      if roots.contains(namespace) { isAll = true } else { names.insert(namespace) }
    }

    mutating func insertAll() { isAll = true }

    func contains(_ namespace: String) -> Bool { isAll || names.contains(namespace) }
  }

  package init(
    of changed: some Sequence<ObjectID>, from before: MeshSnapshot, to after: MeshSnapshot
  ) {
    let roots: Set = [before.settings.rootNamespace, after.settings.rootNamespace]
    // Where a key set is fetched from says which service that is.
    let fetchesKeys =
      !before.requestAuthentications.isEmpty || !after.requestAuthentications.isEmpty
    for id in changed {
      // For whom it is stands in the key of what is made.
      guard id.kind != .envoyFilter else {
        envoyFilters.insert(id)
        continue
      }
      isGateways = true
      switch id.kind {
      case .gateway, .proxyConfig: break
      case .virtualService: outbound.formUnion([.listeners, .routes])
      case .destinationRule: outbound.formUnion([.clusters, .endpoints, .routes])
      case .peerAuthentication:
        outbound.formUnion([.clusters, .endpoints])
        inbound.insert(id.namespace, roots: roots)
      case .authorizationPolicy, .requestAuthentication:
        inbound.insert(id.namespace, roots: roots)
      case .sidecar, .telemetry: namespaces.insert(id.namespace, roots: roots)
      case .service, .serviceEntry:
        outbound = .all
        if fetchesKeys { inbound.insertAll() } else { inbound.insert(id.namespace, roots: roots) }
      default: namespaces.insertAll()
      }
    }
  }

  /// What has to be made anew of what clients of a kind have.
  package func parts(of key: ProxyNode.Key) -> ConfigurationParts {
    if key.patches.contains(where: { envoyFilters.contains($0.object) }) { return .all }
    let parts = unpatched(key)
    // What is patched is patched as a whole.
    return parts.isEmpty || key.patches.isEmpty ? parts : .all
  }

  private func unpatched(_ key: ProxyNode.Key) -> ConfigurationParts {
    let node = key.node
    if namespaces.contains(node.namespace) { return .all }
    if key.isInbound { return inbound.contains(node.namespace) ? .all : [] }
    guard node.role == .sidecar else { return isGateways ? .all : [] }
    // Without a proxy, routes are made with the listeners that name them.
    let together: ConfigurationParts = [.listeners, .routes]
    guard node.client == .grpc, !outbound.isDisjoint(with: together) else { return outbound }
    return outbound.union(together)
  }
}
