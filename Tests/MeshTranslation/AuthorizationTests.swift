import MeshMessages
import MeshModel
import ResourceModel
import Testing

@testable import MeshTranslation

/// The RBAC filters of a workload's requests.
private func filters(
  _ policies: String..., labels: [String: String] = ["app": "reviews"]
) throws -> [Envoy_Extensions_Filters_Http_Rbac_V3_RBAC] {
  let fixture = Fixture(
    policies.joined(separator: "\n---\n"),
    metadata: [
      "INTERCEPTION_MODE": "NONE", "APPLICATION_ADDRESS": "127.0.0.2",
    ], labels: labels, address: "10.0.0.1")
  let chain = try #require(fixture.inbound.listeners.first?.filterChains.first)
  let manager = try NetworkFilters.Manager(
    serializedBytes: try #require(chain.filters.last).typedConfig.value)
  return try manager.httpFilters.filter { $0.name == "envoy.filters.http.rbac" }.map {
    try Envoy_Extensions_Filters_Http_Rbac_V3_RBAC(serializedBytes: $0.typedConfig.value)
  }
}

private func policy(_ spec: String, name: String = "p", namespace: String = "default") -> String {
  """
  apiVersion: security.istio.io/v1
  kind: AuthorizationPolicy
  metadata: {name: \(name), namespace: \(namespace)}
  spec:
  \(spec.split(separator: "\n").map { "  " + $0 }.joined(separator: "\n"))
  """
}

@Suite("Policies of authorization")
struct AuthorizationTests {
  @Test("denials stand before permissions, and policies are named by where they come from")
  func order() throws {
    let found = try filters(
      policy("action: ALLOW\nrules: [{}]", name: "a"),
      policy("action: DENY\nrules: [{to: [{operation: {paths: [/x]}}]}]", name: "d"),
      policy("rules: [{}]", name: "r", namespace: "istio-system"),
      policy("rules: [{}]", name: "o", namespace: "other"))
    #expect(found.map(\.rules.action) == [.deny, .allow])
    #expect(found.first?.rules.policies.keys.sorted() == ["ns[default]-policy[d]-rule[0]"])
    #expect(
      found.last?.rules.policies.keys.sorted() == [
        "ns[default]-policy[a]-rule[0]", "ns[istio-system]-policy[r]-rule[0]",
      ])
  }

  @Test("a policy without rules allows nothing")
  func empty() throws {
    let found = try filters(policy("{}"))
    #expect(found.map(\.rules.action) == [.allow])
    #expect(found.first?.hasRules == true)
    #expect(found.first?.rules.policies.isEmpty == true)
  }

  @Test("identities are matched whole, by their beginning or their end, in every trusted domain")
  func identities() throws {
    let found = try filters(
      policy(
        """
        rules:
        - from: [{source: {principals: [cluster.local/ns/a/sa/b, "cluster.local/*", "*/sa/c", "*"]}}]
        """),
      """
      {apiVersion: mesh.istio.io/v1alpha1, kind: MeshConfig, metadata: {name: m}, spec: {
        trustDomainAliases: [old.example]}}
      """)
    let principal = found.first?.rules.policies.values.first?.principals.first
    let names: [Envoy_Type_Matcher_V3_StringMatcher]? = principal?.orIds.ids.flatMap {
      $0.orIds.ids.isEmpty ? [$0] : $0.orIds.ids
    }
    .map(\.authenticated.principalName)
    #expect(
      names == [
        .with { $0.exact = "spiffe://cluster.local/ns/a/sa/b" },
        .with { $0.exact = "spiffe://old.example/ns/a/sa/b" },
        .with { $0.prefix = "spiffe://cluster.local/" },
        .with { $0.prefix = "spiffe://old.example/" },
        .with { $0.suffix = "/sa/c" }, .with { $0.safeRegex.regex = ".+" },
      ])
  }

  @Test("namespaces and accounts are parts of an identity, and nothing more")
  func parts() throws {
    let found = try filters(
      policy("rules: [{from: [{source: {namespaces: [a.b], serviceAccounts: [c/d]}}]}]"))
    let ids = found.first?.rules.policies.values.first?.principals.first?.andIds.ids
    #expect(
      ids?.map(\.authenticated.principalName.safeRegex.regex)
        == ["spiffe://[^/]+/ns/a\\.b/.*", "spiffe://[^/]+/ns/c/sa/d"])
  }

  @Test("what a policy says not to be is the opposite of all its values")
  func negation() throws {
    let found = try filters(policy("rules: [{to: [{operation: {notMethods: [GET, HEAD]}}]}]"))
    let permission = found.first?.rules.policies.values.first?.permissions.first
    #expect(permission?.notRule.orRules.rules.map(\.header.stringMatch.exact) == ["GET", "HEAD"])
  }

  @Test("a policy that would ask somebody refuses, and is noted")
  func custom() throws {
    let fixture = Fixture(
      policy("action: CUSTOM\nprovider: {name: ext}\nrules: [{to: [{operation: {paths: [/x]}}]}]"),
      metadata: ["INTERCEPTION_MODE": "NONE", "APPLICATION_ADDRESS": "127.0.0.2"],
      labels: ["app": "reviews"], address: "10.0.0.1")
    #expect(fixture.inbound.omissions.map(\.field) == ["action"])
  }
}
