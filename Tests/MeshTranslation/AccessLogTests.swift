import MeshMessages
import MeshModel
import ResourceModel
import SwiftProtobuf
import Testing

@testable import MeshTranslation

/// A log of a proxy: where to, and of what (nil: of everything).
private struct Written: Equatable {
  let path: String
  let expression: String?

  init(_ path: String, _ expression: String? = nil) {
    self.path = path
    self.expression = expression
  }
}

/// A MeshConfig with three files to write to, and no defaults among them.
private func mesh(_ more: String = "") -> String {
  """
  apiVersion: mesh.istio.io/v1alpha1
  kind: MeshConfig
  metadata: {name: mesh}
  spec:
    accessLogFile: /mesh
    extensionProviders:
    - {name: a, envoyFileAccessLog: {path: /a}}
    - {name: b, envoyFileAccessLog: {path: /b, logFormat: {text: "%PROTOCOL%"}}}
    - {name: metrics, prometheus: {}}
  \(more)
  """
}

private func telemetry(_ spec: String, _ name: String = "t", namespace: String = "default")
  -> String
{
  """
  apiVersion: telemetry.istio.io/v1
  kind: Telemetry
  metadata: {name: \(name), namespace: \(namespace)}
  spec: \(spec)
  """
}

private func root(_ entries: String) -> String {
  telemetry("{accessLogging: \(entries)}", "mesh", namespace: "istio-system")
}

private func own(_ entries: String) -> String {
  telemetry("{accessLogging: \(entries)}", "own")
}

private func selected(_ entries: String, app: String = "shop") -> String {
  telemetry(
    "{selector: {matchLabels: {app: \(app)}}, accessLogging: \(entries)}", "selected-\(app)")
}

