import Testing

@testable import ControlTool

private let status = #"""
  [{"proxy":"sidecar~10.0.0.2~web-2.default~d","proxy_type":"sidecar","client":"envoy",
    "version":"1.40.0","cluster_id":"Kubernetes","types":[
     {"type":"RDS","sent_version":"7","acked_version":"6","state":"ERROR",
      "reason":"virtual_hosts: no\nsecond line","since":"2026-11-26T12:00:00Z"},
     {"type":"EDS","sent_version":"8","acked_version":"","state":"STALE",
      "since":"2026-11-26T12:26:00Z"},
     {"type":"ECDS","state":"NOT SENT"},{"type":"LDS","state":"IGNORED"}],
    "unsupported":["EnvoyFilter 'x': no such filter"]},
   {"proxy":"plain","client":"fairlead","version":"0.1.0","types":[
     {"type":"CDS","state":"SYNCED","since":"2026-11-26T12:16:59Z"}]}]
  """#

@Suite("Tables of proxy-status")
struct ProxyStatusTests {
  private let now = 1_795_696_019

  private func table(isVerbose: Bool) throws -> [String] {
    let all = SyncStatus.all(in: try json(status))
    return SyncTable.text(all, istiod: "127.0.0.1:15014", now: now, isVerbose: isVerbose)
      .split(separator: "\n", omittingEmptySubsequences: false).map { line in
        line.hasPrefix("web-2.default  ") && !line.hasPrefix("web-2.default     ")
          ? String(line)
          : line.split(separator: "  ").map { $0.drop { $0 == " " } }.joined(separator: " | ")
      }
  }

  @Test("each proxy has a line, and trouble its reason below")
  func short() throws {
    #expect(
      try table(isVerbose: false) == [
        "NAME | CLUSTER | ISTIOD | VERSION | SUBSCRIBED TYPES",
        "plain | - | 127.0.0.1:15014 | fairlead 0.1.0 | 1 (CDS)",
        "web-2.default | Kubernetes | 127.0.0.1:15014 | envoy 1.40.0 | 3 (EDS,RDS,ECDS)", "",
        "web-2.default  RDS ERROR (26m): virtual_hosts: no", "second line",
        "web-2.default  EDS STALE (59s): version 8 is sent and not acknowledged; "
          + "the proxy has nothing",
        "web-2.default  not sent to envoy: EnvoyFilter 'x': no such filter", "",
      ])
  }

  @Test("with -v 1 each kind has its state")
  func verbose() throws {
    #expect(
      try table(isVerbose: true).prefix(3) == [
        "NAME | CLUSTER | CDS | ECDS | EDS | LDS | RDS | ISTIOD | VERSION",
        "plain | - | SYNCED (10m) | IGNORED | IGNORED | IGNORED | IGNORED | 127.0.0.1:15014 | "
          + "fairlead 0.1.0",
        "web-2.default | Kubernetes | IGNORED | NOT SENT | STALE (59s) | IGNORED | ERROR (26m) | "
          + "127.0.0.1:15014 | envoy 1.40.0",
      ])
  }

  @Test(
    "of a resource that Envoy repeats in its refusal, the name is shown",
    arguments: [
      (
        """
        goo.gle/debugproto \u{20}
        name: "a"
        thresholds {
          name: "inner"
        }
        : Proto constraint validation failed (Cluster: x)
        """, "\"a\": Proto constraint validation failed (Cluster: x)"
      ),
      ("Error adding a: goo.gle/debugonly\nname: \"a\"\n: no", "Error adding a: \n\"a\": no"),
      ("one\ntwo", "one\ntwo"), ("", ""),
      ("goo.gle/debugstr\nname: \"a\"", "goo.gle/debugstr\nname: \"a\""),
    ])
  func refusal(text: String, short: String) { #expect(Refusal.short(text) == short) }

  @Test("a proxy without trouble has nothing below the table")
  func quiet() throws {
    let all = SyncStatus.all(in: try json(#"[{"proxy":"a","types":[]}]"#))
    let text = SyncTable.text(all, istiod: "x", now: now, isVerbose: false)
    #expect(text.split(separator: "\n", omittingEmptySubsequences: false).count == 3)
    #expect(all.first?.subscribed == "0")
  }
}

@Suite("Lines that differ")
struct LineDifferenceTests {
  @Test(
    "only changes and what is around them are shown",
    arguments: [
      ("a\nb\nc", "a\nb\nc", ""), ("a\nb\nc", "a\nx\nc", " a\n-b\n+x\n c\n"), ("", "a", "-\n+a\n"),
      ("a", "a\nb", " a\n+b\n"), ("a\nb", "b", "-a\n b\n"),
      ("1\n2\n3\n4\n5\n6", "1\n2\n3\n4\n5\n7", "...\n 3\n 4\n 5\n-6\n+7\n"),
      (
        "x\n1\n2\n3\n4\n5\n6\n7\ny", "X\n1\n2\n3\n4\n5\n6\n7\nY",
        "-x\n+X\n 1\n 2\n 3\n...\n 5\n 6\n 7\n-y\n+Y\n"
      ),
    ])
  func shown(old: String, new: String, wanted: String) {
    let shown = LineDifference.text(old, new)
    #expect(shown == (wanted.hasPrefix("...\n") ? String(wanted.dropFirst(4)) : wanted))
  }

  @Test("what is kept and removed is the old text, what is kept and added the new one")
  func isWhole() {
    var state: UInt64 = 7
    func random(_ bound: UInt64) -> UInt64 {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return (state >> 33) % bound
    }
    for _ in 0..<300 {
      // Texts of few lines, so that their context is all of them.
      let old = (0..<random(4)).map { _ in "\(random(3))" } + ["end"]
      let new = (0..<random(4)).map { _ in "\(random(3))" } + ["end"]
      guard old != new else { continue }
      let lines = LineDifference.text(old.joined(separator: "\n"), new.joined(separator: "\n"))
        .split(separator: "\n")
      #expect(lines.filter { !$0.hasPrefix("+") }.map { String($0.dropFirst()) } == old)
      #expect(lines.filter { !$0.hasPrefix("-") }.map { String($0.dropFirst()) } == new)
    }
  }

  @Test("texts that share too little are shown one after the other")
  func tooMuch() {
    let old = (0..<1500).map { "a\($0)" }.joined(separator: "\n")
    let new = (0..<1500).map { "b\($0)" }.joined(separator: "\n")
    #expect(LineDifference.text(old, new).split(separator: "\n").count == 3000)
  }
}

@Suite("What was sent against what runs")
struct ConfigComparisonTests {
  private func changed(_ dump: ConfigDump, _ old: String, _ new: String) throws -> ConfigDump {
    let text = JSONWriter.write(dump.document)
    let parts = text.split(separator: old, omittingEmptySubsequences: false)
    #expect(parts.count > 1)
    return try ConfigDump(try json(parts.joined(separator: new)), origin: "changed")
  }

  @Test("a proxy that runs what it was sent matches, however it writes it")
  func alike() throws {
    let fairlead = try StoredDump.dump("fairlead")
    let comparison = ConfigComparison(sent: fairlead, running: fairlead)
    #expect(comparison.isSame)
    #expect(
      comparison.text == "Clusters Match\nListeners Match\nRoutes Match\nEndpoints Match\n")
    let envoy = try StoredDump.dump("envoy")
    let other = ConfigComparison(sent: fairlead, running: envoy)
    // They were given the same but for the clusters' metadata.
    #expect(other.parts.filter { !$0.differences.isEmpty }.map(\.kind) == ["Clusters"])
  }

  @Test("what differs is shown by its lines")
  func different() throws {
    let sent = try StoredDump.dump("fairlead")
    let running = try changed(sent, #""weight": 70"#, #""weight": 71"#)
    let comparison = ConfigComparison(sent: sent, running: running)
    #expect(comparison.parts.map(\.differences.isEmpty) == [true, true, false, true])
    #expect(comparison.text.contains("Routes Don't Match\n  '8090': - sent, + running\n"))
    let lines = comparison.text.split(separator: "\n").map { $0.filter { $0 != " " } }
    #expect(lines.contains(#"-"weight":70"#) && lines.contains(#"+"weight":71"#))
  }

  @Test("what is missing on one side is named")
  func missing() throws {
    let sent = try StoredDump.dump("fairlead")
    let running = try changed(sent, #""name": "10.96.0.7_3306""#, #""name": "renamed""#)
    let text = ConfigComparison(sent: sent, running: running).text
    #expect(text.contains("'10.96.0.7_3306' was sent and does not run\n"))
    #expect(text.contains("'renamed' runs and was not sent\n"))
  }

  @Test("endpoints are compared by address and state")
  func endpoints() throws {
    let sent = try StoredDump.dump("fairlead")
    let running = try changed(sent, "172.20.3.60", "172.20.3.61")
    let comparison = ConfigComparison(sent: sent, running: running)
    #expect(comparison.parts.last?.differences.count == 1)
    #expect(comparison.text.contains(#"+    "172.20.3.61:3306 HEALTHY""#))
  }

  @Test("false and zero are told apart from nothing; what is empty is not")
  func canonical() throws {
    #expect(
      Canonical.form(try json(#"{"b":"12","a":[],"c":"","d":null,"e":{},"f":false,"g":0}"#))
        == (try json(#"{"b":12,"e":{},"f":false,"g":0}"#)))
  }
}
