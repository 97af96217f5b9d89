import MeshMessages
import MeshModel
import ResourceModel
import SwiftProtobuf

/// The filter that checks tokens of requests to a workload: what the RequestAuthentications for it, of its
/// namespace and of the root namespace say together. A token that is not good is refused (401); whether
/// one is needed is AuthorizationPolicy's affair. Laid out as Istio lays it out.
struct TokenFilters {
  typealias HTTPFilter = Envoy_Extensions_Filters_Network_HttpConnectionManager_V3_HttpFilter
  typealias Provider = Fairlead_Mesh_Envoy_V1_JwtProvider
  typealias Requirement = Fairlead_Mesh_Envoy_V1_JwtRequirement

  private let scope: OutboundScope
  private let profile: ClientProfile
  private let notes: OmissionNotes
  private let rules: [Rule<RequestAuthentication>]

  init(_ scope: OutboundScope, profile: ClientProfile, notes: OmissionNotes) {
    self.scope = scope
    self.profile = profile
    self.notes = notes
    let node = scope.node
    let settings = scope.snapshot.settings
    rules = scope.snapshot.requestAuthentications.filter { rule in
      guard [node.namespace, settings.rootNamespace].contains(rule.namespace) else { return false }
      // For a Gateway or a service by reference is for waypoints.
      guard rule.spec.targetRefs.isEmpty, !rule.spec.hasTargetRef else { return false }
      return node.labels.contains(labels: rule.spec.selector.matchLabels)
    }
  }

  /// One filter, or none.
  var http: [HTTPFilter] {
    let all = rules.flatMap { rule in rule.spec.jwtRules.map { (rule.object.id, $0) } }
    guard !all.isEmpty else { return [] }
    guard profile.checksTokens else {
      for (object, _) in all {
        notes.note(object, "jwtRules", "tokens are not checked: rules that ask for one refuse all")
      }
      return withoutClaims
    }
    // By issuer, so that the same rules give the same bytes, whatever their objects are called.
    let sorted = all.enumerated().sorted {
      ($0.element.1.issuer, $0.offset) < ($1.element.1.issuer, $1.offset)
    }.map(\.element)
    var filter = Fairlead_Mesh_Envoy_V1_JwtAuthentication()
    filter.bypassCorsPreflight = true
    for (index, (object, rule)) in sorted.enumerated() {
      filter.providers[Self.name(index)] = provider(rule, of: object)
    }
    filter.rules = [
      .with {
        $0.match = .init(Self.everything)
        $0.requires = Self.requirement(sorted.count)
      }
    ]
    return [
      .with {
        $0.name = "envoy.filters.http.jwt_authn"
        $0.typedConfig =
          filter.packed(as: "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication")
      }
    ]
  }

  /// Takes away, before anybody looks at them, the fields of requests that are believed to be of a checked
  /// token: of a client that nobody checks they say nothing.
  private var withoutClaims: [HTTPFilter] {
    let rules = rules.flatMap(\.spec.jwtRules)
    let fields = Set(
      rules.map(\.outputPayloadToHeader) + rules.flatMap { $0.outputClaimToHeaders.map(\.header) }
    ).subtracting([""]).sorted()
    guard !fields.isEmpty else { return [] }
    let filter = Envoy_Extensions_Filters_Http_HeaderMutation_V3_HeaderMutation.with {
      $0.mutations.requestMutations = fields.map { field in .with { $0.remove = field } }
    }
    return [
      .with {
        $0.name = "envoy.filters.http.header_mutation"
        $0.typedConfig = filter.packed
      }
    ]
  }

  private static let everything = (try? RouteMatches.all.steadyBytes()) ?? []

  private static func name(_ index: Int) -> String { "origins-\(index)" }

  /// Any of the tokens, or none: a request may have one for each, and then all have to be good.
  private static func requirement(_ count: Int) -> Requirement {
    let named = (0..<count).map { index in Requirement.with { $0.providerName = name(index) } }
    let missing = Requirement.with { $0.allowMissing = .init() }
    let each = named.map { any([$0, missing]) }
    guard count > 1 else { return each[0] }
    return any(named + [.with { $0.requiresAll.requirements = each }])
  }

