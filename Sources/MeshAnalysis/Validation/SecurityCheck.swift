import MeshMessages
import MeshModel
import Resources

/// What is wrong with an AuthorizationPolicy, by Istio's rules.
struct AuthorizationPolicyCheck {
  let check: FieldCheck
  /// The policy as it is written: an empty list and none at all are two things there.
  let tree: ConfigTree

  func check(_ policy: AuthorizationPolicy, _ path: ConfigPath) {
    check.selector(policy.hasSelector ? policy.selector.matchLabels : nil, path["selector"])
    if policy.hasSelector, policy.hasTargetRef || !policy.targetRefs.isEmpty {
      check.error(path["selector"], "a policy has a 'selector' or 'targetRefs': remove one")
    }
    checkAction(policy, path)
    for (index, rule) in policy.rules.enumerated() {
      check(rule, of: policy, path["rules"][index])
    }
  }

  private func checkAction(_ policy: AuthorizationPolicy, _ path: ConfigPath) {
    var provider: String?
    if case .provider(let named)? = policy.actionDetail { provider = named.name }
    switch policy.action {
    case .custom:
      if provider?.isEmpty ?? true {
        check.error(path, "CUSTOM has a 'provider' with a 'name': say who decides")
      }
    default:
      if provider != nil {
        check.error(path["provider"], "is for 'action: CUSTOM' alone: remove it")
      }
    }
    if policy.rules.isEmpty, [.deny, .custom].contains(policy.action) {
      let name = policy.action == .deny ? "DENY" : "CUSTOM"
      check.error(
        path,
        "\(name) without 'rules' is never applied: write 'rules: [{}]' to apply it to everything")
    }
  }

  private func check(
    _ rule: Istio_Security_V1beta1_Rule, of policy: AuthorizationPolicy, _ path: ConfigPath
  ) {
    for (field, isEmpty) in [("from", rule.from.isEmpty), ("to", rule.to.isEmpty)]
    where isEmpty && tree.node(at: path[field])?.kind == .list {
      check.error(
        path[field], "an empty list would match nothing, not everything: remove it, or fill it")
    }
    for (index, from) in rule.from.enumerated() {
      let place = path["from"][index]
      if !from.hasSource || from.source == Istio_Security_V1beta1_Source() {
        check.error(place, "a 'source' with one field at least: who is meant?")
      }
      check(from.source, place["source"])
    }
    for (index, to) in rule.to.enumerated() {
      let place = path["to"][index]
      if !to.hasOperation || to.operation == Istio_Security_V1beta1_Operation() {
        check.error(place, "an 'operation' with one field at least: what is meant?")
      }
      check(to.operation, place["operation"])
    }
    for (index, condition) in rule.when.enumerated() {
      check(condition, path["when"][index])
    }
    if policy.action == .custom { checkCustom(rule, path) }
    if policy.action == .deny { warnOfConnections(rule, path) }
  }

