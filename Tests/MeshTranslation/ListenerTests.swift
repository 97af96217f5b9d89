import MeshModel
import ResourceModel
import Testing

@testable import MeshTranslation

@Suite("Listeners of a workload's proxy")
struct ListenerTests {
  private let captured = ["INTERCEPTION_MODE": "REDIRECT"]

  @Test("captured connections arrive at one listener, and are handed over")
  func outbound() {
    let listeners = Fixture(client: "envoy", metadata: captured).outbound.listeners
    #expect(
      listeners.map(\.name) == ["10.96.0.3_5432", "0.0.0.0_9080", "virtualOutbound"])
    #expect(listeners.dropLast().allSatisfy { $0.hasBindToPort && !$0.bindToPort.value })
    let http = listeners[1]
    #expect(
      http.filterChains.first?.filterChainMatch.applicationProtocols == ["http/1.1", "h2c"])
    #expect(http.defaultFilterChain.name == "PassthroughFilterChain")
    let last = listeners.last
    #expect(last?.useOriginalDst.value == true)
    #expect(last?.address.socketAddress.portValue == 15001)
    #expect(
      last?.filterChains.map(\.name)
        == ["virtualOutbound-blackhole", "virtualOutbound-catchall-tcp"])
  }

  @Test("where nothing is captured each port listens for itself")
  func bound() {
    let fixture = Fixture(
      metadata: ["INTERCEPTION_MODE": "NONE", "BIND_ADDRESS": "127.0.0.9"])
    #expect(fixture.outbound.listeners.map(\.name) == ["127.0.0.9_5432", "127.0.0.9_9080"])
    #expect(fixture.outbound.listeners.allSatisfy { !$0.hasBindToPort })
    #expect(fixture.inbound.listeners.isEmpty)
  }

  @Test("requests to a workload go to its application, captured or not")
  func inbound() {
    let direct = Fixture(
      metadata: ["INTERCEPTION_MODE": "NONE", "APPLICATION_ADDRESS": "127.0.0.2"],
      address: "10.0.0.1"
    ).inbound
    #expect(direct.listeners.map(\.name) == ["10.0.0.1_9080"])
    #expect(direct.clusters.map(\.name) == ["inbound|9080||"])
    let target = direct.clusters.first?.loadAssignment.endpoints.first?.lbEndpoints.first
    #expect(target?.endpoint.address.socketAddress.address == "127.0.0.2")

    let captured = Fixture(client: "envoy", metadata: captured, address: "10.0.0.1").inbound
    #expect(captured.listeners.map(\.name) == ["virtualInbound"])
    #expect(
      captured.listeners.first?.filterChains.map(\.name) == [
        "virtualInbound-blackhole", "0.0.0.0_9080", "virtualInbound-catchall-http",
        "virtualInbound",
      ])
    #expect(
      captured.clusters.map(\.upstreamBindConfig.sourceAddress.address)
        == ["127.0.0.6", "127.0.0.6"])
  }

  @Test("a Sidecar says what a workload sees, and which ports it has")
  func sidecar() {
    let fixture = Fixture(
      """
      apiVersion: networking.istio.io/v1
      kind: Sidecar
      metadata: {name: s}
      spec:
        egress: [{hosts: ["./ratings.default.svc.cluster.local"]}]
        ingress: [{port: {number: 7000, name: http, protocol: HTTP}, defaultEndpoint: "127.0.0.1:7001"}]
      """)
    #expect(
      fixture.outbound.clusters.map(\.name) == [
        "outbound|9080||ratings.default.svc.cluster.local", "BlackHoleCluster",
        "PassthroughCluster",
      ])
    #expect(fixture.inbound.clusters.map(\.name) == ["inbound|7000||"])
  }

  @Test("exportTo keeps services to the namespaces that it names")
  func exported() {
    let hidden = """
      {apiVersion: v1, kind: Service, metadata: {name: mine, namespace: other, annotations: {
        networking.istio.io/exportTo: "."}}, spec: {ports: [{name: http, port: 80}]}}
      """
    let name = "outbound|80||mine.other.svc.cluster.local"
    #expect(Fixture(hidden).cluster(name) == nil)
    #expect(Fixture(hidden, namespace: "other").cluster(name) != nil)
  }

  @Test("a TCP rule sends connections where it says, and a TLS rule by the name that is asked for")
  func tcp() throws {
    let fixture = Fixture(
      Fixture.rule(
        "tcp: [{route: [{destination: {host: db, subset: a}, weight: 80}, "
          + "{destination: {host: db, subset: b}, weight: 20}]}]", name: "db", hosts: "db"),
      """
      apiVersion: networking.istio.io/v1
      kind: ServiceEntry
      metadata: {name: e}
      spec: {hosts: [a.example, b.example], resolution: DNS, ports: [{number: 443, name: tls,
        protocol: TLS}]}
      """, client: "envoy", metadata: captured)
    let db = try #require(fixture.outbound.listeners.first { $0.name == "10.96.0.3_5432" })
    let proxy = try Envoy_Extensions_Filters_Network_TcpProxy_V3_TcpProxy(
      serializedBytes: try #require(db.filterChains.first?.filters.first).typedConfig.value)
    #expect(proxy.weightedClusters.clusters.map(\.weight) == [80, 20])
    let tls = try #require(fixture.outbound.listeners.first { $0.name == "0.0.0.0_443" })
    #expect(
      tls.filterChains.map(\.filterChainMatch.serverNames) == [["a.example"], ["b.example"]])
  }
}
