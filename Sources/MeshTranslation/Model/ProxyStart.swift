import MeshMessages
import MeshModel

/// What the proxy of a workload is to be started with: MeshConfig's `defaultConfig`, and over it the
/// ProxyConfig of the mesh, that of the namespace, the workload's own annotation, and the ProxyConfig that
/// selects the workload.
package struct ProxyStart: Equatable, Sendable {
  /// Threads; 0: one for each core; nil: nobody says.
  package private(set) var concurrency: Int32?
  /// For the proxy's process.
  package private(set) var environment: [String: String] = [:]

  package init() {}

  /// - Parameter annotation: what the workload's `proxy.istio.io/config` says.
  package init(
    of labels: [String: String], namespace: String, in snapshot: MeshSnapshot,
    annotation: Istio_Mesh_V1alpha1_ProxyConfig? = nil
  ) {
    let root = snapshot.settings.rootNamespace
    let all = snapshot.proxyConfigs
    take(snapshot.settings.proxyDefaults)
    // Of several for everybody the oldest counts, and of several that select the workload.
    if let mesh = all.first(where: { $0.namespace == root && $0.isForAll }) { take(mesh.spec) }
    if namespace != root,
      let own = all.first(where: { $0.namespace == namespace && $0.isForAll })
    {
      take(own.spec)
    }
    if let annotation { take(annotation) }
    let selected = all.first { rule in
      rule.namespace == namespace && !rule.isForAll
        && labels.contains(labels: rule.spec.selector.matchLabels)
    }
    if let selected { take(selected.spec) }
  }

  private mutating func take(_ config: Istio_Mesh_V1alpha1_ProxyConfig) {
    if config.hasConcurrency { concurrency = config.concurrency.value }
    environment.merge(config.proxyMetadata) { $1 }
  }

  private mutating func take(_ config: ProxyConfig) {
    if config.hasConcurrency { concurrency = config.concurrency.value }
    environment.merge(config.environmentVariables) { $1 }
  }
}

extension Rule where Spec == ProxyConfig {
  /// It selects no workloads.
  fileprivate var isForAll: Bool { spec.selector.matchLabels.isEmpty }
}

extension Istio_Mesh_V1alpha1_ProxyConfig {
  /// It says more than how many threads a proxy has, and its environment: what nothing follows from.
  package var hasMore: Bool {
    var rest = self
    rest.clearConcurrency()
    rest.proxyMetadata = [:]
    return rest != .init()
  }
}
