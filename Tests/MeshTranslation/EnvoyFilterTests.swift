import MeshMessages
import MeshModel
import ResourceModel
import SwiftProtobuf
import Testing

@testable import MeshTranslation

private typealias Manager =
  Envoy_Extensions_Filters_Network_HttpConnectionManager_V3_HttpConnectionManager

/// An EnvoyFilter with these patches.
private func filter(
  _ patches: String..., name: String = "a", namespace: String = "default", more: String = ""
) -> String {
  """
  {apiVersion: networking.istio.io/v1alpha3, kind: EnvoyFilter,
   metadata: {name: \(name), namespace: \(namespace)},
   spec: {\(more)configPatches: [\(patches.joined(separator: ", "))]}}
  """
}

private let router =
  "filterChain: {filter: {name: envoy.filters.network.http_connection_manager, "
  + "subFilter: {name: envoy.filters.http.router}}}"
private let captured = ["INTERCEPTION_MODE": "REDIRECT"]

/// A patch of HTTP filters.
private func http(
  _ operation: String, _ name: String, match: String = "", context: String = "ANY",
  sub: String? = nil, more: String = "", proxy: String = ""
) -> String {
  let chain =
    "filterChain: {filter: {name: envoy.filters.network.http_connection_manager"
    + (sub.map { ", subFilter: {name: \($0)}" } ?? "") + "}}"
  return """
    {applyTo: HTTP_FILTER, match: {context: \(context), \(proxy)
      listener: {\(match)\(chain)}},
     patch: {operation: \(operation), \(more)value: {name: \(name),
       typed_config: {'@type': type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer,
         max_request_bytes: 100}}}}
    """
}

extension Fixture {
  fileprivate func managers(_ listeners: [Envoy_Config_Listener_V3_Listener]) -> [Manager] {
    listeners.flatMap(\.filterChains).flatMap(\.filters).compactMap { filter in
      filter.typedConfig.isA(Manager.self) ? try? Manager(unpackingAny: filter.typedConfig) : nil
    }
  }

  /// The names of the HTTP filters of the listener of `reviews`.
  fileprivate var httpFilters: [String] {
    let found = outbound.listeners.filter { $0.name.hasSuffix("_9080") }
    return managers(found).first?.httpFilters.map {
      String($0.name.split(separator: ".").last ?? "")
    } ?? []
  }
}

@Suite("EnvoyFilters")
struct EnvoyFilterTests {
  private static let filterOrders: [(String, [String])] = [
    (
      http("INSERT_BEFORE", "x", sub: "envoy.filters.http.router"),
      ["fault", "cors", "x", "router"]
    ),
    (http("INSERT_AFTER", "x", sub: "envoy.filters.http.fault"), ["fault", "x", "cors", "router"]),
    (
      http("INSERT_AFTER", "x", sub: "envoy.filters.http.router"), ["fault", "cors", "x", "router"]
    ),
    (http("INSERT_AFTER", "x"), ["fault", "cors", "x", "router"]),
    (http("INSERT_BEFORE", "x"), ["x", "fault", "cors", "router"]),
    (http("INSERT_BEFORE", "x", sub: "none"), ["fault", "cors", "router"]),
    (http("INSERT_FIRST", "x"), ["x", "fault", "cors", "router"]),
    (http("ADD", "x"), ["fault", "cors", "x", "router"]),
    (http("ADD", "x", more: "filterClass: AUTHN, "), ["x", "fault", "cors", "router"]),
    (http("ADD", "x", more: "filterClass: STATS, "), ["fault", "cors", "x", "router"]),
    (http("REPLACE", "x", sub: "envoy.filters.http.cors"), ["fault", "x", "router"]),
    (http("REPLACE", "x"), ["fault", "cors", "router"]),
    (http("REMOVE", "x", sub: "envoy.filters.http.cors"), ["fault", "router"]),
    (http("REMOVE", "x"), ["fault", "cors", "router"]),
    (http("ADD", "x", context: "SIDECAR_OUTBOUND"), ["fault", "cors", "x", "router"]),
    (http("ADD", "x", context: "SIDECAR_INBOUND"), ["fault", "cors", "router"]),
    (http("ADD", "x", context: "GATEWAY"), ["fault", "cors", "router"]),
    (http("ADD", "x", match: "portNumber: 9080, "), ["fault", "cors", "x", "router"]),
    (http("ADD", "x", match: "portNumber: 9081, "), ["fault", "cors", "router"]),
    (http("ADD", "x", match: "name: other, "), ["fault", "cors", "router"]),
  ]

