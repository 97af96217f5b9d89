import MeshMessages
import MeshModel

/// The Telemetries that are for a workload, as Istio finds them: that of the mesh (in the root namespace),
/// that of the workload's namespace, and those that select the workload. What comes later says it more
/// precisely.
struct WorkloadTelemetries {
  let rules: [Rule<Telemetry>]
  /// Those of the namespace or the mesh that choose by reference.
  private let byReference: [Rule<Telemetry>]

  init(of labels: [String: String], namespace: String, in snapshot: MeshSnapshot) {
    let root = snapshot.settings.rootNamespace
    let all = snapshot.telemetries
    // Of several for everybody the oldest counts.
    let mesh = all.first { $0.namespace == root && $0.isForAll }
    let own = namespace == root ? nil : all.first { $0.namespace == namespace && $0.isForAll }
    // One of the root namespace that selects workloads is none of the mesh's (Istio).
    let selected = all.filter { rule in
      rule.namespace == namespace && !rule.isForAll && !rule.isByReference
        && labels.contains(labels: rule.spec.selector.matchLabels)
    }
    rules = [mesh, own].compactMap(\.self) + selected
    byReference = all.filter { [namespace, root].contains($0.namespace) && $0.isByReference }
  }

  /// Says what of them nothing follows from.
  func note(_ profile: ClientProfile, _ notes: OmissionNotes) {
    for rule in rules {
      if !rule.spec.tracing.isEmpty { notes.note(rule.object.id, "tracing", "no spans are made") }
      if !rule.spec.metrics.isEmpty {
        notes.note(rule.object.id, "metrics", "statistics are the proxy's own, with its own labels")
      }
      if !rule.spec.accessLogging.isEmpty, !profile.isProxy {
        notes.note(rule.object.id, "accessLogging", "the program writes no access logs")
      }
    }
    for rule in byReference {
      notes.note(
        rule.object.id, "targetRefs", "nothing here is chosen by reference: use a selector")
    }
  }
}

extension Rule where Spec == Telemetry {
  /// It chooses nobody.
  package var isForAll: Bool { spec.selector.matchLabels.isEmpty && !isByReference }

  /// It is for what it names, such as a gateway of the Gateway API.
  package var isByReference: Bool { spec.hasTargetRef || !spec.targetRefs.isEmpty }
}