/// What is said at each level, and what a workload `app: shop` of `default` then writes of its own
/// connections and of those to it. Istio's cases, and those in which ours says more.
private let cases: [(rules: [String], client: [Written], server: [Written])] = [
  ([mesh()], [Written("/mesh")], [Written("/mesh")]),
  ([], [Written("/dev/stdout")], [Written("/dev/stdout")]),
  (
    [mesh("  defaultProviders: {accessLogging: [a, envoy]}")],
    [Written("/a"), Written("/dev/stdout")], [Written("/a"), Written("/dev/stdout")]
  ),
  (
    [mesh("  defaultProviders: {accessLogging: [a, A, a]}")], [Written("/a")], [Written("/a")]
  ),
  // Which writes none.
  (
    [
      mesh("  defaultProviders: {accessLogging: [a]}"), root("[{providers: [{name: prometheus}]}]"),
    ],
    [Written("/a")], [Written("/a")]
  ),
  ([mesh(), root("[{providers: [{name: a}]}]")], [Written("/a")], [Written("/a")]),
  (
    [mesh(), root("[{providers: [{name: ENVOY}]}]")],
    [Written("/dev/stdout")], [Written("/dev/stdout")]
  ),
  // One side alone: of the other nothing is said.
  (
    [mesh(), root("[{match: {mode: CLIENT}, providers: [{name: a}]}]")],
    [Written("/a")], [Written("/mesh")]
  ),
  (
    [mesh(), root("[{match: {mode: SERVER}, providers: [{name: a}]}]")],
    [Written("/mesh")], [Written("/a")]
  ),
  (
    [
      mesh(), root("[{match: {mode: CLIENT}, providers: [{name: a}]}]"),
      own("[{match: {mode: CLIENT}, providers: [{name: a}], disabled: true}]"),
    ],
    [], [Written("/mesh")]
  ),
  // What is closer takes the place of what is farther.
  (
    [mesh(), root("[{providers: [{name: a}]}]"), own("[{providers: [{name: b}]}]")],
    [Written("/b")], [Written("/b")]
  ),
  (
    [
      mesh(), own("[{providers: [{name: b}]}]"),
      selected("[{providers: [{name: a}, {name: b}]}]"),
    ],
    [Written("/a"), Written("/b")], [Written("/a"), Written("/b")]
  ),
  (
    [mesh(), own("[{providers: [{name: b}]}]"), selected("[{providers: [{name: a}]}]", app: "x")],
    [Written("/b")], [Written("/b")]
  ),
  // The root namespace's rules for some workloads are for its own.
  (
    [
      mesh(),
      telemetry(
        "{selector: {matchLabels: {app: shop}}, accessLogging: [{providers: [{name: a}]}]}",
        namespace: "istio-system"),
    ],
    [Written("/mesh")], [Written("/mesh")]
  ),
  // Who names nobody means those whom the level above names.
  ([mesh(), root("[{providers: [{name: a}]}]"), own("[{}]")], [Written("/a")], [Written("/a")]),
  ([mesh(), root("[{providers: [{name: a}]}]"), own("[{disabled: true}]")], [], []),
  ([mesh(), own("[{disabled: true}]")], [], []),
  ([mesh(), own("[{match: {mode: SERVER}, disabled: true}]")], [Written("/mesh")], []),
  ([mesh("  defaultProviders: {accessLogging: [a]}"), own("[{disabled: true}]")], [], []),
  (
    [mesh(), root("[{disabled: true}]"), selected("[{disabled: false}]")],
    [Written("/mesh")], [Written("/mesh")]
  ),
  // Several of one level.
  (
    [mesh(), own("[{providers: [{name: a}]}, {providers: [{name: b}], disabled: true}]")],
    [Written("/a")], [Written("/a")]
  ),
  (
    [
      mesh(),
      own(
        "[{match: {mode: SERVER}, providers: [{name: a}]}, {match: {mode: CLIENT}, providers: [{name: b}]}]"
      ),
    ], [Written("/b")], [Written("/a")]
  ),
  (
    [
      mesh(),
      own(
        "[{match: {mode: CLIENT}, providers: [{name: a}]}, {match: {mode: SERVER}, disabled: true}]"
      ),
    ],
    [Written("/a")], []
  ),
  // Whom nobody knows nobody writes to.
  ([mesh(), own("[{providers: [{name: nobody}]}]")], [Written("/mesh")], [Written("/mesh")]),
  ([mesh(), own("[{providers: [{name: metrics}, {name: a}]}]")], [Written("/a")], [Written("/a")]),
  // Expressions: the last for a provider counts, and none takes it away.
  (
    [mesh(), own("[{providers: [{name: a}], filter: {expression: x}}]")],
    [Written("/a", "x")], [Written("/a", "x")]
  ),
  (
    [
      mesh(), root("[{providers: [{name: a}], filter: {expression: x}}]"),
      own("[{providers: [{name: a}], filter: {expression: z}}]"),
    ],
    [Written("/a", "z")], [Written("/a", "z")]
  ),
  (
    [
      mesh(), root("[{providers: [{name: a}], filter: {expression: x}}]"),
      own("[{providers: [{name: a}]}]"),
    ], [Written("/a")], [Written("/a")]
  ),
  (
    [mesh(), root("[{providers: [{name: a}], filter: {expression: x}}]"), own("[{}]")],
    [Written("/a", "x")], [Written("/a", "x")]
  ),
  (
    [
      mesh(),
      own(
        "[{match: {mode: CLIENT}, providers: [{name: a}], filter: {expression: x}}, "
          + "{match: {mode: SERVER}, providers: [{name: a}], filter: {expression: z}}]"),
    ],
    [Written("/a", "x")], [Written("/a", "z")]
  ),
  ([mesh(), own("[{filter: {expression: x}}]")], [Written("/mesh", "x")], [Written("/mesh", "x")]),
  // The oldest of those for everybody counts.
  (
    [
      mesh(), own("[{providers: [{name: a}]}]"),
      telemetry("{accessLogging: [{providers: [{name: b}]}]}", "younger"),
    ],
    [Written("/a")], [Written("/a")]
  ),
  // Other parts say nothing of logs.
  (
    [mesh(), telemetry("{metrics: [{providers: [{name: a}]}]}")],
    [Written("/mesh")], [Written("/mesh")]
  ),
]

/// A proxy before `app: shop`.
private func fixture(_ rules: [String], client: String) -> Fixture {
  let service = """
    {apiVersion: v1, kind: Service, metadata: {name: shop}, spec: {selector: {app: shop},
      ports: [{name: http, port: 80, targetPort: 8080}, {name: tcp, port: 81, targetPort: 8081}]}}
    ---
    {apiVersion: v1, kind: Pod, metadata: {name: shop-1, labels: {app: shop}},
      status: {podIP: 10.0.0.9}}
    """
  return Fixture(
    ([service] + rules).joined(separator: "\n---\n"), client: client,
    metadata: ["INTERCEPTION_MODE": "NONE", "APPLICATION_ADDRESS": "127.0.0.2"],
    labels: ["app": "shop"])
}

/// The access logs of every filter that has any.
private func logs(
  _ listeners: [Envoy_Config_Listener_V3_Listener]
) throws -> [[Envoy_Config_Accesslog_V3_AccessLog]] {
  typealias Manager =
    Envoy_Extensions_Filters_Network_HttpConnectionManager_V3_HttpConnectionManager
  typealias Proxy = Envoy_Extensions_Filters_Network_TcpProxy_V3_TcpProxy
  return try listeners.flatMap { $0.filterChains + [$0.defaultFilterChain] }.flatMap(\.filters)
    .map { filter in
      if filter.name == "envoy.filters.network.tcp_proxy" {
        return try Proxy(serializedBytes: filter.typedConfig.value).accessLog
      }
      return try Manager(serializedBytes: filter.typedConfig.value).accessLog
    }
}