  private func check(_ source: Istio_Security_V1beta1_Source, _ path: ConfigPath) {
    for (field, blocks) in [
      ("ipBlocks", source.ipBlocks), ("notIpBlocks", source.notIpBlocks),
      ("remoteIpBlocks", source.remoteIpBlocks), ("notRemoteIpBlocks", source.notRemoteIpBlocks),
    ] {
      for (index, block) in blocks.enumerated() where !NameSyntax.isSubnet(block) {
        check.error(path[field][index], "'\(block)' is no IP address or subnet: 10.0.0.0/8 is")
      }
    }
    for (field, values) in [
      ("principals", source.principals), ("notPrincipals", source.notPrincipals),
      ("requestPrincipals", source.requestPrincipals),
      ("notRequestPrincipals", source.notRequestPrincipals), ("namespaces", source.namespaces),
      ("notNamespaces", source.notNamespaces), ("serviceAccounts", source.serviceAccounts),
      ("notServiceAccounts", source.notServiceAccounts), ("trustDomains", source.trustDomains),
      ("notTrustDomains", source.notTrustDomains),
    ] {
      checkValues(values, path[field])
    }
    for (field, principals) in [
      ("principals", source.principals), ("notPrincipals", source.notPrincipals),
    ] {
      for (index, principal) in principals.enumerated() where principal.hasPrefix("spiffe://") {
        check.error(
          path[field][index],
          "is compared without 'spiffe://': write '\(principal.dropFirst("spiffe://".count))'")
      }
    }
    let accounts = source.serviceAccounts + source.notServiceAccounts
    let others =
      source.principals + source.notPrincipals + source.namespaces + source.notNamespaces
    if !accounts.isEmpty, !others.isEmpty {
      check.error(
        path, "service accounts go with neither 'principals' nor 'namespaces': use two rules")
    }
    for (field, names) in [
      ("serviceAccounts", source.serviceAccounts),
      ("notServiceAccounts", source.notServiceAccounts),
    ] {
      for (index, name) in names.enumerated() {
        if name.contains("*") {
          check.error(path[field][index], "takes no '*': use 'principals' for that")
        } else if name.split(separator: "/", omittingEmptySubsequences: false).count > 2 {
          check.error(path[field][index], "<account> or <namespace>/<account> is expected")
        }
      }
    }
  }

  private func check(_ operation: Istio_Security_V1beta1_Operation, _ path: ConfigPath) {
    for (field, ports) in [("ports", operation.ports), ("notPorts", operation.notPorts)] {
      for (index, port) in ports.enumerated()
      where !(UInt32(port).map { (1...65_535).contains($0) } ?? false) {
        check.error(path[field][index], "a port is from 1 to 65535, not '\(port)'")
      }
    }
    for (field, values) in [
      ("hosts", operation.hosts), ("notHosts", operation.notHosts),
      ("methods", operation.methods), ("notMethods", operation.notMethods),
      ("paths", operation.paths), ("notPaths", operation.notPaths),
    ] {
      checkValues(values, path[field])
    }
  }

  private func checkValues(_ values: [String], _ path: ConfigPath) {
    for (index, value) in values.enumerated() where value.isEmpty {
      check.error(path[index], "an empty text matches nothing: remove it, or write '*' for any")
    }
  }

  private static let keys = [
    "source.ip", "remote.ip", "source.namespace", "source.principal", "source.serviceAccount",
    "source.trustDomain", "request.auth.principal", "request.auth.audiences",
    "request.auth.presenter", "destination.ip", "destination.port", "connection.sni",
  ]

  private func check(_ condition: Istio_Security_V1beta1_Condition, _ path: ConfigPath) {
    let key = condition.key
    guard !key.isEmpty else { return check.error(path, "a condition has a 'key'") }
    if condition.values.isEmpty, condition.notValues.isEmpty {
      check.error(path, "'\(key)' is compared with 'values' or 'notValues': write one of them")
    }
    let opens = ["request.headers[", "request.auth.claims[", "experimental.envoy.filters."]
    if !Self.keys.contains(key), !opens.contains(where: key.hasPrefix) {
      check.error(
        path["key"], "no attribute '\(key)'" + Suggestion.phrase(for: key, among: Self.keys))
    } else if key.contains("["), !key.hasSuffix("]") {
      check.error(path["key"], "'\(key)' lacks its ']'")
    }
    for (field, values) in [("values", condition.values), ("notValues", condition.notValues)] {
      for (index, value) in values.enumerated() {
        let place = path[field][index]
        if key.hasSuffix(".ip"), !NameSyntax.isSubnet(value) {
          check.error(place, "'\(value)' is no IP address or subnet: 10.0.0.0/8 is")
        } else if key == "destination.port",
          !(UInt32(value).map { (1...65_535).contains($0) } ?? false)
        {
          check.error(place, "a port is from 1 to 65535, not '\(value)'")
        }
      }
    }
  }

  /// Who decides is asked before it is known who calls.
  private func checkCustom(_ rule: Istio_Security_V1beta1_Rule, _ path: ConfigPath) {
    for (index, from) in rule.from.enumerated() {
      let source = from.source
      let named = [
        ("principals", source.principals), ("notPrincipals", source.notPrincipals),
        ("requestPrincipals", source.requestPrincipals),
        ("notRequestPrincipals", source.notRequestPrincipals), ("namespaces", source.namespaces),
        ("notNamespaces", source.notNamespaces), ("serviceAccounts", source.serviceAccounts),
        ("notServiceAccounts", source.notServiceAccounts), ("trustDomains", source.trustDomains),
        ("notTrustDomains", source.notTrustDomains),
      ]
      for (field, values) in named where !values.isEmpty {
        check.error(path["from"][index]["source"][field], "is not known to CUSTOM: remove it")
      }
    }
    for (index, condition) in rule.when.enumerated() {
      let key = condition.key
      let isAboutIdentity =
        key.hasPrefix("request.auth.") || (key.hasPrefix("source.") && key != "source.ip")
      if isAboutIdentity {
        check.error(path["when"][index]["key"], "'\(key)' is not known to CUSTOM: remove it")
      }
    }
  }

  /// What can only be told of requests cannot be told of connections: there DENY must assume the worst.
  private func warnOfConnections(_ rule: Istio_Security_V1beta1_Rule, _ path: ConfigPath) {
    let namesConnections = rule.from.contains { from in
      from.source.requestPrincipals.isEmpty && from.source.notRequestPrincipals.isEmpty
    }
    let namesPorts = rule.to.contains {
      !$0.operation.ports.isEmpty || !$0.operation.notPorts.isEmpty
    }
    if (!rule.to.isEmpty && !namesPorts)
      || (!rule.from.isEmpty && rule.to.isEmpty && !namesConnections)
    {
      check.warning(
        path,
        "denies every connection to ports that carry no HTTP, where its fields cannot be told: "
          + "add 'ports'")
    }
  }
}

/// What is wrong with policies about who somebody is, by Istio's rules.
struct AuthenticationCheck {
  let check: FieldCheck

