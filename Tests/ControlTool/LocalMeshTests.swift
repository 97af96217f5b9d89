import MeshModel
import Testing

@testable import ControlTool

@Suite("A mesh of this machine")
struct LocalMeshTests {
  private static func objects(_ text: String) -> [MeshObject] {
    var store = MeshStore()
    _ = store.update(["/srv/shop/mesh.yaml": Array(text.utf8)])
    #expect(store.diagnostics.isEmpty)
    return store.objects
  }

  private static let web = """
    apiVersion: apps/v1
    kind: Deployment
    metadata: {name: web, namespace: shop}
    spec:
      replicas: 2
      template:
        metadata: {labels: {app: web, version: v1}}
        spec:
          serviceAccountName: keeper
          containers:
          - name: app
            command: [./serve]
            args: ["--on=$(ADDRESS):$(PORT)", "$(GREETING)", "$$(PORT)", "$(NOBODY)"]
            env: [{name: GREETING, value: "hello from $(POD_NAME)"}]
            ports: [{name: http, containerPort: 8080}]
    """

  @Test("gives every replica addresses of its own")
  func replicas() throws {
    let all = try LocalWorkload.all(in: Self.objects(Self.web), prefix: "127.9")
    #expect(all.map(\.fullName) == ["web-0.shop", "web-1.shop"])
    #expect(all.map(\.addresses.proxy) == ["127.9.0.1", "127.9.0.2"])
    #expect(all.map(\.addresses.application) == ["127.9.1.1", "127.9.1.2"])
    #expect(all.map(\.addresses.outbound) == ["127.9.2.1", "127.9.2.2"])
    #expect(all[0].directory == "/srv/shop")
    #expect(LocalAddresses(prefix: "127.9", index: 250).outbound == "127.9.5.1")
    let last = LocalAddresses(prefix: "127.9", index: LocalAddresses.most - 1)
    #expect(last.outbound == "127.9.254.250")
  }

  @Test("puts values in the place of names, as Kubernetes does")
  func references() throws {
    let one = try #require(
      try LocalWorkload.all(in: Self.objects(Self.web), prefix: "127.9").first)
    let command = one.command(of: one.programs[0], inherited: ["HOME=/root", "PORT=1"])
    #expect(
      command.words == [
        "./serve", "--on=127.9.1.1:8080", "hello from web-0", "$(PORT)", "$(NOBODY)",
      ])
    #expect(command.environment.contains("HOME=/root"))
    #expect(command.environment.contains("http_proxy=http://127.9.2.1:15080"))
    #expect(command.environment.filter { $0.hasPrefix("PORT=") } == ["PORT=8080"])
  }

  @Test("refuses a container that only has an image")
  func image() {
    let text = """
      apiVersion: apps/v1
      kind: Deployment
      metadata: {name: web}
      spec: {template: {spec: {containers: [{name: app, image: nginx}]}}}
      """
    #expect(throws: ToolError.self) {
      try LocalWorkload.all(in: Self.objects(text), prefix: "127.9")
    }
  }

  @Test("starts proxies as ProxyConfig and the pods' annotation say")
  func proxies() throws {
    let config = """
      ---
      apiVersion: networking.istio.io/v1beta1
      kind: ProxyConfig
      metadata: {name: all, namespace: shop}
      spec:
        concurrency: 3
        environmentVariables: {GREETING: hello, HOME: /proxy}
        image: {imageType: debug}

      """
    let objects = Self.objects(Self.web + "\n" + config)
    let one = try #require(try LocalWorkload.all(in: objects, prefix: "127.9").first)
    #expect(LocalProcesses.concurrency(one.proxy) == ["--concurrency", "3"])
    #expect(
      LocalProcesses.environment(["HOME=/root", "A=b"], with: one.proxy)
        == ["A=b", "GREETING=hello", "HOME=/proxy"])
    #expect(ProxyNotes.notes(on: objects).count == 1)

    let standard = try #require(
      try LocalWorkload.all(in: Self.objects(Self.web), prefix: "127.9").first)
    #expect(LocalProcesses.concurrency(standard.proxy) == ["--concurrency", "1"])

    func annotated(_ text: String) throws -> LocalWorkload? {
      let web = Self.web.replacing(
        "metadata: {labels: {app: web, version: v1}}",
        with: "metadata: {labels: {app: web}, annotations: {proxy.istio.io/config: '\(text)'}}")
      return try LocalWorkload.all(in: Self.objects(web), prefix: "127.9").first
    }
    let all = try #require(try annotated("concurrency: 0"))
    #expect(LocalProcesses.concurrency(all.proxy) == [])
    #expect(throws: ToolError.self) { try annotated("concurency: 0") }
    #expect(throws: ToolError.self) { try annotated("proxyMetadata: {FAIRLEAD_UP: a}") }
  }

  @Test("tells the proxy who it is, and where its program listens")
  func bootstrap() throws {
    let one = try #require(
      try LocalWorkload.all(in: Self.objects(Self.web), prefix: "127.9").first)
    let control = HTTPAddress(host: "127.0.0.1", port: 15010)
    let node = LocalDocuments.bootstrap(one, control: control)["node"]
    #expect(node["id"].text == "sidecar~127.9.0.1~web-0.shop~shop.svc.cluster.local")
    #expect(node["metadata"]["APPLICATION_ADDRESS"].text == "127.9.1.1")
    #expect(node["metadata"]["BIND_ADDRESS"].text == "127.9.2.1")
    #expect(node["metadata"]["SERVICE_ACCOUNT"].text == "keeper")
    #expect(node["metadata"]["LABELS"]["version"].text == "v1")
  }

  @Test("writes pods that the control plane reads")
  func pods() throws {
    let all = try LocalWorkload.all(in: Self.objects(Self.web), prefix: "127.9")
    let file = LocalDocuments.file(all.map { LocalDocuments.pod($0, isReady: false) })
    let pods = Self.objects(String(decoding: file, as: UTF8.self)).sorted { $0.id < $1.id }
    #expect(pods.map(\.name) == ["web-0", "web-1"])
    guard case .pod(let spec, let status) = pods[0].spec else {
      Issue.record("no pod")
      return
    }
    #expect(status.podIp == "127.9.0.1")
    #expect(status.conditions.map(\.status) == ["False"])
    #expect(spec.containers.first?.ports.first?.containerPort == 8080)
  }

  @Test("waits longer before each start of a program that keeps ending")
  func restarts() {
    var state = RestartState()
    #expect(state.due == 0)
    var waits: [Int] = []
    var now = 0
    for _ in 0..<8 {
      state.started(at: now)
      waits.append(state.ended(at: now))
      now = state.due ?? now
    }
    #expect(waits == [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000])
    state.started(at: now)
    #expect(state.ended(at: now + RestartState.provenAfter) == 500)
  }

  @Test("says which ports its user cannot have")
  func lowPorts() {
    let objects = Self.objects(
      """
      apiVersion: v1
      kind: Service
      metadata: {name: web}
      spec: {ports: [{name: http, port: 80}, {name: admin, port: 8080}]}
      """)
    #expect(LowPorts.notes(on: objects, first: 1024).count == 1)
    #expect(LowPorts.notes(on: objects, first: 80).isEmpty)
  }

  @Test("waits for endpoints of its own alone")
  func endpoints() throws {
    let text = """
      [{"endpoints": [{"workload": "web-0", "ready": true}, {"workload": "other", "ready": false}]}]
      """
    let document = try JSONParser.parse(Array(text.utf8))
    #expect(EndpointCheck.areReady(["web-0"], in: document))
    #expect(!EndpointCheck.areReady(["web-0", "other"], in: document))
  }
}
