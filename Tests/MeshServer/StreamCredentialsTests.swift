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

private let pair = "cert: c, key: k, cacert: r"

@Suite("Certificates of Secrets on a stream")
struct StreamCredentialsTests {
  @Test("a client of the Secret's namespace is sent the pair, and whom to believe")
  func sentToOwn() {
    let source = mesh(secret("shop", pair))
    var credentials = StreamCredentials(of: "default")
    let names = ["kubernetes://shop", "kubernetes://shop-cacert", "kubernetes://default/shop"]
    #expect(credentials.want(names).isEmpty)
    credentials.look(in: source)
    #expect(sent(credentials).keys.sorted() == names.sorted())
  }

  @Test("who has proved nothing, or is of another namespace, is refused, and told why")
  func refused() {
    let source = mesh(secret("shop", pair, namespace: "other"))
    var unknown = StreamCredentials(of: nil)
    #expect(unknown.want(["kubernetes://shop"]).map(\.refusal) == [.identity])
    unknown.look(in: source)
    #expect(sent(unknown).isEmpty)
    var foreign = StreamCredentials(of: "default")
    #expect(foreign.want(["kubernetes://other/shop"]).map(\.refusal) == [.namespace])
    #expect(foreign.want(["kubernetes://other/shop", "kubernetes://shop"]).isEmpty)
    foreign.look(in: source)
    #expect(sent(foreign).isEmpty)
    #expect(foreign.refused == ["kubernetes://other/shop": .namespace])
  }

  @Test("a Secret that no rule names is nobody's")
  func unnamed() {
    let source = mesh(secret("shop", pair), secret("private", pair))
    var credentials = StreamCredentials(of: "default")
    _ = credentials.want(["kubernetes://private", "default"])
    credentials.look(in: source)
    #expect(sent(credentials).isEmpty)
  }

  @Test("whom to believe may be in a Secret of its own, which counts first")
  func ownTrust() {
    let source = mesh(secret("shop", pair))
    var credentials = StreamCredentials(of: "default")
    _ = credentials.want(["kubernetes://shop-cacert"])
    credentials.look(in: source)
    let before = sent(credentials)
    update(source, [secret("shop", pair), secret("shop-cacert", "ca.crt: other")])
    credentials.look(in: source)
    #expect(sent(credentials) != before)
  }

  @Test("a changed Secret is another version, one that went leaves what there was")
  func rotation() {
    let source = mesh(secret("shop", pair))
    let (snapshots, made) = (source.rulesGeneration, StreamCredentials(of: "default"))
    var credentials = made
    _ = credentials.want(["kubernetes://shop"])
    credentials.look(in: source)
    let first = sent(credentials)
    update(source, [secret("shop", "tls.crt: c2, tls.key: k2")])
    credentials.look(in: source)
    let second = sent(credentials)
    #expect(second.count == 1 && second != first)
    update(source, [])
    credentials.look(in: source)
    #expect(sent(credentials) == second)
    // Nothing else was made anew for it.
    #expect(source.rulesGeneration == snapshots)
  }
}
