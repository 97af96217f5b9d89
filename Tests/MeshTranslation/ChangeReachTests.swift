import MeshModel
import MeshTranslation
import SwiftProtobuf
import Testing

@Suite("What a change reaches")
struct ChangeReachTests {
  private let mesh = MeshSnapshot(objects: [])

  private func node(_ role: String, _ agent: String, in namespace: String) -> ProxyNode {
    ProxyNode(
      id: "\(role)~10.0.0.1~one.\(namespace)~\(namespace).svc.cluster.local", cluster: "",
      metadata: .init(), userAgent: agent, locality: MeshLocality())
  }

  /// What is made anew after an object of `default` has changed: outbound and inbound of proxies there,
  /// of proxies elsewhere, of a gateway, and of a proxyless client.
  private func reach(_ kind: MeshKind, in namespace: String = "default") -> [ConfigurationParts] {
    let id = ObjectID(kind, namespace, "one")
    let reach = ChangeReach(of: [id], from: mesh, to: mesh)
    let (here, there) = (
      node("sidecar", "envoy", in: "default"), node("sidecar", "envoy", in: "other")
    )
    return [
      reach.parts(of: here.outboundKey(in: mesh)), reach.parts(of: here.inboundKey(in: mesh)),
      reach.parts(of: there.outboundKey(in: mesh)), reach.parts(of: there.inboundKey(in: mesh)),
      reach.parts(of: node("router", "envoy", in: "other").outboundKey(in: mesh)),
      reach.parts(of: node("sidecar", "grpc-c++", in: "other").outboundKey(in: mesh)),
    ]
  }

  @Test("rules for requests leave clusters, endpoints and what comes to workloads alone")
  func virtualService() {
    let parts: ConfigurationParts = [.listeners, .routes]
    #expect(reach(.virtualService) == [parts, [], parts, [], .all, parts])
  }

  @Test("rules for destinations leave listeners alone, but for clients that make them with routes")
  func destinationRule() {
    let parts: ConfigurationParts = [.clusters, .endpoints, .routes]
    #expect(
      reach(.destinationRule) == [parts, [], parts, [], .all, parts.union(.listeners)])
  }

  @Test("policies of a namespace are for what comes to its workloads, those of the root for all")
  func policies() {
    #expect(reach(.authorizationPolicy) == [[], .all, [], [], .all, []])
    #expect(reach(.authorizationPolicy, in: "istio-system") == [[], .all, [], .all, .all, []])
    let endpoints: ConfigurationParts = [.clusters, .endpoints]
    #expect(reach(.peerAuthentication) == [endpoints, .all, endpoints, [], .all, endpoints])
  }

  @Test("a Sidecar is for its namespace, a Gateway for gateways")
  func scopes() {
    #expect(reach(.sidecar) == [.all, .all, [], [], .all, []])
    #expect(reach(.gateway) == [[], [], [], [], .all, []])
    #expect(reach(.meshConfig) == Array(repeating: .all, count: 6))
  }

  @Test("a service is for all clients, and for the workloads of its namespace")
  func services() { #expect(reach(.service) == [.all, .all, .all, [], .all, .all]) }
}
