import Engine
import Telemetry
import Testing

@testable import Routing

@Suite("Rewrites towards the upstream")
struct RewriteTests {
  private func compiled(_ match: String, _ action: String) throws -> Compiled {
    try Compiled(routes: #"{"match": {\#(match)}, "route": {"cluster": "a", \#(action)}}"#)
  }

  /// Observed in Envoy 1.40.
  @Test(
    "a prefix rewrite replaces what the route matched",
    arguments: [
      (#""prefix": "/a""#, "/pp", "/a/b/a?q=b", "/pp/b/a?q=b"),
      (#""prefix": "/a""#, "/", "/a/b/a?q=b", "//b/a?q=b"),
      (#""path": "/exact""#, "/ee", "/exact?x", "/ee?x"),
      (#""safe_regex": {"regex": "/re.*"}"#, "/rr", "/re/foo?x", "/rr?x"),
      (#""path_separated_prefix": "/sep""#, "/ss", "/sep/x?y", "/ss/x?y"),
      (#""path_separated_prefix": "/sep""#, "/ss", "/sep", "/ss"),
      (#""prefix": "/CASE", "case_sensitive": false"#, "/cc", "/case/x", "/cc/x"),
    ])
  func prefixRewrite(_ match: String, _ rewrite: String, _ path: String, _ expected: String)
    throws
  {
    let head = try compiled(match, #""prefix_rewrite": "\#(rewrite)""#)
      .forwarded(Head(path: path))
    #expect(head[":path"] == expected)
    #expect(head["x-envoy-original-path"] == path)
  }

  @Test("a path that nobody rewrites is not recorded either")
  func noRewrite() throws {
    let head = try compiled(#""prefix": "/""#, #""prefix_rewrite": """#)
      .forwarded(Head(path: "/empty/x"))
    #expect(head[":path"] == "/empty/x")
    #expect(head["x-envoy-original-path"] == nil)
  }

  @Test("a regex rewrite replaces every match, and leaves the query alone")
  func regexRewrite() throws {
    let table = try compiled(
      #""prefix": "/""#, #""regex_rewrite": {"pattern": {"regex": "b"}, "substitution": "[\\0]"}"#)
    #expect(try table.forwarded(Head(path: "/a/b/a?q=b"))[":path"] == "/a/[b]/a?q=b")
    #expect(try table.forwarded(Head(path: "/bb"))[":path"] == "/[b][b]")
    #expect(try table.forwarded(Head(path: "/a"))[":path"] == "/a")
  }

  @Test("a path that grows past every limit is refused, not cut")
  func growth() throws {
    let long = String(repeating: "x", count: 60)
    let table = try compiled(
      #""prefix": "/""#,
      #""regex_rewrite": {"pattern": {"regex": "b"}, "substitution": "\#(long)"}"#)
    let fits = Head(path: "/" + String(repeating: "b", count: 4_000))
    #expect(try table.forwarded(fits)[":path"]?.utf8.count == 240_001)
    let grows = Head(path: "/" + String(repeating: "b", count: 5_000))
    let match = try #require(table.match(grows))
    let rewritten = match.rewritePath(of: &grows.map, pool: &grows.pool)
    #expect(!rewritten)
    #expect(grows[":path"]?.utf8.count == 5_001)
  }

  /// Observed in Envoy 1.40.
  @Test(
    "the host becomes a literal, a field's value, or a part of the path",
    arguments: [
      (#""host_rewrite_literal": "lit""#, "lit", nil),
      (#""host_rewrite_literal": "lit", "append_x_forwarded_host": true"#, "lit", "old"),
      (#""host_rewrite_header": "hh""#, "fromhdr", nil),
      (
        #""host_rewrite_path_regex": {"pattern": {"regex": "^/(.+)/.*$"}, "substitution": "\\1.x"}"#,
        "a/b.x", nil
      ),
    ])
  func hostRewrite(_ rewrite: String, _ host: String, _ forwarded: String?) throws {
    let head = try compiled(#""prefix": "/""#, rewrite)
      .forwarded(Head(host: "old", path: "/a/b/a?q=b", [("hh", "fromhdr")]))
    #expect(head[":authority"] == host)
    #expect(head["x-envoy-original-host"] == "old")
    #expect(head["x-forwarded-host"] == forwarded)
  }

  @Test("the host stays when the field that names it is missing or empty")
  func hostRewriteHeaderMissing() throws {
    let table = try compiled(#""prefix": "/""#, #""host_rewrite_header": "hh""#)
    for fields in [[], [("hh", "")]] {
      let head = try table.forwarded(Head(host: "old", path: "/", fields))
      #expect(head[":authority"] == "old")
      #expect(head["x-envoy-original-host"] == nil)
    }
  }

  /// Observed in Envoy 1.40, which does not trim the values that it splits.
  @Test(
    "x-forwarded-host names the old host once",
    arguments: [
      ("first,old", "first,old"), ("first, old", "first, old,old"), ("old,other", "old,other,old"),
    ])
  func forwardedHost(_ before: String, _ after: String) throws {
    let head = try compiled(
      #""prefix": "/""#, #""host_rewrite_literal": "lit", "append_x_forwarded_host": true"#
    ).forwarded(Head(host: "old", path: "/", [("x-forwarded-host", before)]))
    #expect(head["x-forwarded-host"] == after)
  }

  /// Observed in Envoy 1.40.
  @Test("a weighted cluster's host comes before the route's, and records nothing")
  func weightedHost() throws {
    let weighted = #"""
      "weighted_clusters": {"clusters": [{"name": "a", "weight": 1, "host_rewrite_literal": "wlit"}]}
      """#
    let own = try Compiled(
      routes:
        #"{"match": {"prefix": "/"}, "route": {"append_x_forwarded_host": true, \#(weighted)}}"#
    ).forwarded(Head(host: "old", path: "/"))
    #expect(own[":authority"] == "wlit")
    #expect(own["x-envoy-original-host"] == nil && own["x-forwarded-host"] == nil)
    let both = try Compiled(
      routes:
        #"{"match": {"prefix": "/"}, "route": {"host_rewrite_literal": "rlit", \#(weighted)}}"#
    ).forwarded(Head(host: "old", path: "/"))
    #expect(both[":authority"] == "rlit")
    #expect(both["x-envoy-original-host"] == "wlit")
  }

  @Test("an automatic rewrite waits for the host to be chosen")
  func automatic() throws {
    let table = try compiled(#""prefix": "/""#, #""auto_host_rewrite": true"#)
    let head = try table.forwarded(Head(host: "old", path: "/"))
    #expect(head[":authority"] == "old")
    let match = try #require(table.match(head))
    match.rewriteHost(of: &head.map, to: Bytes("chosen"), pool: &head.pool)
    #expect(head[":authority"] == "chosen")
    #expect(head["x-envoy-original-host"] == "old")
  }

  @Test("suppressed Envoy fields record nothing")
  func suppressed() throws {
    let table = try Compiled(
      #"""
      {"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [{"match": {"prefix": "/"},
        "route": {"cluster": "a", "prefix_rewrite": "/pp", "host_rewrite_literal": "lit"}}]}]}
      """#, suppressesEnvoyHeaders: true)
    let head = try table.forwarded(Head(path: "/x"))
    #expect(head[":path"] == "/ppx")
    #expect(head["x-envoy-original-path"] == nil)
    #expect(head["x-envoy-original-host"] == nil)
  }
}

@Suite("Redirects")
struct RedirectTests {
  /// Observed in Envoy 1.40, for a request to `http://r/a/b?q=1`.
  @Test(
    "each part of the location is the request's, unless the route sets it",
    arguments: [
      ("", "http://r/a/b?q=1"),
      (#""https_redirect": true"#, "https://r/a/b?q=1"),
      (#""scheme_redirect": "ftp""#, "ftp://r/a/b?q=1"),
      (#""host_redirect": "n.com""#, "http://n.com/a/b?q=1"),
      (#""port_redirect": 81"#, "http://r:81/a/b?q=1"),
      (#""https_redirect": true, "port_redirect": 443"#, "https://r:443/a/b?q=1"),
      (#""path_redirect": "/new""#, "http://r/new?q=1"),
      (#""path_redirect": "/new?z=1", "strip_query": true"#, "http://r/new?z=1"),
      (#""path_redirect": "/new", "strip_query": true"#, "http://r/new"),
      (#""prefix_rewrite": "/pp""#, "http://r/pp/b?q=1"),
      (#""prefix_rewrite": "/pp", "strip_query": true"#, "http://r/pp/b"),
      (
        #""regex_rewrite": {"pattern": {"regex": "b"}, "substitution": "<\\0>"}"#,
        "http://r/a/<b>?q=1"
      ),
      (#""strip_query": true"#, "http://r/a/b"),
      (
        #""host_redirect": "n.com", "port_redirect": 8443, "https_redirect": true"#,
        "https://n.com:8443/a/b?q=1"
      ),
    ])
  func location(_ redirect: String, _ expected: String) throws {
    let table = try Compiled(
      routes: #"{"match": {"prefix": "/a"}, "redirect": {\#(redirect)}}"#)
    #expect(try table.location(Head(host: "r", path: "/a/b?q=1")) == expected)
  }

  /// Observed in Envoy 1.40.
  @Test(
    "a port stays, unless it is the default of the scheme that is left",
    arguments: [
      ("", "r:80", "http://r:80/p"), ("", "r:443", "http://r:443/p"),
      (#""https_redirect": true"#, "r:80", "https://r/p"),
      (#""https_redirect": true"#, "r:443", "https://r:443/p"),
      (#""https_redirect": true"#, "r:8080", "https://r:8080/p"),
      (#""https_redirect": true"#, "[::1]:80", "https://[::1]/p"),
      (#""https_redirect": true"#, "[::1]", "https://[::1]/p"),
      (#""port_redirect": 81"#, "r:9", "http://r:81/p"),
    ])
  func ports(_ redirect: String, _ host: String, _ expected: String) throws {
    let table = try Compiled(
      routes: #"{"match": {"prefix": "/"}, "redirect": {\#(redirect)}}"#)
    #expect(try table.location(Head(host: host, path: "/p")) == expected)
  }

  @Test(
    "the status is the configured one",
    arguments: [
      ("MOVED_PERMANENTLY", 301), ("FOUND", 302), ("SEE_OTHER", 303), ("TEMPORARY_REDIRECT", 307),
      ("PERMANENT_REDIRECT", 308),
    ])
  func status(_ name: String, _ expected: UInt16) throws {
    let table = try Compiled(
      routes: #"{"match": {"prefix": "/"}, "redirect": {"response_code": "\#(name)"}}"#)
    let match = try #require(table.match(Head(path: "/")))
    guard case .redirect(let action) = match.entry.value.action else {
      Issue.record("not a redirect")
      return
    }
    #expect(action.value.status == expected)
  }

  @Test("direct responses carry their body, and a location if their status wants one")
  func directResponse() throws {
    for (status, location) in [(200, nil), (201, "http://h/a?b"), (301, "http://h/a?b")] {
      let table = try Compiled(
        routes: """
          {"match": {"prefix": "/"}, "direct_response":
            {"status": \(status), "body": {"inline_string": "hello"}}}
          """)
      let head = Head(path: "/a?b")
      let match = try #require(table.match(head))
      guard case .respond(let response) = match.entry.value.action else {
        Issue.record("not a direct response")
        return
      }
      #expect(Int(response.value.status) == status)
      #expect(response.value.body == "hello")
      #expect(try table.location(head) == location)
    }
  }

  @Test(
    "a body may be made from a format",
    arguments: [
      (
        #""body": {"inline_string": "B"}, "body_format": {"content_type": "text/x", "text_format_source": {"inline_string": "<%PROTOCOL%> %REQ(no)%"}}"#,
        "text/x", "<HTTP/1.1> -"
      ),
      (
        #""body_format": {"text_format": "x%REQ(no)%y", "omit_empty_values": true}"#, "text/plain",
        "xy"
      ),
      (
        #""body_format": {"json_format": {"b": ["%PROTOCOL%", 1.5], "a": {"c": true}}}"#,
        "application/json", #"{"a":{"c":true},"b":["HTTP/1.1",1.5]}"# + "\n"
      ),
    ])
  func bodyFormat(_ fields: String, _ contentType: String, _ expected: String) throws {
    let table = try Compiled(
      routes: #"{"match": {"prefix": "/"}, "direct_response": {"status": 200, \#(fields)}}"#)
    #expect(table.diagnostics.rendered == [])
    let match = try #require(table.match(Head(path: "/")))
    guard case .respond(let response) = match.entry.value.action, let format = response.value.format
    else {
      Issue.record("no format")
      return
    }
    #expect(format.contentType.string == contentType)
    var memory = [UInt8](repeating: 0, count: 256)
    let renderer = LogRenderer()
    let text = memory.withUnsafeMutableBufferPointer { buffer -> String? in
      guard let base = buffer.baseAddress else { return nil }
      var sink = ByteSink(base: base, capacity: buffer.count)
      let fits = format.format.value.render(StubSource(), with: renderer, into: &sink)
      return fits ? sink.bytes.text : nil
    }
    renderer.deallocate()
    #expect(text == expected)
  }

  @Test("a body of the limit's length passes, a longer one does not")
  func directResponseLimit() throws {
    for (length, isAccepted) in [(4096, true), (4097, false)] {
      let body = String(repeating: "x", count: length)
      let table = try Compiled(
        routes: """
          {"match": {"prefix": "/"}, "direct_response":
            {"status": 200, "body": {"inline_string": "\(body)"}}}
          """)
      #expect(table.diagnostics.hasErrors != isAccepted)
    }
  }
}
