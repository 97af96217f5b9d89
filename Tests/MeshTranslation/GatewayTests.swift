import MeshModel
import ResourceModel
import SwiftProtobuf
import Testing

@testable import MeshTranslation

private func gateway(_ servers: String, name: String = "edge") -> String {
  """
  apiVersion: networking.istio.io/v1
  kind: Gateway
  metadata: {name: \(name)}
  spec:
    selector: {istio: ingress}
    servers:
  \(servers.split(separator: "\n").map { "  " + $0 }.joined(separator: "\n"))
  """
}

private func bound(_ http: String, name: String = "r", hosts: String = "shop.example") -> String {
  Fixture.rule("gateways: [edge]\n" + http, name: name, hosts: hosts)
}

private func router(_ rules: String..., isProven: Bool = false) -> Fixture {
  Fixture(
    rules.joined(separator: "\n---\n"), client: "envoy", metadata: [:],
    labels: ["istio": "ingress"], role: "router", hasProvenIdentity: isProven)
}

private func context(
  _ chain: Envoy_Config_Listener_V3_FilterChain
) throws -> Envoy_Extensions_TransportSockets_Tls_V3_CommonTlsContext {
  try Envoy_Extensions_TransportSockets_Tls_V3_DownstreamTlsContext(
    serializedBytes: chain.transportSocket.typedConfig.value
  ).commonTlsContext
}

private let http = "- {port: {number: 8080, name: http, protocol: HTTP}, hosts: [\"*.example\"]}"