private func file(
  _ log: Envoy_Config_Accesslog_V3_AccessLog
) throws -> Envoy_Extensions_AccessLoggers_File_V3_FileAccessLog {
  try .init(serializedBytes: log.typedConfig.value)
}

@Suite("What a proxy writes of requests")
struct AccessLogTests {
  private func written(
    _ listeners: [Envoy_Config_Listener_V3_Listener]
  ) throws -> [[Written]] {
    try logs(listeners).map { all in
      try all.map { log in
        let more = try Fairlead_Mesh_Envoy_V1_AccessLogFilterMore(
          serializedBytes: log.filter.serializedBytes() as [UInt8])
        let cel = try Fairlead_Mesh_Envoy_V1_ExpressionFilter(
          serializedBytes: more.extensionFilter.typedConfig.value)
        return Written(try file(log).path, cel.expression.isEmpty ? nil : cel.expression)
      }
    }
  }

  @Test("is what the closest Telemetries say, on either side", arguments: cases.indices)
  func merged(index: Int) throws {
    let one = cases[index]
    let made = fixture(one.rules, client: "envoy")
    let (client, server) = (
      try written(made.outbound.listeners), try written(made.inbound.listeners)
    )
    #expect(client.count >= 2 && server.count == 2)
    #expect(client.allSatisfy { $0 == one.client }, "\(one.rules): \(client)")
    #expect(server.allSatisfy { $0 == one.server }, "\(one.rules): \(server)")
  }

  @Test("is a client's own for a gateway")
  func gateway() throws {
    let gateway = """
      apiVersion: networking.istio.io/v1
      kind: Gateway
      metadata: {name: g}
      spec:
        selector: {app: g}
        servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]
      """
    let made = Fixture(
      [
        mesh(), gateway,
        own("[{match: {mode: CLIENT}, providers: [{name: a}]}]"),
        selected("[{match: {mode: SERVER}, providers: [{name: b}]}]", app: "g"),
      ].joined(separator: "\n---\n"), client: "envoy", labels: ["app": "g"], role: "router")
    #expect(try written(made.outbound.listeners) == [[Written("/a")]])
  }

  @Test("looks as its provider says, and ends its lines")
  func formats() throws {
    let providers = """
        - name: json
          envoyFileAccessLog: {logFormat: {labels: {code: "%RESPONSE_CODE%"}}, omitEmptyValues: true}
        - {name: plain, envoyFileAccessLog: {logFormat: {text: "%REQ_WITHOUT_QUERY(:PATH)%"}}}
      """
    let rules = [mesh(providers), own("[{providers: [{name: b}, {name: json}, {name: plain}]}]")]
    let made = try #require(try logs(fixture(rules, client: "envoy").outbound.listeners).first)
    let formats = try made.map { try file($0).logFormat }
    #expect(formats[0].textFormatSource.inlineString == "%PROTOCOL%\n")
    #expect(formats[1].jsonFormat.fields["code"]?.stringValue == "%RESPONSE_CODE%")
    #expect(formats[1].omitEmptyValues)
    let more = try Fairlead_Mesh_Envoy_V1_SubstitutionFormatMore(
      serializedBytes: formats[2].serializedBytes() as [UInt8])
    #expect(more.formatters.map(\.name) == ["envoy.formatter.req_without_query"])

    // What our own proxy cannot say is said otherwise, and its author is told.
    let ours = fixture(rules, client: "fairlead").outbound
    let last = try #require(try logs(ours.listeners).first?.last)
    #expect(
      try file(last).logFormat.textFormatSource.inlineString.hasPrefix("[%START_TIME%]"))
    #expect(
      ours.omissions.map(\.field) == ["extensionProviders.plain.envoyFileAccessLog.logFormat"])
    #expect(ours.omissions.first?.object.kind == .meshConfig)
  }

  @Test("looks as the mesh says, in JSON too")
  func meshFormat() throws {
    let json = fixture(
      [mesh("  accessLogEncoding: JSON\n  accessLogFormat: '{\"p\": \"%PROTOCOL%\"}'")],
      client: "fairlead")
    let log = try #require(try logs(json.inbound.listeners).first?.first)
    #expect(
      try file(log).logFormat.jsonFormat.fields.mapValues(\.stringValue) == ["p": "%PROTOCOL%"])
    let standard = fixture([mesh("  accessLogEncoding: JSON")], client: "fairlead")
    let other = try #require(try logs(standard.inbound.listeners).first?.first)
    #expect(try file(other).logFormat.jsonFormat.fields.count == 24)
  }

  @Test("is told of where nothing follows from a rule")
  func omissions() {
    let rules = [
      mesh(),
      telemetry(
        "{tracing: [{randomSamplingPercentage: 1}], metrics: [{}], accessLogging: "
          + "[{providers: [{name: nobody}, {name: metrics}]}]}"),
      telemetry("{targetRefs: [{kind: Gateway, name: g}], metrics: [{}]}", "other"),
    ]
    let fields = fixture(rules, client: "envoy").outbound.omissions.map(\.field)
    #expect(
      fields == [
        "targetRefs", "accessLogging.providers", "accessLogging.providers", "metrics", "tracing",
      ])
    let library = fixture(rules, client: "grpc").outbound.omissions.map(\.field)
    #expect(library == ["targetRefs", "accessLogging", "metrics", "tracing"])
  }

  @Test("depends on labels once a Telemetry selects by them")
  func keys() {
    func key(_ rules: [String], _ app: String) -> ProxyNode.Key {
      var store = MeshStore()
      _ = store.update(["a.yaml": Array(rules.joined(separator: "\n---\n").utf8)])
      var node = ProxyNode(
        id: "sidecar~10.0.0.1~a.default~default.svc.cluster.local", cluster: "",
        metadata: .init(), userAgent: "envoy", locality: MeshLocality())
      node.labels = ["app": app]
      return node.outboundKey(in: MeshSnapshot(objects: store.objects))
    }
    #expect(key([own("[{}]")], "a") == key([own("[{}]")], "b"))
    #expect(key([selected("[{}]")], "a") != key([selected("[{}]")], "b"))
  }
}

