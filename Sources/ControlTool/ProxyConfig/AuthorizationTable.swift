/// The rules of access that a proxy keeps, by the policies that they come from.
package enum AuthorizationTable {
  /// One policy, as filters of access name it.
  package struct Policy: Equatable {
    package var action: String
    /// `name.namespace`, or the rule's whole name where it is not of Istio's form.
    package var name: String
    package var rules: Int
    /// It is only counted what it would refuse.
    package var isShadow: Bool
  }

  /// Those of a proxy's inbound listeners; the same policy stands in many chains and is told once.
  package static func policies(_ dump: ConfigDump) -> [Policy] {
    var order: [String] = []
    var found: [String: (policy: Policy, rules: Set<String>)] = [:]
    for listener in dump.listeners {
      for chain in FilterChain.all(of: listener) {
        for config in configurations(of: chain) {
          for (field, isShadow) in [("rules", false), ("shadow_rules", true)] {
            let rules = config[field]
            // Protobuf leaves out what has the first value.
            let action = rules["action"].text.isEmpty ? "ALLOW" : rules["action"].text
            for rule in rules["policies"].members {
              let name = policyName(rule.name)
              let key = "\(action) \(isShadow) \(name)"
              if found[key] == nil {
                order.append(key)
                found[key] = (
                  Policy(action: action, name: name, rules: 0, isShadow: isShadow), []
                )
              }
              found[key]?.rules.insert(rule.name)
            }
            // A list of none allows nothing, and that is a rule, too.
            if rules["policies"].members.isEmpty, !rules.isNull, action == "ALLOW" {
              let key = "\(action) \(isShadow) -"
              if found[key] == nil { order.append(key) }
              found[key] = (Policy(action: action, name: "-", rules: 0, isShadow: isShadow), [])
            }
          }
        }
      }
    }
    return order.compactMap { key in
      guard let (known, rules) = found[key] else { return nil }
      var policy = known
      policy.rules = rules.count
      return policy
    }
  }

  /// The filters of access of a chain, of connections and of requests.
  private static func configurations(of chain: FilterChain) -> [JSONValue] {
    let network = chain.value["filters"].items
    let requests = network.flatMap { $0["typed_config"]["http_filters"].items }
    return (network + requests).map { $0["typed_config"] }.filter {
      $0["@type"].text.hasSuffix(".RBAC")
    }
  }

  /// `ns[shop]-policy[web]-rule[0]` is `web.shop`.
  private static func policyName(_ rule: String) -> String {
    let parts = rule.split(separator: "[").dropFirst().map { $0.prefix { $0 != "]" } }
    guard rule.hasPrefix("ns["), parts.count == 3 else { return rule }
    return "\(parts[1]).\(parts[0])"
  }

  package static func text(_ policies: [Policy]) -> String {
    var table = TextTable("ACTION", "AUTHORIZATION POLICY", "RULES")
    for policy in policies {
      table.append(
        policy.action + (policy.isShadow ? " (dry run)" : ""), policy.name, "\(policy.rules)")
    }
    return table.text
  }
}
