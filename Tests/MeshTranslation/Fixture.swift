import MeshMessages
import MeshModel
import ResourceModel
import SwiftProtobuf
import Testing

@testable import MeshTranslation

/// A mesh in text, as one client sees it.
struct Fixture {
  static let services = """
    {apiVersion: v1, kind: Service, metadata: {name: reviews}, spec: {clusterIP: 10.96.0.1,
      selector: {app: reviews}, ports: [{name: http, port: 9080}]}}
    ---
    {apiVersion: v1, kind: Service, metadata: {name: ratings}, spec: {clusterIP: 10.96.0.2,
      ports: [{name: http, port: 9080}]}}
    ---
    {apiVersion: v1, kind: Service, metadata: {name: db}, spec: {clusterIP: 10.96.0.3,
      ports: [{name: tcp, port: 5432}]}}
    ---
    {apiVersion: v1, kind: Pod, metadata: {name: reviews-1, labels: {app: reviews, version: v1}},
      status: {podIP: 10.0.0.1}}
    ---
    {apiVersion: v1, kind: Pod, metadata: {name: reviews-2, labels: {app: reviews, version: v2}},
      status: {podIP: 10.0.0.2}}

    """

  let node: ProxyNode
  let outbound: ProxyConfiguration
  let inbound: ProxyConfiguration

  init(
    _ rules: String..., client: String = "fairlead", namespace: String = "default",
    metadata: [String: String] = ["INTERCEPTION_MODE": "NONE"], labels: [String: String] = [:],
    address: String = "10.0.0.9", role: String = "sidecar", hasProvenIdentity: Bool = false
  ) {
    var store = MeshStore()
    let text = Self.services + rules.map { "---\n" + $0 }.joined(separator: "\n")
    _ = store.update(["mesh.yaml": Array(text.utf8)])
    #expect(store.diagnostics.isEmpty, "\(store.diagnostics)")
    var fields = Google_Protobuf_Struct()
    for (name, value) in metadata { fields.fields[name] = .with { $0.stringValue = value } }
    fields.fields["LABELS"] = .with { value in
      for (name, label) in labels {
        value.structValue.fields[name] = .with { $0.stringValue = label }
      }
    }
    var node = ProxyNode(
      id: "\(role)~\(address)~client.\(namespace)~\(namespace).svc.cluster.local",
      cluster: "client", metadata: fields, userAgent: client, locality: MeshLocality())
    node.hasProvenIdentity = hasProvenIdentity
    self.node = node
    let snapshot = MeshSnapshot(objects: store.objects)
    outbound = .outbound(snapshot, for: node)
    inbound = .inbound(snapshot, for: node)
  }

  /// A VirtualService for `reviews`.
  static func rule(_ spec: String, name: String = "reviews", hosts: String = "reviews") -> String {
    """
    apiVersion: networking.istio.io/v1
    kind: VirtualService
    metadata: {name: \(name)}
    spec:
      hosts: [\(hosts)]
    \(spec.split(separator: "\n").map { "  " + $0 }.joined(separator: "\n"))
    """
  }

  /// The virtual host of a service on a port.
  func host(
    _ name: String = "reviews.default.svc.cluster.local", port: UInt32 = 9080
  ) -> Envoy_Config_Route_V3_VirtualHost? {
    outbound.routes.first { $0.name == String(port) }?.virtualHosts
      .first { $0.name == "\(name):\(port)" }
  }

  /// The routes of `reviews`.
  var routes: [Envoy_Config_Route_V3_Route] { host()?.routes ?? [] }

  func cluster(_ name: String) -> Envoy_Config_Cluster_V3_Cluster? {
    (outbound.clusters + inbound.clusters).first { $0.name == name }
  }
}
