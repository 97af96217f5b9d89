import Resources
import Testing

@testable import MeshModel

/// The registry of a text.
private func registry(_ text: String, options: RegistryOptions = .init()) -> Registry {
  var store = MeshStore()
  _ = store.update(["mesh.yaml": Array(text.utf8)])
  #expect(store.diagnostics.isEmpty, "\(store.diagnostics)")
  return Registry(objects: store.objects, options: options)
}

/// `10.0.0.1:80 10.0.0.2:80`, those that are not ready in parentheses.
private func endpoints(_ registry: Registry, _ host: String, _ port: UInt32) -> String {
  guard let service = registry.services(named: host).first else { return "no service" }
  return registry.endpoints(of: service, port: port)
    .map { $0.isReady ? "\($0.address):\($0.port)" : "(\($0.address):\($0.port))" }
    .sorted().joined(separator: " ")
}

@Suite("What is spoken on a port")
struct PortProtocolTests {
  @Test(
    "the name says it first, whatever its case",
    arguments: [
      ("http", "HTTP"), ("http-web", "HTTP"), ("HTTP2-foo", "HTTP2"), ("https", "HTTPS"),
      ("grpc", "GRPC"), ("grpc-web", "GRPC-WEB"), ("grpc-web-x", "GRPC-WEB"), ("grpc-x", "GRPC"),
      ("tls", "TLS"), ("tcp-db", "TCP"), ("mongo", "Mongo"), ("redis", "Redis"),
      ("mysql", "MySQL"), ("udp", "UDP"), ("web", "TCP"), ("", "TCP"), ("httpx", "TCP"),
    ])
  func names(name: String, spoken: String) {
    let found = PortProtocol.of(
      name: name, appProtocol: "", transport: "TCP", port: 8080, unnamed: .tcp)
    #expect(found.rawValue == spoken)
  }

  @Test(
    "appProtocol says more than the name",
    arguments: [
      ("kubernetes.io/h2c", "HTTP2"), ("kubernetes.io/ws", "HTTP"), ("kubernetes.io/wss", "HTTPS"),
      ("grpc", "GRPC"), ("somebody.example/own", "HTTP"),
    ])
  func appProtocol(appProtocol: String, spoken: String) {
    let found = PortProtocol.of(
      name: "http", appProtocol: appProtocol, transport: "TCP", port: 80, unnamed: .tcp)
    #expect(found.rawValue == spoken)
  }

  @Test("where clients wait for the server nothing is found out")
  func serverFirst() {
    for port: UInt32 in [25, 53, 3306, 27017] {
      #expect(
        .tcp
          == PortProtocol.of(
            name: "", appProtocol: "", transport: "TCP", port: port, unnamed: .auto))
    }
    #expect(
      .auto
        == PortProtocol.of(name: "", appProtocol: "", transport: "TCP", port: 80, unnamed: .auto))
  }
}

@Suite("The registry")
struct RegistryTests {
  private static let pods = """
    {apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}, spec: {
      clusterIP: 10.96.0.1, selector: {app: web}, ports: [
        {name: http, port: 80, targetPort: 8080}, {name: tcp-x, port: 81, targetPort: admin},
        {name: grpc, port: 82}]}}
    ---
    {apiVersion: v1, kind: Pod, metadata: {name: web-1, namespace: shop, labels: {app: web}}, spec: {
      containers: [{ports: [{name: admin, containerPort: 9000}]}]}, status: {podIP: 10.0.0.1}}
    ---
    {apiVersion: v1, kind: Pod, metadata: {name: web-2, namespace: shop, labels: {app: web}},
      status: {podIP: 10.0.0.2, conditions: [{type: Ready, status: "False"}]}}
    ---
    {apiVersion: v1, kind: Pod, metadata: {name: web-3, labels: {app: web}}, status: {podIP: 10.0.0.3}}

    """

  @Test("without slices a service's endpoints are the pods that it selects, in its namespace")
  func selectedPods() {
    let found = registry(Self.pods)
    let host = "web.shop.svc.cluster.local"
    #expect(endpoints(found, host, 80) == "(10.0.0.2:8080) 10.0.0.1:8080")
    #expect(endpoints(found, host, 81) == "10.0.0.1:9000")
    #expect(endpoints(found, host, 82) == "(10.0.0.2:82) 10.0.0.1:82")
  }

  @Test("slices say where a service runs, whatever pods there are")
  func slices() {
    let found = registry(
      Self.pods + """
        ---
        {apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: web-x,
          namespace: shop, labels: {kubernetes.io/service-name: web}}, addressType: IPv4,
          ports: [{name: http, port: 8081}], endpoints: [
            {addresses: [10.0.0.1]}, {addresses: [10.0.0.9], conditions: {ready: false}}]}
        """)
    let host = "web.shop.svc.cluster.local"
    #expect(endpoints(found, host, 80) == "(10.0.0.9:8081) 10.0.0.1:8081")
    #expect(endpoints(found, host, 81) == "")
    let labels = found.services(named: host).first.flatMap {
      found.endpoints(of: $0, port: 80).first?.labels
    }
    #expect(labels == ["app": "web"])
  }

  @Test("an entry's endpoints are written, selected, or its host itself")
  func serviceEntries() {
    let found = registry(
      """
      apiVersion: networking.istio.io/v1
      kind: ServiceEntry
      metadata: {name: a}
      spec: {hosts: [a.example], resolution: STATIC, ports: [{number: 80, name: http, protocol: HTTP,
        targetPort: 8080}], endpoints: [{address: 192.0.2.1, ports: {http: 8888}}, {address: 192.0.2.2}]}
      ---
      apiVersion: networking.istio.io/v1
      kind: ServiceEntry
      metadata: {name: b}
      spec: {hosts: [b.example], resolution: DNS, ports: [{number: 443, name: tls, protocol: TLS}]}
      ---
      apiVersion: networking.istio.io/v1
      kind: ServiceEntry
      metadata: {name: c}
      spec: {hosts: [c.example], resolution: STATIC, workloadSelector: {labels: {app: c}},
        ports: [{number: 80, name: http, protocol: HTTP}]}
      ---
      apiVersion: networking.istio.io/v1
      kind: WorkloadEntry
      metadata: {name: c-1}
      spec: {address: 192.0.2.3, labels: {app: c}, weight: 3, locality: eu/eu-1}
      """)
    #expect(endpoints(found, "a.example", 80) == "192.0.2.1:8888 192.0.2.2:8080")
    #expect(endpoints(found, "b.example", 443) == "b.example:443")
    #expect(endpoints(found, "c.example", 80) == "192.0.2.3:80")
    let entry = found.services(named: "c.example").first.flatMap {
      found.endpoints(of: $0, port: 80).first
    }
    #expect(entry?.weight == 3)
    #expect(entry?.locality == MeshLocality(region: "eu", zone: "eu-1"))
  }

  @Test("a headless service has no address, and an external name is resolved")
  func kinds() {
    let found = registry(
      """
      {apiVersion: v1, kind: Service, metadata: {name: h}, spec: {clusterIP: None, ports: [{port: 80}]}}
      ---
      {apiVersion: v1, kind: Service, metadata: {name: e}, spec: {type: ExternalName,
        externalName: example.com, ports: [{port: 80}]}}
      """)
    let headless = found.services(named: "h.default.svc.cluster.local").first
    #expect(headless?.resolution == .passthrough)
    #expect(headless?.addresses == [])
    let external = found.services(named: "e.default.svc.cluster.local").first
    #expect(external?.resolution == .dns)
    #expect(endpoints(found, "e.default.svc.cluster.local", 80) == "example.com:80")
  }
}
