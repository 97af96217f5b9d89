import MeshModel
import Resources
import Testing

@testable import MeshAnalysis

@Suite("What is wrong with an EnvoyFilter")
struct EnvoyFilterCheckTests {
  private static let manager = "filter: {name: envoy.filters.network.http_connection_manager"

  /// A patch, where its mistake is, and a phrase of what is said.
  private static let bad: [(String, String, String)] = [
    ("patch: {operation: ADD, value: {a: 1}}", "", "write 'applyTo'"),
    ("applyTo: BOOTSTRAP, patch: {operation: MERGE, value: {}}", ".applyTo", "is not sent to it"),
    ("applyTo: CLUSTER", "", "write 'patch'"),
    ("applyTo: CLUSTER, patch: {value: {name: a}}", ".patch", "write 'operation'"),
    ("applyTo: CLUSTER, patch: {operation: MERGE}", ".patch", "MERGE puts a 'value' somewhere"),
    (
      "applyTo: ROUTE_CONFIGURATION, patch: {operation: ADD, value: {name: a}}",
      ".patch.operation", "what does: MERGE, MERGE_AND_REPLACE_LIST"
    ),
    (
      "applyTo: CLUSTER, patch: {operation: MERGE, value: {connect_timeout: 1s, conect_timeout: 1s}}",
      ".patch.value.conect_timeout",
      "no such field in envoy.config.cluster.v3.Cluster; did you mean 'connect_timeout'?"
    ),
    (
      "applyTo: CLUSTER, patch: {operation: MERGE, value: {lb_policy: ROUND}}",
      ".patch.value.lb_policy", "ROUND_ROBIN"
    ),
    (
      "applyTo: CLUSTER, patch: {operation: MERGE, value: {health_checks: [{timeout: soon}]}}",
      ".patch.value.health_checks[0].timeout", "soon"
    ),
    (
      "applyTo: CLUSTER, patch: {operation: MERGE, value: {queuing_policies: []}}",
      ".patch.value.queuing_policies", "known to Envoy"
    ),
    (
      "applyTo: HTTP_FILTER, patch: {operation: ADD, value: {name: a, typed_config: "
        + "{'@type': type.googleapis.com/envoy.extensions.filters.http.lua.v3.Luar}}}",
      ".patch.value.typed_config", "did you mean 'envoy.extensions.filters.http.lua.v3.Lua'?"
    ),
    (
      "applyTo: HTTP_FILTER, patch: {operation: ADD, value: {name: a, typed_config: "
        + "{'@type': type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua, inline: a}}}",
      ".patch.value.typed_config.inline", "no such field"
    ),
    (
      "applyTo: HTTP_FILTER, patch: {operation: ADD, value: {name: a, typed_config: "
        + "{'@type': type.googleapis.com/envoy.config.filter.http.lua.v2.Lua}}}",
      ".patch.value.typed_config", "Envoy's API is v3"
    ),
    (
      "applyTo: HTTP_FILTER, patch: {operation: ADD, value: {name: a, typed_config: {a: b}}}",
      ".patch.value.typed_config", "missing '@type'"
    ),
    (
      "applyTo: HTTP_FILTER, match: {cluster: {name: a}}, patch: {operation: REMOVE}",
      ".match.cluster", "HTTP_FILTER is found by 'listener', and not by 'cluster'"
    ),
    (
      "applyTo: CLUSTER, match: {listener: {name: a}}, patch: {operation: REMOVE}",
      ".match.listener", "CLUSTER is found by 'cluster'"
    ),
    (
      "applyTo: CLUSTER, match: {context: WAYPOINT}, patch: {operation: REMOVE}",
      ".match.context", "no waypoints"
    ),
    (
      "applyTo: CLUSTER, match: {proxy: {proxyVersion: 'a('}}, patch: {operation: REMOVE}",
      ".match.proxy.proxyVersion", "RE2"
    ),
    (
      "applyTo: NETWORK_FILTER, match: {listener: {filterChain: {filter: {}}}}, "
        + "patch: {operation: REMOVE}",
      ".match.listener.filterChain.filter", "write it"
    ),
    (
      "applyTo: NETWORK_FILTER, match: {listener: {filterChain: {\(manager), "
        + "subFilter: {name: a}}}}}, patch: {operation: REMOVE}",
      ".match.listener.filterChain.filter.subFilter", "HTTP_FILTER alone"
    ),
    (
      "applyTo: HTTP_FILTER, match: {listener: {filterChain: {filter: {name: a, "
        + "subFilter: {name: b}}}}}, patch: {operation: REMOVE}",
      ".match.listener.filterChain.filter.subFilter", "http_connection_manager"
    ),
    (
      "applyTo: HTTP_FILTER, match: {listener: {filterChain: {\(manager), "
        + "subFilter: {name: envoy.router}}}}}, patch: {operation: REMOVE}",
      ".match.listener.filterChain.filter.subFilter.name", "former name"
    ),
    (
      "applyTo: LISTENER, match: {listener: {portName: http}}, patch: {operation: REMOVE}",
      ".match.listener.portName", "'portNumber'"
    ),
    (
      "applyTo: CLUSTER, patch: {operation: ADD, filterClass: AUTHN, value: {name: a}}",
      ".patch.filterClass", "HTTP_FILTER"
    ),
  ]

  @Test("a mistake has a place and a remedy", arguments: bad)
  func mistakes(patch: String, path: String, phrase: String) throws {
    try check(.envoyFilter, "{configPatches: [{\(patch)}]}", phrase, at: ".configPatches[0]" + path)
  }

  @Test("values that are nested without end are refused")
  func depth() throws {
    for (levels, phrase) in [(30, nil), (70, "nested too deep")] {
      let value =
        String(repeating: "{a: ", count: levels) + "1" + String(repeating: "}", count: levels)
      let found = try findings(
        .envoyFilter,
        "{configPatches: [{applyTo: HTTP_ROUTE, patch: {operation: MERGE, value: {metadata: "
          + "{filter_metadata: {b: \(value)}}}}}]}")
      #expect(found.isEmpty == (phrase == nil), "\(levels): \(found)")
      if let phrase { #expect(found.first?.contains(phrase) == true, "\(levels): \(found)") }
    }
  }

  @Test("a filter selects workloads or is attached to gateways")
  func selectors() throws {
    try check(
      .envoyFilter, "{workloadSelector: {labels: {a: '*'}}}", "takes no '*'",
      at: ".workloadSelector[\"a\"]")
    try check(
      .envoyFilter, "{targetRefs: [{kind: Service, group: '', name: a}]}", "no waypoints",
      at: ".targetRefs[0]")
  }
}