@Suite("Gateways")
struct GatewayTests {
  @Test("a plain server listens, and its routes are those of the rules that are bound to it")
  func plain() {
    let fixture = router(
      gateway(http),
      bound("http: [{route: [{destination: {host: reviews, port: {number: 9080}}}]}]"),
      Fixture.rule("http: [{route: [{destination: {host: ratings}}]}]"))
    #expect(fixture.outbound.listeners.map(\.name) == ["0.0.0.0_8080"])
    #expect(fixture.outbound.routes.map(\.name) == ["http.8080"])
    let hosts = fixture.outbound.routes.first?.virtualHosts
    #expect(hosts?.map(\.domains) == [["shop.example"]])
    #expect(
      hosts?.first?.routes.map(\.route.cluster)
        == ["outbound|9080||reviews.default.svc.cluster.local"])
    #expect(fixture.inbound.listeners.isEmpty)
  }

  @Test("a gateway that selects other workloads is not theirs")
  func selector() {
    let fixture = Fixture(
      gateway(http), client: "envoy", metadata: [:], labels: ["istio": "egress"], role: "router")
    #expect(fixture.outbound.listeners.isEmpty)
  }

  @Test("rules for one host are joined, the oldest first, up to what takes everything")
  func joined() {
    let fixture = router(
      gateway(http),
      bound(
        "http: [{name: a, match: [{uri: {prefix: /a}}], route: [{destination: {host: reviews}}]}]"),
      bound("http: [{name: b, route: [{destination: {host: reviews}}]}]", name: "s"),
      bound("http: [{name: c, route: [{destination: {host: ratings}}]}]", name: "t"))
    let routes = fixture.outbound.routes.first?.virtualHosts.first?.routes
    #expect(routes?.map(\.name) == ["a", "b"])
  }

  @Test("matches name the gateways that they are for")
  func matches() {
    let fixture = router(
      gateway(http),
      bound(
        """
        http:
        - {name: mesh, match: [{gateways: [mesh]}], route: [{destination: {host: reviews}}]}
        - {name: edge, match: [{gateways: [edge]}], route: [{destination: {host: reviews}}]}
        """))
    #expect(fixture.outbound.routes.first?.virtualHosts.first?.routes.map(\.name) == ["edge"])
  }

  @Test("TLS ends in a chain of its own, found by the name that a client asks for")
  func secured() throws {
    let fixture = router(
      gateway(
        """
        - port: {number: 443, name: https, protocol: HTTPS}
          hosts: [a.example]
          tls: {mode: MUTUAL, serverCertificate: /c.pem, privateKey: /k.pem, caCertificates: /ca.pem}
        - port: {number: 443, name: other, protocol: HTTPS}
          hosts: [b.example]
          tls: {mode: SIMPLE, serverCertificate: /d.pem, privateKey: /l.pem}
        """))
    let listener = try #require(fixture.outbound.listeners.first)
    #expect(
      listener.filterChains.map(\.filterChainMatch.serverNames) == [["a.example"], ["b.example"]])
    let context = try Envoy_Extensions_TransportSockets_Tls_V3_DownstreamTlsContext(
      serializedBytes: listener.filterChains[0].transportSocket.typedConfig.value)
    #expect(context.requireClientCertificate.value)
    #expect(
      fixture.outbound.routes.map(\.name)
        == ["https.443.https.edge.default", "https.443.other.edge.default"])
    #expect(fixture.outbound.routes.first?.virtualHosts.map(\.name) == ["blackhole:443"])
  }

  @Test("TLS that is passed on goes where its name leads")
  func passthrough() throws {
    let fixture = router(
      gateway(
        """
        - port: {number: 443, name: tls, protocol: TLS}
          hosts: ["*"]
          tls: {mode: PASSTHROUGH}
        """),
      Fixture.rule(
        """
        gateways: [edge]
        tls: [{match: [{port: 443, sniHosts: [db.example]}], route: [{destination: {host: db}}]}]
        """, name: "t", hosts: "db.example"))
    let chain = try #require(fixture.outbound.listeners.first?.filterChains.first)
    #expect(chain.filterChainMatch.serverNames == ["db.example"])
    let proxy = try Envoy_Extensions_Filters_Network_TcpProxy_V3_TcpProxy(
      serializedBytes: try #require(chain.filters.first).typedConfig.value)
    #expect(proxy.cluster == "outbound|5432||db.default.svc.cluster.local")
  }

  @Test("requests without TLS can be sent to where there is TLS")
  func redirected() {
    let fixture = router(
      gateway(
        """
        - port: {number: 80, name: http, protocol: HTTP}
          hosts: [a.example]
          tls: {httpsRedirect: true}
        """))
    #expect(fixture.outbound.routes.first?.virtualHosts.first?.requireTls == .all)
  }

  @Test("credentials are asked for by Istio's names")
  func credentials() throws {
    let fixture = router(
      gateway(
        """
        - port: {number: 443, name: one, protocol: HTTPS}
          hosts: [a.example]
          tls: {mode: OPTIONAL_MUTUAL, credentialName: shop, subjectAltNames: [c.example]}
        - port: {number: 443, name: two, protocol: HTTPS}
          hosts: [b.example]
          tls: {mode: SIMPLE, credentialNames: [rsa, ec]}
        - port: {number: 443, name: three, protocol: TLS}
          hosts: [db.example]
          tls: {mode: MUTUAL, credentialName: shop, caCertCredentialName: clients}
        """),
      Fixture.rule(
        """
        gateways: [edge]
        tcp: [{match: [{port: 443}], route: [{destination: {host: db}}]}]
        """, name: "t", hosts: "db.example"), isProven: true)
    let chains = try #require(fixture.outbound.listeners.first).filterChains
    #expect(
      chains.map(\.filterChainMatch.serverNames) == [["a.example"], ["b.example"], ["db.example"]])
    let all = try chains.map(context)
    #expect(
      all.map { $0.tlsCertificateSdsSecretConfigs.map(\.name) }
        == [["kubernetes://shop"], ["kubernetes://rsa", "kubernetes://ec"], ["kubernetes://shop"]])
    let trusted = all.map(\.combinedValidationContext)
    #expect(
      trusted.map(\.validationContextSdsSecretConfig.name)
        == ["kubernetes://shop-cacert", "", "kubernetes://clients-cacert"])
    #expect(trusted[0].defaultValidationContext.matchTypedSubjectAltNames.count == 1)
    // A secret that never comes must not keep the port closed for ever.
    #expect(!all[0].tlsCertificateSdsSecretConfigs[0].sdsConfig.hasInitialFetchTimeout)
    #expect(fixture.outbound.omissions.isEmpty)
  }

  @Test(
    "a rule's credential is for gateways, and for the workloads that it selects",
    arguments: [
      ("router", "", true), ("sidecar", "", false),
      ("sidecar", "workloadSelector: {matchLabels: {app: web}}, ", true),
    ])
  func clientCredential(role: String, selector: String, isUsed: Bool) throws {
    let fixture = Fixture(
      """
      {apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: r}, spec: {
        \(selector)host: reviews, trafficPolicy: {tls: {mode: MUTUAL, credentialName: shop}}}}
      """, client: "envoy", labels: ["app": "web"], role: role, hasProvenIdentity: true)
    let cluster = try #require(fixture.cluster("outbound|9080||reviews.default.svc.cluster.local"))
    #expect(fixture.outbound.omissions.isEmpty == isUsed)
    // Nobody is connected to without what the rule demands.
    #expect((cluster.type == .eds) == isUsed)
    guard isUsed else { return }
    let common = try Envoy_Extensions_TransportSockets_Tls_V3_UpstreamTlsContext(
      serializedBytes: cluster.transportSocket.typedConfig.value
    ).commonTlsContext
    #expect(common.tlsCertificateSdsSecretConfigs.map(\.name) == ["kubernetes://shop"])
    #expect(
      common.combinedValidationContext.validationContextSdsSecretConfig.name
        == "kubernetes://shop-cacert")
  }

  @Test("a credential that cannot be fetched leaves the port closed, and is noted")
  func credential() {
    let fixture = router(
      gateway(
        """
        - port: {number: 443, name: https, protocol: HTTPS}
          hosts: [a.example]
          tls: {mode: SIMPLE, credentialName: shop}
        """))
    #expect(fixture.outbound.listeners.isEmpty)
    #expect(fixture.outbound.omissions.map(\.field) == ["servers.tls.credentialName"])
  }
}
