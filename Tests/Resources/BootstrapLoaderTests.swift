import ResourceModel
import Testing

@testable import Resources

/// Paths of the sample that many mistakes stand below.
private let manager = "static_resources.listeners[0].filter_chains[0].filters[0].typed_config"
private let host = "\(manager).route_config.virtual_hosts[0]"
private let cluster = "static_resources.clusters[0]"

/// A piece of a bootstrap and the one line it is answered with.
struct Mistake: Sendable, CustomTestStringConvertible {
  let text: String
  let line: String

  init(_ text: String, _ line: String) {
    self.text = text
    self.line = line
  }

  var testDescription: String { text }
}

private let clusterMistakes: [Mistake] = [
  Mistake(
    "conect_timeout: 1s",
    "30:5: \(cluster).conect_timeout: no such field in envoy.config.cluster.v3.Cluster; "
      + "did you mean 'connect_timeout'?"
  ),
  Mistake(
    "outlier_detection: {}",
    "30:5: \(cluster).outlier_detection: known to Envoy, not supported by Fairlead"
  ),
  Mistake(
    "outlierDetection: {}",
    "30:5: \(cluster).outlierDetection: known to Envoy, not supported by Fairlead"
  ),
  Mistake(
    "connect_timeout: 5",
    "30:22: \(cluster).connect_timeout: expected a duration in seconds such as \"0.25s\", "
      + "found the number 5"
  ),
  Mistake(
    "connect_timeout: 0s",
    "30:22: \(cluster).connect_timeout: expected more than 0s, found 0s"
  ),
  Mistake(
    "connect_timeout: 3153600000s",
    "30:22: \(cluster).connect_timeout: expected a duration below 3153600000s, "
      + "found the string \"3153600000s\""
  ),
  Mistake(
    "lb_policy: LOAD_BALANCING_POLICY_CONFIG",
    "30:16: \(cluster).lb_policy: value 'LOAD_BALANCING_POLICY_CONFIG' is known to Envoy, not "
      + "supported by Fairlead; expected one of ROUND_ROBIN, LEAST_REQUEST, RANDOM, "
      + "CLUSTER_PROVIDED"
  ),
  Mistake(
    "type: STATC",
    "30:11: \(cluster).type: no value 'STATC' in envoy.config.cluster.v3.Cluster.DiscoveryType;"
      + " expected one of STATIC, STRICT_DNS, LOGICAL_DNS, EDS, ORIGINAL_DST; did you mean 'STATIC'?"
  ),
  Mistake(
    "name: two",
    "30:5: \(cluster).name: written twice; the first is on line 26"
  ),
  Mistake(
    "alt_stat_name: 12",
    "30:20: \(cluster).alt_stat_name: expected a string, found the number 12; write \"12\""
  ),
  Mistake(
    "alt_stat_name: [x]",
    "30:20: \(cluster).alt_stat_name: expected a string, found a list"
  ),
  Mistake(
    "respect_dns_ttl: maybe",
    "30:22: \(cluster).respect_dns_ttl: expected true or false, found the string \"maybe\""
  ),
  Mistake(
    "per_connection_buffer_limit_bytes: -1",
    "30:40: \(cluster).per_connection_buffer_limit_bytes: "
      + "expected a whole number from 0 to 4294967295, found the number -1"
  ),
  Mistake(
    "least_request_lb_config: {choice_count: 1}",
    "30:45: \(cluster).least_request_lb_config.choice_count: expected at least 2, found 1"
  ),
  Mistake(
    "circuit_breakers: 5",
    "30:23: \(cluster).circuit_breakers: expected the fields of "
      + "envoy.config.cluster.v3.CircuitBreakers, found the number 5"
  ),
  Mistake(
    "circuit_breakers: {thresholds: {}}",
    "30:36: \(cluster).circuit_breakers.thresholds: expected a list, found a mapping"
  ),
  Mistake(
    "circuit_breakers: {thresholds: [~]}",
    "30:37: \(cluster).circuit_breakers.thresholds[0]: expected the fields of "
      + "envoy.config.cluster.v3.CircuitBreakers.Thresholds, found null"
  ),
  Mistake(
    "dns_failure_refresh_rate: {base_interval: 5s, max_interval: 2s}",
    "30:65: \(cluster).dns_failure_refresh_rate.max_interval: less than the base_interval"
  ),
  Mistake(
    "typed_extension_protocol_options: {http: {'@type': "
      + "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, "
      + "explicit_http_config: {http_protocol_options: {}}}}",
    "30:46: \(cluster).typed_extension_protocol_options[\"http\"]: no such protocol options; "
      + "expected 'envoy.extensions.upstreams.http.v3.HttpProtocolOptions'"
  ),
  Mistake(
    "? [a]\n    : b",
    "30:7: \(cluster): expected a name before ':', found a list"
  ),
]

