import MeshMessages
import MeshModel
import SwiftProtobuf
import Testing

@testable import MeshTranslation

@Suite("What a proxy is started with")
struct ProxyStartTests {
  private static func config(_ spec: String, _ name: String, _ namespace: String) -> String {
    "{apiVersion: networking.istio.io/v1beta1, kind: ProxyConfig, metadata: {name: \(name), "
      + "namespace: \(namespace)}, spec: \(spec)}\n---\n"
  }

  private static let mesh = """
    {apiVersion: mesh.istio.io/v1alpha1, kind: MeshConfig, metadata: {name: mesh}, spec:
      {rootNamespace: root, defaultConfig: {concurrency: 1, proxyMetadata: {A: mesh, B: mesh}}}}
    ---

    """

  private func start(
    _ text: String, labels: [String: String] = ["app": "a"],
    annotation: Istio_Mesh_V1alpha1_ProxyConfig? = nil
  ) -> ProxyStart {
    var store = MeshStore()
    _ = store.update(["a.yaml": Array(text.utf8)])
    #expect(store.diagnostics.isEmpty, "\(store.diagnostics)")
    return ProxyStart(
      of: labels, namespace: "shop", in: MeshSnapshot(objects: store.objects),
      annotation: annotation)
  }

  @Test("is what says it closest, variable by variable")
  func merged() {
    var text = Self.mesh
    #expect(start("").concurrency == nil)
    #expect(start(text).concurrency == 1)
    text += Self.config("{concurrency: 2, environmentVariables: {B: root}}", "r", "root")
    #expect(start(text).environment == ["A": "mesh", "B": "root"])
    text += Self.config("{environmentVariables: {C: shop}}", "own", "shop")
    text += Self.config("{concurrency: 9}", "other", "bank")
    text += Self.config("{concurrency: 9}", "younger", "shop")
    #expect(start(text).concurrency == 2)
    let selector = "selector: {matchLabels: {app: a}}"
    text += Self.config(
      "{\(selector), environmentVariables: {A: own}, concurrency: 0}", "s", "shop")
    text += Self.config("{\(selector), concurrency: 9}", "second", "shop")
    #expect(start(text).concurrency == 0)
    #expect(start(text).environment == ["A": "own", "B": "root", "C": "shop"])
    #expect(start(text, labels: ["app": "b"]).concurrency == 2)
    // An annotation stands between the namespace's and the workload's own.
    let annotation = Istio_Mesh_V1alpha1_ProxyConfig.with {
      $0.concurrency = .init(4)
      $0.proxyMetadata = ["A": "pod", "D": "pod"]
    }
    #expect(start(text, annotation: annotation).environment["A"] == "own")
    #expect(start(text, annotation: annotation).environment["D"] == "pod")
    #expect(start(text, labels: [:], annotation: annotation).concurrency == 4)
  }

  @Test("is read from an annotation as strictly as from an object")
  func annotation() throws {
    let good = try ObjectReader.proxyConfig("concurrency: 2\nproxyMetadata: {A: b}\n").get()
    #expect(good.concurrency.value == 2)
    #expect(good.proxyMetadata == ["A": "b"])
    #expect(!good.hasMore)
    #expect(try ObjectReader.proxyConfig("").get() == .init())
    #expect(try ObjectReader.proxyConfig("{statusPort: 1}").get().hasMore)
    for (text, phrase) in [
      ("concurency: 2", "did you mean 'concurrency'"), ("concurrency: x", "concurrency"),
      ("a: [", "mapping"), ("a: 1\n---\nb: 2", "one document"), ("[1]", ""),
    ] {
      guard case .failure(let mistake) = ObjectReader.proxyConfig(text) else {
        Issue.record("\(text) is taken")
        continue
      }
      #expect(phrase == "mapping" || mistake.message.contains(phrase), "\(mistake.message)")
    }
  }
}
