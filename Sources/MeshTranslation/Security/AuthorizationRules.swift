import MeshMessages
import MeshModel
import ResourceModel

/// Turns the rules of AuthorizationPolicies into what the RBAC filters match: each rule is a policy, whose
/// principals are its sources and whose permissions are its operations, each with the conditions that are
/// about it.
struct AuthorizationRules {
  typealias Permission = Envoy_Config_Rbac_V3_Permission
  typealias Principal = Envoy_Config_Rbac_V3_Principal
  typealias Source = Istio_Security_V1beta1_Source
  typealias Operation = Istio_Security_V1beta1_Operation

  let trustDomain: String
  let aliases: [String]
  /// Requests are read; otherwise only connections can be told apart.
  let isHTTP: Bool
  /// What matches is refused: what cannot be told is taken for a match then, and for none otherwise.
  let isDeny: Bool

  /// One rule as a policy; nil when it can never match.
  func policy(_ rule: Istio_Security_V1beta1_Rule) -> Envoy_Config_Rbac_V3_Policy? {
    var conditions = Conditions()
    for condition in rule.when {
      guard add(condition, to: &conditions) else { return nil }
    }
    let sources = rule.from.map(\.source).compactMap { principals($0) }
    if !rule.from.isEmpty, sources.isEmpty { return nil }
    let operations = rule.to.map(\.operation).compactMap { permissions($0) }
    if !rule.to.isEmpty, operations.isEmpty { return nil }
    return .with { policy in
      policy.principals = (sources.isEmpty ? [[]] : sources)
        .map { Self.all($0 + conditions.principals) }
      policy.permissions = (operations.isEmpty ? [[]] : operations)
        .map { Self.all($0 + conditions.permissions) }
    }
  }

  // MARK: Who

  /// All of these have to match; nil when they never can.
  private func principals(_ source: Source) -> [Principal]? {
    var all: [Principal] = []
    func add(
      _ values: [String], _ others: [String], _ make: (String) -> Principal
    ) {
      if !values.isEmpty { all.append(Self.any(values.map(make))) }
      if !others.isEmpty { all.append(Self.none(others.map(make))) }
    }
    add(source.principals, source.notPrincipals, peer)
    add(source.namespaces, source.notNamespaces, namespace)
    add(source.serviceAccounts, source.notServiceAccounts, serviceAccount)
    add(source.trustDomains, source.notTrustDomains, domain)
    add(source.ipBlocks, source.notIpBlocks) { Self.address($0, isDirect: true) }
    if isHTTP {
      add(source.remoteIpBlocks, source.notRemoteIpBlocks) { Self.address($0, isDirect: false) }
      add(source.requestPrincipals, source.notRequestPrincipals, requestPrincipal)
    } else {
      let isAboutRequests =
        !source.remoteIpBlocks.isEmpty || !source.requestPrincipals.isEmpty
        || !source.notRemoteIpBlocks.isEmpty || !source.notRequestPrincipals.isEmpty
      if isAboutRequests, !isDeny { return nil }
    }
    return all
  }

  /// A peer by its SPIFFE identity without the scheme: `cluster.local/ns/default/sa/reviews`.
  private func peer(_ pattern: String) -> Principal {
    let names = [pattern] + alternatives(to: pattern)
    return Self.any(
      names.map { name in
        if name == "*" { return Self.authenticated(.with { $0.safeRegex.regex = ".+" }) }
        if name.hasPrefix("*") {
          return Self.authenticated(.with { $0.suffix = String(name.dropFirst()) })
        }
        if name.hasSuffix("*") {
          return Self.authenticated(.with { $0.prefix = "spiffe://" + name.dropLast() })
        }
        return Self.authenticated(.with { $0.exact = "spiffe://" + name })
      })
  }

  /// The same identity in the other domains that are trusted.
  private func alternatives(to pattern: String) -> [String] {
    let prefix = trustDomain + "/"
    guard pattern.hasPrefix(prefix) else { return [] }
    return aliases.map { $0 + "/" + pattern.dropFirst(prefix.count) }
  }

  private func namespace(_ pattern: String) -> Principal {
    identity("[^/]+/ns/\(RegexText.pattern(pattern))/.*")
  }

  /// `namespace/name`; a name alone is any namespace's.
  private func serviceAccount(_ text: String) -> Principal {
    let parts = text.split(separator: "/", maxSplits: 1).map(String.init)
    let namespace = parts.count == 2 ? RegexText.pattern(parts[0]) : "[^/]+"
    return identity("[^/]+/ns/\(namespace)/sa/\(RegexText.pattern(parts.last ?? ""))")
  }

