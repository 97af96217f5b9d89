import MeshMessages
import MeshModel

/// All patches of a mesh, in the order in which they are applied: by priority, those of the root namespace
/// first, then the oldest object first, then by name.
struct EnvoyPatches: Sendable {
  private struct Filter {
    let namespace: String
    /// Nil for every workload of the namespace.
    let labels: [String: String]?
    /// Of Kubernetes' Gateways, by name; empty when labels select.
    let gateways: [String]
    let hasTargets: Bool
    let patches: [EnvoyPatch]
  }

  /// For the namespaces that have some of their own, those of the root namespace among them.
  private var byNamespace: [String: [Filter]] = [:]
  /// For all other namespaces.
  private var fromRoot: [Filter] = []

  /// The label by which a proxy belongs to one of Kubernetes' Gateways.
  private static let gatewayLabel = "gateway.networking.k8s.io/gateway-name"

  init() {}

  /// - Parameters:
  ///   - rules: with the oldest first.
  ///   - root: the namespace whose rules are for everybody.
  init(_ rules: [Rule<EnvoyFilter>], root: String) {
    let ordered = rules.enumerated().sorted { one, other in
      let (first, second) = (one.element, other.element)
      if first.spec.priority != second.spec.priority {
        return first.spec.priority < second.spec.priority
      }
      let isRoot = first.namespace == root
      if isRoot != (second.namespace == root) { return isRoot }
      return one.offset < other.offset
    }
    let filters = ordered.map(\.element).map { rule in
      Filter(
        namespace: rule.namespace,
        labels: rule.spec.hasWorkloadSelector ? rule.spec.workloadSelector.labels : nil,
        gateways: rule.spec.targetRefs.filter {
          $0.kind == "Gateway" && $0.group == "gateway.networking.k8s.io"
            && ($0.namespace.isEmpty || $0.namespace == rule.namespace)
        }.map(\.name),
        hasTargets: !rule.spec.targetRefs.isEmpty,
        patches: rule.spec.configPatches.enumerated().compactMap {
          EnvoyPatch($1, PatchID(object: rule.object.id, index: $0))
        })
    }
    fromRoot = filters.filter { $0.namespace == root }
    // Each once for its own namespace, and those of the root namespace for every other one too.
    let fromRoot = filters.enumerated().filter { $0.element.namespace == root }
    let groups = Dictionary(grouping: filters.enumerated()) { $0.element.namespace }
    for (namespace, own) in groups {
      let all = namespace == root ? own : (own + fromRoot).sorted { $0.offset < $1.offset }
      byNamespace[namespace] = all.map(\.element)
    }
  }

  /// The patches for a part of a proxy's configuration.
  func patches(for node: ProxyNode, in context: EnvoyFilter.PatchContext) -> [EnvoyPatch] {
    let filters = byNamespace[node.namespace] ?? fromRoot
    guard !filters.isEmpty else { return [] }
    return filters.filter { selects($0, node) }.flatMap(\.patches)
      .filter { $0.applies(to: node, in: context) }
  }

  private func selects(_ filter: Filter, _ node: ProxyNode) -> Bool {
    if filter.hasTargets {
      guard filter.namespace == node.namespace, let name = node.labels[Self.gatewayLabel] else {
        return false
      }
      return filter.gateways.contains(name)
    }
    return node.labels.contains(labels: filter.labels ?? [:])
  }
}

extension ProxyNode {
  /// What Istio calls the proxy's own connections, or those of a gateway.
  var outboundContext: EnvoyFilter.PatchContext {
    role == .router ? .gateway : .sidecarOutbound
  }
}
