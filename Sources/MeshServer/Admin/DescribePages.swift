import AdminHTTP
import MeshModel
import MeshTranslation
import Resources
import SwiftProtobuf

/// What the mesh makes of one workload or service, in words.
struct DescribePages {
  let mesh: MeshSource
  let server: MeshServer

  func answer(
    kind: String, name: String, namespace: String
  ) throws(EditRefusal) -> AdminJSON {
    let lines: [String]
    switch MeshKind(named: kind) {
    case .pod, .workloadEntry: lines = try workload(name, namespace)
    case .service, .serviceEntry: lines = try service(name, namespace)
    default: throw EditRefusal(400, ["pods and services are described, and no '\(kind)'"])
    }
    return .object([("lines", .array(lines.map(AdminJSON.string)))])
  }

  private func workload(_ name: String, _ namespace: String) throws(EditRefusal) -> [String] {
    let workloads = mesh.snapshot.registry.workloads
    guard
      let workload = workloads.first(where: { $0.name == name && $0.namespace == namespace })
    else {
      let near = Suggestion.phrase(
        for: name, among: workloads.filter { $0.namespace == namespace }.map(\.name))
      throw EditRefusal(404, ["there is no workload '\(name)' in namespace '\(namespace)'\(near)"])
    }
    let connected = server.clients.compactMap(\.node).last {
      $0.namespace == namespace
        && ($0.name == name || !Set($0.addresses).isDisjoint(with: workload.addresses))
    }
    var node = connected ?? Self.node(name, namespace, workload.addresses.first ?? "")
    if connected == nil { node.labels = workload.labels }
    var lines = MeshDescription(mesh.snapshot, for: node).lines(
      of: workload, objects: mesh.store.objects)
    if connected == nil {
      lines.append("No proxy of it is connected.")
    } else {
      for omission in mesh.omissions(for: node) {
        lines.append(
          "Not done by its proxy (\(node.client.rawValue)): \(omission.object): \(omission.field): "
            + omission.effect)
      }
    }
    return lines
  }

  private func service(_ name: String, _ namespace: String) throws(EditRefusal) -> [String] {
    let services = mesh.snapshot.registry.services
    let found = services.first {
      $0.namespace == namespace && ($0.name == name || $0.hostname == name)
    }
    guard let found else {
      let near = Suggestion.phrase(
        for: name, among: services.filter { $0.namespace == namespace }.map(\.name))
      throw EditRefusal(404, ["there is no service '\(name)' in namespace '\(namespace)'\(near)"])
    }
    return MeshDescription(mesh.snapshot, for: Self.node(name, namespace, "")).lines(of: found)
  }

  /// A proxy as there might be one.
  private static func node(_ name: String, _ namespace: String, _ address: String) -> ProxyNode {
    ProxyNode(
      id: "sidecar~\(address)~\(name).\(namespace)~\(namespace).svc.cluster.local", cluster: "",
      metadata: Google_Protobuf_Struct(), userAgent: "envoy", locality: MeshLocality())
  }
}
