import MeshMessages
import MeshModel

extension MeshSnapshot {
  /// The Secrets of its own namespace that rules give to a proxy: a gateway those of its Gateways' servers
  /// and of the DestinationRules that it sees, a sidecar those of DestinationRules that select its workload
  /// (Istio's rule).
  package func credentials(for node: ProxyNode) -> Set<String> {
    var named: [String] = []
    if node.role == .router {
      for entry in GatewayServers(self, for: node).entries {
        let tls = entry.server.tls
        named += [tls.credentialName, tls.caCertCredentialName] + tls.credentialNames
      }
    }
    for rule in destinationRules {
      let isMine =
        node.role == .router
        ? isVisible(
          rule.spec.exportTo, default: settings.destinationRuleExportTo, of: rule.namespace,
          from: node.namespace)
        : rule.spec.hasWorkloadSelector && rule.namespace == node.namespace
          && node.labels.contains(labels: rule.spec.workloadSelector.matchLabels)
      guard isMine else { continue }
      for policy in [rule.spec.trafficPolicy] + rule.spec.subsets.map(\.trafficPolicy) {
        named += [policy.tls.credentialName] + policy.portLevelSettings.map(\.tls.credentialName)
      }
    }
    return Set(named.compactMap { Self.name($0, in: node.namespace) })
  }

  /// The Secret's name alone; nil for one of another namespace.
  private static func name(_ written: String, in namespace: String) -> String? {
    guard let slash = written.firstIndex(of: "/") else { return written.isEmpty ? nil : written }
    guard written[..<slash] == namespace else { return nil }
    return String(written[written.index(after: slash)...])
  }
}
