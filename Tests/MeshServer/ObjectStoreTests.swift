import MeshModel
import MeshTranslation
import Resources
import SwiftProtobuf
import Testing

@testable import MeshServer

private typealias TypeURL = ResourceSet.TypeURL

@Suite("Objects over HTTP")
struct ObjectStoreTests {
  private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

  @Test("a record of a change is read as it was written, and not when a byte is missing")
  func record() {
    let record = ChangeRecord(
      revision: 7, time: 1_764_000_000_000_000_000, author: "some body@127.0.0.1",
      action: "rollback to 3",
      changes: [
        .init(id: ObjectID(.virtualService, "default", "a.b"), before: nil, after: bytes("x\n\ny")),
        .init(id: ObjectID(.namespace, "", "shop"), before: bytes(""), after: nil),
      ])
    #expect(ChangeRecord(record.bytes) == record)
    for count in 0..<record.bytes.count {
      #expect(ChangeRecord(Array(record.bytes.prefix(count))) == nil)
    }
    #expect(ChangeRecord(record.bytes + [0]) == nil)
  }

  @Test("an author cannot write lines of a record")
  func author() {
    let record = ChangeRecord(
      revision: 1, time: 2, author: "a\nrevision 9", action: "apply\r\n", changes: [])
    #expect(ChangeRecord(record.bytes)?.author == "arevision 9")
    #expect(ChangeRecord(record.bytes)?.revision == 1)
  }

  @Test("files of a form are told apart, whatever they hold")
  func form() {
    let body = bytes(
      "--b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a b.yaml\"\r\n\r\none\r\n"
        + "--b\r\ncontent-disposition: form-data; name=\"two\"\r\n\r\n\r\n--b--\r\n")
    let expected = [
      SentFile(name: "a b.yaml", bytes: bytes("one")), SentFile(name: "two", bytes: []),
    ]
    #expect(FormData.files(in: body, boundary: "b") == expected)
    let end = body.count - 3
    for count in 0..<end {
      #expect(FormData.files(in: Array(body.prefix(count)), boundary: "b") == nil)
    }
    #expect(FormData.boundary(in: "multipart/form-data; boundary=\"x-y\"") == "x-y")
    #expect(FormData.boundary(in: "multipart/form-data") == nil)
    #expect(FormData.boundary(in: "application/yaml") == nil)
  }

  @Test(
    "names that are no file's name are refused, on both sides of the limit",
    arguments: [
      ("a", true), ("a.b-c", true), ("", false), ("A", false), ("-a", false), ("a..b", false),
      ("../a", false), ("a/b", false), (String(repeating: "a.", count: 74) + "ab", true),
      (String(repeating: "a.", count: 74) + "abc", false),
    ])
  func names(name: String, isGood: Bool) {
    let problem = AppliedDirectory.problem(with: ObjectID(.gateway, "default", name))
    #expect((problem == nil) == isGood)
  }

  @Test("what is kept leaves out what is told anew")
  func kept() throws {
    let text = """
      apiVersion: networking.istio.io/v1
      kind: VirtualService
      metadata: {name: a, resourceVersion: "12", uid: x, labels: {a: "yes"}}
      spec: {hosts: ["*"], http: []}
      status: {conditions: []}
      """
    let document = try #require(try ObjectFile.read(bytes(text), name: "x").first)
    let id = ObjectID(.virtualService, "shop", "a")
    let yaml = ObjectForm.kept(document.value, as: id, created: "2026-01-01T00:00:00Z").yaml
    #expect(
      yaml == """
        apiVersion: networking.istio.io/v1
        kind: VirtualService
        metadata:
          name: a
          labels:
            a: "yes"
          namespace: shop
          creationTimestamp: "2026-01-01T00:00:00Z"
        spec:
          hosts:
          - "*"
          http: []

        """)
  }
}

@Suite("What is live")
struct DistributionTests {
  private let mesh: MeshSource
  private let node: ProxyNode
  private let set: ResourceSet

