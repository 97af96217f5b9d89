import MeshMessages
import MeshModel
import ResourceModel

/// The filters that decide who may speak to a workload: those of the AuthorizationPolicies for it, of its
/// namespace and of the root namespace. What a policy refuses is refused first, then what none allows.
struct AuthorizationFilters {
  typealias RBAC = Envoy_Config_Rbac_V3_RBAC
  typealias HTTPFilter = Envoy_Extensions_Filters_Network_HttpConnectionManager_V3_HttpFilter
  typealias NetworkFilter = Envoy_Config_Listener_V3_Filter

  private let settings: MeshSettings
  private let policies: [Rule<AuthorizationPolicy>]
  private let notes: OmissionNotes

  init(_ snapshot: MeshSnapshot, for node: ProxyNode, notes: OmissionNotes) {
    settings = snapshot.settings
    self.notes = notes
    policies = snapshot.authorizationPolicies.filter { rule in
      guard [node.namespace, snapshot.settings.rootNamespace].contains(rule.namespace) else {
        return false
      }
      // A policy for a Gateway or a service by reference is for waypoints.
      guard rule.spec.targetRefs.isEmpty, !rule.spec.hasTargetRef else { return false }
      return node.labels.contains(labels: rule.spec.selector.matchLabels)
    }
  }

  /// For chains that read requests.
  var http: [HTTPFilter] {
    stages(isHTTP: true).map { stage in
      .with {
        $0.name = "envoy.filters.http.rbac"
        $0.typedConfig =
          Envoy_Extensions_Filters_Http_Rbac_V3_RBAC.with {
            if let rules = stage.rules { $0.rules = rules }
            if let shadow = stage.shadow {
              $0.shadowRules = shadow
              $0.shadowRulesStatPrefix = stage.shadowPrefix
            }
          }.packed
      }
    }
  }

  /// For chains that carry bytes.
  var network: [NetworkFilter] {
    stages(isHTTP: false).map { stage in
      .with {
        $0.name = "envoy.filters.network.rbac"
        $0.typedConfig =
          Envoy_Extensions_Filters_Network_Rbac_V3_RBAC.with {
            $0.statPrefix = "tcp."
            if let rules = stage.rules { $0.rules = rules }
            if let shadow = stage.shadow {
              $0.shadowRules = shadow
              $0.shadowRulesStatPrefix = stage.shadowPrefix
            }
          }.packed
      }
    }
  }

  /// One filter: what is enforced, and what would be.
  private struct Stage {
    var rules: RBAC?
    var shadow: RBAC?
    var shadowPrefix: String
  }

  private func stages(isHTTP: Bool) -> [Stage] {
    [
      (AuthorizationPolicy.Action.custom, RBAC.Action.deny, "istio_dry_run_custom_"),
      (.audit, .log, "istio_dry_run_audit_"),
      (.deny, .deny, "istio_dry_run_deny_"), (.allow, .allow, "istio_dry_run_allow_"),
    ].compactMap { action, meaning, prefix in
      let mine = policies.filter { $0.spec.action == action }
      let dry = mine.filter { $0.object.annotations["istio.io/dry-run"] == "true" }
      let real = mine.filter { $0.object.annotations["istio.io/dry-run"] != "true" }
      guard !mine.isEmpty else { return nil }
      return Stage(
        rules: real.isEmpty ? nil : rules(real, meaning, isHTTP: isHTTP),
        shadow: dry.isEmpty ? nil : rules(dry, meaning, isHTTP: isHTTP), shadowPrefix: prefix)
    }
  }

  private func rules(
    _ policies: [Rule<AuthorizationPolicy>], _ action: RBAC.Action, isHTTP: Bool
  ) -> RBAC {
    let translator = AuthorizationRules(
      trustDomain: settings.trustDomain, aliases: settings.trustDomainAliases, isHTTP: isHTTP,
      isDeny: action == .deny)
    var made = RBAC.with { $0.action = action }
    for policy in policies {
      if policy.spec.action == .custom {
        // Nobody is asked; letting through what somebody should have been asked about would be worse.
        notes.note(
          policy.object.id, "action", "no external authorizer is asked: what matches is refused")
      }
      for (index, rule) in policy.spec.rules.enumerated() {
        let name = "ns[\(policy.namespace)]-policy[\(policy.object.name)]-rule[\(index)]"
        made.policies[name] = translator.policy(rule)
      }
    }
    return made
  }
}