  func check(_ policy: PeerAuthentication, _ path: ConfigPath) {
    check.selector(policy.hasSelector ? policy.selector.matchLabels : nil, path["selector"])
    if !policy.portLevelMtls.isEmpty, policy.selector.matchLabels.isEmpty {
      check.error(
        path["portLevelMtls"],
        "ports are those of some workloads: add a 'selector' that says whose")
    }
    for (port, _) in policy.portLevelMtls.sorted(by: { $0.key < $1.key }) {
      if !(UInt32(port).map { (1...65_535).contains($0) } ?? false) {
        check.error(path["portLevelMtls"].key(port), "a port is from 1 to 65535, not '\(port)'")
      }
    }
  }

  func check(_ policy: RequestAuthentication, _ path: ConfigPath) {
    check.selector(policy.hasSelector ? policy.selector.matchLabels : nil, path["selector"])
    if policy.hasSelector, policy.hasTargetRef || !policy.targetRefs.isEmpty {
      check.error(path["selector"], "a policy has a 'selector' or 'targetRefs': remove one")
    }
    for (index, rule) in policy.jwtRules.enumerated() { check(rule, path["jwtRules"][index]) }
  }

  private func check(_ rule: Istio_Security_V1beta1_JWTRule, _ path: ConfigPath) {
    if rule.issuer.isEmpty, rule.jwksUri.isEmpty, rule.jwks.isEmpty {
      check.error(path, "a rule names its 'issuer', or where its keys are: 'jwksUri' or 'jwks'")
    }
    if !rule.jwks.isEmpty, !rule.jwksUri.isEmpty {
      check.error(path["jwks"], "'jwks' and 'jwksUri' exclude each other: remove one")
    }
    if !rule.jwksUri.isEmpty,
      !["http://", "https://"].contains(where: { rule.jwksUri.lowercased().hasPrefix($0) })
    {
      check.error(path["jwksUri"], "'\(rule.jwksUri)' is no address: https://… is")
    }
    for (index, audience) in rule.audiences.enumerated() where audience.isEmpty {
      check.error(path["audiences"][index], "an audience is not empty")
    }
    for (index, header) in rule.fromHeaders.enumerated() {
      check.header(header.name, path["fromHeaders"][index])
    }
    for (field, names) in [("fromParams", rule.fromParams), ("fromCookies", rule.fromCookies)] {
      for (index, name) in names.enumerated() where name.isEmpty {
        check.error(path[field][index], "a name is not empty")
      }
    }
    for (index, output) in rule.outputClaimToHeaders.enumerated() {
      let place = path["outputClaimToHeaders"][index]
      if output.claim.isEmpty { check.error(place, "says which 'claim'") }
      check.header(output.header, place["header"])
    }
    if !rule.outputPayloadToHeader.isEmpty {
      check.header(rule.outputPayloadToHeader, path["outputPayloadToHeader"])
    }
    if rule.hasTimeout { check.duration(rule.timeout, path["timeout"]) }
  }
}
