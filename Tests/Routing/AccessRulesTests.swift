import Engine
import HTTPModel
import ResourceModel
import Resources
import SwiftProtobuf
import Testing

@testable import Routing

/// A request of which a test says everything.
private struct Subject: AccessSubject {
  var head = Head(path: "/a?b=c", [("x-who", "me")])
  var addresses: [AccessAddress: String] = [:]
  var isSecured = false
  var names: [AccessName: [String]] = [:]
  var serverName = ""
  var notes: [String: MetadataValue] = [:]

  func address(_ which: AccessAddress) -> SocketAddress {
    SocketAddress(ip: addresses[which] ?? "127.0.0.1", port: 8080) ?? SocketAddress()
  }

  func peerName(_ kind: AccessName, _ index: Int) -> Bytes? {
    guard let all = names[kind], index < all.count else { return nil }
    return .immortal(all[index])
  }

  func fitsServerName(_ matcher: StringMatcher) -> Bool { matcher.matches(.immortal(serverName)) }
  func fits(_ matcher: HeaderMatcher) -> Bool { head.fits(matcher) }
  var path: Bytes? { head[":path"].map { .immortal($0) } }

  func metadata(_ space: Bytes, _ key: Bytes) -> MetadataValue? {
    notes["\(space.string):\(key.string)"]
  }
}

@Suite("Rules of access")
struct AccessRulesTests {
  private func compile(
    _ json: String, hasHeads: Bool = true, _ diagnostics: Diagnostics = Diagnostics(files: [])
  ) throws -> AccessRules {
    AccessCompiler(diagnostics, hasHeads: hasHeads)
      .compile(try AccessCompiler.Message(jsonString: json), at: .root)
  }

  private func matches(
    permission: String = #"{"any": true}"#, principal: String = #"{"any": true}"#,
    _ subject: Subject
  ) throws -> Bool {
    let diagnostics = Diagnostics(files: [])
    let rules = try compile(
      #"{"policies": {"p": {"permissions": [\#(permission)], "principals": [\#(principal)]}}}"#,
      diagnostics)
    #expect(!diagnostics.hasErrors)
    return rules.match(subject) == 0
  }