  @Test("HTTP filters are put where an operation says", arguments: filterOrders)
  func order(_ patch: String, _ wanted: [String]) {
    #expect(Fixture(filter(patch), client: "envoy").httpFilters == wanted)
  }

  @Test("By priority, the root namespace first, then in the order of their names")
  func sorting() {
    let made = Fixture(
      filter(http("INSERT_FIRST", "late"), name: "a", more: "priority: 1, "),
      filter(http("INSERT_FIRST", "own"), name: "a2"),
      filter(http("INSERT_FIRST", "root"), name: "z", namespace: "istio-system"),
      filter(http("INSERT_FIRST", "early"), name: "z2", more: "priority: -1, "),
      filter(http("INSERT_FIRST", "other"), name: "b", namespace: "other"), client: "envoy")
    #expect(made.httpFilters == ["late", "own", "root", "early", "fault", "cors", "router"])
  }

  private static let selections: [(String, Bool)] = [
    ("workloadSelector: {labels: {app: client}}, ", true),
    ("workloadSelector: {labels: {app: other}}, ", false),
    ("workloadSelector: {}, ", true),
    ("targetRefs: [{kind: Gateway, group: gateway.networking.k8s.io, name: gate}], ", false),
  ]

  @Test("A filter is for those whom it selects, alone", arguments: selections)
  func selection(_ selector: String, _ isSelected: Bool) {
    let made = Fixture(
      filter(http("ADD", "x"), more: selector), client: "envoy", labels: ["app": "client"])
    #expect(made.httpFilters.contains("x") == isSelected)
  }

  private static let proxies: [(String, Bool)] = [
    ("proxy: {proxyVersion: '^1\\.2[0-9].*'},", true),
    ("proxy: {proxyVersion: '^1\\.3.*'},", false),
    ("proxy: {metadata: {ROLE: edge}},", true),
    ("proxy: {metadata: {ROLE: core}},", false),
  ]

  @Test("A patch may be for some proxies alone", arguments: proxies)
  func proxy(_ match: String, _ isMeant: Bool) {
    let made = Fixture(
      filter(http("ADD", "x", proxy: match)), client: "envoy",
      metadata: ["INTERCEPTION_MODE": "NONE", "ISTIO_VERSION": "1.27.1", "ROLE": "edge"])
    #expect(made.httpFilters.contains("x") == isMeant)
    // One that does not say what it is has no version.
    let bare = Fixture(filter(http("ADD", "x", proxy: match)), client: "envoy")
    #expect(!bare.httpFilters.contains("x"))
  }

  // MARK: Merging

  private static func cluster(
    _ value: String, match: String = "service: reviews.default.svc.cluster.local",
    operation: String = "MERGE"
  ) -> String {
    filter(
      "{applyTo: CLUSTER, match: {cluster: {\(match)}}, patch: {operation: \(operation), value: \(value)}}"
    )
  }

  private static let reviews = "outbound|9080||reviews.default.svc.cluster.local"
  private static let ratings = "outbound|9080||ratings.default.svc.cluster.local"

