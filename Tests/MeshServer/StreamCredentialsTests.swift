import MeshMessages
import MeshModel
import MeshTranslation
import Testing

@testable import MeshServer

/// A mesh with a Gateway that names `shop`, and Secrets.
private func mesh(_ secrets: String...) -> MeshSource {
  let source = MeshSource(options: .init())
  update(source, secrets)
  return source
}

private func update(_ source: MeshSource, _ secrets: [String]) {
  let gateway = """
    apiVersion: networking.istio.io/v1
    kind: Gateway
    metadata: {name: edge}
    spec:
      servers:
      - port: {number: 443, name: https, protocol: HTTPS}
        hosts: [a.example]
        tls: {mode: MUTUAL, credentialName: shop}
    """
  _ = source.update(["m.yaml": Array(([gateway] + secrets).joined(separator: "\n---\n").utf8)])
}

private func secret(_ name: String, _ values: String, namespace: String = "default") -> String {
  "{apiVersion: v1, kind: Secret, metadata: {name: \(name), namespace: \(namespace)}, "
    + "stringData: {\(values)}}"
}

private func sent(_ credentials: StreamCredentials) -> [String: String] {
  let all = credentials.layer.kinds[ResourceSet.TypeURL.secret]?.sorted ?? []
  return Dictionary(uniqueKeysWithValues: all.map { ($0.name, $0.version) })
}

private func node(_ type: String) -> ProxyNode {
  ProxyNode(
    id: "\(type)~10.0.0.1~one.default~default.svc.cluster.local", cluster: "",
    metadata: .init(), userAgent: "envoy", locality: MeshLocality())
}

private let gateway = node("router")

private let pair = "cert: c, key: k, cacert: r"

@Suite("Certificates of Secrets on a stream")
struct StreamCredentialsTests {
  @Test("a client of the Secret's namespace is sent the pair, and whom to believe")
  func sentToOwn() {
    let source = mesh(secret("shop", pair))
    var credentials = StreamCredentials(of: "default")
    let names = ["kubernetes://shop", "kubernetes://shop-cacert", "kubernetes://default/shop"]
    #expect(credentials.want(names).isEmpty)
    credentials.look(in: source, for: gateway)
    #expect(sent(credentials).keys.sorted() == names.sorted())
  }

  @Test("who has proved nothing, or is of another namespace, is refused, and told why")
  func refused() {
    let source = mesh(secret("shop", pair, namespace: "other"))
    var unknown = StreamCredentials(of: nil)
    #expect(unknown.want(["kubernetes://shop"]).map(\.refusal) == [.identity])
    unknown.look(in: source, for: gateway)
    #expect(sent(unknown).isEmpty)
    var foreign = StreamCredentials(of: "default")
    #expect(foreign.want(["kubernetes://other/shop"]).map(\.refusal) == [.namespace])
    #expect(foreign.want(["kubernetes://other/shop", "kubernetes://shop"]).isEmpty)
    foreign.look(in: source, for: gateway)
    #expect(sent(foreign).isEmpty)
    #expect(foreign.refused == ["kubernetes://other/shop": .namespace])
  }

  @Test("a Secret that no rule names is nobody's")
  func unnamed() {
    let source = mesh(secret("shop", pair), secret("private", pair))
    var credentials = StreamCredentials(of: "default")
    _ = credentials.want(["kubernetes://private", "default"])
    credentials.look(in: source, for: gateway)
    #expect(sent(credentials).isEmpty)
  }

  @Test(
    "a sidecar has what a rule for its workload names, and not what its namespace's gateways have")
  func sidecar() {
    let source = mesh(
      secret("shop", pair), secret("own", pair),
      """
      apiVersion: networking.istio.io/v1
      kind: DestinationRule
      metadata: {name: own}
      spec:
        host: a.example
        workloadSelector: {matchLabels: {app: web}}
        trafficPolicy: {tls: {mode: MUTUAL, credentialName: own}}
      """)
    var client = node("sidecar")
    let names = ["kubernetes://shop", "kubernetes://own"]
    for (labels, wanted) in [([:], []), (["app": "web"], ["kubernetes://own"])] {
      client.labels = labels
      var credentials = StreamCredentials(of: "default")
      _ = credentials.want(names)
      credentials.look(in: source, for: client)
      #expect(sent(credentials).keys.sorted() == wanted)
    }
  }

  @Test("a Secret of another namespace is not opened by a rule that names it in full")
  func otherNamespace() {
    let source = mesh(
      secret("private", pair),
      """
      apiVersion: networking.istio.io/v1
      kind: Gateway
      metadata: {name: other}
      spec:
        servers:
        - port: {number: 444, name: https, protocol: HTTPS}
          hosts: [b.example]
          tls: {mode: SIMPLE, credentialName: other/private}
      """)
    var credentials = StreamCredentials(of: "default")
    _ = credentials.want(["kubernetes://private"])
    credentials.look(in: source, for: gateway)
    #expect(sent(credentials).isEmpty)
  }

  @Test("a client that names secrets without end is told of some")
  func endless() {
    var credentials = StreamCredentials(of: nil)
    let names = (0..<1000).map { "kubernetes://s\($0)" }
    #expect(credentials.want(names + names).count == MeshLimits.refusedSecrets)
    #expect(credentials.want(names).isEmpty)
    let long = "kubernetes://" + String(repeating: "x", count: 100_000)
    var other = StreamCredentials(of: nil)
    #expect(other.want([long]).isEmpty && other.refused.isEmpty)
  }

  @Test("what a client wants no more is not sent again")
  func forgotten() {
    let source = mesh(secret("shop", pair))
    var credentials = StreamCredentials(of: "default")
    _ = credentials.want(["kubernetes://shop"])
    credentials.look(in: source, for: gateway)
    #expect(sent(credentials).count == 1)
    credentials.forget(["kubernetes://shop"])
    credentials.look(in: source, for: gateway)
    #expect(sent(credentials).isEmpty)
  }

  @Test("whom to believe may be in a Secret of its own, which counts first")
  func ownTrust() {
    let source = mesh(secret("shop", pair))
    var credentials = StreamCredentials(of: "default")
    _ = credentials.want(["kubernetes://shop-cacert"])
    credentials.look(in: source, for: gateway)
    let before = sent(credentials)
    update(source, [secret("shop", pair), secret("shop-cacert", "ca.crt: other")])
    credentials.look(in: source, for: gateway)
    #expect(sent(credentials) != before)
  }

  @Test("a changed Secret is another version, one that went leaves what there was")
  func rotation() {
    let source = mesh(secret("shop", pair))
    let (snapshots, made) = (source.rulesGeneration, StreamCredentials(of: "default"))
    var credentials = made
    _ = credentials.want(["kubernetes://shop"])
    credentials.look(in: source, for: gateway)
    let first = sent(credentials)
    update(source, [secret("shop", "tls.crt: c2, tls.key: k2")])
    credentials.look(in: source, for: gateway)
    let second = sent(credentials)
    #expect(second.count == 1 && second != first)
    update(source, [])
    credentials.look(in: source, for: gateway)
    #expect(sent(credentials) == second)
    // Nothing else was made anew for it.
    #expect(source.rulesGeneration == snapshots)
  }
}