private let routeMistakes: [Mistake] = [
  Mistake(
    "{match: {prefix: /}, route: {cluster: oen}}",
    "17:55: \(host).routes[0].route.cluster: unknown cluster 'oen'; did you mean 'one'?"
  ),
  Mistake(
    "{match: {prefix: /, path: /}, route: {cluster: one}}",
    "17:37: \(host).routes[0].match.path: cannot be set together with 'prefix' on line 17"
  ),
  Mistake(
    "{match: {}, route: {cluster: one}}",
    "17:25: \(host).routes[0].match: "
      + "one of prefix, path, safe_regex, path_separated_prefix is missing"
  ),
  Mistake(
    "{match: {connect_matcher: {}}, route: {cluster: one}}",
    "17:26: \(host).routes[0].match.connect_matcher: known to Envoy, not supported by Fairlead"
  ),
  Mistake(
    "{match: {prefix: /}}",
    "17:17: \(host).routes[0]: one of route, redirect, direct_response is missing"
  ),
  Mistake(
    "{route: {cluster: one}}",
    "17:17: \(host).routes[0].match: missing"
  ),
  Mistake(
    "{match: {prefix: /}, direct_response: {status: 600}}",
    "17:64: \(host).routes[0].direct_response.status: expected less than 600, found 600"
  ),
  Mistake(
    "{match: {prefix: /}, direct_response: {}}",
    "17:55: \(host).routes[0].direct_response.status: missing; expected at least 200"
  ),
  Mistake(
    "{match: {path_separated_prefix: /a/}, route: {cluster: one}}",
    "17:49: \(host).routes[0].match.path_separated_prefix: "
      + "expected a path without '?' or '#' that does not end in '/'"
  ),
  Mistake(
    "{match: {prefix: /}, redirect: {host_redirect: \"a\\nb\"}}",
    "17:64: \(host).routes[0].redirect.host_redirect: may not contain NUL, CR or LF"
  ),
  Mistake(
    "{match: {prefix: /}, route: {cluster: one, prefix_rewrite: /x, "
      + "regex_rewrite: {pattern: {regex: a}, substitution: b}}}",
    "17:95: \(host).routes[0].route.regex_rewrite: cannot be set together with 'prefix_rewrite'"
  ),
  Mistake(
    "{match: {prefix: /}, route: {weighted_clusters: {clusters: [{name: one, weight: 0}]}}}",
    "17:76: \(host).routes[0].route.weighted_clusters.clusters: "
      + "expected weights that add up to more than 0"
  ),
  Mistake(
    "{match: {prefix: /}, route: {weighted_clusters: {clusters: [{name: one}]}}}",
    "17:77: \(host).routes[0].route.weighted_clusters.clusters[0].weight: missing"
  ),
  Mistake(
    "{match: {prefix: /}, route: {cluster: one, request_mirror_policies: [{}]}}",
    "17:86: \(host).routes[0].route.request_mirror_policies[0]: "
      + "one of cluster, cluster_header is missing"
  ),
  Mistake(
    "{match: {prefix: /}, route: {cluster: one}, "
      + "request_headers_to_add: [{header: {key: Host, value: x}}]}",
    "17:101: \(host).routes[0].request_headers_to_add[0].header.key: "
      + "headers that start with ':' and host may not be set"
  ),
  Mistake(
    "{match: {prefix: /}, route: {cluster: one}, response_headers_to_remove: [':status']}",
    "17:90: \(host).routes[0].response_headers_to_remove[0]: "
      + "headers that start with ':' and host may not be removed"
  ),
]