  @Test(
    "permissions match what they say, and nothing beside it",
    arguments: [
      (#"{"any": true}"#, true), (#"{"notRule": {"any": true}}"#, false),
      (#"{"header": {"name": "x-who", "exactMatch": "me"}}"#, true),
      (#"{"header": {"name": "x-who", "exactMatch": "you"}}"#, false),
      (#"{"urlPath": {"path": {"exact": "/a"}}}"#, true),
      (#"{"urlPath": {"path": {"exact": "/a?b=c"}}}"#, false),
      (#"{"destinationIp": {"addressPrefix": "127.0.0.0", "prefixLen": 8}}"#, true),
      (#"{"destinationIp": {"addressPrefix": "10.0.0.0", "prefixLen": 8}}"#, false),
      (#"{"destinationPort": 8080}"#, true), (#"{"destinationPort": 8081}"#, false),
      (#"{"destinationPortRange": {"start": 8080, "end": 8081}}"#, true),
      (#"{"destinationPortRange": {"start": 8079, "end": 8080}}"#, false),
      (#"{"destinationPortRange": {"start": 8081, "end": 9000}}"#, false),
      (#"{"requestedServerName": {"exact": "s.example"}}"#, true),
      (#"{"requestedServerName": {"exact": "s"}}"#, false),
      (#"{"andRules": {"rules": [{"any": true}, {"destinationPort": 1}]}}"#, false),
      (#"{"orRules": {"rules": [{"destinationPort": 1}, {"any": true}]}}"#, true),
      (
        #"{"andRules": {"rules": [{"orRules": {"rules": [{"destinationPort": 1}, "#
          + #"{"notRule": {"destinationPort": 2}}]}}, {"any": true}]}}"#, true
      ),
      (
        #"{"andRules": {"rules": [{"any": true}, {"notRule": {"orRules": {"rules": "#
          + #"[{"destinationPort": 1}, {"any": true}]}}}]}}"#, false
      ),
    ])
  func permissions(json: String, isMatch: Bool) throws {
    #expect(try matches(permission: json, Subject(serverName: "s.example")) == isMatch)
  }

  @Test(
    "each address is asked for by its own name",
    arguments: [
      ("sourceIp", AccessAddress.source), ("directRemoteIp", .directRemote), ("remoteIp", .remote),
    ])
  func addresses(field: String, which: AccessAddress) throws {
    let principal = #"{"\#(field)": {"addressPrefix": "10.1.0.0", "prefixLen": 16}}"#
    #expect(try matches(principal: principal, Subject(addresses: [which: "10.1.2.3"])))
    #expect(try !matches(principal: principal, Subject(addresses: [which: "10.2.2.3"])))
    #expect(try !matches(principal: principal, Subject()))
  }

  @Test(
    "a certificate authenticates by a URI, a DNS name or its subject",
    arguments: [
      ("spiffe://m/a", true), ("spiffe://m/b", true), ("d.example", true), ("CN=s", true),
      ("d", false), ("", false),
    ])
  func authenticated(name: String, isMatch: Bool) throws {
    let subject = Subject(
      isSecured: true,
      names: [.uri: ["spiffe://m/a", "spiffe://m/b"], .dns: ["d.example"], .subject: ["CN=s"]])
    let principal = #"{"authenticated": {"principalName": {"exact": "\#(name)"}}}"#
    #expect(try matches(principal: principal, subject) == isMatch)
    #expect(try !matches(principal: principal, Subject(names: subject.names)))
  }

  @Test("without a name to ask for, every client of TLS is authenticated")
  func anybody() throws {
    let principal = #"{"authenticated": {}}"#
    #expect(try matches(principal: principal, Subject(isSecured: true)))
    #expect(try !matches(principal: principal, Subject()))
  }

  @Test(
    "metadata is a text, a flag, or not there",
    arguments: [
      (#"{"stringMatch": {"exact": "v"}}"#, true, false), (#"{"boolMatch": true}"#, false, true),
      (#"{"boolMatch": false}"#, false, false), (#"{"presentMatch": true}"#, true, true),
      (#"{"presentMatch": false}"#, false, false), (#"{"nullMatch": {}}"#, false, false),
      (#"{"stringMatch": {"exact": "true"}}"#, false, false),
      (
        #"{"orMatch": {"valueMatchers": [{"boolMatch": true}, {"stringMatch": {"prefix": "v"}}]}}"#,
        true, true
      ),
    ])
  func metadata(value: String, fitsText: Bool, fitsFlag: Bool) throws {
    let subject = Subject(
      notes: ["f:text": MetadataValue(.immortal("v")), "f:flag": MetadataValue(flag: true)])
    for (key, fits) in [("text", fitsText), ("flag", fitsFlag), ("nothing", false)] {
      for invert in [false, true] {
        let matcher =
          #"{"filter": "f", "path": [{"key": "\#(key)"}], "value": \#(value), "#
          + #""invert": \#(invert)}"#
        #expect(try matches(principal: #"{"metadata": \#(matcher)}"#, subject) == (fits != invert))
        #expect(
          try matches(
            permission: #"{"sourcedMetadata": {"metadataMatcher": \#(matcher)}}"#, subject)
            == (fits != invert))
      }
    }
  }

  @Test("policies are asked in the order of their names, and need a principal as well")
  func order() throws {
    let rules = try compile(
      #"{"action": "DENY", "policies": {"#
        + #""b": {"permissions": [{"any": true}], "principals": [{"any": true}]}, "#
        + #""a b": {"permissions": [{"any": true}], "principals": [{"any": true}]}, "#
        + #""Z": {"permissions": [{"any": true}], "principals": [{"authenticated": {}}]}}}"#)
    #expect((0..<rules.count).map { rules.name(of: $0).string } == ["Z", "a b", "b"])
    #expect(rules.match(Subject()) == 1)
    #expect(rules.match(Subject(isSecured: true)) == 0)
    #expect(rules.action == .deny)
  }

  @Test("what a rule cannot mean is reported where it stands")
  func mistakes() throws {
    let diagnostics = Diagnostics(files: ["f"])
    _ = try compile(
      #"{"policies": {"p": {"permissions": ["#
        + #"{"header": {"name": "x", "presentMatch": true}}, "#
        + #"{"notRule": {"destinationIp": {"addressPrefix": "x"}}}, "#
        + #"{"destinationPortRange": {"start": 2, "end": 2}}], "principals": ["#
        + #"{"andIds": {"ids": [{"remoteIp": {"addressPrefix": "::", "prefixLen": 129}}]}}]}}}"#,
      hasHeads: false, diagnostics)
    let place = #"policies["p"]."#
    #expect(
      diagnostics.all.map(\.path) == [
        place + "permissions[0].header",
        place + "permissions[1].not_rule.destination_ip.address_prefix",
        place + "permissions[2].destination_port_range",
        place + "principals[0].and_ids.ids[0].remote_ip.prefix_len",
      ])
  }
}
