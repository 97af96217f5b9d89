import MeshModel
import MeshTranslation
import SwiftProtobuf
import Testing

@testable import MeshServer

private typealias TypeURL = ResourceSet.TypeURL

/// What a client has after everything that it was sent.
private struct Client {
  var state: StreamState
  var has: [String: [String: String]] = [:]

  init(_ variant: StreamState.Variant) { state = StreamState(variant) }

  mutating func ask(_ type: String, _ names: [String], of set: ResourceSet) throws {
    try take(state.take(StreamRequest(type: type, names: names), of: set).1, of: set)
  }

  mutating func publish(_ set: ResourceSet) throws { try take(state.publish(set), of: set) }

  /// Takes what was sent, and accepts it, until nothing more comes.
  private mutating func take(_ pushes: [Push], of set: ResourceSet) throws {
    var waiting = pushes
    while !waiting.isEmpty {
      let push = waiting.removeFirst()
      if state.variant == .stateOfTheWorld, TypeURL.wildcard.contains(push.type) {
        has[push.type] = [:]
      }
      for resource in push.resources {
        has[push.type, default: [:]][resource.name] = resource.version
      }
      for name in push.removed { has[push.type]?[name] = nil }
      var answer = StreamRequest(type: push.type, nonce: push.nonce)
      if state.variant == .stateOfTheWorld, !TypeURL.wildcard.contains(push.type) {
        answer.names = Array(state.subscriptions[push.type]?.names ?? [])
      }
      waiting += try state.take(answer, of: set).1
    }
  }
}

@Suite("Following changes")
struct IncrementalTests {
  /// Some resources of a type, with contents that may change.
  private func resources(
    _ type: String, _ random: inout SystemRandomNumberGenerator
  ) -> [ServedResource] {
    (0..<12).filter { _ in Int.random(in: 0..<4, using: &random) > 0 }.map { number in
      let content = UInt8.random(in: 0..<3, using: &random)
      return ServedResource(
        type: type, name: "r\(number)", bytes: [UInt8(number), content], awaited: ["r\(number)"])
    }
  }

  @Test(
    "whoever follows step by step has what whoever comes new is sent",
    arguments: [StreamState.Variant.stateOfTheWorld, .delta])
  func sameAsFromScratch(variant: StreamState.Variant) throws {
    var random = SystemRandomNumberGenerator()
    var layers = [ResourceLayer([:]), ResourceLayer([:])]
    var follower = Client(variant)
    let names = (0..<12).map { "r\($0)" }
    let wanted = [TypeURL.cluster: [], TypeURL.listener: [], TypeURL.endpoints: names]
    for step in 0..<60 {
      let changed = Int.random(in: 0..<2, using: &random)
      var all: [String: [ServedResource]] = [:]
      for type in wanted.keys { all[type] = resources(type, &random) }
      layers[changed] = ResourceLayer(all, after: layers[changed])
      let set = ResourceSet(layers)
      if step == 0 {
        for (type, names) in wanted { try follower.ask(type, names, of: set) }
      } else {
        try follower.publish(set)
      }
      var newcomer = Client(variant)
      for (type, names) in wanted { try newcomer.ask(type, names, of: set) }
      #expect(follower.has == newcomer.has)
    }
  }

  @Test("a client that is many changes behind gets what has changed once, and no more")
  func farBehind() throws {
    func layer(_ content: Int, after older: ResourceLayer?) -> ResourceLayer {
      let bytes = [UInt8(truncatingIfNeeded: content), UInt8(truncatingIfNeeded: content >> 8)]
      let changing = ServedResource(type: TypeURL.cluster, name: "a", bytes: bytes)
      let steady = ServedResource(type: TypeURL.cluster, name: "b", bytes: [0])
      return ResourceLayer([TypeURL.cluster: [changing, steady]], after: older)
    }
    var newest = layer(0, after: nil)
    var state = StreamState(.delta)
    let first = try state.take(StreamRequest(type: TypeURL.cluster), of: ResourceSet([newest])).1
    #expect(first.map { $0.resources.map(\.name) } == [["a", "b"]])
    for content in 1...100 {
      newest = layer(content, after: newest)
      // It has not said anything of the first response: changes wait.
      #expect(state.publish(ResourceSet([newest])).isEmpty)
    }
    let answer = StreamRequest(type: TypeURL.cluster, nonce: first[0].nonce)
    let second = try state.take(answer, of: ResourceSet([newest])).1
    #expect(second.map { $0.resources.map(\.name) } == [["a"]])
  }

