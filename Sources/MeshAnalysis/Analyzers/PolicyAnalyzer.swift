import MeshMessages
import MeshModel
import MeshTranslation
import Resources

/// Sidecars and policies: whom they select.
enum PolicyAnalyzer {
  static func analyze(_ context: AnalysisContext) {
    SelectionCheck(
      plural: "Sidecars", selector: .root["spec"]["workloadSelector"],
      conflicting: .conflictingSidecars, multiple: .multipleSidecars
    ).run(
      context.snapshot.sidecars.map { ($0.object, $0.spec.workloadSelector.labels) }, context)
    for object in context.objects {
      switch object.spec {
      case .authorizationPolicy(let policy):
        checkSelector(
          object, policy.hasSelector ? policy.selector.matchLabels : nil, context)
        checkNamespaces(object, policy, context)
      case .peerAuthentication(let policy):
        checkSelector(
          object, policy.hasSelector ? policy.selector.matchLabels : nil, context)
      case .requestAuthentication(let policy):
        checkSelector(
          object, policy.hasSelector ? policy.selector.matchLabels : nil, context)
      default: break
      }
    }
  }

  // MARK: Policies

  private static func checkSelector(
    _ object: MeshObject, _ selector: [String: String]?, _ context: AnalysisContext
  ) {
    // One without a selector is for those to come, too, where the whole mesh is meant.
    if selector == nil, object.namespace == context.snapshot.settings.rootNamespace { return }
    guard !context.hasWorkload(in: object.namespace, with: selector ?? [:]) else { return }
    context.report(
      .noMatchingWorkloads, object,
      selector == nil ? .root["metadata"]["namespace"] : .root["spec"]["selector"],
      "No matching workloads for this resource with the following labels: "
        + Words.selector(selector ?? [:]))
  }

  private static func checkNamespaces(
    _ object: MeshObject, _ policy: AuthorizationPolicy, _ context: AnalysisContext
  ) {
    for (index, rule) in policy.rules.enumerated() {
      for (number, from) in rule.from.enumerated() {
        let place = ConfigPath.root["spec"]["rules"][index]["from"][number]["source"]
        for (field, names) in [
          ("namespaces", from.source.namespaces), ("notNamespaces", from.source.notNamespaces),
        ] {
          for (position, name) in names.enumerated() where !exists(name, context) {
            context.report(
              .referencedResourceNotFound, object, place[field][position],
              "Referenced namespace not found: \(Words.quoted(name))")
          }
        }
      }
    }
  }

  private static func exists(_ pattern: String, _ context: AnalysisContext) -> Bool {
    if pattern == "*" { return true }
    if pattern.hasPrefix("*") {
      return context.namespaces.contains { $0.hasSuffix(pattern.dropFirst()) }
    }
    if pattern.hasSuffix("*") {
      return context.namespaces.contains { $0.hasPrefix(pattern.dropLast()) }
    }
    return context.namespaces.contains(pattern)
  }
}
