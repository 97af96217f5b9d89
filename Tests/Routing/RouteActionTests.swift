import CFilterABI
import Engine
import ResourceModel
import Resources
import SwiftProtobuf
import Testing

@testable import Routing

@Suite("Route actions")
struct RouteActionTests {
  private func forward(
    _ action: String, host: String = "", configuration: String = ""
  ) throws -> ForwardAction {
    let table = try Compiled(
      routes: #"{"match": {"prefix": "/"}, "route": {"cluster": "a"\#(action)}}"#, host: host,
      configuration: configuration)
    #expect(table.diagnostics.rendered == [])
    let match = try #require(table.match(Head(path: "/")))
    guard case .forward(let action) = match.entry.value.action else { throw NotForwarding() }
    return action.value
  }

  private struct NotForwarding: Error {}

  private func cluster(_ match: RouteMatch?) -> String {
    switch match?.cluster {
    case .reference(let reference): "\(reference.name.string) \(reference.index ?? 99)"
    case .named(let name): "by \(name.text.string)"
    case nil: "-"
    }
  }

  @Test("a cluster is known by its place, an unknown one by its name")
  func clusters() throws {
    for (action, expected) in [
      (#""cluster": "b""#, "b 1"), (#""cluster": "nope""#, "nope 99"),
      (#""cluster_header": "X-Cluster""#, "by x-cluster"),
      (#""cluster_header": "host""#, "by :authority"),
    ] {
      let table = try Compiled(routes: #"{"match": {"prefix": "/"}, "route": {\#(action)}}"#)
      #expect(cluster(table.match(Head(path: "/"))) == expected)
    }
  }

  private static let weights = #"""
    "clusters": [{"name": "a", "weight": 10}, {"name": "b", "weight": 0},
      {"cluster_header": "c", "weight": 90}]
    """#

  @Test(
    "weights share the random numbers out, in order",
    arguments: [(0, "a 0"), (9, "a 0"), (10, "by c"), (99, "by c"), (100, "a 0"), (109, "a 0")])
  func weightedClusters(_ random: UInt64, _ expected: String) throws {
    let table = try Compiled(
      routes: #"{"match": {"prefix": "/"}, "route": {"weighted_clusters": {\#(Self.weights)}}}"#)
    #expect(cluster(table.match(Head(path: "/"), random: random)) == expected)
  }

  /// Observed in Envoy 1.40.
  @Test(
    "a field may bring the random number, if it brings one",
    arguments: [
      (["0"], "a 0"), (["9"], "a 0"), (["10"], "by c"), (["100"], "a 0"), (["+5"], "a 0"),
      (["x"], "by c"), (["-1"], "by c"), ([], "by c"), (["0", "0"], "by c"),
      (["18446744073709551615"], "by c"), (["18446744073709551616"], "by c"),
    ])
  func randomHeader(_ values: [String], _ expected: String) throws {
    let table = try Compiled(
      routes:
        #"{"match": {"prefix": "/"}, "route": {"weighted_clusters": {"header_name": "rnd", \#(Self.weights)}}}"#
    )
    let head = Head(path: "/", values.map { ("rnd", $0) })
    #expect(cluster(table.match(head, random: 50)) == expected)
  }

  @Test("the runtime may move weights")
  func runtimeWeights() throws {
    let runtime = RuntimeSnapshot(integer: { $0 == "w.b" ? 100 : $0 == "w.a" ? 0 : nil })
    let table = try Compiled(
      #"""
      {"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [{"match": {"prefix": "/"},
        "route": {"weighted_clusters": {"runtime_key_prefix": "w",
          "clusters": [{"name": "a", "weight": 1}, {"name": "b", "weight": 0}]}}}]}]}
      """#, runtime: runtime)
    #expect(cluster(table.match(Head(path: "/"), random: 0)) == "b 1")
  }

  @Test("timeouts have Envoy's defaults, and zero disables")
  func timeouts() throws {
    let plain = try forward("")
    #expect(plain.timeouts.value.route_ms == 15_000)
    #expect(plain.idleTimeoutMilliseconds == nil && plain.maxStreamDuration == nil)
    #expect(plain.clusterNotFoundStatus == 503)
    let set = try forward(
      #"""
      , "timeout": "0s", "idle_timeout": "1.5s", "cluster_not_found_response_code": "NOT_FOUND",
      "max_stream_duration": {"grpc_timeout_header_max": "0s"}, "priority": "HIGH",
      "retry_policy": {"per_try_timeout": "0.25s", "per_try_idle_timeout": "0.1s"},
      "upgrade_configs": [{"upgrade_type": "websocket"}, {"upgrade_type": "x", "enabled": false}]
      """#)
    #expect(set.timeouts.value.route_ms == 0)
    #expect(set.timeouts.value.per_try_ms == 250)
    #expect(set.timeouts.value.per_try_idle_ms == 100)
    #expect(set.idleTimeoutMilliseconds == 1500)
    #expect(set.maxStreamDuration?.grpcTimeoutHeaderMax == 0)
    #expect(set.maxStreamDuration?.milliseconds == nil)
    #expect(set.clusterNotFoundStatus == 404)
    #expect(set.isHighPriority)
    #expect((0..<set.upgrades.count).map { set.upgrades[$0].isEnabled } == [true, false])
  }

  @Test("a route's mirrors and retries replace its virtual host's")
  func inheritance() throws {
    let host = #"""
      , "retry_policy": {"num_retries": 7},
      "request_mirror_policies": [{"cluster": "b"}, {"cluster": "c"}]
      """#
    let inherited = try forward("", host: host)
    #expect(inherited.retryPolicy?.value.num_retries == 7)
    #expect(inherited.mirrors.count == 2)
    let own = try forward(
      #"""
      , "retry_policy": {"retry_on": "5xx"}, "request_mirror_policies": [{"cluster": "c",
        "runtime_fraction": {"default_value": {"numerator": 50}},
        "disable_shadow_host_suffix_append": true}]
      """#, host: host)
    #expect(own.retryPolicy?.value.has_num_retries == false)
    #expect(own.mirrors.count == 1)
    #expect(own.mirrors[0].applies(random: 49) && !own.mirrors[0].applies(random: 50))
    #expect(!own.mirrors[0].appendsShadowSuffix)
    let outer = try forward(
      "", configuration: #", "request_mirror_policies": [{"cluster": "b"}]"#)
    #expect(outer.mirrors.count == 1)
  }

  @Test("internal redirects follow 302, or the statuses of the route")
  func internalRedirects() throws {
    let plain = try #require(try forward(#", "internal_redirect_policy": {}"#).internalRedirect)
    #expect(plain.value.maxRedirects == 1)
    #expect(plain.value.follows(status: 302) && !plain.value.follows(status: 301))
    let set = try #require(
      try forward(
        #"""
        , "internal_redirect_policy": {"max_internal_redirects": 5,
          "redirect_response_codes": [301, 307], "allow_cross_scheme_redirect": true,
          "response_headers_to_copy": ["X-A"]}
        """#
      ).internalRedirect)
    #expect(set.value.maxRedirects == 5 && set.value.allowsCrossScheme)
    #expect(set.value.follows(status: 307) && !set.value.follows(status: 302))
    #expect(set.value.copiedHeaders[0].text == "x-a")
    #expect(try forward("").internalRedirect == nil)
  }
}

@Suite("Retry policies")
struct RetryPolicyTests {
  private func compile(_ json: String, _ diagnostics: Diagnostics = Diagnostics(files: ["f"]))
    throws -> fl_retry_policy
  {
    RetryPolicyCompiler.compile(
      try Envoy_Config_Route_V3_RetryPolicy(jsonString: json), at: .root, diagnostics
    ).value
  }

  @Test("an empty policy has Envoy's defaults")
  func defaults() throws {
    let policy = try compile("{}")
    #expect(policy.retry_on == 0 && policy.num_retries == 1 && !policy.has_num_retries)
    #expect(policy.base_interval_ms == 25 && policy.max_interval_ms == 250)
    #expect(policy.reset_max_interval_ms == 300_000)
    #expect(policy.per_try_timeout_ms == 0 && !policy.avoid_previous_hosts)
    #expect(policy.host_selection_attempts == 1)
    #expect(policy.retriable_headers == nil && policy.retriable_request_headers == nil)
  }

  @Test("every field arrives")
  func everything() throws {
    let policy = try compile(
      #"""
      {"retry_on": "5xx, reset,retriable-status-codes ,unavailable", "num_retries": 3,
       "per_try_timeout": "1s", "per_try_idle_timeout": "0.5s", "retriable_status_codes": [409, 429],
       "retry_back_off": {"base_interval": "0.1s", "max_interval": "2s"},
       "host_selection_retry_max_attempts": 4,
       "retry_host_predicate": [{"name": "envoy.retry_host_predicates.previous_hosts"}],
       "retriable_headers": [{"name": "x-a"}, {"name": "x-b"}],
       "retriable_request_headers": [{"name": ":method", "exact_match": "GET"}],
       "rate_limited_retry_back_off": {"max_interval": "9s", "reset_headers":
         [{"name": "Retry-After", "format": "SECONDS"}, {"name": "X-R", "format": "UNIX_TIMESTAMP"}]}}
      """#)
    #expect(
      policy.retry_on
        == UInt32(
          FL_RETRY_5XX | FL_RETRY_RESET | FL_RETRY_RETRIABLE_STATUS_CODES
            | FL_RETRY_GRPC_UNAVAILABLE))
    #expect(policy.num_retries == 3 && policy.has_num_retries)
    #expect(policy.per_try_timeout_ms == 1000 && policy.per_try_idle_timeout_ms == 500)
    #expect(policy.retriable_status_code_count == 2 && policy.retriable_status_codes[1] == 429)
    #expect(policy.base_interval_ms == 100 && policy.max_interval_ms == 2000)
    #expect(policy.host_selection_attempts == 4 && policy.avoid_previous_hosts)
    #expect(policy.reset_max_interval_ms == 9000 && policy.reset_header_count == 2)
    let first = policy.reset_headers[0]
    #expect(Bytes(base: try #require(first.name.data), count: first.name.count) == "retry-after")
    #expect(!first.unix_timestamp && policy.reset_headers[1].unix_timestamp)
    let matchers = try #require(policy.retriable_headers).assumingMemoryBound(
      to: HeaderMatchers.self)
    #expect(Head([("x-b", "")]).fits(matchers.pointee))
    #expect(!Head([("x-c", "")]).fits(matchers.pointee))
  }

  @Test("a condition that is none is pointed out")
  func unknownCondition() throws {
    let diagnostics = Diagnostics(files: ["f"])
    _ = try compile(#"{"retry_on": "5xx,gatway-error"}"#, diagnostics)
    #expect(!diagnostics.hasErrors)
    #expect(diagnostics.all.map(\.path) == ["retry_on"])
    #expect(diagnostics.all[0].message.contains("gateway-error"))
  }
}

@Suite("Filters' configurations by route")
struct FilterConfigTests {
  private static let any =
    #"{"@type": "type.googleapis.com/google.protobuf.Duration", "value": "1s"}"#

  private static func wrapped(_ fields: String) -> String {
    #"{"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig"\#(fields)}"#
  }

  private func table(config: String, host: String, route: String, weighted: String) throws
    -> Compiled
  {
    Google_Protobuf_Any.register(messageType: Envoy_Config_Route_V3_FilterConfig.self)
    func level(_ map: String) -> String { #""typed_per_filter_config": {\#(map)}"# }
    return try Compiled(
      """
      {\(level(config)), "virtual_hosts": [{"name": "v", "domains": ["*"], \(level(host)), "routes": [
        {"match": {"prefix": "/"}, \(level(route)), "route": {"weighted_clusters": {"clusters": [
          {"name": "a", "weight": 1, \(level(weighted))}]}}}]}]}
      """, filters: ["f", "g"])
  }

  /// The first letters of the path that the configuration in a slot was compiled from.
  private func origin(_ pointer: UnsafeRawPointer?) -> String? {
    pointer.map {
      Bytes(base: $0.assumingMemoryBound(to: UInt8.self), count: 22).string
    }
  }

  @Test("the most specific level wins, filter by filter")
  func mostSpecific() throws {
    let f = #""f": \#(Self.any)"#
    let all = try table(config: f, host: f, route: f, weighted: f)
    let match = try #require(all.match(Head(path: "/")))
    #expect(match.filterConfig(slot: 0) != nil)
    #expect(match.filterConfig(slot: 1) == nil)
    #expect(match.filterConfig(slot: 2) == nil)
    var origins: [String] = []
    match.forEachFilterConfig(slot: 0) { origins.append(origin($0) ?? "") }
    #expect(origins.count == 4)
    #expect(origins[0] == "typed_per_filter_confi")
    #expect(Set(origins[1...]) == ["virtual_hosts[0].typed", "virtual_hosts[0].route"])
    let outer = try table(config: f, host: "", route: "", weighted: "")
    let fallback = try #require(outer.match(Head(path: "/")))
    #expect(origin(fallback.filterConfig(slot: 0)) == "typed_per_filter_confi")
  }

  @Test("a filter is on or off as the most specific level that mentions it says")
  func disabled() throws {
    let off = #""f": \#(Self.wrapped(#", "disabled": true"#))"#
    let on = #""f": \#(Self.wrapped(""))"#
    func isDisabled(_ config: String, _ host: String, _ route: String, _ weighted: String) throws
      -> Bool?
    {
      let table = try table(config: config, host: host, route: route, weighted: weighted)
      return try #require(table.match(Head(path: "/"))).isFilterDisabled(slot: 0)
    }
    #expect(try isDisabled("", "", "", "") == nil)
    #expect(try isDisabled(off, "", "", "") == true)
    #expect(try isDisabled(off, on, "", "") == false)
    #expect(try isDisabled(off, on, off, "") == true)
    #expect(try isDisabled(off, on, off, on) == false)
  }

  @Test("a wrapped configuration is compiled where it stands")
  func wrappedConfig() throws {
    let config = #""f": \#(Self.wrapped(#", "config": \#(Self.any)"#))"#
    let table = try table(config: config, host: "", route: "", weighted: "")
    let match = try #require(table.match(Head(path: "/")))
    #expect(match.isFilterDisabled(slot: 0) == false)
    #expect(match.filterConfig(slot: 0) != nil)
  }
}
