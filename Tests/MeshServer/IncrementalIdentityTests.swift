import MeshModel
import MeshTranslation
import SwiftProtobuf
import Testing

@testable import MeshServer

@Suite("Following identities")
struct IncrementalIdentityTests {
  private func pod(_ name: String, _ address: String, account: String) -> String {
    """
    ---
    {apiVersion: v1, kind: Pod, metadata: {name: \(name),
      labels: {app: shop, security.istio.io/tlsMode: istio}},
      spec: {serviceAccountName: \(account)}, status: {podIP: \(address)}}

    """
  }

  @Test("a workload of another identity changes whom clients believe, one of the same does not")
  func identities() throws {
    let service = """
      {apiVersion: v1, kind: Service, metadata: {name: shop}, spec: {selector: {app: shop},
        ports: [{name: http, port: 80}]}}

      """
    let source = MeshSource(options: RegistryOptions())
    var node = ProxyNode(
      id: "sidecar~10.0.0.9~web.default~default.svc.cluster.local", cluster: "web",
      metadata: Google_Protobuf_Struct(), userAgent: "envoy", locality: MeshLocality())
    node.hasCertificate = true
    func versions(_ text: String) throws -> (cluster: String, endpoints: String) {
      _ = source.update(["mesh.yaml": Array(text.utf8)])
      let set = source.resources(for: node)
      let name = "outbound|80||shop.default.svc.cluster.local"
      return (
        try #require(set.resource(of: ResourceSet.TypeURL.cluster, name)).version,
        try #require(set.resource(of: ResourceSet.TypeURL.endpoints, name)).version
      )
    }
    let one = try versions(service + pod("a", "10.0.0.1", account: "one"))
    let same = try versions(
      service + pod("a", "10.0.0.1", account: "one") + pod("b", "10.0.0.2", account: "one"))
    #expect(same.cluster == one.cluster)
    #expect(same.endpoints != one.endpoints)
    let other = try versions(
      service + pod("a", "10.0.0.1", account: "one") + pod("b", "10.0.0.2", account: "two"))
    #expect(other.cluster != one.cluster)
  }
}
