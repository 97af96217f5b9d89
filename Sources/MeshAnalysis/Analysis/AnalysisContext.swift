import MeshMessages
import MeshModel
import MeshTranslation
import Resources

/// What analyzers look at and tell.
final class AnalysisContext {
  /// Somebody who serves and calls: a pod, a Deployment's pods to come, an entry, or a proxy that is there.
  struct Workload {
    let namespace: String
    let labels: [String: String]
    /// Nil for a proxy.
    let object: MeshObject?
    let isDeployment: Bool
    let portNames: [String: UInt32]
  }

  let snapshot: MeshSnapshot
  let isOffline: Bool
  let objects: [MeshObject]
  let workloads: [Workload]
  let index: LabelIndex
  /// Every namespace that is declared, or that something is in.
  let namespaces: Set<String>
  private(set) var messages: [AnalysisMessage] = []
  private let byID: [ObjectID: MeshObject]
  private let patterns: [MeshService]

  init(_ input: AnalysisInput) {
    snapshot = input.snapshot
    isOffline = input.isOffline
    objects = input.objects.sorted { $0.id < $1.id }
    byID = Dictionary(objects.map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
    workloads = objects.compactMap(Self.workload) + input.proxies.map(Self.workload)
    index = LabelIndex(workloads.map { ($0.namespace, $0.labels) })
    patterns = input.snapshot.registry.services.filter { $0.hostname.hasPrefix("*") }
    namespaces = Set(objects.map { $0.id.kind == .namespace ? $0.name : $0.namespace })
  }

  private static func workload(_ object: MeshObject) -> Workload? {
    switch object.spec {
    case .pod(let spec, _):
      return Workload(
        namespace: object.namespace, labels: object.labels, object: object, isDeployment: false,
        portNames: portNames(spec))
    case .deployment(let spec):
      return Workload(
        namespace: object.namespace, labels: spec.template.metadata.labels, object: object,
        isDeployment: true, portNames: portNames(spec.template.spec))
    case .workloadEntry(let entry):
      return Workload(
        namespace: object.namespace, labels: entry.labels.merging(object.labels) { own, _ in own },
        object: object, isDeployment: false, portNames: entry.ports)
    default: return nil
    }
  }

  private static func workload(_ node: ProxyNode) -> Workload {
    Workload(
      namespace: node.namespace, labels: node.labels, object: nil, isDeployment: false,
      portNames: [:])
  }

  private static func portNames(_ spec: Kubernetes_PodSpec) -> [String: UInt32] {
    var names: [String: UInt32] = [:]
    for port in spec.containers.flatMap(\.ports) where !port.name.isEmpty {
      names[port.name] = port.containerPort
    }
    return names
  }

  // MARK: What is there

  /// The object of a name.
  func object(_ kind: MeshKind, _ namespace: String, _ name: String) -> MeshObject? {
    byID[ObjectID(kind, namespace, name)]
  }

  /// The object of a name.
  func object(_ id: ObjectID) -> MeshObject? { byID[id] }

  /// The services that a rule of a namespace means by a host, which may stand for one with `*`.
  func services(_ host: String, from namespace: String) -> [MeshService] {
    let name = snapshot.fullName(host, in: namespace)
    let exact = snapshot.registry.services(named: name)
    let found =
      exact.isEmpty ? patterns.filter { HostPattern.matches($0.hostname, name) } : exact
    return found.filter { isVisible($0, from: namespace) }
  }

  /// Whether a service is shown to a namespace.
  func isVisible(_ service: MeshService, from namespace: String) -> Bool {
    snapshot.isVisible(
      service.exportTo, default: snapshot.settings.serviceExportTo, of: service.namespace,
      from: namespace)
  }

  /// Whether anybody has these labels.
  /// - Parameter namespace: the root namespace's rules are for all.
  func hasWorkload(in namespace: String, with labels: [String: String]) -> Bool {
    let isRoot = namespace == snapshot.settings.rootNamespace
    return !index.places(in: isRoot ? nil : namespace, with: labels).isEmpty
  }

  // MARK: Messages

  /// Tells of an object.
  func report(
    _ code: AnalysisCode, _ object: MeshObject, _ path: ConfigPath = .root, _ text: String
  ) {
    messages.append(
      AnalysisMessage(
        code, object.id, text, at: path, file: object.file, line: object.line,
        suppressed: Self.suppressed(by: object)))
  }

  /// Tells of what stands at a place that is known already.
  func report(_ code: AnalysisCode, _ id: ObjectID?, _ diagnostic: Diagnostic) {
    let path = diagnostic.path.isEmpty ? "" : diagnostic.path + ": "
    let text =
      code == .schemaWarning ? "Schema validation warning: " : "Schema validation error: "
    messages.append(
      AnalysisMessage(
        code, id, text + path + diagnostic.message, file: diagnostic.file, line: diagnostic.line,
        suppressed: id.flatMap { byID[$0] }.map(Self.suppressed) ?? []))
  }

  private static func suppressed(by object: MeshObject) -> Set<String> {
    let text = object.annotations["galley.istio.io/analyze-suppress"] ?? ""
    return Set(text.split(separator: ",").map { $0.filter { $0 != " " } })
  }
}

/// Texts as Istio's messages have them.
enum Words {
  /// `a=b,c=d`, in the order of the names.
  static func selector(_ labels: [String: String]) -> String {
    labels.sorted { $0.key < $1.key }.map { "\($0)=\($1)" }.joined(separator: ",")
  }

  /// `[a b]`.
  static func list(_ items: [some CustomStringConvertible]) -> String {
    "[" + items.map(\.description).joined(separator: " ") + "]"
  }

  /// `"a"`, with what would end it escaped.
  static func quoted(_ text: String) -> String {
    var out = "\""
    for scalar in text.unicodeScalars {
      if scalar == "\"" || scalar == "\\" { out += "\\" }
      out.unicodeScalars.append(scalar)
    }
    return out + "\""
  }

  /// `namespace/name`.
  static func name(_ object: MeshObject) -> String { "\(object.namespace)/\(object.name)" }
}
