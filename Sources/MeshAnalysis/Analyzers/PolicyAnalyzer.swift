import MeshMessages
import MeshModel
import MeshTranslation
import Resources

/// Sidecars and policies: whom they select.
enum PolicyAnalyzer {
  static func analyze(_ context: AnalysisContext) {
    checkSidecars(context)
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

  // MARK: Sidecars

  private static func checkSidecars(_ context: AnalysisContext) {
    var selecting: [Int: [Rule<Sidecar>]] = [:]
    var general: [String: [Rule<Sidecar>]] = [:]
    for rule in context.snapshot.sidecars {
      let labels = rule.spec.workloadSelector.labels
      guard rule.spec.hasWorkloadSelector, !labels.isEmpty else {
        general[rule.namespace, default: []].append(rule)
        continue
      }
      let selected = context.index.places(in: rule.namespace, with: labels)
      if selected.isEmpty {
        context.report(
          .referencedResourceNotFound, rule.object, .root["spec"]["workloadSelector"],
          "Referenced selector not found: \(Words.quoted(Words.selector(labels)))")
      }
      for place in selected { selecting[place, default: []].append(rule) }
    }
    var told: Set<ObjectID> = []
    for (place, rules) in selecting.sorted(by: { $0.key < $1.key }) where rules.count > 1 {
      let names = rules.map(\.object.name).sorted()
      let workload = context.workloads[place]
      let pod = workload.object?.name ?? Words.selector(workload.labels)
      for rule in rules where told.insert(rule.object.id).inserted {
        context.report(
          .conflictingSidecars, rule.object, .root["spec"]["workloadSelector"],
          "The Sidecars \(Words.list(names)) in namespace \(Words.quoted(rule.namespace)) select the "
            + "same workload pod \(Words.quoted(pod)), which can lead to undefined behavior.")
      }
    }
    for (namespace, rules) in general where rules.count > 1 {
      let names = rules.map(\.object.name).sorted()
      for rule in rules {
        context.report(
          .multipleSidecars, rule.object, .root["metadata"]["name"],
          "The Sidecars \(Words.list(names)) in namespace \(Words.quoted(namespace)) have no workload "
            + "selector, which can lead to undefined behavior.")
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
