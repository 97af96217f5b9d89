import Engine
import ResourceModel
import Resources
import SwiftProtobuf
import Telemetry
import Testing

@testable import Routing

@Suite("Header changes")
struct HeaderMutationTests {
  private static func added(
    _ key: String, _ value: String, _ action: String = "", _ rest: String = ""
  )
    -> String
  {
    let action = action.isEmpty ? "" : #", "append_action": "\#(action)""#
    return #"{"header": {"key": "\#(key)", "value": "\#(value)"}\#(action)\#(rest)}"#
  }

  private static func level(_ name: String) -> String {
    let list = added("who", name, "OVERWRITE_IF_EXISTS_OR_ADD") + ", " + added("all", name)
    return #""request_headers_to_add": [\#(list)], "response_headers_to_add": [\#(list)]"#
  }

  private static func levels(_ option: String) throws -> Compiled {
    try Compiled(
      """
      {"virtual_hosts": [{"name": "v", "domains": ["*"], \(level("vhost")), "routes": [
        {"match": {"prefix": "/"}, \(level("route")), "route": {"weighted_clusters": {"clusters": [
          {"name": "a", "weight": 1, \(level("weighted"))}]}}}]}],
       \(level("config"))\(option)}
      """)
  }

  /// Observed in Envoy 1.40.
  @Test("every level adds, and the last to come overwrites")
  func levelOrder() throws {
    let byDefault = try Self.levels("")
    let specific = try Self.levels(#", "most_specific_header_mutations_wins": true"#)
    for (table, order) in [
      (byDefault, ["weighted", "route", "vhost", "config"]),
      (specific, ["weighted", "config", "vhost", "route"]),
    ] {
      let head = try table.forwarded(Head(path: "/", [("who", "client")]))
      #expect(head.all("all") == order)
      #expect(head.all("who") == [order[3]])
      let match = try #require(table.match(head))
      let response = Head([(":status", "200")])
      let renderer = LogRenderer()
      match.prepareResponse(&response.map, StubSource(), renderer: renderer, pool: &response.pool)
      renderer.deallocate()
      #expect(response.all("all") == order)
      #expect(response.all("who") == [order[3]])
    }
  }

  /// Observed in Envoy 1.40.
  @Test("within a level, removals come first and values see the head before any addition")
  func withinLevel() throws {
    let options = [
      Self.added("path", "%REQ(:PATH)%"), Self.added("e", ""),
      Self.added("ek", "", "", #", "keep_empty_value": true"#),
      Self.added("op", "%REQ(absent)%"), Self.added("mixed", "<%REQ(absent)%%PROTOCOL%>"),
      Self.added("abs", "1", "ADD_IF_ABSENT"), Self.added("abs", "2", "ADD_IF_ABSENT"),
      Self.added("ow", "1", "OVERWRITE_IF_EXISTS"), Self.added("none", "1", "OVERWRITE_IF_EXISTS"),
      Self.added("ow2", "1", "OVERWRITE_IF_EXISTS_OR_ADD"), Self.added("ow2", "2"),
      Self.added("pct", "100%%"), Self.added("ow2", "3", "OVERWRITE_IF_EXISTS_OR_ADD"),
      Self.added("X-Up", "v"), Self.added("seen", "%REQ(ow2)%"), Self.added("user-agent", "b"),
      Self.added("old", "1", "", #", "append": false"#),
    ].joined(separator: ", ")
    let table = try Compiled(
      routes: """
        {"match": {"prefix": "/"}, "request_headers_to_add": [\(options)],
         "request_headers_to_remove": ["gone", "X-Gone2"],
         "route": {"cluster": "a", "prefix_rewrite": "/pp"}}
        """)
    #expect(table.diagnostics.rendered == [])
    let head = try table.forwarded(
      Head(
        path: "/x",
        [
          ("gone", "1"), ("x-gone2", "1"), ("ow", "0"), ("ow2", "0"), ("user-agent", "a"),
          ("old", "0"),
        ]))
    #expect(head["gone"] == nil && head["x-gone2"] == nil)
    #expect(head["path"] == "/x")
    #expect(head["e"] == nil && head["op"] == nil && head["none"] == nil)
    #expect(head["ek"] == "")
    #expect(head["mixed"] == "<HTTP/1.1>")
    #expect(head.all("abs") == ["1", "2"])
    #expect(head.all("ow") == ["1"])
    #expect(head.all("ow2") == ["3", "2"])
    #expect(head["pct"] == "100%")
    #expect(head["x-up"] == "v")
    #expect(head["seen"] == "0")
    // Fields that Envoy keeps once are joined.
    #expect(head.all("user-agent") == ["a,b"])
    #expect(head.all("old") == ["1"])
  }

  @Test("a field that is there is not added when absent is asked for")
  func addIfAbsent() throws {
    let table = try Compiled(
      routes: """
        {"match": {"prefix": "/"}, "route": {"cluster": "a"},
         "request_headers_to_add": [\(Self.added("abs", "1", "ADD_IF_ABSENT"))]}
        """)
    #expect(try table.forwarded(Head(path: "/", [("abs", "0")])).all("abs") == ["0"])
    #expect(try table.forwarded(Head(path: "/")).all("abs") == ["1"])
  }

  @Test("a value may say what the other head said")
  func otherHead() throws {
    let table = try Compiled(
      routes: """
        {"match": {"prefix": "/"}, "route": {"cluster": "a"}, "response_headers_to_add": [
          \(Self.added("copy", "%REQ(X-From-Request)%")), \(Self.added("own", "%RESP(:status)%"))]}
        """)
    let match = try #require(table.match(Head(path: "/")))
    let response = Head([(":status", "200")])
    let renderer = LogRenderer()
    match.prepareResponse(&response.map, StubSource(), renderer: renderer, pool: &response.pool)
    renderer.deallocate()
    #expect(response["copy"] == "request")
    #expect(response["own"] == "200")
  }

  @Test("values that together outgrow every head are left out, and nothing else is")
  func outgrowing() throws {
    let options = (0..<8).map { Self.added("copy\($0)", "%REQ(big)%") }
      .joined(separator: ", ")
    let table = try Compiled(
      routes: """
        {"match": {"prefix": "/"}, "route": {"cluster": "a"}, "request_headers_to_add": [\(options)]}
        """)
    let big = String(repeating: "b", count: 60_000)
    let head = try table.forwarded(Head(path: "/", [("big", big)]))
    #expect(head.map.overflowed || head["copy7"] == nil)
  }

  @Test("an unknown operator is reported where it stands")
  func unknownOperator() throws {
    let table = try Compiled(
      routes: """
        {"match": {"prefix": "/"}, "route": {"cluster": "a"},
         "request_headers_to_add": [\(Self.added("x", "%NONSENSE%"))]}
        """)
    #expect(
      table.diagnostics.all.map(\.path) == [
        "virtual_hosts[0].routes[0].request_headers_to_add[0].header.value"
      ])
  }

  @Test("a filter's list may not touch the request line or the host")
  func protected() throws {
    for json in [
      #"{"append": \#(Self.added(":path", "/"))}"#, #"{"append": \#(Self.added("Host", "h"))}"#,
      #"{"remove": ":method"}"#, #"{"remove": "host"}"#,
    ] {
      let message = try Envoy_Config_Common_MutationRules_V3_HeaderMutation(
        jsonString: json)
      let diagnostics = Diagnostics(files: ["f"])
      _ = HeaderMutations([message], of: .request, at: .root, diagnostics)
      #expect(diagnostics.errorCount == 1, "\(json)")
    }
  }

  /// Observed in Envoy 1.40's header_mutation filter.
  @Test("a filter's list is carried out step by step")
  func sequence() throws {
    let messages = try [
      #"{"append": \#(Self.added("a", "1"))}"#, #"{"append": \#(Self.added("a2", "[%REQ(a)%]"))}"#,
      #"{"remove": "gone"}"#, #"{"append": \#(Self.added("abs", "1", "ADD_IF_ABSENT"))}"#,
      #"{"append": \#(Self.added("abs", "2", "ADD_IF_ABSENT"))}"#,
      #"{"remove_on_match": {"key_matcher": {"prefix": "x-rm"}}}"#,
      #"{"append": \#(Self.added("emp", ""))}"#, #"{"append": \#(Self.added("c", "%REQ(abs)%"))}"#,
    ].map { try Envoy_Config_Common_MutationRules_V3_HeaderMutation(jsonString: $0) }
    let diagnostics = Diagnostics(files: [])
    let mutations = HeaderMutations(messages, of: .request, at: .root, diagnostics)
    #expect(!diagnostics.hasErrors)
    let head = Head(
      path: "/", [("gone", "1"), ("x-rm-a", "1"), ("x-rmb", "1"), ("x-r", "1"), ("a", "0")])
    let renderer = LogRenderer()
    mutations.apply(to: &head.map, StubSource(), renderer, pool: &head.pool)
    renderer.deallocate()
    #expect(head.all("a") == ["0", "1"])
    #expect(head["a2"] == "[0]")
    #expect(head["gone"] == nil && head["x-rm-a"] == nil && head["x-rmb"] == nil)
    #expect(head["x-r"] == "1")
    #expect(head.all("abs") == ["1"])
    #expect(head["emp"] == nil)
    #expect(head["c"] == "1")
  }
}