  @Test("Clusters are merged field by field, and what the model lacks is kept")
  func clusters() throws {
    let rule = """
      {apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: r},
       spec: {host: reviews, trafficPolicy: {loadBalancer: {simple: LEAST_REQUEST},
         outlierDetection: {consecutive5xxErrors: 7}}}}
      """
    let made = Fixture(
      rule,
      Self.cluster(
        "{connect_timeout: 7s, lb_policy: ROUND_ROBIN, track_cluster_stats: {request_response_sizes: true},"
          + " circuit_breakers: {thresholds: [{max_connections: 9}]}, perConnectionBufferLimitBytes: 5}"
      ),
      client: "envoy")
    let cluster = try #require(made.cluster(Self.reviews))
    #expect(cluster.connectTimeout.seconds == 7 && cluster.connectTimeout.nanos == 0)
    #expect(cluster.lbPolicy == .roundRobin)
    #expect(cluster.perConnectionBufferLimitBytes.value == 5)
    #expect(cluster.edsClusterConfig.serviceName.isEmpty == false)
    #expect(cluster.circuitBreakers.thresholds.last?.maxConnections.value == 9)
    #expect(cluster.circuitBreakers.thresholds.count == 2)
    let more = try Fairlead_Mesh_Envoy_V1_ClusterMore(serializedBytes: cluster.steadyBytes())
    #expect(more.outlierDetection.consecutive5Xx.value == 7)
    // `track_cluster_stats` is field 49: tag 0x8a 0x03.
    #expect(try cluster.steadyBytes().contains([0x8A, 0x03]))
    #expect(made.cluster(Self.ratings)?.connectTimeout.seconds != 7)
  }

  @Test("A oneof's other fields make way, and lists are replaced where that is asked for")
  func replacing() throws {
    let made = Fixture(
      Self.cluster("{cluster_type: {name: envoy.cluster.custom}}"), client: "envoy")
    #expect(try #require(made.cluster(Self.reviews)).clusterDiscoveryType == nil)
    let lists = Fixture(
      Self.cluster(
        "{circuit_breakers: {thresholds: [{max_connections: 9}]}}",
        operation: "MERGE_AND_REPLACE_LIST"), client: "envoy")
    #expect(lists.cluster(Self.reviews)?.circuitBreakers.thresholds.count == 1)
  }

  private static let clusterMatches: [(String, [String])] = [
    ("service: reviews.default.svc.cluster.local", [reviews]),
    ("portNumber: 5432", ["outbound|5432||db.default.svc.cluster.local"]),
    ("name: BlackHoleCluster", ["BlackHoleCluster"]),
    ("subset: v1", []),
  ]