private let filterMistakes: [Mistake] = [
  Mistake(
    "{name: x, typed_config: {'@type': "
      + "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz}}",
    "21:47: \(manager).http_filters[0].typed_config: extension "
      + "'envoy.extensions.filters.http.ext_authz.v3.ExtAuthz' is known to Envoy, "
      + "not supported by Fairlead"
  ),
  Mistake(
    "{name: x, typed_config: {'@type': "
      + "type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Bufer}}",
    "21:47: \(manager).http_filters[0].typed_config: no such extension type "
      + "'envoy.extensions.filters.http.buffer.v3.Bufer'; "
      + "did you mean 'envoy.extensions.filters.http.buffer.v3.Buffer'?"
  ),
  Mistake(
    "{name: x, typed_config: {'@type': envoy.extensions.filters.http.buffer.v3.Buffer}}",
    "21:47: \(manager).http_filters[0].typed_config: "
      + "expected '@type: type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer', "
      + "found 'envoy.extensions.filters.http.buffer.v3.Buffer'"
  ),
  Mistake(
    "{name: x}",
    "21:13: \(manager).http_filters[0].typed_config: missing"
  ),
  Mistake(
    "{name: x, typed_config: {'@type': \(Sample.buffer), max_request_bytes: 0}}",
    "21:134: \(manager).http_filters[0].typed_config.max_request_bytes: "
      + "expected more than 0, found 0"
  ),
  Mistake(
    "{name: x, typed_config: {'@type': \(Sample.buffer)}}",
    "21:37: \(manager).http_filters[0].typed_config.max_request_bytes: missing"
  ),
  Mistake(
    "{name: end, typed_config: {'@type': \(Sample.router)}}",
    "21:13: \(manager).http_filters[0]: the router 'end' has to be the last HTTP filter"
  ),
]

@Suite("Loading a bootstrap")
struct BootstrapLoaderTests {
  @Test("a bootstrap without mistakes becomes the generated message")
  func loads() throws {
    let loaded = Sample(cluster: "connect_timeout: 0.25s").loaded
    #expect(loaded.diagnostics.rendered == [])
    let resources = loaded.bootstrap.staticResources
    #expect(resources.listeners.map(\.name) == ["main"])
    #expect(resources.listeners[0].address.socketAddress.portValue == 8080)
    #expect(resources.clusters[0].connectTimeout.nanos == 250_000_000)
    let manager =
      try Envoy_Extensions_Filters_Network_HttpConnectionManager_V3_HttpConnectionManager(
        serializedBytes: resources.listeners[0].filterChains[0].filters[0].typedConfig.value)
    #expect(manager.routeConfig.virtualHosts[0].routes[0].route.cluster == "one")
    #expect(manager.httpFilters[0].typedConfig.typeURL == Sample.router)
  }

