import MeshMessages
import MeshModel
import ResourceModel
import Testing

@testable import MeshTranslation

private typealias Downstream = Envoy_Extensions_TransportSockets_Tls_V3_DownstreamTlsContext
private typealias Upstream = Envoy_Extensions_TransportSockets_Tls_V3_UpstreamTlsContext

/// Two workloads of one service, of which the second may have no proxy.
private func shop(second: String = "istio") -> String {
  """
  {apiVersion: v1, kind: Service, metadata: {name: shop}, spec: {clusterIP: 10.96.0.9,
    selector: {app: shop}, ports: [{name: http, port: 80, targetPort: 8080},
      {name: tcp, port: 81, targetPort: 8081}]}}
  ---
  {apiVersion: v1, kind: Pod, metadata: {name: shop-1,
    labels: {app: shop, security.istio.io/tlsMode: istio}},
    spec: {serviceAccountName: one}, status: {podIP: 10.0.1.1}}
  ---
  {apiVersion: v1, kind: Pod, metadata: {name: shop-2,
    labels: {app: shop, security.istio.io/tlsMode: \(second)}},
    spec: {serviceAccountName: two}, status: {podIP: 10.0.1.2}}
  """
}

private func demand(
  _ mode: String, _ name: String = "p", namespace: String = "default", more: String = ""
) -> String {
  """
  {apiVersion: security.istio.io/v1, kind: PeerAuthentication,
    metadata: {name: \(name), namespace: \(namespace)}, spec: {mtls: {mode: \(mode)}\(more)}}
  """
}

private func fixture(
  _ rules: String..., client: String = "envoy", interception: String = "NONE",
  certificate: String = "true", second: String = "istio"
) -> Fixture {
  Fixture(
    ([shop(second: second)] + rules).joined(separator: "\n---\n"), client: client,
    metadata: [
      "INTERCEPTION_MODE": interception, "APPLICATION_ADDRESS": "127.0.0.2",
      "OWN_CERTIFICATE": certificate,
    ], labels: ["app": "shop"], address: "10.0.1.1")
}

/// `tls[istio-h2] HTTP secured`: how the chains of a port tell connections apart.
private func chains(_ fixture: Fixture, _ port: UInt32) -> [String] {
  let listeners = fixture.inbound.listeners
  let one = listeners.first { $0.address.socketAddress.portValue == port } ?? listeners.first
  return (one?.filterChains ?? []).filter {
    listeners.first?.name != "virtualInbound" || $0.filterChainMatch.destinationPort.value == port
  }.map { chain in
    let match = chain.filterChainMatch
    let protocols = match.applicationProtocols.map { $0 == "istio" ? "istio" : $0 }
    let isHTTP = chain.filters.last?.name.contains("http") == true
    return "\(match.transportProtocol)\(protocols.isEmpty ? "" : "[\(protocols.count)]") "
      + (isHTTP ? "HTTP" : "TCP") + (chain.hasTransportSocket ? " secured" : "")
  }
}

private let name = "outbound|80||shop.default.svc.cluster.local"

@Suite("Mutual TLS of the mesh")
struct MutualTLSTests {
  @Test(
    "what a workload demands decides which connections get in",
    arguments: [
      (
        "PERMISSIVE", ["tls[5] HTTP secured", "raw_buffer HTTP"],
        ["tls[5] TCP secured", "tls TCP", "raw_buffer TCP"]
      ),
      ("STRICT", ["tls HTTP secured"], ["tls TCP secured"]),
      ("DISABLE", [" HTTP"], [" TCP"]),
      (
        "UNSET", ["tls[5] HTTP secured", "raw_buffer HTTP"],
        ["tls[5] TCP secured", "tls TCP", "raw_buffer TCP"]
      ),
    ])
  func modes(mode: String, requests: [String], bytes: [String]) {
    for interception in ["NONE", "REDIRECT"] {
      let made = fixture(demand(mode), interception: interception)
      #expect(chains(made, 8080) == requests)
      #expect(chains(made, 8081) == bytes)
      #expect(made.inbound.omissions.isEmpty)
    }
  }