  @Test("A cluster is found by its parts or by its name", arguments: clusterMatches)
  func clusterMatching(_ match: String, _ wanted: [String]) {
    let made = Fixture(
      Self.cluster("{connect_timeout: 77s}", match: match), client: "envoy", metadata: captured)
    #expect(
      made.outbound.clusters.filter { $0.connectTimeout.seconds == 77 }.map(\.name).sorted()
        == wanted)
  }

  @Test("Clusters are removed and added")
  func addedClusters() {
    let made = Fixture(
      Self.cluster("{}", operation: "REMOVE"),
      filter(
        "{applyTo: CLUSTER, patch: {operation: ADD, value: {name: mine, type: STATIC}}}", name: "b"),
      client: "envoy", metadata: captured)
    #expect(made.cluster(Self.reviews) == nil)
    #expect(made.outbound.clusters.contains { $0.name == "mine" })
    #expect(!made.inbound.clusters.contains { $0.name == "mine" })
  }

  @Test("The configuration of a filter is merged in its Any")
  func typedConfigurations() throws {
    let made = Fixture(
      filter(
        """
        {applyTo: NETWORK_FILTER, match: {listener: {filterChain: {filter: {
          name: envoy.filters.network.http_connection_manager}}}},
         patch: {operation: MERGE, value: {typed_config: {
           '@type': type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager,
           server_name: mine, stream_idle_timeout: 5s, xff_num_trusted_hops: 2}}}}
        """,
        """
        {applyTo: HTTP_FILTER, match: {listener: {filterChain: {filter: {
          name: envoy.filters.network.http_connection_manager,
          subFilter: {name: envoy.filters.http.router}}}}},
         patch: {operation: MERGE, value: {typed_config: {
           '@type': type.googleapis.com/envoy.extensions.filters.http.router.v3.Router,
           suppress_envoy_headers: true}}}}
        """), client: "envoy")
    for manager in made.managers(made.outbound.listeners) {
      #expect(manager.serverName == "mine" && manager.streamIdleTimeout.seconds == 5)
      #expect(manager.httpFilters.count == 3 && manager.normalizePath.value)
      let router = try Envoy_Extensions_Filters_Http_Router_V3_Router(
        unpackingAny: #require(manager.httpFilters.last).typedConfig)
      #expect(router.suppressEnvoyHeaders)
    }
  }

  @Test("A type of which nothing is known here goes as a TypedStruct")
  func typedStructs() throws {
    let made = Fixture(
      filter(
        """
        {applyTo: HTTP_FILTER, patch: {operation: INSERT_FIRST, value: {name: x, typed_config: {
          '@type': type.googleapis.com/envoy.extensions.http.ai_filters.transcoder.v3.Transcoder,
          some: {thing: [1, two]}}}}}
        """), client: "envoy")
    let manager = try #require(made.managers(made.outbound.listeners).first)
    let any = try #require(manager.httpFilters.first).typedConfig
    #expect(any.typeURL == "type.googleapis.com/xds.type.v3.TypedStruct")
  }

  // MARK: Listeners and routes

  @Test("Listeners, chains and filters in front of them")
  func listeners() throws {
    let made = Fixture(
      filter(
        """
        {applyTo: LISTENER, match: {context: SIDECAR_INBOUND}, patch: {operation: MERGE,
          value: {per_connection_buffer_limit_bytes: 77}}}
        """,
        """
        {applyTo: LISTENER_FILTER, match: {context: SIDECAR_INBOUND, listener: {
          name: virtualInbound, listenerFilter: envoy.filters.listener.http_inspector}},
         patch: {operation: REMOVE}}
        """,
        """
        {applyTo: FILTER_CHAIN, match: {context: SIDECAR_INBOUND, listener: {
          filterChain: {name: virtualInbound-blackhole}}}, patch: {operation: REMOVE}}
        """,
        """
        {applyTo: LISTENER, patch: {operation: ADD, value: {name: mine, address: {
          socket_address: {address: 127.0.0.1, port_value: 4444}}}}}
        """,
        http("INSERT_FIRST", "x", match: "portNumber: 9080, ", context: "SIDECAR_INBOUND")),
      client: "envoy", metadata: captured, labels: ["app": "reviews"], address: "10.0.0.1")
    let inbound = try #require(made.inbound.listeners.first)
    #expect(inbound.perConnectionBufferLimitBytes.value == 77)
    #expect(inbound.listenerFilters.map(\.name).contains("envoy.filters.listener.tls_inspector"))
    #expect(!inbound.listenerFilters.map(\.name).contains("envoy.filters.listener.http_inspector"))
    #expect(!inbound.filterChains.contains { $0.name == "virtualInbound-blackhole" })
    #expect(made.inbound.listeners.count == 1)
    #expect(made.outbound.listeners.contains { $0.name == "mine" })
    for chain in inbound.filterChains {
      let managers = chain.filters.compactMap { try? Manager(unpackingAny: $0.typedConfig) }
      let isMeant = chain.filterChainMatch.destinationPort.value == 9080
      #expect(managers.allSatisfy { ($0.httpFilters.first?.name == "x") == isMeant })
    }
  }

  private static func route(
    _ applyTo: String, _ operation: String, _ match: String, _ value: String
  )
    -> String
  {
    filter(
      "{applyTo: \(applyTo), match: {routeConfiguration: {\(match)}}, "
        + "patch: {operation: \(operation), value: \(value)}}")
  }

  @Test("Routes, hosts and route configurations")
  func routes() throws {
    let rule = Fixture.rule(
      """
      http:
      - name: first
        match: [{uri: {prefix: /a}}]
        redirect: {uri: /b}
      - name: last
        route: [{destination: {host: reviews}}]
      """)
    func made(_ filter: String) -> Fixture { Fixture(rule, filter, client: "envoy") }
    let host = "vhost: {name: 'reviews.default.svc.cluster.local:9080'"
    var routes = made(
      Self.route("HTTP_ROUTE", "MERGE", host + ", route: {name: last}}", "{route: {timeout: 3s}}")
    ).routes
    #expect(routes.map(\.route.timeout.seconds) == [0, 3])
    #expect(!routes[1].route.cluster.isEmpty)
    routes =
      made(
        Self.route(
          "HTTP_ROUTE", "INSERT_FIRST", host + "}",
          "{name: new, match: {path: /new}, direct_response: {status: 204}}")
      ).routes
    #expect(routes.map(\.name) == ["new", "first", "last"])
    routes =
      made(Self.route("HTTP_ROUTE", "REMOVE", host + ", route: {action: REDIRECT}}", "{}")).routes
    #expect(routes.map(\.name) == ["last"])
    let hosts = made(
      Self.route("VIRTUAL_HOST", "ADD", "portNumber: 9080", "{name: new, domains: [new]}"))
    #expect(hosts.outbound.routes.first { $0.name == "9080" }?.virtualHosts.last?.name == "new")
    let whole = made(
      Self.route(
        "ROUTE_CONFIGURATION", "MERGE", "name: '9080'", "{response_headers_to_remove: [server]}"))
    #expect(
      whole.outbound.routes.first { $0.name == "9080" }?.responseHeadersToRemove == ["server"])
  }

  @Test("Routes inside an inbound listener are patched, too")
  func inlineRoutes() throws {
    let made = Fixture(
      Self.route(
        "HTTP_ROUTE", "MERGE", "portNumber: 9080", "{request_headers_to_remove: [x-a]}"),
      client: "envoy", metadata: captured, labels: ["app": "reviews"], address: "10.0.0.1")
    let routes = made.managers(made.inbound.listeners).map(\.routeConfig)
    for one in routes {
      let removed = one.virtualHosts.flatMap(\.routes).flatMap(\.requestHeadersToRemove)
      #expect(removed == (one.name == "inbound|9080||" ? ["x-a"] : []))
    }
    #expect(routes.contains { $0.name == "inbound|9080||" })
  }

  private static let gate = """
    {apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {name: edge},
     spec: {selector: {istio: ingress}, servers: [
       {port: {number: 8080, name: http, protocol: HTTP}, hosts: ["*.example"]},
       {port: {number: 8443, name: https-a, protocol: HTTPS}, hosts: ["*.example"],
        tls: {mode: SIMPLE, serverCertificate: /c, privateKey: /k}}]}}
    """
  private static let gatewayMatches: [(String, String, [String])] = [
    ("GATEWAY", "portNumber: 8080", ["http.8080"]),
    ("GATEWAY", "gateway: default/edge", ["https.8443.https-a.edge.default"]),
    ("GATEWAY", "portName: https-a", ["https.8443.https-a.edge.default"]),
    ("GATEWAY", "name: http.8080", ["http.8080"]),
    ("ANY", "{}", ["http.8080", "https.8443.https-a.edge.default"]),
    ("GATEWAY", "gateway: default/other", []),
    ("SIDECAR_OUTBOUND", "{}", []),
  ]

  @Test(
    "A gateway's routes are found by port, by its name and by its Gateway",
    arguments: gatewayMatches)
  func gateways(_ context: String, _ match: String, _ wanted: [String]) {
    let match = match == "{}" ? match : "{\(match)}"
    let made = Fixture(
      Self.gate,
      Fixture.rule(
        "gateways: [edge]\nhttp: [{route: [{destination: {host: ratings}}]}]",
        hosts: "shop.example"),
      filter(
        "{applyTo: ROUTE_CONFIGURATION, match: {context: \(context), routeConfiguration: \(match)}, "
          + "patch: {operation: MERGE, value: {response_headers_to_remove: [x]}}}"),
      client: "envoy", metadata: [:], labels: ["istio": "ingress"], role: "router")
    #expect(
      made.outbound.routes.filter { $0.responseHeadersToRemove == ["x"] }.map(\.name) == wanted)
  }

  @Test("One that is attached to a Gateway of Kubernetes is for its proxies")
  func attached() {
    let target = "targetRefs: [{kind: Gateway, group: gateway.networking.k8s.io, name: gate}], "
    for name in ["gate", "other"] {
      let made = Fixture(
        filter(http("ADD", "x"), more: target), client: "envoy",
        labels: ["gateway.networking.k8s.io/gateway-name": name])
      #expect(made.httpFilters.contains("x") == (name == "gate"))
    }
  }

  @Test("Sockets are merged with those of the same name, also where endpoints choose")
  func sockets() throws {
    func made(_ socket: String, _ tls: String) throws -> Envoy_Config_Cluster_V3_Cluster {
      let rule = """
        {apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: r},
         spec: {host: reviews, trafficPolicy: {\(tls)}}}
        """
      let made = Fixture(
        rule,
        Self.cluster(
          "{connect_timeout: 9s, transport_socket: {name: \(socket), typed_config: {'@type': "
            + "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext, "
            + "max_session_keys: 3, common_tls_context: {tls_params: {cipher_suites: [A]}}}}}"),
        client: "envoy")
      return try #require(made.cluster(Self.reviews))
    }
    typealias Context = Envoy_Extensions_TransportSockets_Tls_V3_UpstreamTlsContext
    let tls = "tls: {mode: SIMPLE, sni: a.com, insecureSkipVerify: true}"
    let merged = try made("envoy.transport_sockets.tls", tls)
    let context = try Context(unpackingAny: merged.transportSocket.typedConfig)
    #expect(context.sni == "a.com" && context.maxSessionKeys.value == 3)
    #expect(context.commonTlsContext.tlsParams.cipherSuites == ["A"])
    #expect(merged.connectTimeout.seconds == 9)
    let replaced = try made("mine", tls)
    #expect(replaced.transportSocket.name == "mine")
    let fresh = try made("envoy.transport_sockets.tls", "tls: {mode: DISABLE}")
    #expect(try Context(unpackingAny: fresh.transportSocket.typedConfig).maxSessionKeys.value == 3)
  }

  @Test("What cannot be done to a resource is noted, and the resource stands")
  func notes() {
    let made = Fixture(
      filter(
        """
        {applyTo: HTTP_FILTER, match: {listener: {\(router)}}, patch: {operation: MERGE, value: {
          typed_config: {'@type': type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua}}}}
        """,
        "{applyTo: CLUSTER, patch: {operation: ADD, value: {name: '\(Self.reviews)'}}}",
        "{applyTo: LISTENER, patch: {operation: ADD, value: {name: x, address: {socket_address: "
          + "{address: 127.0.0.1, port_value: 9080}}}}}",
        "{applyTo: FILTER_CHAIN, match: {listener: {portNumber: 9080}}, "
          + "patch: {operation: ADD, value: {name: twin}}}"), client: "envoy")
    #expect(
      made.outbound.omissions.map(\.field) == (0..<4).map { "configPatches[\($0)]" },
      "\(made.outbound.omissions)")
    #expect(made.httpFilters == ["fault", "cors", "router"])
    #expect(made.cluster(Self.reviews)?.hasEdsClusterConfig == true)
  }

  @Test("An extension's configuration is served to whoever asks for it by name")
  func extensions() {
    let made = Fixture(
      filter(
        "{applyTo: EXTENSION_CONFIG, patch: {operation: ADD, value: {name: mine, typed_config: {'@type': "
          + "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua}}}}"), client: "envoy")
    #expect(made.outbound.extensions.map(\.name) == ["mine"])
  }

  // MARK: Clients

  @Test("Fairlead is not sent what it would refuse, and its author is told")
  func fairlead() throws {
    let lua = """
      {applyTo: HTTP_FILTER, match: {listener: {\(router)}},
       patch: {operation: INSERT_BEFORE, value: {name: lua, typed_config: {
         '@type': type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua,
         default_source_code: {inline_string: ''}}}}}
      """
    let made = Fixture(
      filter(
        lua, http("INSERT_BEFORE", "buffer", sub: "envoy.filters.http.router"),
        "{applyTo: CLUSTER, patch: {operation: MERGE, value: {track_cluster_stats: {}}}}",
        "{applyTo: CLUSTER, patch: {operation: MERGE, value: {connect_timeout: 7s}}}"))
    #expect(made.httpFilters == ["fault", "buffer", "router"])
    #expect(made.cluster(Self.reviews)?.connectTimeout.seconds == 7)
    let notes = made.outbound.omissions
    #expect(notes.map(\.field) == ["configPatches[0]", "configPatches[2]"])
    #expect(notes.first?.effect.contains("envoy.extensions.filters.http.lua.v3.Lua") == true)
    #expect(notes.last?.effect.contains("track_cluster_stats: known to Envoy") == true)
  }

  @Test("What is made for Fairlead without a patch is nothing that it would refuse")
  func untouched() {
    let rules = [
      "{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: r}, spec: "
        + "{host: reviews, trafficPolicy: {loadBalancer: {simple: LEAST_REQUEST}, tls: {mode: SIMPLE}}}}",
      Fixture.rule(
        "http: [{fault: {abort: {httpStatus: 500}}, route: [{destination: {host: ratings}}]}]"),
      "{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: p}, spec: "
        + "{rules: [{to: [{operation: {paths: [/a]}}]}]}}", Self.gate,
    ].joined(separator: "\n---\n")
    for (metadata, role) in [
      (captured, "sidecar"), (["INTERCEPTION_MODE": "NONE"], "sidecar"), ([:], "router"),
    ] {
      let made = Fixture(
        rules, metadata: metadata, labels: ["app": "reviews", "istio": "ingress"],
        address: "10.0.0.1", role: role)
      for part in [made.outbound, made.inbound] {
        #expect(part.listeners.flatMap(FairleadTrial.problems) == [])
        #expect(part.clusters.flatMap(FairleadTrial.problems) == [])
        #expect(part.routes.flatMap(FairleadTrial.problems) == [])
      }
    }
  }

  @Test("A program with gRPC's library is not patched")
  func proxyless() {
    let made = Fixture(filter(http("ADD", "x")), client: "grpc", metadata: ["GENERATOR": "grpc"])
    #expect(made.outbound.omissions.map(\.field) == ["configPatches[0]"])
  }

  @Test("Clients are served alike unless a patch makes them differ")
  func keys() {
    let objects = { (text: String) -> MeshSnapshot in
      var store = MeshStore()
      _ = store.update(["mesh.yaml": Array(text.utf8)])
      return MeshSnapshot(objects: store.objects)
    }
    let selecting = objects(
      filter(
        http("ADD", "x", context: "SIDECAR_OUTBOUND"),
        more: "workloadSelector: {labels: {app: a}}, "))
    func node(_ app: String) -> ProxyNode {
      Fixture(labels: ["app": app]).node
    }
    let empty = objects("")
    #expect(node("a").outboundKey(in: empty) == node("b").outboundKey(in: empty))
    #expect(node("a").outboundKey(in: selecting) != node("b").outboundKey(in: selecting))
    #expect(node("b").outboundKey(in: selecting) == node("b").outboundKey(in: empty))
    #expect(node("a").inboundKey(in: selecting) == node("a").inboundKey(in: empty))
  }
}
