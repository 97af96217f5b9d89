import MeshMessages
import Resources
import Testing

@testable import MeshModel

/// All objects of a text, read.
private func readings(_ text: String) throws -> [ObjectReader.Reading] {
  try ObjectFile.read(Array(text.utf8), name: "mesh.yaml").map { ObjectReader.read($0) }
}

/// What is wrong with a text of one object, a line each.
private func mistakes(_ text: String) throws -> [String] {
  try readings(text).flatMap(\.diagnostics).map(\.description)
}

@Suite("Objects as people write them")
struct ObjectReaderTests {
  @Test(
    "one kind says the same in all of its versions",
    arguments: ["v1alpha3", "v1beta1", "v1"])
  func versions(version: String) throws {
    let found = try readings(
      """
      apiVersion: networking.istio.io/\(version)
      kind: VirtualService
      metadata: {name: reviews, namespace: shop}
      spec: {hosts: [reviews], http: [{timeout: 1m30s, route: [{destination: {host: reviews}}]}]}
      """)
    #expect(found.map(\.diagnostics) == [[]])
    #expect(found.first?.id == ObjectID(.virtualService, "shop", "reviews"))
    guard case .virtualService(let spec)? = found.first?.object?.spec else {
      Issue.record("no VirtualService")
      return
    }
    #expect(spec.hosts == ["reviews"])
    #expect(spec.http.first?.timeout.seconds == 90)
  }

  @Test("a file may hold many documents, and a List stands for its items")
  func documents() throws {
    let found = try readings(
      """
      # nothing but a remark
      ---
      {apiVersion: v1, kind: Namespace, metadata: {name: shop}}
      ---
      apiVersion: v1
      kind: List
      items:
      - {apiVersion: v1, kind: ServiceAccount, metadata: {name: a}}
      - {apiVersion: v1, kind: ServiceAccount, metadata: {name: b, namespace: shop}}
      """)
    #expect(
      found.compactMap(\.id?.description)
        == ["Namespace shop", "ServiceAccount default/a", "ServiceAccount shop/b"])
    #expect(found.flatMap(\.diagnostics).isEmpty)
  }

  @Test("fields that Kubernetes has and a mesh does not need are passed over")
  func kubernetesFields() throws {
    let text = """
      apiVersion: v1
      kind: Service
      metadata: {name: a, ownerReferences: [{uid: x}]}
      spec: {ports: [{port: 80, nodePort: 30000}], ipFamilies: [IPv4]}
      status: {loadBalancer: {}}
      """
    #expect(try mistakes(text).isEmpty)
  }

  @Test("a field that no Istio resource has is refused where it stands")
  func unknownField() throws {
    let text = """
      apiVersion: networking.istio.io/v1
      kind: DestinationRule
      metadata: {name: a}
      spec:
        host: a
        trafficPolicy:
          outlierDetction: {}
      """
    #expect(
      try mistakes(text) == [
        "mesh.yaml:7:5: spec.trafficPolicy.outlierDetction: no such field in "
          + "istio.networking.v1alpha3.TrafficPolicy; did you mean 'outlierDetection'?"
      ])
  }

  @Test("a field of Istio's that is not supported is told apart from one that nobody knows")
  func unsupportedField() throws {
    let text = """
      apiVersion: mesh.istio.io/v1alpha1
      kind: MeshConfig
      metadata: {name: mesh}
      spec:
        ingressClass: istio
      """
    #expect(
      try mistakes(text) == [
        "mesh.yaml:5:3: spec.ingressClass: known to Istio, not supported by Fairlead"
      ])
  }

  @Test(
    "what cannot be an object is refused by name",
    arguments: [
      ("kind: Service", "expected 'apiVersion: v1' for a Service"),
      ("{apiVersion: v2, kind: Service}", "expected 'apiVersion: v1' for a Service"),
      ("{apiVersion: v1, kind: Servce}", "did you mean 'Service'?"),
      ("{apiVersion: v1}", "an object has a 'kind' and an 'apiVersion'"),
      ("{apiVersion: v1, kind: Service, metadata: {}}", "an object has a 'metadata.name'"),
      ("- a", "an object has a 'kind' and an 'apiVersion'"),
    ])
  func noObject(text: String, words: String) throws {
    let found = try mistakes(text)
    #expect(found.count == 1)
    #expect(found.first?.contains(words) ?? false, "\(found)")
  }

  @Test(
    "durations have Go's units",
    arguments: [
      ("10s", 10, 0), ("1h1m1s", 3661, 0), ("250ms", 0, 250_000_000), ("1.5m", 90, 0), ("0s", 0, 0),
      ("0", 0, 0),
    ])
  func durations(text: String, seconds: Int64, nanoseconds: Int32) throws {
    let found = try readings(
      """
      apiVersion: networking.istio.io/v1
      kind: VirtualService
      metadata: {name: a}
      spec: {http: [{timeout: "\(text)"}]}
      """)
    guard case .virtualService(let spec)? = found.first?.object?.spec else {
      Issue.record("\(found.first?.diagnostics.description ?? "")")
      return
    }
    #expect(spec.http.first?.timeout.seconds == seconds)
    #expect(spec.http.first?.timeout.nanos == nanoseconds)
  }

  @Test(
    "what is no duration is refused",
    arguments: ["10", "s", "1x", "-1s", "1s1", "99999999999h", "1..5s"])
  func noDurations(text: String) throws {
    let found = try mistakes(
      """
      apiVersion: networking.istio.io/v1
      kind: VirtualService
      metadata: {name: a}
      spec: {http: [{timeout: "\(text)"}]}
      """)
    #expect(found.count == 1)
  }
}
