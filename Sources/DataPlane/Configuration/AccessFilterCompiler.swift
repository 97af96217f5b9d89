import Engine
import ResourceModel
import Resources
import Routing
import Telemetry

/// Compiles `envoy.filters.network.rbac`.
struct AccessFilterCompiler {
  typealias Message = Envoy_Extensions_Filters_Network_Rbac_V3_RBAC

  let context: CompileContext

  func compile(_ message: Message, at path: ConfigPath) -> AccessFilter {
    // A prefix with a dot at its end means the same as one without.
    let scope =
      message.statPrefix.hasSuffix(".")
      ? message.statPrefix + "rbac." : message.statPrefix + ".rbac."
    let prefix = message.shadowRulesStatPrefix
    let shadowScope = prefix.isEmpty ? scope : scope + prefix + "."
    return AccessFilter(
      shadow: message.hasShadowRules
        ? rules(
          message.shadowRules, shadowScope + "shadow_", key: prefix + "shadow_",
          at: path.field("shadow_rules")) : nil,
      enforced: message.hasRules
        ? rules(message.rules, scope, key: nil, at: path.field("rules")) : nil,
      isContinuous: message.enforcementType == .continuous,
      refusalDelay: message.delayDeny.milliseconds)
  }

  private func rules(
    _ message: AccessCompiler.Message, _ scope: String, key: String?, at path: ConfigPath
  ) -> AccessFilter.RuleSet {
    let rules = AccessCompiler(context.diagnostics, hasHeads: false).compile(message, at: path)
    let details = (0..<rules.count).map { index in
      let name = rules.name(of: index).string
      let word = String(name.map { $0.isWhitespace ? "_" : $0 })
      return Bytes.configured(
        "rbac_access_denied_matched_policy[\(word.isEmpty ? "none" : word)]")
    }
    return AccessFilter.RuleSet(
      rules: rules, details: .configured(details),
      allowed: context.store.counter(scope + "allowed"),
      denied: context.store.counter(scope + "denied"),
      policyKey: key.map { .configured($0 + "effective_policy_id") } ?? .empty,
      resultKey: key.map { .configured($0 + "engine_result") } ?? .empty)
  }
}