  @Test("what belongs to no service is told apart too")
  func others() {
    let made = fixture(demand("STRICT"), interception: "REDIRECT")
    let rest = made.inbound.listeners.first?.filterChains.suffix(2) ?? []
    #expect(rest.map(\.name) == ["virtualInbound-catchall-http", "virtualInbound"])
    #expect(rest.allSatisfy { $0.hasTransportSocket && !$0.filterChainMatch.hasDestinationPort })
  }

  @Test("what is said of a port counts though no service has it")
  func portOfNoService() {
    let own = demand(
      "PERMISSIVE",
      more: ", selector: {matchLabels: {app: shop}}, portLevelMtls: {9999: {mode: STRICT}}")
    let found = chains(fixture(own, interception: "REDIRECT"), 9999)
    #expect(found == ["tls[3] HTTP secured", "tls TCP secured"])
  }

  @Test("without a certificate a proxy takes no TLS, and demands none that it cannot take")
  func noCertificate() {
    #expect(chains(fixture(certificate: "false"), 8080) == [" HTTP"])
    let strict = fixture(demand("STRICT"), certificate: "false")
    #expect(chains(strict, 8080) == [" TCP"])
    #expect(
      strict.inbound.omissions.map(\.object) == [ObjectID(.peerAuthentication, "default", "p")])
    let cluster = fixture(certificate: "false").cluster(name)
    #expect(cluster?.hasTransportSocket == false)
    #expect(matches(fixture(certificate: "false")).isEmpty)
  }

  @Test("a workload's rule goes before its namespace's, and that before the mesh's")
  func precedence() {
    let mesh = demand("STRICT", "m", namespace: "istio-system")
    let selector = ", selector: {matchLabels: {app: shop}}"
    #expect(chains(fixture(mesh), 8080) == ["tls HTTP secured"])
    #expect(chains(fixture(mesh, demand("UNSET", "ns")), 8080) == ["tls HTTP secured"])
    #expect(chains(fixture(mesh, demand("DISABLE", "ns")), 8080) == [" HTTP"])
    let own = demand("UNSET", "w", more: selector + ", portLevelMtls: {8080: {mode: STRICT}}")
    let made = fixture(mesh, demand("DISABLE", "ns"), own)
    #expect(chains(made, 8080) == ["tls HTTP secured"])
    #expect(chains(made, 8081) == [" TCP"])
    // The oldest of two.
    #expect(chains(fixture(demand("DISABLE", "a"), demand("STRICT", "b")), 8080) == [" HTTP"])
    // One of the root namespace that selects workloads is nobody's.
    let odd = demand("STRICT", "o", namespace: "istio-system", more: selector)
    #expect(chains(fixture(odd), 8080).count == 2)
    #expect(chains(fixture(demand("STRICT", "e", namespace: "other")), 8080).count == 2)
  }

  @Test("ports are named by rules that select workloads, and others are told")
  func portsWithoutSelector() {
    let made = fixture(demand("PERMISSIVE", more: ", portLevelMtls: {8080: {mode: STRICT}}"))
    #expect(chains(made, 8080).count == 2)
    #expect(made.inbound.omissions.map(\.field) == ["portLevelMtls"])
  }

  @Test("a client shows a certificate of a trusted domain, and both sides take theirs by name")
  func contexts() throws {
    let made = fixture(
      demand("STRICT"),
      """
      {apiVersion: mesh.istio.io/v1alpha1, kind: MeshConfig, metadata: {name: m}, spec: {
        trustDomain: here.example, trustDomainAliases: [old.example]}}
      """)
    let chain = try #require(
      made.inbound.listeners.first { $0.address.socketAddress.portValue == 8080 }?.filterChains
        .first)
    let context = try Downstream(serializedBytes: chain.transportSocket.typedConfig.value)
    #expect(context.requireClientCertificate.value)
    let common = context.commonTlsContext
    #expect(common.tlsCertificateSdsSecretConfigs.map(\.name) == ["default"])
    let combined = common.combinedValidationContext
    #expect(combined.validationContextSdsSecretConfig.name == "ROOTCA")
    #expect(combined.validationContextSdsSecretConfig.sdsConfig == .fromControlPlane)
    #expect(
      combined.defaultValidationContext.matchTypedSubjectAltNames.map(\.matcher.prefix)
        == ["spiffe://here.example/", "spiffe://old.example/"])
    #expect(common.alpnProtocols == ["h2", "http/1.1"])
  }

  @Test(
    "an endpoint that takes it is called with mutual TLS, and others are not",
    arguments: ["envoy", "fairlead"])
  func automatic(client: String) throws {
    let made = fixture(client: client, second: "disabled")
    let found = matches(made)
    #expect(found.map(\.name) == ["tlsMode-istio", "tlsMode-disabled"])
    let socket = try #require(found.first).transportSocket
    let context = try Upstream(serializedBytes: socket.typedConfig.value)
    #expect(context.sni == "outbound_.80_._.shop.default.svc.cluster.local")
    let common = context.commonTlsContext
    #expect(common.alpnProtocols == ["istio-http/1.1", "istio", "http/1.1"])
    #expect(
      common.combinedValidationContext.defaultValidationContext.matchTypedSubjectAltNames
        .map(\.matcher.exact) == [
          "spiffe://cluster.local/ns/default/sa/one", "spiffe://cluster.local/ns/default/sa/two",
        ])
    #expect(try secured(made) == ["10.0.1.1"])
    // What a server forbids, nobody tries.
    #expect(try secured(fixture(demand("DISABLE"))) == [])
    #expect(try secured(fixture(demand("STRICT"))) == ["10.0.1.1", "10.0.1.2"])
  }

  @Test("rules and settings turn it off")
  func off() {
    let rule = """
      {apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: d}, spec: {
        host: shop, trafficPolicy: {tls: {mode: DISABLE}}}}
      """
    let mesh = """
      {apiVersion: mesh.istio.io/v1alpha1, kind: MeshConfig, metadata: {name: m}, spec: {
        enableAutoMtls: false}}
      """
    for text in [rule, mesh] {
      #expect(matches(fixture(text)).isEmpty)
      #expect(fixture(text).cluster(name)?.hasTransportSocket == false)
    }
  }

  @Test("a rule that demands it says by whom, and whom it asks for")
  func demanded() throws {
    let rule = """
      {apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: d}, spec: {
        host: shop, trafficPolicy: {tls: {mode: ISTIO_MUTUAL, sni: other.example,
          subjectAltNames: ["spiffe://cluster.local/ns/x/sa/y"]}}}}
      """
    let made = fixture(rule)
    let socket = try #require(made.cluster(name)).transportSocket
    let context = try Upstream(serializedBytes: socket.typedConfig.value)
    #expect(context.sni == "other.example")
    #expect(
      context.commonTlsContext.combinedValidationContext.defaultValidationContext
        .matchTypedSubjectAltNames.map(\.matcher.exact) == ["spiffe://cluster.local/ns/x/sa/y"])
    #expect(made.outbound.omissions.isEmpty)
    #expect(
      fixture(rule, certificate: "false").outbound.omissions.map(\.field)
        == ["trafficPolicy.tls.mode", "trafficPolicy.tls.mode"].suffix(1))
  }

  private func matches(
    _ fixture: Fixture
  ) -> [Envoy_Config_Cluster_V3_Cluster.TransportSocketMatch] {
    fixture.cluster(name)?.transportSocketMatches ?? []
  }

  private func secured(_ fixture: Fixture) throws -> [String] {
    let assignment = try #require(fixture.outbound.endpoints.first { $0.clusterName == name })
    return assignment.endpoints.flatMap(\.lbEndpoints).filter {
      $0.metadata.filterMetadata["envoy.transport_socket_match"] != nil
    }.map(\.endpoint.address.socketAddress.address).sorted()
  }
}
