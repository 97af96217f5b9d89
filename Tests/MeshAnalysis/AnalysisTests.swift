import MeshModel
import MeshTranslation
import Resources
import Testing

@testable import MeshAnalysis

/// What is found in a text of objects: codes with the lines that they name.
private func analyze(
  _ text: String, client: ProxyNode.Client? = nil, isOffline: Bool = true
) -> [AnalysisMessage] {
  let files = ["mesh.yaml": Array(text.utf8)]
  var store = MeshStore(check: ObjectCheck.check)
  _ = store.update(files)
  var input = AnalysisInput(store)
  input.isOffline = isOffline
  if let client { input.assume(client) }
  return Analysis.locate(Analysis.run(input), in: files)
}

/// One object.
private func object(
  _ kind: MeshKind, _ name: String, _ spec: String, _ metadata: String = ""
) -> String {
  "---\napiVersion: \(kind.apiVersion)\nkind: \(kind.rawValue)\n"
    + "metadata: {name: \(name)\(metadata.isEmpty ? "" : ", " + metadata)}\n\(spec)\n"
}

private let web = object(
  .service, "web", "spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}"
)
private let pods = object(
  .pod, "web-1", "status: {podIP: 10.0.0.1}", "labels: {app: web, version: v1}")
private let entry = object(
  .serviceEntry, "far",
  "spec: {hosts: [far.example.com], resolution: DNS, ports: [{number: 80, name: http, protocol: HTTP}]}"
)

private func routes(_ http: String, _ more: String = "hosts: [web]") -> String {
  object(.virtualService, "web", "spec: {\(more), http: \(http)}")
}

private let toWeb = "[{route: [{destination: {host: web}}]}]"
private let gateway = object(
  .gateway, "edge",
  "spec: {selector: {istio: ingressgateway}, servers: [{port: {number: 80, name: http, "
    + "protocol: HTTP}, hosts: [a.com]}]}")

/// An EnvoyFilter with one patch.
private func patching(
  _ applyTo: String, _ operation: String, name: String = "early", match: String = "",
  more: String = ""
) -> String {
  object(
    .envoyFilter, name,
    "spec: {\(more)configPatches: [{applyTo: \(applyTo), \(match)patch: {operation: \(operation), "
      + "value: {name: a}}}]}")
}