  private func domain(_ pattern: String) -> Principal {
    identity("\(RegexText.pattern(pattern))/.*")
  }

  private func identity(_ regex: String) -> Principal {
    Self.authenticated(.with { $0.safeRegex.regex = "spiffe://" + regex })
  }

  private static func authenticated(_ name: Envoy_Type_Matcher_V3_StringMatcher) -> Principal {
    .with { $0.authenticated.principalName = name }
  }

  private static func address(_ block: String, isDirect: Bool) -> Principal {
    .with {
      // Validation has let through what is an address or a range.
      let range = CIDR.range(block) ?? .init()
      if isDirect { $0.directRemoteIp = range } else { $0.remoteIp = range }
    }
  }

  /// `issuer/subject` of a token that was checked.
  private func requestPrincipal(_ pattern: String) -> Principal {
    if pattern == "*" {
      return claim(["payload", "iss"], .with { $0.presentMatch = true })
    }
    let parts = pattern.split(separator: "/", maxSplits: 1).map(String.init)
    // An issuer is a URL more often than not: the subject is behind the last slash.
    guard let slash = pattern.lastIndex(of: "/"), parts.count == 2 else {
      return claim(["payload", "iss"], Self.value(pattern))
    }
    let issuer = String(pattern[..<slash])
    let subject = String(pattern[pattern.index(after: slash)...])
    return Self.all([
      claim(["payload", "iss"], Self.value(issuer)),
      claim(["payload", "sub"], Self.value(subject)),
    ])
  }

  private func claim(
    _ path: [String], _ value: Envoy_Type_Matcher_V3_ValueMatcher
  ) -> Principal {
    .with {
      $0.sourcedMetadata.metadataMatcher = .with {
        $0.filter = "envoy.filters.http.jwt_authn"
        $0.path = path.map { key in .with { $0.key = key } }
        $0.value = value
      }
    }
  }

  private static func value(_ pattern: String) -> Envoy_Type_Matcher_V3_ValueMatcher {
    .with { $0.stringMatch = TextPattern.matcher(pattern) }
  }

  // MARK: What

  private func permissions(_ operation: Operation) -> [Permission]? {
    var all: [Permission] = []
    func add(_ values: [String], _ others: [String], _ make: (String) -> Permission) {
      if !values.isEmpty { all.append(Self.any(values.map(make))) }
      if !others.isEmpty { all.append(Self.none(others.map(make))) }
    }
    add(operation.ports, operation.notPorts) { text in
      .with { $0.destinationPort = UInt32(text) ?? 0 }
    }
    if isHTTP {
      add(operation.hosts, operation.notHosts) { Self.header(":authority", $0, ignoresCase: true) }
      add(operation.methods, operation.notMethods) { Self.header(":method", $0) }
      add(operation.paths, operation.notPaths) { pattern in
        .with { $0.urlPath.path = TextPattern.matcher(pattern) }
      }
    } else {
      let isAboutRequests =
        !operation.hosts.isEmpty || !operation.methods.isEmpty || !operation.paths.isEmpty
        || !operation.notHosts.isEmpty || !operation.notMethods.isEmpty
        || !operation.notPaths.isEmpty
      if isAboutRequests, !isDeny { return nil }
    }
    return all
  }

  private static func header(
    _ name: String, _ pattern: String, ignoresCase: Bool = false
  ) -> Permission {
    .with { $0.header = TextPattern.header(name, pattern, ignoresCase: ignoresCase) }
  }

  // MARK: Under which conditions

  private struct Conditions {
    var principals: [Principal] = []
    var permissions: [Permission] = []
  }