  private static func any(_ all: [Requirement]) -> Requirement {
    .with { $0.requiresAny.requirements = all }
  }

  private func provider(_ rule: Istio_Security_V1beta1_JWTRule, of object: ObjectID) -> Provider {
    var made = Provider()
    made.issuer = rule.issuer
    made.audiences = rule.audiences
    made.forward = rule.forwardOriginalToken
    made.fromHeaders = rule.fromHeaders.map { header in
      .with {
        $0.name = header.name
        $0.valuePrefix = header.prefix
      }
    }
    made.fromParams = rule.fromParams
    made.fromCookies = rule.fromCookies
    made.forwardPayloadHeader = rule.outputPayloadToHeader
    made.claimToHeaders = rule.outputClaimToHeaders.map { claim in
      .with {
        $0.headerName = claim.header
        $0.claimName = claim.claim
      }
    }
    // Where AuthorizationPolicy's rules look.
    made.payloadInMetadata = "payload"
    made.normalizePayloadInMetadata.spaceDelimitedClaims =
      ["scope", "permission"] + rule.spaceDelimitedClaims
    made.jwksSourceSpecifier = keys(rule, of: object)
    return made
  }

  // MARK: Keys

  private func keys(
    _ rule: Istio_Security_V1beta1_JWTRule, of object: ObjectID
  ) -> Provider.OneOf_JwksSourceSpecifier {
    if !rule.jwks.isEmpty { return .localJwks(.with { $0.inlineString = rule.jwks }) }
    let cluster = cluster(of: rule.jwksUri)
    if rule.jwksUri.isEmpty {
      notes.note(
        object, "jwtRules.issuer",
        "keys are not looked for where '\(rule.issuer)' would publish them: every token of it is "
          + "refused; say jwksUri or jwks")
    } else if cluster == nil {
      notes.note(
        object, "jwtRules.jwksUri",
        "'\(rule.jwksUri)' is no service that the proxy sees: every token of '\(rule.issuer)' is "
          + "refused; add a ServiceEntry for it")
    }
    return .remoteJwks(
      .with {
        $0.httpUri = .with {
          // Envoy takes no empty one.
          $0.uri = rule.jwksUri.isEmpty ? "http://nowhere.invalid/" : rule.jwksUri
          // Where there are none, none are found.
          $0.cluster = cluster ?? ClusterName.blackHole
          $0.timeout = rule.hasTimeout ? rule.timeout : .with { $0.seconds = 5 }
        }
        $0.cacheDuration = .with { $0.seconds = 300 }
        $0.asyncFetch.fastListener = true
      })
  }

  /// The cluster of the service that a URI leads to.
  private func cluster(of uri: String) -> String? {
    guard let target = URITarget(uri), let service = scope.service(named: target.host),
      service.ports.contains(where: { $0.number == target.port })
    else { return nil }
    return ClusterName.outbound(target.host, target.port)
  }
}

/// Where an absolute HTTP URI leads.
struct URITarget: Equatable {
  let host: String
  let port: UInt32

  /// Nil when it is none.
  init?(_ text: String) {
    let isSecure = text.hasPrefix("https://")
    guard isSecure || text.hasPrefix("http://") else { return nil }
    let authority = text.dropFirst(isSecure ? 8 : 7).prefix { $0 != "/" && $0 != "?" && $0 != "#" }
    var host = authority
    var port: UInt32 = isSecure ? 443 : 80
    if let colon = authority.lastIndex(of: ":"), !authority.hasSuffix("]") {
      guard let number = UInt16(authority[authority.index(after: colon)...]), number > 0 else {
        return nil
      }
      host = authority[..<colon]
      port = UInt32(number)
    }
    guard !host.isEmpty, !host.contains("@") else { return nil }
    self.host = host.lowercased()
    self.port = port
  }
}