  private static func files(_ weight: Int) -> [String: [UInt8]] {
    let text = """
      {apiVersion: v1, kind: Service, metadata: {name: a},
       spec: {ports: [{name: http, port: 80}]}}
      ---
      {apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: a},
       spec: {hosts: [a], http: [{timeout: \(weight)s, route: [{destination: {host: a}}]}]}}
      """
    return ["a": Array(text.utf8)]
  }

  init() {
    mesh = MeshSource(options: RegistryOptions())
    _ = mesh.update(Self.files(1))
    node = ProxyNode(
      id: "sidecar~10.0.0.1~a.default~default.svc.cluster.local", cluster: "",
      metadata: Google_Protobuf_Struct(), userAgent: "envoy", locality: MeshLocality())
    set = mesh.resources(for: node)
  }

  /// A client that asks for everything and answers; what it is sent of a type is refused, or not
  /// answered.
  private func client(
    _ variant: StreamState.Variant, refusing: String? = nil, ignoring: String? = nil
  ) throws -> StreamState {
    var state = StreamState(variant)
    func ask(_ type: String, _ names: [String]) throws {
      var waiting = try state.take(StreamRequest(type: type, names: names), of: set).1
      while !waiting.isEmpty {
        let push = waiting.removeFirst()
        guard push.type != ignoring else { continue }
        let isRefused = push.type == refusing
        let known = Array(state.subscriptions[push.type]?.names ?? [])
        waiting += try state.take(
          StreamRequest(
            type: push.type, nonce: push.nonce, refusal: isRefused ? "no" : nil,
            names: variant == .delta ? [] : known), of: set
        ).1
      }
    }
    try ask(TypeURL.cluster, [])
    try ask(
      TypeURL.endpoints,
      set.all(of: TypeURL.cluster).flatMap { $0.awaited ?? [] })
    try ask(TypeURL.listener, [])
    try ask(TypeURL.routes, ["80"])
    return state
  }

  @Test(
    "a client that has answered to all lacks nothing",
    arguments: [StreamState.Variant.stateOfTheWorld, .delta])
  func live(variant: StreamState.Variant) throws {
    var distribution = Distribution(mesh)
    #expect(distribution.gaps(try client(variant), for: node, set) == [])
  }

  @Test(
    "what was refused or not answered is lacking, and nothing else",
    arguments: [StreamState.Variant.stateOfTheWorld, .delta])
  func lacking(variant: StreamState.Variant) throws {
    var distribution = Distribution(mesh)
    let refused = try client(variant, refusing: TypeURL.routes)
    #expect(
      distribution.gaps(refused, for: node, set)
        == [.init(type: TypeURL.routes, name: "80", standing: .refused, reason: "no")])
    let silent = try client(variant, ignoring: TypeURL.routes)
    #expect(
      distribution.gaps(silent, for: node, set)
        == [.init(type: TypeURL.routes, name: "80", standing: .unanswered, reason: "")])
  }

  @Test("a client that has taken a listener and not asked for its routes yet is not there")
  func unasked() throws {
    var state = StreamState(.delta)
    for type in [TypeURL.cluster, TypeURL.listener] {
      for push in try state.take(StreamRequest(type: type), of: set).1 {
        _ = try state.take(StreamRequest(type: push.type, nonce: push.nonce), of: set)
      }
    }
    var distribution = Distribution(mesh)
    let gaps = distribution.gaps(state, for: node, set)
    #expect(gaps.contains { $0.type == TypeURL.routes && $0.standing == .unasked })
    #expect(gaps.allSatisfy { $0.standing == .unasked })
  }

  @Test("a change that a client was not sent is lacking until it has accepted it")
  func change() throws {
    var state = try client(.delta)
    _ = mesh.update(Self.files(2))
    let newer = mesh.resources(for: node)
    var distribution = Distribution(mesh)
    #expect(distribution.gaps(state, for: node, newer).map(\.standing) == [.unsent])
    let pushes = state.publish(newer)
    #expect(pushes.count == 1)
    #expect(distribution.gaps(state, for: node, newer).map(\.standing) == [.unanswered])
    for push in pushes {
      _ = try state.take(StreamRequest(type: push.type, nonce: push.nonce), of: newer)
    }
    #expect(distribution.gaps(state, for: node, newer) == [])
  }
}
