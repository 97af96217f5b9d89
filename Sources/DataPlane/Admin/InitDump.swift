import AdminHTTP
import Resources
import Telemetry

/// `/init_dump`: what listeners and clusters still wait for before they are used, in the shape and words of
/// Envoy. Before clients are served, of every listener; later of those that warm.
struct InitDump {
  let server: Server

  /// - Parameter mask: `listener` or `cluster`; nil for both.
  func document(mask: String?) -> AdminJSON {
    var dumps: [AdminJSON] = []
    if mask == nil || mask == "listener" { dumps += listeners }
    if mask == nil || mask == "cluster" { dumps += clusters }
    return .object(dumps.isEmpty ? [] : [("unready_targets_dumps", .array(dumps))])
  }

  private static func dump(_ name: String, _ targets: [String]) -> AdminJSON {
    .object([
      ("name", .string("init manager " + name)),
      ("target_names", .array(targets.sorted().map { .string("shared target " + $0) })),
    ])
  }

  private var listeners: [AdminJSON] {
    server.listeners.unready.compactMap { listener in
      let targets = listener.chains.flatMap(targets)
      guard !targets.isEmpty else { return nil }
      let version = XXHash64.hash(listener.chains.reduce(listener.key ?? []) { $0 + $1.key })
      return Self.dump(
        "Listener-local-init-manager \(listener.name) \(version)", Array(Set(targets)))
    }
  }

  private func targets(of chain: ChainVersion) -> [String] {
    var targets: [String] = []
    if let manager = chain.manager, case .discovered(let name, _) = manager.routes,
      server.routes.subscription(of: manager)?.isInitialized != true
    {
      targets.append("RdsRouteConfigSubscription RDS init \(name)")
    }
    targets += (chain.manager.map(server.filters.awaited) ?? []).map {
      "FilterConfigSubscription init \($0)"
    }
    return targets + (chain.security.map(secrets) ?? [])
  }

  private func secrets(_ security: Int) -> [String] {
    server.secrets.awaited(by: security).map { "SdsApi \($0)" }
  }

  private var clusters: [AdminJSON] {
    guard let manager = server.clusters else { return [] }
    let starting = manager.active.compactMap(\.self).filter { !$0.isWarm }
    let waiting = starting + manager.warming.values.filter { !$0.isWarm }
    return waiting.sorted { $0.name < $1.name }.map { cluster in
      let secrets = cluster.config.value.securities.flatMap { self.secrets(Int($0)) }
      let endpoints = (cluster.follower as? EndpointSubscription).flatMap { following in
        following.accepted == nil ? "EdsCluster \(following.name)" : nil
      }
      return Self.dump(
        "Cluster \(cluster.name)",
        secrets + (endpoints.map { [$0] } ?? (secrets.isEmpty ? ["hosts"] : [])))
    }
  }
}