  @Test("only the endpoints of clusters that have changed are sent again with them")
  func endpointsOfChangedClusters() throws {
    func set(_ content: UInt8) -> ResourceSet {
      func made(_ type: String, _ name: String, _ content: UInt8) -> ServedResource {
        ServedResource(type: type, name: name, bytes: [content], awaited: [name])
      }
      return ResourceSet([
        TypeURL.cluster: [made(TypeURL.cluster, "a", content), made(TypeURL.cluster, "b", 0)],
        TypeURL.endpoints: [made(TypeURL.endpoints, "a", 0), made(TypeURL.endpoints, "b", 0)],
      ])
    }
    var state = StreamState(.delta)
    let clusters = try state.take(StreamRequest(type: TypeURL.cluster), of: set(0)).1
    let endpoints = try state.take(
      StreamRequest(type: TypeURL.endpoints, names: ["a", "b"]), of: set(0)
    ).1
    for push in clusters + endpoints {
      #expect(
        try state.take(StreamRequest(type: push.type, nonce: push.nonce), of: set(0)).1.isEmpty)
    }
    let pushes = state.publish(set(1))
    #expect(pushes.map(\.type) == [TypeURL.cluster, TypeURL.endpoints])
    #expect(pushes.map { $0.resources.map(\.name) } == [["a"], ["a"]])
  }

  // MARK: The mesh

  /// Objects that come and go: some of each kind on which configuration depends, those of other
  /// namespaces and of the root namespace among them.
  private static let rules: [String] = {
    func istio(_ group: String, _ kind: String, _ name: String, _ spec: String) -> String {
      let parts = name.split(separator: "/")
      return "{apiVersion: \(group).istio.io/v1, kind: \(kind), metadata: {name: \(parts[1]), "
        + "namespace: \(parts[0])}, spec: \(spec)}"
    }
    let subsets = (0..<4).map {
      istio(
        "networking", "DestinationRule", "default/s\($0)",
        "{host: s\($0), subsets: [{name: v1, labels: {version: v1}}]}")
    }
    return subsets + [
      istio(
        "networking", "DestinationRule", "default/hash",
        "{host: s4, trafficPolicy: {loadBalancer: {consistentHash: {httpHeaderName: user}}}}"),
      istio(
        "networking", "DestinationRule", "istio-system/all",
        "{host: '*.cluster.local', trafficPolicy: {connectionPool: {tcp: {maxConnections: 7}}}}"),
      istio(
        "networking", "VirtualService", "default/one",
        "{hosts: [s1], http: [{fault: {abort: {httpStatus: 503, percentage: {value: 1}}}, "
          + "route: [{destination: {host: s2, subset: v1}}]}]}"),
      istio(
        "networking", "VirtualService", "default/labels",
        "{hosts: [s3], http: [{match: [{sourceLabels: {app: s0}}], "
          + "route: [{destination: {host: s4}}]}, {route: [{destination: {host: s3}}]}]}"),
      istio(
        "networking", "Gateway", "default/edge",
        "{selector: {istio: edge}, servers: [{port: {number: 8080, name: http, protocol: HTTP}, "
          + "hosts: ['*']}]}"),
      istio(
        "networking", "VirtualService", "other/outer",
        "{hosts: ['*'], gateways: [default/edge], http: [{route: [{destination: "
          + "{host: s1.default.svc.cluster.local}}]}]}"),
      istio(
        "networking", "ServiceEntry", "default/outside",
        "{hosts: [out.example], ports: [{number: 80, name: http, protocol: HTTP}], "
          + "resolution: DNS}"),
      istio(
        "networking", "Sidecar", "default/small", "{egress: [{hosts: ['./s1.*', './s3.*']}]}"),
      istio(
        "networking", "Sidecar", "other/closed",
        "{outboundTrafficPolicy: {mode: REGISTRY_ONLY}, egress: [{hosts: ['*/*']}]}"),
      istio("telemetry", "Telemetry", "default/quiet", "{accessLogging: [{disabled: true}]}"),
      istio("security", "PeerAuthentication", "default/strict", "{mtls: {mode: STRICT}}"),
      istio("security", "PeerAuthentication", "istio-system/none", "{mtls: {mode: DISABLE}}"),
      istio("security", "AuthorizationPolicy", "default/nobody", "{}"),
      istio(
        "security", "AuthorizationPolicy", "istio-system/admin",
        "{action: DENY, rules: [{to: [{operation: {paths: [/admin]}}]}]}"),
      istio(
        "security", "RequestAuthentication", "default/tokens",
        "{jwtRules: [{issuer: one, jwksUri: 'http://s2.default.svc.cluster.local/keys'}]}"),
      "{apiVersion: mesh.istio.io/v1alpha1, kind: MeshConfig, metadata: {name: mesh}, spec: "
        + "{outboundTrafficPolicy: {mode: REGISTRY_ONLY}}}",
    ]
  }()

  private func text(pods: [String: (service: Int, version: Int)], rules: Set<Int>) -> [UInt8] {
    var text = ""
    for number in 0..<8 {
      text += """
        ---
        {apiVersion: v1, kind: Service, metadata: {name: s\(number)}, spec: {clusterIP: 10.0.0.\(number + 1),
          selector: {app: s\(number)}, ports: [{name: http, port: 80, targetPort: 8080}]}}

        """
    }
    for number in rules.sorted() { text += "---\n" + Self.rules[number] + "\n" }
    for (address, pod) in pods.sorted(by: { $0.key < $1.key }) {
      text += """
        ---
        {apiVersion: v1, kind: Pod, metadata: {name: p\(address), labels: {app: s\(pod.service),
          version: v\(pod.version)}}, status: {podIP: \(address)}}

        """
    }
    return Array(text.utf8)
  }

  private func node(
    _ address: String, _ agent: String, _ type: String = "sidecar", app: String = "s0",
    in namespace: String = "default"
  ) -> ProxyNode {
    var node = ProxyNode(
      id: "\(type)~\(address)~client.\(namespace)~\(namespace).svc.cluster.local",
      cluster: "client", metadata: .init(), userAgent: agent, locality: MeshLocality())
    node.labels = type == "router" ? ["istio": "edge"] : ["app": app]
    node.hasCertificate = true
    return node
  }

  /// EnvoyFilters for the workloads of an application, by number: a timeout of clusters.
  private func patches(_ filters: [Int: String]) -> [UInt8] {
    let texts = filters.sorted { $0.key < $1.key }.map { number, app in
      """
      ---
      {apiVersion: networking.istio.io/v1alpha3, kind: EnvoyFilter, metadata: {name: f\(number)}, spec: {
        workloadSelector: {labels: {app: \(app)}}, configPatches: [{applyTo: CLUSTER, match: {cluster: {
          portNumber: 80}}, patch: {operation: MERGE, value: {connect_timeout: \(number + 1)s}}}]}}

      """
    }
    return Array(texts.joined().utf8)
  }

  private func contents(_ configurations: [ProxyConfiguration]) throws -> [String: [UInt8]] {
    var found: [String: [UInt8]] = [:]
    for one in configurations {
      for made in one.clusters { found["c" + made.name] = try made.steadyBytes() }
      for made in one.endpoints { found["e" + made.clusterName] = try made.steadyBytes() }
      for made in one.listeners { found["l" + made.name] = try made.steadyBytes() }
      for made in one.routes { found["r" + made.name] = try made.steadyBytes() }
    }
    return found
  }

  private func contents(_ set: ResourceSet) -> [String: [UInt8]] {
    var found: [String: [UInt8]] = [:]
    for (letter, type) in zip(["c", "e", "l", "r"], TypeURL.pushOrder) {
      for made in set.all(of: type) { found[letter + made.name] = Array(made.message.value) }
    }
    return found
  }

  @Test("a mesh that changes step by step is what it would be if it were read anew")
  func meshFromScratch() throws {
    var random = SystemRandomNumberGenerator()
    let source = MeshSource(options: .init())
    let nodes = [
      node("10.1.0.1", "envoy"), node("10.1.0.9", "fairlead"), node("10.1.0.2", "grpc"),
      node("10.1.0.8", "envoy", in: "other"), node("10.1.0.7", "envoy", "router"),
      node("10.1.0.3", "envoy", app: "a"), node("10.1.0.4", "fairlead", app: "b"),
    ]
    var filters: [Int: String] = [:]
    var lastPatches: [UInt8] = []
    var pods: [String: (service: Int, version: Int)] = [:]
    var rules: Set<Int> = []
    for _ in 0..<80 {
      let address = "10.1.0.\(Int.random(in: 1...6, using: &random))"
      if Bool.random(using: &random) {
        pods[address] = (
          Int.random(in: 0..<8, using: &random), Int.random(in: 1...2, using: &random)
        )
      } else {
        pods[address] = nil
      }
      if Bool.random(using: &random) {
        rules.formSymmetricDifference([Self.rules.indices.randomElement(using: &random) ?? 0])
      }
      if Bool.random(using: &random) {
        filters[Int.random(in: 0..<4, using: &random)] =
          ["a", "b", nil].randomElement(using: &random)
          ?? nil
      }
      // Sometimes one after the other, so that nothing but a filter has changed.
      var files = ["mesh.yaml": text(pods: pods, rules: rules)]
      if Bool.random(using: &random) {
        _ = source.update(files.merging(["patches.yaml": lastPatches]) { $1 })
      }
      lastPatches = patches(filters)
      files["patches.yaml"] = lastPatches
      _ = source.update(files)
      let anew = MeshSnapshot(objects: source.store.objects)
      // Not every proxy asks after every change.
      for node in nodes where Int.random(in: 0..<4, using: &random) > 0 {
        let made = [
          ProxyConfiguration.inbound(anew, for: node), ProxyConfiguration.outbound(anew, for: node),
        ]
        #expect(source.omissions(for: node) == Set(made.flatMap(\.omissions)).sorted())
        let expected = try contents(made)
        let served = contents(source.resources(for: node))
        let different = served.filter { expected[$0.key] != $0.value }.map(\.key)
        #expect(different == [])
        #expect(Set(served.keys) == Set(expected.keys))
      }
    }
  }

  @Test("what no endpoint changes is not made anew")
  func layersAreShared() throws {
    let source = MeshSource(options: .init())
    var client = node("10.1.0.9", "envoy")
    // With one its clusters name the identities behind them.
    client.hasCertificate = false
    _ = source.update(["mesh.yaml": text(pods: ["10.1.0.1": (0, 1)], rules: [])])
    let before = source.resources(for: client)
    _ = source.update([
      "mesh.yaml": text(pods: ["10.1.0.1": (0, 1), "10.1.0.2": (3, 1)], rules: [])
    ])
    let after = source.resources(for: client)
    for type in [TypeURL.cluster, TypeURL.listener, TypeURL.routes] {
      #expect(before.digests(of: type) == after.digests(of: type))
    }
    let changed = after.changes(of: TypeURL.endpoints, since: before.digests(of: TypeURL.endpoints))
    #expect(changed == ["outbound|80||s3.default.svc.cluster.local"])
  }

  @Test("an EnvoyFilter that changes is the business of those whom it selects")
  func patchedAlone() {
    let source = MeshSource(options: .init())
    let mesh = text(pods: ["10.1.0.1": (0, 1)], rules: [])
    let selected = node("10.1.0.9", "envoy", app: "a")
    let other = node("10.1.0.8", "envoy", app: "b")
    _ = source.update(["mesh.yaml": mesh, "patches.yaml": patches([0: "a"])])
    let before = (source.resources(for: selected), source.resources(for: other))
    _ = source.update(["mesh.yaml": mesh, "patches.yaml": patches([0: "a", 1: "a"])])
    let after = (source.resources(for: selected), source.resources(for: other))
    #expect(
      before.1.changes(of: TypeURL.cluster, since: after.1.digests(of: TypeURL.cluster)) == [])
    let mine = after.0.all(of: TypeURL.cluster).filter { $0.name.hasPrefix("outbound|80|") }
    #expect(mine.count == 8)
    for one in mine {
      #expect(before.0.resource(of: TypeURL.cluster, one.name)?.version != one.version)
      #expect(before.1.resource(of: TypeURL.cluster, one.name)?.version != one.version)
    }
    #expect(before.0.digests(of: TypeURL.listener) == after.0.digests(of: TypeURL.listener))
  }

  @Test("a Telemetry changes the listeners of those for whom it is, on its side alone")
  func telemetry() throws {
    let source = MeshSource(options: .init())
    let pods: [String: (service: Int, version: Int)] = ["10.1.0.1": (0, 1), "10.1.0.2": (1, 1)]
    func client(_ address: String, _ app: String) -> ProxyNode {
      var client = node(address, "envoy")
      client.labels = ["app": app]
      return client
    }
    let clients = [client("10.1.0.1", "s0"), client("10.1.0.2", "s1")]
    func update(_ telemetry: String) -> [ResourceSet] {
      let bytes = text(pods: pods, rules: []) + Array(telemetry.utf8)
      _ = source.update(["mesh.yaml": bytes])
      return clients.map { source.resources(for: $0) }
    }
    func rule(_ mode: String) -> String {
      """
      ---
      {apiVersion: telemetry.istio.io/v1, kind: Telemetry, metadata: {name: t}, spec: {
        selector: {matchLabels: {app: s0}}, accessLogging: [{match: {mode: \(mode)}, disabled: true}]}}
      """
    }
    let before = update("")
    for (mode, wanted) in [
      ("SERVER", ["virtualInbound"]), ("CLIENT", ["0.0.0.0_80", "virtualOutbound"]),
    ] {
      let after = update(rule(mode))
      #expect(
        Distribution.differences(before[0], after[0]).mapValues { $0.sorted() }
          == [TypeURL.listener: wanted])
      #expect(Distribution.differences(before[1], after[1]) == [:])
    }
  }

  // MARK: Waiting for quiet

  @Test("a change is told of after some quiet, and not later than the longest wait")
  func debounce() {
    let debounce = FileWatch.Debounce()
    #expect(debounce.wait(after: 0) == 50)
    #expect(debounce.wait(after: 950) == 50)
    #expect(debounce.wait(after: 980) == 20)
    #expect(debounce.wait(after: 1000) == 0)
    #expect(debounce.wait(after: 5000) == 0)
  }
}