  @Test(
    "a mistake in a cluster is one line that says where, what, and what is near",
    arguments: clusterMistakes)
  func clusterMistake(_ mistake: Mistake) {
    #expect(
      Sample(cluster: mistake.text).mistakes.filter { !$0.contains("deprecated") } == [mistake.line]
    )
  }

  @Test(
    "a mistake in a route is one line",
    arguments: routeMistakes)
  func routeMistake(_ mistake: Mistake) {
    #expect(Sample(route: mistake.text).mistakes == [mistake.line])
  }

  @Test(
    "a mistake in the chain of filters is one line",
    arguments: filterMistakes)
  func filterMistake(_ mistake: Mistake) {
    #expect(Sample(filters: "- " + mistake.text).mistakes == [mistake.line])
  }

  @Test("a type that belongs elsewhere is refused with those that belong here")
  func misplacedType() {
    let filter = "- {name: x, typed_config: {'@type': type.googleapis.com/envoy.type.v3.Percent}}"
    let lines = Sample(
      listeners: "- {name: b, address: \(Sample.address), filter_chains: "
        + "[{filters: [\(filter.dropFirst(2))]}]}"
    ).mistakes
    #expect(
      lines == [
        "24:143: static_resources.listeners[1].filter_chains[0].filters[0].typed_config: "
          + "'envoy.type.v3.Percent' does not belong here; expected one of "
          + [
            "http_connection_manager.v3.HttpConnectionManager",
            "connection_limit.v3.ConnectionLimit", "direct_response.v3.Config", "echo.v3.Echo",
            "local_ratelimit.v3.LocalRateLimit", "rbac.v3.RBAC", "sni_cluster.v3.SniCluster",
            "tcp_proxy.v3.TcpProxy",
          ].map { "envoy.extensions.filters.network." + $0 }.joined(separator: ", ")
      ])
  }

  @Test("all mistakes of a file are reported, in the order of its lines")
  func allMistakes() {
    let lines = Sample(
      top: "nod: {}\nadmin: {address: {socket_address: {address: home, port_value: 70000}}}",
      route: "{match: {prefix: /}, route: {clutser: one}}", cluster: "typ: STATIC"
    ).mistakes
    let expected: [String] = [
      "1:1: nod: no such field in envoy.config.bootstrap.v3.Bootstrap; did you mean 'node'?",
      "2:45: admin.address.socket_address.address: expected an IP address, found \"home\"",
      "2:63: admin.address.socket_address.port_value: expected at most 65535, found 70000",
      "18:46: \(host).routes[0].route.clutser: "
        + "no such field in envoy.config.route.v3.RouteAction; did you mean 'cluster'?",
      "31:5: \(cluster).typ: "
        + "no such field in envoy.config.cluster.v3.Cluster; did you mean 'type'?",
    ]
    #expect(lines == expected)
  }

  @Test("a report is one line, whatever the file contains")
  func oneLine() {
    #expect(
      mistakes("{\"a\\nb\\e[31m\": 1}") == [
        "1:2: a\\u{a}b\\u{1b}[31m: no such field in envoy.config.bootstrap.v3.Bootstrap"
      ])
  }

  @Test("reports stop at their limit, and say so")
  func reportLimit() {
    let fields = (0..<Diagnostics.limit + 5).map { "x\($0): 1" }.joined(separator: "\n")
    let lines = mistakes(fields)
    #expect(lines.count == Diagnostics.limit)
    #expect(
      mistakes((0..<Diagnostics.limit - 1).map { "x\($0): 1" }.joined(separator: "\n")).count
        == Diagnostics.limit - 1)
  }

  @Test("a file that does not exist is one line")
  func missingFile() {
    let loaded = BootstrapLoader.load(file: "/nowhere/bootstrap.yaml")
    #expect(
      loaded.diagnostics.rendered == [
        "/nowhere/bootstrap.yaml: cannot open '/nowhere/bootstrap.yaml': No such file or directory"
      ])
  }

  @Test("without -c and --config-yaml there is nothing to load")
  func noSource() {
    #expect(
      BootstrapLoader.load(file: nil).diagnostics.rendered == [
        "configuration: no configuration: give -c or --config-yaml"
      ])
  }

  @Test("the command line's node wins over the file's")
  func overrides() {
    let loaded = BootstrapLoader.load(
      file: nil, yaml: "node: {id: a, cluster: b}", overrides: NodeOverrides(serviceNode: "c"))
    #expect(loaded.bootstrap.node.id == "c")
    #expect(loaded.bootstrap.node.cluster == "b")
  }
}
