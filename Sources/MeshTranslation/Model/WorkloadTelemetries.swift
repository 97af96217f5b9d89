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
    let ofRoot = snapshot.telemetriesByNamespace[root] ?? []
    let own = namespace == root ? [] : snapshot.telemetriesByNamespace[namespace] ?? []
    // Of several for everybody the oldest counts.
    let forAll = [ofRoot.first(where: \.isForAll), own.first(where: \.isForAll)]
    // One of the root namespace that selects workloads is none of the mesh's (Istio).
    let selected = (namespace == root ? ofRoot : own).filter { rule in
      !rule.isForAll && !rule.isByReference
        && labels.contains(labels: rule.spec.selector.matchLabels)
    }
    rules = forAll.compactMap(\.self) + selected
    byReference = (ofRoot + own).filter(\.isByReference)
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