@Suite("What a proxy without expressions logs instead")
struct LogSubstituteTests {
  /// Comparisons as text, such as `GE 400`.
  private func text(_ filter: Envoy_Config_Accesslog_V3_AccessLogFilter) -> String {
    switch filter.filterSpecifier {
    case .statusCodeFilter(let one):
      return "\(one.comparison.op) \(one.comparison.value.defaultValue)"
    case .andFilter(let all): return "(" + all.filters.map(text).joined(separator: " and ") + ")"
    case .orFilter(let all): return "(" + all.filters.map(text).joined(separator: " or ") + ")"
    default: return "?"
    }
  }

  @Test(
    "is never less than what was asked for",
    arguments: [
      ("response.code >= 400", "ge 400", true), ("response.code > 399", "ge 400", true),
      ("400 <= response.code", "ge 400", true), ("response.code == 503", "eq 503", true),
      ("response.code != 200", "(ge 1 and ne 200)", true),
      ("response.code < 500 && response.code >= 400", "((ge 1 and le 499) and ge 400)", true),
      ("(response.code <= 1) || 200 == response.code", "((ge 1 and le 1) or eq 200)", true),
      ("response.code >= 500 && request.method == 'GET'", "ge 500", false),
      ("response.code >= 500 || request.method == 'GET'", nil, false),
      ("request.method == 'GET' && request.path == '/'", nil, false),
      ("!(response.code == 200)", nil, false), ("response.code >= 0", nil, false),
      ("response.code >= 1000", nil, false), ("connection.mtls", nil, false),
      ("response.code == 200 ? true : false", nil, false),
      ("response.code + 1 == 200", nil, false), ("response.code in [200]", nil, false),
    ] as [(String, String?, Bool)])
  func substitute(expression: String, wanted: String?, isExact: Bool) throws {
    let made = LogSubstitute.of(try LogExpression(expression))
    #expect(made.filter.map(text) == wanted)
    #expect(made.isExact == isExact)
  }

  @Test(
    "is told of where it is more",
    arguments: [
      ("response.code >= 500", []),
      (
        "response.code >= 500 && connection.mtls",
        ["the expression is not evaluated in full: more is logged"]
      ),
      ("connection.mtls", ["expressions are not evaluated: everything is logged"]),
    ])
  func notes(expression: String, effects: [String]) throws {
    let rule = own("[{filter: {expression: \(expression)}}]")
    let made = fixture([rule], client: "fairlead")
    #expect(made.inbound.omissions.map(\.effect) == effects)
    #expect(made.outbound.omissions.map(\.effect) == effects)
    let log = try #require(try logs(made.inbound.listeners).first?.first)
    #expect(log.hasFilter == expression.contains("500"))
  }
}
