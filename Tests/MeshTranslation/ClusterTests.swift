import MeshMessages
import MeshModel
import ResourceModel
import SwiftProtobuf
import Testing

@testable import MeshTranslation

private let name = "outbound|9080||reviews.default.svc.cluster.local"

private func rule(_ spec: String, host: String = "reviews", name: String = "r") -> String {
  """
  apiVersion: networking.istio.io/v1
  kind: DestinationRule
  metadata: {name: \(name)}
  spec:
    host: "\(host)"
  \(spec.split(separator: "\n").map { "  " + $0 }.joined(separator: "\n"))
  """
}

/// The fields of a cluster that our own proxy does not read.
private func more(_ fixture: Fixture) throws -> Fairlead_Mesh_Envoy_V1_ClusterMore {
  let cluster = try #require(fixture.cluster(name))
  let bytes: [UInt8] = try cluster.serializedBytes()
  return try Fairlead_Mesh_Envoy_V1_ClusterMore(serializedBytes: bytes)
}

@Suite("Clusters of services")
struct ClusterTests {
  @Test("each port of each service has one, and each subset one more")
  func names() {
    let fixture = Fixture(
      rule("subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]"))
    #expect(
      fixture.outbound.clusters.map(\.name) == [
        name, "outbound|9080|v1|reviews.default.svc.cluster.local",
        "outbound|9080|v2|reviews.default.svc.cluster.local",
        "outbound|9080||ratings.default.svc.cluster.local",
        "outbound|5432||db.default.svc.cluster.local", "BlackHoleCluster", "PassthroughCluster",
      ])
    let v2 = fixture.outbound.endpoints.first { $0.clusterName.contains("|v2|") }
    let addresses = v2?.endpoints.flatMap(\.lbEndpoints).map(
      \.endpoint.address.socketAddress.address)
    #expect(addresses == ["10.0.0.2"])
  }

  @Test("nothing is bounded, and balanced by open requests, where nobody says otherwise")
  func defaults() {
    let cluster = Fixture().cluster(name)
    #expect(cluster?.lbPolicy == .leastRequest)
    #expect(cluster?.connectTimeout.seconds == 10)
    #expect(cluster?.circuitBreakers.thresholds.first?.maxConnections.value == .max)
    #expect(cluster?.edsClusterConfig.serviceName == name)
  }

  @Test("a policy's bounds are the breakers', a port's and a subset's before the rule's")
  func policies() {
    let fixture = Fixture(
      rule(
        """
        trafficPolicy:
          connectionPool: {tcp: {maxConnections: 10, connectTimeout: 1s}, http: {http1MaxPendingRequests: 5}}
          loadBalancer: {simple: RANDOM}
          portLevelSettings: [{port: {number: 9080}, connectionPool: {tcp: {maxConnections: 20}}}]
        subsets:
        - {name: v1, labels: {version: v1}, trafficPolicy: {connectionPool: {tcp: {maxConnections: 30}}}}
        """))
    let main = fixture.cluster(name)
    #expect(main?.circuitBreakers.thresholds.first?.maxConnections.value == 20)
    #expect(main?.circuitBreakers.thresholds.first?.maxPendingRequests.value == .max)
    #expect(main?.lbPolicy == .leastRequest)
    let v1 = fixture.cluster("outbound|9080|v1|reviews.default.svc.cluster.local")
    #expect(v1?.circuitBreakers.thresholds.first?.maxConnections.value == 30)
  }

  @Test("Envoy is told everything; our own proxy what it can do, and what it cannot is noted")
  func profiles() throws {
    let text = rule(
      """
      trafficPolicy:
        outlierDetection: {consecutive5xxErrors: 7, interval: 5s, baseEjectionTime: 30s}
        loadBalancer: {consistentHash: {httpHeaderName: x-user}}
      """)
    let envoy = Fixture(text, client: "envoy")
    let told = try more(envoy)
    #expect(told.outlierDetection.consecutive5Xx.value == 7)
    #expect(told.ringHashLbConfig.minimumRingSize.value == 1024)
    #expect(envoy.cluster(name)?.lbPolicy == .UNRECOGNIZED(2))
    #expect(envoy.routes.first?.route.hashPolicy.first?.header.headerName == "x-user")
    #expect(envoy.outbound.omissions.isEmpty)

    let own = Fixture(text)
    let nothing = try more(own)
    #expect(!nothing.hasOutlierDetection && !nothing.hasRingHashLbConfig)
    #expect(own.cluster(name)?.lbPolicy == .leastRequest)
    #expect(
      own.outbound.omissions.map(\.field) == [
        "trafficPolicy.loadBalancer.consistentHash", "trafficPolicy.outlierDetection",
      ])
  }

  @Test("of several rules for a host the subsets are joined, and the oldest one's policy counts")
  func merged() {
    let fixture = Fixture(
      rule("trafficPolicy: {loadBalancer: {simple: RANDOM}}", name: "z"),
      rule(
        "trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}\nsubsets: [{name: v1}]", name: "a"))
    #expect(fixture.cluster(name)?.lbPolicy == .random)
    #expect(fixture.cluster("outbound|9080|v1|reviews.default.svc.cluster.local") != nil)
  }

  @Test("a rule for one host beats one for many")
  func specific() {
    let fixture = Fixture(
      rule("trafficPolicy: {loadBalancer: {simple: RANDOM}}", host: "*.cluster.local", name: "a"),
      rule("trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}", name: "b"))
    #expect(fixture.cluster(name)?.lbPolicy == .roundRobin)
    #expect(
      fixture.cluster("outbound|9080||ratings.default.svc.cluster.local")?.lbPolicy == .random)
  }

  @Test("workloads that are near come first when those that fail are ejected")
  func localities() {
    func priorities(_ rules: String) -> [String: UInt32] {
      let pods = ["a/1", "a/2", "b/1"].enumerated().map { index, place in
        let parts = place.split(separator: "/")
        return """
          {apiVersion: v1, kind: Pod, metadata: {name: p\(index), labels: {app: far,
            topology.kubernetes.io/region: \(parts[0]), topology.kubernetes.io/zone: z\(parts[1])}},
            status: {podIP: 10.1.0.\(index)}}
          """
      }
      let fixture = Fixture(
        """
        {apiVersion: v1, kind: Service, metadata: {name: far}, spec: {selector: {app: far},
          ports: [{name: http, port: 80}]}}
        """, pods.joined(separator: "\n---\n"), rules, client: "envoy",
        labels: [
          "topology.kubernetes.io/region": "a", "topology.kubernetes.io/zone": "z1",
        ])
      let found = fixture.outbound.endpoints.first { $0.clusterName.contains("far") }
      return Dictionary(
        (found?.endpoints ?? []).map { ("\($0.locality.region)/\($0.locality.zone)", $0.priority) },
        uniquingKeysWith: { first, _ in first })
    }
    #expect(
      priorities(rule("trafficPolicy: {outlierDetection: {}}", host: "far"))
        == ["a/z1": 0, "a/z2": 1, "b/z1": 2])
    #expect(
      priorities(rule("trafficPolicy: {loadBalancer: {simple: RANDOM}}", host: "far"))
        == ["a/z1": 0, "a/z2": 0, "b/z1": 0])
  }

  @Test("TLS that a rule begins names whom it asks for")
  func tls() throws {
    let fixture = Fixture(
      rule("trafficPolicy: {tls: {mode: SIMPLE, sni: a.example, caCertificates: /ca.pem}}"))
    let socket = try #require(fixture.cluster(name)?.transportSocket)
    let context = try Envoy_Extensions_TransportSockets_Tls_V3_UpstreamTlsContext(
      serializedBytes: socket.typedConfig.value)
    #expect(context.sni == "a.example")
    #expect(context.commonTlsContext.validationContext.trustedCa.filename == "/ca.pem")
  }
}
