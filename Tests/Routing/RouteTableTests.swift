import Engine
import ResourceModel
import Testing

@testable import Routing

@Suite("Virtual hosts")
struct VirtualHostTests {
  private func table(_ domains: [String], _ options: String = "") throws -> Compiled {
    let hosts = domains.map {
      """
      {"name": "\($0)", "domains": ["\($0)"],
       "routes": [{"name": "\($0)", "match": {"prefix": ""}, "route": {"cluster": "a"}}]}
      """
    }
    return try Compiled(
      #"{"virtual_hosts": [\#(hosts.joined(separator: ", "))]\#(options)}"#)
  }

  /// Observed in Envoy 1.40.
  @Test(
    "exact, then the longest suffix, then the longest prefix; the star is never empty",
    arguments: [
      ("p", "p"), ("P", "p"), ("p:8080", "p:8080"), ("P:8080", "p:8080"), ("p:81", "-"),
      ("a.w.com", "*.w.com"), ("A.W.COM", "*.w.com"), (".w.com", "-"), ("w.com", "-"),
      ("a-x.w.com", "*-x.w.com"), ("-x.w.com", "*.w.com"), ("a.b.w.com", "*.w.com"),
      ("a.w.com:80", "-"), ("pre.", "-"), ("pre.a", "pre.*"), ("pre.fix.a", "pre.fix.*"),
      ("pre.fix.", "pre.*"), ("PRE.a", "pre.*"), ("pre.a.w.com", "*.w.com"), ("none", "-"),
    ])
  func selection(_ host: String, _ expected: String) throws {
    let table = try table(
      ["p:8080", "P", "*.w.com", "*-x.w.com", "pre.*", "pre.fix.*"])
    #expect(table.route("/", host: host).lowercased() == expected)
  }

  @Test("the star takes what nobody else wants")
  func catchAll() throws {
    let table = try table(["*", "a"])
    #expect(table.route("/", host: "a") == "a")
    #expect(table.route("/", host: "b") == "*")
    #expect(table.route("/", host: "") == "*")
  }

  @Test("a port is ignored where the configuration says so")
  func ports() throws {
    let table = try table(
      ["p", "[::1]", "*"], #", "ignore_port_in_host_matching": true"#)
    #expect(table.route("/", host: "p:123") == "p")
    #expect(table.route("/", host: "P:1") == "p")
    #expect(table.route("/", host: "[::1]:80") == "[::1]")
    #expect(table.route("/", host: "[::1]") == "[::1]")
    #expect(table.route("/", host: "q:1") == "*")
  }

  @Test("TLS is required of all, or of requests from outside")
  func tls() throws {
    let route = #"{"name": "r", "match": {"prefix": "/"}, "route": {"cluster": "a"}}"#
    let all = try Compiled(routes: route, host: #", "require_tls": "ALL""#)
    let external = try Compiled(routes: route, host: #", "require_tls": "EXTERNAL_ONLY""#)
    #expect(all.route("/") == "tls")
    #expect(external.route("/") == "tls")
    #expect(all.route("/", [("x-envoy-internal", "true")]) == "tls")
    #expect(external.route("/", [("x-envoy-internal", "true")]) == "r")
    let secure = Head(path: "/", scheme: "https")
    #expect(all.match(secure) != nil)
    #expect(external.match(secure) != nil)
  }
}

@Suite("Routes")
struct RouteMatchTests {
  private func route(_ name: String, _ match: String) -> String {
    #"{"name": "\#(name)", "match": {\#(match)}, "route": {"cluster": "a"}}"#
  }

  private func table(_ routes: String..., options: String = "") throws -> Compiled {
    let table = try Compiled(routes: routes.joined(separator: ", "), configuration: options)
    #expect(table.diagnostics.rendered == [])
    return table
  }

  @Test("a path matches without its query, whole")
  func exactPath() throws {
    let table = try table(route("r", #""path": "/a""#))
    #expect(table.route("/a") == "r")
    #expect(table.route("/a?b") == "r")
    #expect(table.route("/a/") == "-")
    #expect(table.route("/A") == "-")
  }

  @Test("a prefix matches without regard for segments, and never the query")
  func prefix() throws {
    let table = try table(route("q", #""prefix": "/q?x""#), route("r", #""prefix": "/a""#))
    for path in ["/a", "/ab", "/a/b", "/a?x"] { #expect(table.route(path) == "r") }
    for path in ["/", "/b", "/q?x", "/A"] { #expect(table.route(path) == "-") }
  }

  @Test("a separated prefix ends where a segment ends")
  func separatedPrefix() throws {
    let table = try table(route("r", #""path_separated_prefix": "/api""#))
    for path in ["/api", "/api/", "/api/x", "/api?x"] { #expect(table.route(path) == "r") }
    for path in ["/apix", "/ap", "/API"] { #expect(table.route(path) == "-") }
  }

  @Test("an expression matches the whole path without its query")
  func regex() throws {
    let table = try table(route("r", #""safe_regex": {"regex": "/r[0-9]+"}"#))
    for path in ["/r1", "/r12?x"] { #expect(table.route(path) == "r") }
    for path in ["/r1x", "/xr1", "/r"] { #expect(table.route(path) == "-") }
  }

  @Test("letters' case matters unless the route says otherwise; for expressions always")
  func caseSensitivity() throws {
    let fold = #", "case_sensitive": false"#
    let table = try table(
      route("prefix", #""prefix": "/AbC"\#(fold)"#), route("path", #""path": "/xYz"\#(fold)"#),
      route("regex", #""safe_regex": {"regex": "/rr"}\#(fold)"#),
      route("separated", #""path_separated_prefix": "/pP"\#(fold)"#))
    #expect(table.route("/abcd") == "prefix")
    #expect(table.route("/ABC") == "prefix")
    #expect(table.route("/XYZ") == "path")
    #expect(table.route("/XYZa") == "-")
    #expect(table.route("/rr") == "regex")
    #expect(table.route("/RR") == "-")
    #expect(table.route("/pp") == "separated")
    #expect(table.route("/PP/x") == "separated")
    #expect(table.route("/ppx") == "-")
  }

  /// Observed in Envoy 1.40.
  @Test("path parameters are ignored on demand, segment by segment")
  func pathParameters() throws {
    let routes = [
      route("exact", #""path": "/a""#), route("bc", #""prefix": "/b/c""#),
      route("b", #""prefix": "/b""#), route("d", #""path_separated_prefix": "/d""#),
    ]
    let ignoring = try table(
      routes[0], routes[1], routes[2], routes[3],
      options: #", "ignore_path_parameters_in_path_matching": true"#)
    for (path, name) in [
      ("/a;x=1", "exact"), ("/a;x=1?q", "exact"), ("/b;x/c", "bc"), ("/b/c;x", "bc"), ("/b", "b"),
      ("/d;x", "d"), ("/d/;x", "d"), ("/a?;", "exact"),
    ] {
      #expect(ignoring.route(path) == name)
    }
    let strict = try table(routes[0], routes[1], routes[2], routes[3])
    #expect(strict.route("/a;x=1") == "-")
    #expect(strict.route("/b;x/c") == "b")
    #expect(strict.route("/d;x") == "-")
  }

  @Test("the first of all that match wins, whatever its kind")
  func firstMatch() throws {
    let kinds = [
      route("path", #""path": "/a/b""#), route("prefix", #""prefix": "/a""#),
      route("regex", #""safe_regex": {"regex": "/a/.*"}"#),
      route("separated", #""path_separated_prefix": "/a""#),
      route("folded", #""path": "/A/B", "case_sensitive": false"#),
      route("foldedPrefix", #""prefix": "/A/", "case_sensitive": false"#),
      route("all", #""prefix": "/""#),
    ]
    for first in kinds.indices {
      let order = Array(kinds[first...] + kinds[..<first])
      let table = try Compiled(routes: order.joined(separator: ", "))
      let expected = kinds[first].split(separator: "\"")[3]
      #expect(table.route("/a/b") == String(expected))
    }
  }

  @Test("a route whose conditions fail gives way to the next in order")
  func conditionsInOrder() throws {
    let header = #", "headers": [{"name": "x", "string_match": {"exact": "1"}}]"#
    let table = try table(
      route("long", #""prefix": "/a/b"\#(header)"#), route("short", #""prefix": "/a"\#(header)"#),
      route("query", #""path": "/a/b", "query_parameters": [{"name": "q"}]"#),
      route("plain", #""path": "/a/b""#), route("rest", #""prefix": "/""#))
    #expect(table.route("/a/b", [("x", "1")]) == "long")
    #expect(table.route("/a/c", [("x", "1")]) == "short")
    #expect(table.route("/a/b", [("x", "2")]) == "plain")
    #expect(table.route("/a/b?q") == "query")
    #expect(table.route("/a/c?q") == "rest")
  }

  @Test("a share of requests goes by the random number")
  func fraction() throws {
    let table = try table(
      route("some", #""prefix": "/", "runtime_fraction": {"default_value": {"numerator": 30}}"#),
      route("rest", #""prefix": "/""#))
    #expect(table.route("/", random: 29) == "some")
    #expect(table.route("/", random: 30) == "rest")
    #expect(table.route("/", random: 129) == "some")
    let fine = try Compiled(
      routes: route(
        "some",
        #""prefix": "/", "runtime_fraction": {"default_value": {"numerator": 1, "denominator": "MILLION"}}"#
      ))
    #expect(fine.route("/", random: 1_000_000) == "some")
    #expect(fine.route("/", random: 1) == "-")
  }

  @Test("the runtime has the last word about a share")
  func runtimeFraction() throws {
    let json = #"""
      {"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [{"name": "r",
        "match": {"prefix": "/", "runtime_fraction":
          {"default_value": {"numerator": 100}, "runtime_key": "k"}},
        "route": {"cluster": "a"}}]}]}
      """#
    let off = RuntimeSnapshot(fraction: { $0 == "k" ? Envoy_Type_V3_FractionalPercent() : nil })
    #expect(try Compiled(json, runtime: off).route("/") == "-")
    #expect(try Compiled(json).route("/") == "r")
  }

  @Test("a request without a path has no route")
  func connect() throws {
    let table = try table(route("r", #""prefix": """#))
    let head = Head([(":method", "CONNECT"), (":authority", "h:1")])
    #expect(table.match(head) == nil)
  }

  @Test("a mistake is reported where it stands")
  func diagnostics() throws {
    let table = try Compiled(
      routes: route("r", #""safe_regex": {"regex": "("}"#) + ", "
        + #"{"match": {"prefix": "/"}, "route": {"cluster": "a", "regex_rewrite": {"pattern": {"regex": "a"}, "substitution": "\\1"}}}"#
    )
    #expect(
      table.diagnostics.all.map(\.path) == [
        "virtual_hosts[0].routes[0].match.safe_regex.regex",
        "virtual_hosts[0].routes[1].route.regex_rewrite.substitution",
      ])
  }
}

@Suite("The route index")
struct RouteIndexTests {
  /// Nanoseconds of one look-up: the least of several rounds, so that what else the machine does
  /// does not count.
  private func cost(_ count: Int, _ route: (Int) -> String, path: (Int) -> String) throws -> Double
  {
    let table = try Compiled(
      routes: (0..<count).map(route).joined(separator: ", "))
    let head = Head(path: path(count - 1), [("accept", "*/*"), ("user-agent", "test")])
    var best = Double.infinity
    for _ in 0..<7 {
      let start = ContinuousClock.now
      var found = 0
      for random in 0..<2_000 where table.match(head, random: UInt64(random)) != nil { found += 1 }
      #expect(found == 2_000)
      let (seconds, attoseconds) = (ContinuousClock.now - start).components
      best = min(best, (Double(seconds) * 1e9 + Double(attoseconds) / 1e9) / 2_000)
    }
    return best
  }

  @Test("ten thousand exact paths, or prefixes, match in about the time of ten")
  func routes() throws {
    for kind in ["path", "prefix"] {
      let route = {
        (i: Int) in
        #"{"match": {"\#(kind)": "/service/\#(10_000 + i)"}, "route": {"cluster": "a"}}"#
      }
      let few = try cost(10, route) { "/service/\(10_000 + $0)" }
      let many = try cost(10_000, route) { "/service/\(10_000 + $0)" }
      // One after the other it would be a thousand times; caches alone explain a small factor.
      #expect(many < few * 8, "\(kind): \(few) ns, then \(many) ns")
    }
  }

  @Test("ten thousand virtual hosts are searched in about the time of ten")
  func hosts() throws {
    func cost(_ count: Int) throws -> Double {
      let hosts = (0..<count).map {
        #"{"name": "\#($0)", "domains": ["\#(10_000 + $0).example.com"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "a"}}]}"#
      }
      let table = try Compiled(#"{"virtual_hosts": [\#(hosts.joined(separator: ","))]}"#)
      let head = Head(host: "\(10_000 + count - 1).example.com", path: "/")
      var best = Double.infinity
      for _ in 0..<7 {
        let start = ContinuousClock.now
        var found = 0
        for random in 0..<2_000 where table.match(head, random: UInt64(random)) != nil {
          found += 1
        }
        #expect(found == 2_000)
        let (seconds, attoseconds) = (ContinuousClock.now - start).components
        best = min(best, Double(seconds) * 1e9 + Double(attoseconds) / 1e9)
      }
      return best
    }
    let few = try cost(10)
    let many = try cost(10_000)
    #expect(many < few * 8, "\(few / 2_000) ns, then \(many / 2_000) ns")
  }

  @Test("keys that are canonically the same text but not the same bytes stay apart")
  func bytesNotCharacters() throws {
    let table = try Compiled(
      routes: """
        {"name": "one", "match": {"path": "/\u{E9}"}, "route": {"cluster": "a"}},
        {"name": "two", "match": {"path": "/e\u{301}"}, "route": {"cluster": "a"}}
        """)
    #expect(table.route("/\u{E9}") == "one")
    #expect(table.route("/e\u{301}") == "two")
  }
}