  /// False when the rule can never match.
  private func add(
    _ condition: Istio_Security_V1beta1_Condition, to conditions: inout Conditions
  ) -> Bool {
    let key = condition.key
    func principals(_ make: (String) -> Principal) {
      if !condition.values.isEmpty {
        conditions.principals.append(Self.any(condition.values.map(make)))
      }
      if !condition.notValues.isEmpty {
        conditions.principals.append(Self.none(condition.notValues.map(make)))
      }
    }
    func permissions(_ make: (String) -> Permission) {
      if !condition.values.isEmpty {
        conditions.permissions.append(Self.any(condition.values.map(make)))
      }
      if !condition.notValues.isEmpty {
        conditions.permissions.append(Self.none(condition.notValues.map(make)))
      }
    }
    switch key {
    case "source.ip": principals { Self.address($0, isDirect: true) }
    case "source.namespace": principals(namespace)
    case "source.principal": principals(peer)
    case "source.serviceAccount": principals(serviceAccount)
    case "source.trustDomain": principals(domain)
    case "destination.ip":
      permissions { text in .with { $0.destinationIp = CIDR.range(text) ?? .init() } }
    case "destination.port":
      permissions { text in .with { $0.destinationPort = UInt32(text) ?? 0 } }
    case "connection.sni":
      permissions { text in .with { $0.requestedServerName = TextPattern.matcher(text) } }
    default:
      guard isHTTP else { return isDeny }
      switch key {
      case "remote.ip": principals { Self.address($0, isDirect: false) }
      case "request.auth.principal": principals(requestPrincipal)
      case "request.auth.audiences":
        principals { claim(["payload", "aud"], Self.value($0)) }
      case "request.auth.presenter":
        principals { claim(["payload", "azp"], Self.value($0)) }
      default:
        if let name = Self.name(in: key, of: "request.headers") {
          principals { text in .with { $0.header = TextPattern.header(name, text) } }
        } else if let name = Self.name(in: key, of: "request.auth.claims") {
          principals { claim(["payload", name], Self.value($0)) }
        } else {
          return isDeny
        }
      }
    }
    return true
  }

  /// `x` of `request.headers[x]`.
  private static func name(in key: String, of group: String) -> String? {
    guard key.hasPrefix(group + "["), key.hasSuffix("]") else { return nil }
    return String(key.dropFirst(group.count + 1).dropLast())
  }

  // MARK: And, or, not

  private static func any(_ all: [Principal]) -> Principal {
    all.count == 1 ? all[0] : .with { $0.orIds.ids = all }
  }

  private static func none(_ all: [Principal]) -> Principal {
    let inner = any(all)
    return .with { $0.notID = inner }
  }

  private static func all(_ all: [Principal]) -> Principal {
    all.isEmpty ? .with { $0.any = true } : all.count == 1 ? all[0] : .with { $0.andIds.ids = all }
  }

  private static func any(_ all: [Permission]) -> Permission {
    all.count == 1 ? all[0] : .with { $0.orRules.rules = all }
  }

  private static func none(_ all: [Permission]) -> Permission {
    let inner = any(all)
    return .with { $0.notRule = inner }
  }

  private static func all(_ all: [Permission]) -> Permission {
    all.isEmpty
      ? .with { $0.any = true } : all.count == 1 ? all[0] : .with { $0.andRules.rules = all }
  }
}

/// Texts of policies: whole, or with `*` at one end, or `*` alone for any.
enum TextPattern {
  /// As a matcher.
  static func matcher(_ pattern: String) -> Envoy_Type_Matcher_V3_StringMatcher {
    .with {
      if pattern == "*" {
        $0.safeRegex.regex = ".+"
      } else if pattern.hasPrefix("*") {
        $0.suffix = String(pattern.dropFirst())
      } else if pattern.hasSuffix("*") {
        $0.prefix = String(pattern.dropLast())
      } else {
        $0.exact = pattern
      }
    }
  }

  /// Of a header.
  static func header(
    _ name: String, _ pattern: String, ignoresCase: Bool = false
  ) -> Envoy_Config_Route_V3_HeaderMatcher {
    .with {
      $0.name = name
      if pattern == "*" {
        $0.presentMatch = true
      } else {
        var text = matcher(pattern)
        text.ignoreCase = ignoresCase
        $0.stringMatch = text
      }
    }
  }
}

/// Texts within regular expressions.
enum RegexText {
  /// A policy's text, where `*` at an end stands for anything within one part of an identity.
  static func pattern(_ text: String) -> String {
    if text == "*" { return "[^/]+" }
    if text.hasPrefix("*") { return "[^/]*" + escape(text.dropFirst()) }
    if text.hasSuffix("*") { return escape(text.dropLast()) + "[^/]*" }
    return escape(text[...])
  }

  private static func escape(_ text: Substring) -> String {
    var out = ""
    for scalar in text.unicodeScalars {
      if "\\.+*?()|[]{}^$".unicodeScalars.contains(scalar) { out += "\\" }
      out.unicodeScalars.append(scalar)
    }
    return out
  }
}