/// A text, and the codes that are found in it.
private let cases: [(String, [String])] = [
  ("", []),
  (web + pods, []),
  (web, ["FLC0005"]),
  (web + pods + routes(toWeb), []),
  (routes(toWeb), ["IST0101"]),
  (web + pods + routes("[{route: [{destination: {host: web, port: {number: 81}}}]}]"), ["IST0101"]),
  (web + pods + routes("[{route: [{destination: {host: web, subset: v1}}]}]"), ["IST0101"]),
  (
    web + pods
      + routes("[{route: [{destination: {host: web}}], mirrors: [{destination: {host: b}}]}]"),
    ["IST0101"]
  ),
  (web + pods + routes(toWeb, "hosts: [a.com], gateways: [edge]"), ["IST0101"]),
  (web + pods + gateway + routes(toWeb, "hosts: [a.com], gateways: [edge]"), []),
  (web + pods + gateway + routes(toWeb, "hosts: [b.com], gateways: [edge]"), ["IST0132"]),
  (web + pods + routes("[{delegate: {name: none}}]"), ["IST0101"]),
  (web + pods + routes("[{route: [{destination: {host: far.example.com}}]}]") + entry, []),
  (routes("[{timeout: 1s}]"), ["IST0106"]),
  ("kind: [", ["IST0106"]),
  (
    web + pods
      + object(.service, "two", "spec: {ports: [{name: http-a, port: 1}, {name: http-b, port: 2}]}")
      + routes("[{route: [{destination: {host: two}}]}]"), ["IST0112"]
  ),
  (
    web + pods + routes(toWeb)
      + object(.virtualService, "other", "spec: {hosts: [web], http: \(toWeb)}"),
    ["IST0109", "IST0109"]
  ),
  (
    web + pods + routes(toWeb, "hosts: [web], exportTo: ['.']")
      + object(
        .virtualService, "other",
        "spec: {hosts: [web.default.svc.cluster.local], exportTo: [far], http: \(toWeb)}"), []
  ),
  (web + pods + routes("\(toWeb.dropLast()), {redirect: {uri: /}}]"), ["IST0130"]),
  (
    web + pods
      + routes(
        "[{match: [{uri: {prefix: /a}}], redirect: {uri: /}}, {match: [{uri: {prefix: /ab}}, "
          + "{uri: {prefix: /b}}], redirect: {uri: /}}]"), ["IST0131"]
  ),
  (
    web + pods
      + routes(
        "[{match: [{uri: {prefix: /a}, method: {exact: GET}}], redirect: {uri: /}}, "
          + "{match: [{uri: {prefix: /ab}}], redirect: {uri: /}}]"), []
  ),
  (
    pods
      + object(.service, "web", "spec: {selector: {app: web}, ports: [{name: tcp, port: 80}]}")
      + routes("[{redirect: {uri: /}}]"), ["FLC0004"]
  ),
  (
    pods + object(.service, "web", "spec: {selector: {app: web}, ports: [{port: 80}]}"), ["IST0118"]
  ),
  (
    object(
      .service, "out",
      "spec: {type: ExternalName, externalName: a.com, ports: [{name: tcp, port: 1}]}"),
    ["IST0150"]
  ),
  (
    web + pods
      + object(
        .service, "raw",
        "spec: {selector: {app: web}, ports: [{name: tcp, port: 80, targetPort: 8080}]}"),
    ["FLC0003", "FLC0003"]
  ),
  (
    web
      + object(
        .service, "raw",
        "spec: {selector: {app: web}, ports: [{name: tcp, port: 81, targetPort: 8080}]}")
      + object(
        .deployment, "web", "spec: {template: {metadata: {labels: {app: web, version: v1}}}}"),
    ["FLC0003", "FLC0003", "IST0116", "IST0137"]
  ),
  (
    web
      + object(
        .service, "again",
        "spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}")
      + object(
        .deployment, "web", "spec: {template: {metadata: {labels: {app: web, version: v1}}}}"), []
  ),
  (
    object(
      .deployment, "web",
      "spec: {template: {metadata: {labels: {app: web, version: v1}}, "
        + "spec: {containers: [{name: a, securityContext: {runAsUser: 1337}}]}}}"), ["IST0144"]
  ),
  (object(.deployment, "web", "spec: {template: {metadata: {labels: {app: web}}}}"), ["FLC0001"]),
  (object(.pod, "web", "spec: {}", "labels: {app: web}"), ["FLC0001"]),
  (
    object(
      .pod, "web", "spec: {}",
      "labels: {app.kubernetes.io/name: web, app.kubernetes.io/version: v1}"), []
  ),
  (object(.destinationRule, "none", "spec: {host: none}"), ["IST0174"]),
  (
    web + pods
      + object(
        .destinationRule, "web", "spec: {host: web, subsets: [{name: v2, labels: {version: v2}}]}"),
    ["IST0173"]
  ),
  (
    web + pods
      + object(
        .destinationRule, "web", "spec: {host: web, subsets: [{name: v1, labels: {version: v1}}]}"),
    []
  ),
  (
    entry
      + object(
        .destinationRule, "far",
        "spec: {host: far.example.com, trafficPolicy: {tls: {mode: SIMPLE}}}"),
    ["IST0128"]
  ),
  (
    entry
      + object(
        .destinationRule, "far",
        "spec: {host: far.example.com, trafficPolicy: {portLevelSettings: [{port: {number: 80}, "
          + "tls: {mode: SIMPLE}}]}}"), ["IST0129"]
  ),
  (
    object(
      .serviceEntry, "raw",
      "spec: {hosts: [raw.example.com], ports: [{number: 1, name: tcp, protocol: TCP}]}"),
    ["IST0134"]
  ),
  (
    entry
      + object(
        .serviceEntry, "again",
        "spec: {hosts: [far.example.com], resolution: DNS, ports: [{number: 80, name: tls, protocol: TLS}]}"
      ),
    ["IST0177", "IST0177"]
  ),
  (
    object(
      .gateway, "own",
      "spec: {selector: {app: gate}, servers: [{port: {number: 80, name: http, protocol: HTTP}, "
        + "hosts: [a.com]}]}"), ["IST0101"]
  ),
  (
    gateway + gateway.replacing("edge", "other"), ["IST0145", "IST0145"]
  ),
  (
    object(
      .gateway, "edge",
      "spec: {selector: {istio: ingressgateway}, servers: [{port: {number: 443, name: https, "
        + "protocol: HTTPS}, hosts: [a.com], tls: {mode: SIMPLE, credentialName: c}}]}"),
    ["IST0101"]
  ),
  (
    object(
      .gateway, "edge",
      "spec: {selector: {istio: ingressgateway}, servers: [{port: {number: 443, name: https, "
        + "protocol: HTTPS}, hosts: [a.com], tls: {mode: SIMPLE, credentialName: c}}]}")
      + object(.secret, "c", "stringData: {tls.crt: a}"), ["IST0161"]
  ),
  (
    object(
      .gateway, "edge",
      "spec: {servers: [{port: {number: 443, name: https, protocol: HTTPS}, hosts: [a.com], "
        + "tls: {mode: SIMPLE, serverCertificate: /c, privateKey: /k}}]}")
      + object(
        .gateway, "other",
        "spec: {servers: [{port: {number: 443, name: https, protocol: HTTPS}, hosts: [b.com], "
          + "tls: {mode: SIMPLE, serverCertificate: /c, privateKey: /k}}]}"),
    ["IST0138", "IST0138"]
  ),
  (
    object(.pod, "gate", "spec: {}", "labels: {app: gate, version: v1, istio: ingressgateway}")
      + object(
        .service, "gate", "spec: {selector: {app: gate}, ports: [{name: http, port: 8080}]}")
      + gateway, ["IST0162"]
  ),
  (
    web + pods + gateway
      + routes(
        "[{match: [{headers: {'@request.auth.claims.a': {exact: b}}}], "
          + "route: [{destination: {host: web}}]}]", "hosts: [a.com], gateways: [edge]")
      + object(.requestAuthentication, "edge", "spec: {jwtRules: [{issuer: a}]}"), []
  ),
  (
    web + pods + gateway
      + routes(
        "[{match: [{headers: {'@request.auth.claims.a': {exact: b}}}], "
          + "route: [{destination: {host: web}}]}]", "hosts: [a.com], gateways: [edge]"),
    ["IST0149"]
  ),
  (
    object(.sidecar, "one", "spec: {egress: [{hosts: ['./*']}]}")
      + object(.sidecar, "two", "spec: {egress: [{hosts: ['./*']}]}"), ["IST0111", "IST0111"]
  ),
  (
    pods
      + object(
        .sidecar, "one",
        "spec: {workloadSelector: {labels: {app: web}}, egress: [{hosts: ['./*']}]}")
      + object(
        .sidecar, "two",
        "spec: {workloadSelector: {labels: {version: v1}}, egress: [{hosts: ['./*']}]}"),
    ["IST0110", "IST0110"]
  ),
  (
    object(
      .sidecar, "one", "spec: {workloadSelector: {labels: {app: web}}, egress: [{hosts: ['./*']}]}"),
    ["IST0101"]
  ),
  (
    object(.telemetry, "one", "spec: {metrics: [{}]}")
      + object(.telemetry, "two", "spec: {metrics: [{}]}"), ["IST0160", "IST0160"]
  ),
  (
    pods + object(.telemetry, "one", "spec: {selector: {matchLabels: {app: web}}}")
      + object(.telemetry, "two", "spec: {selector: {matchLabels: {version: v1}}}"),
    ["IST0159", "IST0159"]
  ),
  (object(.telemetry, "one", "spec: {selector: {matchLabels: {app: web}}}"), ["IST0101"]),
  (
    object(.telemetry, "one", "spec: {accessLogging: [{providers: [{name: envoy}, {name: b}]}]}"),
    ["IST0101"]
  ),
  (
    pods.replacing(
      "name: web-1", "name: web-1, annotations: {proxy.istio.io/config: 'concurency: 2'}"),
    ["IST0125"]
  ),
  (object(.authorizationPolicy, "one", "spec: {selector: {matchLabels: {app: b}}}"), ["IST0127"]),
  (
    pods
      + object(
        .authorizationPolicy, "one", "spec: {rules: [{from: [{source: {namespaces: [nowhere]}}]}]}"),
    ["IST0101"]
  ),
  (
    object(.pod, "a", "spec: {}", "labels: {app: a, version: b}, annotations: {istio.io/x: z}"),
    ["IST0108"]
  ),
  (
    web + pods.replacing("name: web-1", "name: web-1, annotations: {istio.io/dry-run: 'true'}"),
    ["IST0107"]
  ),
  (
    web
      + pods.replacing("name: web-1", "name: web-1, annotations: {sidecar.istio.io/inject: maybe}"),
    ["IST0125"]
  ),
  (patching("CLUSTER", "MERGE"), []),
  (patching("CLUSTER", "MERGE", more: "workloadSelector: {labels: {app: none}}, "), ["IST0101"]),
  (patching("HTTP_FILTER", "INSERT_BEFORE"), ["IST0151"]),
  (patching("HTTP_FILTER", "INSERT_BEFORE", more: "priority: 1, "), []),
  (patching("HTTP_FILTER", "INSERT_FIRST"), []),
  (patching("CLUSTER", "REPLACE"), ["IST0133", "IST0152"]),
  (patching("ROUTE_CONFIGURATION", "ADD"), ["IST0133", "IST0153"]),
  (patching("ROUTE_CONFIGURATION", "REMOVE"), ["IST0133", "IST0154"]),
  (
    patching("HTTP_FILTER", "ADD", match: "match: {proxy: {proxyVersion: '^1'}}, ")
      + patching("HTTP_FILTER", "REPLACE", name: "later"), ["IST0155"]
  ),
  (
    object(
      .virtualService, "web", "spec: {hosts: [web], http: [{match: [{}], redirect: {uri: /}}]}"),
    ["IST0133"]
  ),
]

