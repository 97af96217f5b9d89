import MeshModel
import Resources

/// A workload that registered itself, as an object: the group's template with what its proxy says.
enum RegisteredEntry {
  /// Istio's: of which group it is.
  static let groupAnnotation = "istio.io/autoRegistrationGroup"
  /// Istio's: it takes requests only while its proxy says that its application can.
  static let checkedAnnotation = "proxy.istio.io/health-checks-enabled"

  /// The object.
  /// - Parameter group: what its group says.
  static func value(
    _ id: ObjectID, _ entry: RegistrationState.Entry, _ group: WorkloadGroup
  ) -> ObjectValue {
    let labels = group.template.labels.merging(group.metadata.labels) { _, own in own }
      .merging(entry.labels) { _, own in own }
    var annotations = group.metadata.annotations
    annotations[groupAnnotation] = entry.group.name
    if group.hasProbe {
      annotations[checkedAnnotation] = "true"
      annotations[WorkloadHealth.annotation] = entry.health == .healthy ? "true" : "false"
      if case .unhealthy(let reason) = entry.health {
        annotations[WorkloadHealth.reasonAnnotation] = reason
      }
    }
    var spec: [ObjectValue.Member] = [.init("address", .string(entry.address))]
    if !labels.isEmpty { spec.append(.init("labels", map(labels))) }
    let template = group.template
    if !template.ports.isEmpty {
      spec.append(
        .init(
          "ports",
          .map(
            template.ports.sorted { $0.key < $1.key }
              .map { .init($0.key, .plain("\($0.value)")) })))
    }
    if !template.serviceAccount.isEmpty {
      spec.append(.init("serviceAccount", .string(template.serviceAccount)))
    }
    if !template.network.isEmpty { spec.append(.init("network", .string(template.network))) }
    let place = entry.locality
    let locality =
      place.isEmpty
      ? template.locality
      : [place.region, place.zone, place.subzone].filter { !$0.isEmpty }.joined(separator: "/")
    if !locality.isEmpty { spec.append(.init("locality", .string(locality))) }
    if template.weight > 0 { spec.append(.init("weight", .plain("\(template.weight)"))) }
    return .map([
      .init("apiVersion", .string(MeshKind.workloadEntry.apiVersion)),
      .init("kind", .string(MeshKind.workloadEntry.rawValue)),
      .init(
        "metadata",
        .map([
          .init("name", .string(id.name)), .init("namespace", .string(id.namespace)),
          .init("labels", map(labels)), .init("annotations", map(annotations)),
        ])),
      .init("spec", .map(spec)),
    ])
  }

  private static func map(_ texts: [String: String]) -> ObjectValue {
    .map(texts.sorted { $0.key < $1.key }.map { .init($0.key, .string($0.value)) })
  }

  /// What an earlier process knew of an object that it wrote; nil when it is none of those.
  static func entry(of object: MeshObject) -> RegistrationState.Entry? {
    guard case .workloadEntry(let spec) = object.spec,
      let group = object.annotations[groupAnnotation]
    else { return nil }
    var entry = RegistrationState.Entry(
      group: ObjectID(.workloadGroup, object.namespace, group), address: spec.address,
      labels: spec.labels, locality: MeshLocality(spec.locality))
    switch object.annotations[WorkloadHealth.annotation] {
    case "true": entry.health = .healthy
    case "false":
      entry.health =
        object.annotations[WorkloadHealth.reasonAnnotation].map { .unhealthy($0) }
        ?? .unknown
    default: break
    }
    return entry
  }
}
