import FilterSDK

extension RBACFilter {
  /// `envoy.extensions.filters.http.rbac.v3.RBAC`.
  public struct Config: BitwiseCopyable {
    var rules: Rules
    var enforced: Totals
    var shadow: Totals
  }

  /// `RBACPerRoute`: what is asked on a route in the place of the filter's own rules; without any,
  /// nothing is asked there. The totals stay the filter's, as in Envoy.
  public typealias RouteConfig = Rules

  /// What is asked.
  public struct Rules: BitwiseCopyable {
    var enforced: RuleSet?
    var shadow: RuleSet?
  }

  public static func load(_ node: ConfigNode, _ loader: borrowing ConfigLoader) -> Config? {
    let enforced = scope(node.string("rules_stat_prefix"))
    let shadow = scope(node.string("shadow_rules_stat_prefix"))
    return Config(
      rules: rules(node, loader),
      enforced: Totals(
        allowed: loader.counter(enforced + "allowed", .connectionManager),
        denied: loader.counter(enforced + "denied", .connectionManager)),
      shadow: Totals(
        allowed: loader.counter(shadow + "shadow_allowed", .connectionManager),
        denied: loader.counter(shadow + "shadow_denied", .connectionManager)))
  }

  public static func loadRoute(_ node: ConfigNode, _ loader: borrowing ConfigLoader) -> Rules? {
    guard let rbac = node.message("rbac") else { return Rules(enforced: nil, shadow: nil) }
    return rules(rbac, loader)
  }

  private static func scope(_ prefix: String?) -> String {
    guard let prefix, !prefix.isEmpty else { return "rbac." }
    return "rbac.\(prefix)."
  }

  private static func rules(_ node: ConfigNode, _ loader: borrowing ConfigLoader) -> Rules {
    let isDetailed = node.bool("track_per_rule_stats") ?? false
    return Rules(
      enforced: rules(
        node, "rules", prefix: node.string("rules_stat_prefix"), kind: .enforced,
        isDetailed: isDetailed, loader),
      shadow: rules(
        node, "shadow_rules", prefix: node.string("shadow_rules_stat_prefix"), kind: .shadow,
        isDetailed: isDetailed, loader))
  }

  private static func rules(
    _ node: ConfigNode, _ field: StaticString, prefix: String?, kind: RuleSet.Kind,
    isDetailed: Bool, _ loader: borrowing ConfigLoader
  ) -> RuleSet? {
    guard let message = node.message(field), let rules = loader.accessRules(node, field) else {
      return nil
    }
    let scope = scope(prefix)
    let counters = kind == .enforced ? ("allowed", "denied") : ("shadow_allowed", "shadow_denied")
    var policies: [RuleSet.Policy] = []
    while let name = rules.policyName(policies.count) {
      let text = String(name)
      let own = scope + "policy.\(text)."
      // As in Envoy, a policy without a name is as good as none where something is told of it.
      let isCounted = isDetailed && !text.isEmpty
      policies.append(
        RuleSet.Policy(
          name: name, details: loader.text(details(text)),
          allowed: isCounted ? loader.counter(own + counters.0, .connectionManager) : nil,
          denied: isCounted ? loader.counter(own + counters.1, .connectionManager) : nil))
    }
    let action = message.enumeration("action")
    let key = (prefix ?? "") + (kind == .enforced ? "enforced_" : "shadow_")
    return RuleSet(
      rules: rules, action: action == "DENY" ? .deny : action == "LOG" ? .log : .allow,
      policies: loader.list(policies), policyKey: loader.text(key + "effective_policy_id"),
      resultKey: loader.text(key + "engine_result"))
  }

  /// What `%RESPONSE_CODE_DETAILS%` shows, with underscores for blanks.
  private static func details(_ policy: String) -> String {
    let word = String(policy.map { $0.isWhitespace ? "_" : $0 })
    return "rbac_access_denied_matched_policy[\(word.isEmpty ? "none" : word)]"
  }
}
