import MeshModel
import Resources

/// Rules of a kind of which each workload has one that selects it at most, and each namespace one for all.
struct SelectionCheck {
  /// What messages call them: `Sidecars`.
  let plural: String
  /// Where such a rule says whom it is for.
  let selector: ConfigPath
  /// Several select one workload.
  let conflicting: AnalysisCode
  /// Several of a namespace are for all.
  let multiple: AnalysisCode

  /// - Parameter rules: with the labels by which they select; empty: all.
  func run(_ rules: [(object: MeshObject, labels: [String: String])], _ context: AnalysisContext) {
    var selecting: [Int: [MeshObject]] = [:]
    var general: [String: [MeshObject]] = [:]
    for (object, labels) in rules {
      guard !labels.isEmpty else {
        general[object.namespace, default: []].append(object)
        continue
      }
      let selected = context.index.places(in: object.namespace, with: labels)
      if selected.isEmpty {
        context.report(
          .referencedResourceNotFound, object, selector,
          "Referenced selector not found: \(Words.quoted(Words.selector(labels)))")
      }
      for place in selected { selecting[place, default: []].append(object) }
    }
    reportConflicts(selecting, context)
    for (namespace, objects) in general where objects.count > 1 {
      let names = objects.map(\.name).sorted()
      for object in objects {
        context.report(
          multiple, object, .root["metadata"]["name"],
          "The \(plural) \(Words.list(names)) in namespace \(Words.quoted(namespace)) have no "
            + "workload selector, which can lead to undefined behavior.")
      }
    }
  }

  private func reportConflicts(_ selecting: [Int: [MeshObject]], _ context: AnalysisContext) {
    var told: Set<ObjectID> = []
    for (place, objects) in selecting.sorted(by: { $0.key < $1.key }) where objects.count > 1 {
      let names = objects.map(\.name).sorted()
      let workload = context.workloads[place]
      let pod = workload.object?.name ?? Words.selector(workload.labels)
      for object in objects where told.insert(object.id).inserted {
        context.report(
          conflicting, object, selector,
          "The \(plural) \(Words.list(names)) in namespace \(Words.quoted(object.namespace)) select "
            + "the same workload pod \(Words.quoted(pod)), which can lead to undefined behavior.")
      }
    }
  }
}
