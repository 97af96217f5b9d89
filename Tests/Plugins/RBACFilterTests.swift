import FilterSDK
import RBAC
import Testing

/// The fake host's policies match the path that is their name.
@Suite("RBAC filter")
struct RBACFilterTests {
  private let space = "envoy.filters.http.rbac:"

  private func rules(_ action: String, _ policies: Document...) -> Document {
    ["action": .string(action), "policies": .list(policies)]
  }

  @Test(
    "each action lets through what it should",
    arguments: [
      ("ALLOW", "/a", true), ("ALLOW", "/x", false), ("DENY", "/a", false), ("DENY", "/x", true),
      ("LOG", "/a", true), ("LOG", "/x", true),
    ])
  func actions(action: String, path: String, isAllowed: Bool) throws {
    let rig = try FilterRig(rbacFilter, ["rules": rules(action, "a")])
    let stream = rig.stream()
    #expect(stream.requestHead([], path: path) == (isAllowed ? .continue : .replied))
    #expect(rig["http.test.rbac.allowed"] == (isAllowed ? 1 : 0))
    #expect(rig["http.test.rbac.denied"] == (isAllowed ? 0 : 1))
    #expect(stream.metadata[space + "enforced_engine_result"] == (isAllowed ? "allowed" : "denied"))
    #expect(stream.metadata[space + "enforced_effective_policy_id"] == (path == "/a" ? "a" : nil))
    #expect(
      stream.metadata["envoy.common:access_log_hint"]
        == (action == "LOG" ? "\(path == "/a")" : nil))
  }

  @Test("a refusal names its policy, with underscores for blanks, or none")
  func details() throws {
    let rig = try FilterRig(rbacFilter, ["rules": rules("DENY", "a b")])
    let stream = rig.stream()
    #expect(stream.requestHead([], path: "/a b") == .replied)
    #expect(
      stream.reply
        == Reply(
          status: 403, body: "RBAC: access denied",
          details: "rbac_access_denied_matched_policy[a_b]"))
    let other = try FilterRig(rbacFilter, ["rules": rules("ALLOW", "a b")]).stream()
    #expect(other.requestHead([], path: "/") == .replied)
    #expect(other.reply?.details == "rbac_access_denied_matched_policy[none]")
  }

  @Test("shadow rules are counted and noted, and nothing follows from them")
  func shadow() throws {
    let rig = try FilterRig(
      rbacFilter, ["shadow_rules": rules("DENY", "a"), "shadow_rules_stat_prefix": "dry_"])
    let stream = rig.stream()
    #expect(stream.requestHead([], path: "/a") == .continue)
    #expect(rig["http.test.rbac.dry_.shadow_denied"] == 1)
    #expect(stream.metadata[space + "dry_shadow_engine_result"] == "denied")
    #expect(stream.metadata[space + "dry_shadow_effective_policy_id"] == "a")
    #expect(rig["http.test.rbac.allowed"] == 0)
  }

  @Test("each rule is counted where that is asked for")
  func perRule() throws {
    let rig = try FilterRig(
      rbacFilter,
      ["rules": rules("ALLOW", "a", "b"), "rules_stat_prefix": "p", "track_per_rule_stats": true])
    for path in ["/a", "/b", "/b"] {
      #expect(rig.stream().requestHead([], path: path) == .continue)
    }
    #expect(rig["http.test.rbac.p.policy.a.allowed"] == 1)
    #expect(rig["http.test.rbac.p.policy.b.allowed"] == 2)
    #expect(rig["http.test.rbac.p.allowed"] == 3)
  }

  @Test("a route's rules take the place of the filter's, which counts for them")
  func route() throws {
    let own = try FilterRig(
      rbacFilter, ["rules": rules("ALLOW", "a")], route: ["rbac": ["rules": rules("DENY", "a")]])
    #expect(own.stream().requestHead([], path: "/a") == .replied)
    #expect(own["http.test.rbac.denied"] == 1)
    let none = try FilterRig(rbacFilter, ["rules": rules("DENY", "a")], route: [:])
    #expect(none.stream().requestHead([], path: "/a") == .continue)
    #expect(none["http.test.rbac.allowed"] == 0)
  }
}