extension String {
  fileprivate func replacing(_ text: String, _ other: String) -> String {
    guard let range = firstRange(of: text) else { return self }
    return self[..<range.lowerBound] + other + self[range.upperBound...]
  }
}

@Suite("What is wrong in a mesh as a whole")
struct AnalysisTests {
  @Test("each mistake is told by its code, and nothing else is", arguments: cases)
  func codes(text: String, codes: [String]) {
    let found = analyze(text)
    #expect(
      found.map(\.code.code).sorted() == codes.sorted(), "\(found.map(\.description))\n\(text)")
  }

  @Test("every code has a case, but what depends on clients")
  func everyCode() {
    let seen = Set(cases.flatMap(\.1))
    let all = Set(AnalysisCode.all.map(\.code))
    #expect(all.subtracting(seen) == ["FLC0002"])
    #expect(all.count == AnalysisCode.all.count)
  }

  @Test("a line names level, code, object, file and line of the field")
  func line() {
    let text =
      web + pods
        + """
        ---
        apiVersion: networking.istio.io/v1
        kind: VirtualService
        metadata: {name: web}
        spec:
          hosts: [web]
          http:
          - route:
            - destination:
                host: nobody
        """
    let line = text.split(separator: "\n", omittingEmptySubsequences: false).count
    #expect(
      analyze(text).map(\.description) == [
        "Error [IST0101] (VirtualService default/web mesh.yaml:\(line)) "
          + "Referenced host not found: \"nobody\""
      ])
  }

  @Test("what a client cannot do is told of the rule that asks for it")
  func unsupported() {
    let text =
      web + pods
      + object(
        .destinationRule, "web",
        "spec: {host: web, trafficPolicy: {outlierDetection: {consecutive5xxErrors: 3}}}")
    #expect(analyze(text, client: .fairlead).map(\.code.code) == ["FLC0002"])
    #expect(analyze(text, client: .envoy) == [])
    #expect(
      analyze(text, client: .fairlead).first?.text.contains("trafficPolicy.outlierDetection")
        == true)
  }

  @Test("what Telemetries ask for in vain is told, whoever they select")
  func telemetry() {
    let text =
      pods
      + object(
        .telemetry, "one",
        "spec: {selector: {matchLabels: {app: web}}, tracing: [{}], accessLogging: "
          + "[{match: {mode: SERVER}, filter: {expression: connection.mtls}}]}")
    let found = analyze(text, client: .fairlead)
    #expect(found.map(\.code.code) == ["FLC0002", "FLC0002"])
    #expect(Set(found.map(\.field)) == ["spec.accessLogging", "spec.tracing"])
    #expect(analyze(text, client: .envoy).map(\.field) == ["spec.tracing"])
  }

  @Test("what Fairlead cannot do of an EnvoyFilter is told whomever it selects, both ways")
  func patches() {
    let lua =
      "{'@type': type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua, "
      + "inline_code: a}"
    for context in ["SIDECAR_INBOUND", "SIDECAR_OUTBOUND"] {
      let text =
        web + pods
        + object(
          .envoyFilter, "lua",
          "spec: {workloadSelector: {labels: {app: web}}, configPatches: [{applyTo: HTTP_FILTER, match: "
            + "{context: \(context)}, patch: {operation: INSERT_FIRST, value: {name: a, typed_config: \(lua)}}}]}"
        )
      let found = analyze(text, client: .fairlead).filter { $0.code.code != "IST0133" }
      #expect(found.map(\.code.code) == ["FLC0002"], "\(found.map(\.description))")
      #expect(found.first?.text.contains("lua.v3.Lua' is known to Envoy") == true)
      #expect(analyze(text, client: .envoy).filter { $0.code.code != "IST0133" } == [])
    }
  }

  @Test(
    "an object's annotation keeps its messages quiet, by code or all",
    arguments: [
      ("IST0101", 0), ("IST0102, IST0101", 0), ("'*'", 0), ("IST0102", 1),
    ])
  func annotation(codes: String, count: Int) {
    let quoted = codes.hasPrefix("'") ? codes : "'\(codes)'"
    let text = object(
      .virtualService, "web", "spec: {hosts: [web], http: \(toWeb)}",
      "annotations: {galley.istio.io/analyze-suppress: \(quoted)}")
    #expect(analyze(text).count == count)
  }

  @Test(
    "messages are left out by code and resource, with a star for anything",
    arguments: [
      ("IST0101=VirtualService web.default", true), ("IST0101=VirtualService *", true),
      ("IST0101=* web.def*", true), ("IST0101=*web.default", true), ("IST0101=**", true),
      ("IST0102=VirtualService web.default", false), ("IST0101=VirtualService web", false),
      ("IST0101=VirtualService *.other", false),
    ])
  func suppression(text: String, covers: Bool) throws {
    let suppression = try #require(Suppression(text))
    let message = try #require(analyze(routes(toWeb)).first)
    #expect(suppression.covers(message) == covers)
  }

  @Test("a suppression has a code and a resource", arguments: ["", "a", "=a", "a=", "a=b=c"])
  func badSuppression(text: String) {
    #expect(Suppression(text) == nil)
  }

  @Test("a gateway that is connected is found by its labels, also without a pod")
  func connectedGateway() {
    var input = AnalysisInput(objects: [])
    let files = ["a.yaml": Array(gateway.utf8)]
    var store = MeshStore(check: ObjectCheck.check)
    _ = store.update(files)
    input = AnalysisInput(store)
    #expect(Analysis.run(input).map(\.code.code) == ["IST0101"])
    var node = ProxyNode(
      id: "router~10.0.0.1~edge.default~x", cluster: "", metadata: .init(), userAgent: "envoy",
      locality: .init())
    node.labels = ["istio": "ingressgateway"]
    input.proxies = [node]
    #expect(Analysis.run(input) == [])
  }

  @Test("a thousand services are looked at in well under a second")
  func manyServices() {
    let text = (0..<1000).map { number in
      object(
        .service, "s\(number)",
        "spec: {selector: {app: s\(number)}, ports: [{name: http, port: 80}]}")
        + (0..<3).map {
          object(
            .pod, "s\(number)-\($0)", "status: {podIP: 10.\(number / 250).\(number % 250).\($0)}",
            "labels: {app: s\(number), version: v\($0)}")
        }.joined()
        + object(
          .virtualService, "s\(number)",
          "spec: {hosts: [s\(number)], http: [{route: [{destination: {host: s\(number)}}]}]}")
        + object(
          .destinationRule, "s\(number)",
          "spec: {host: s\(number), subsets: [{name: v1, labels: {version: v1}}]}")
    }.joined()
    var store = MeshStore(check: ObjectCheck.check)
    _ = store.update(["a.yaml": Array(text.utf8)])
    let input = AnalysisInput(store)
    let took = ContinuousClock().measure { #expect(Analysis.run(input) == []) }
    print("1,000 services, 3,000 pods: \(took)")
    #expect(took < .seconds(20))
  }
}

@Suite("The page about codes")
struct AnalysisPageTests {
  @Test("docs/analysis.md explains every code that is used, with its level, and no other")
  func page() throws {
    let root = #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
    let bytes = try FileReader.read("/" + root + "/docs/analysis.md", atMost: 1 << 20).get()
    let lines = String(decoding: bytes, as: UTF8.self)
      .split(separator: "\n", omittingEmptySubsequences: false)
    let headings = lines.filter { $0.hasPrefix("### ") }.map { String($0.dropFirst(4)) }
    #expect(headings == AnalysisCode.all.map(\.code))
    for code in AnalysisCode.all {
      let place = try #require(lines.firstIndex(of: "### \(code.code)"))
      #expect(lines[place + 2].hasPrefix("**\(code.name)**, \(code.level.rawValue). "))
    }
  }
}
