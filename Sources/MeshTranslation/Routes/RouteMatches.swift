import MeshMessages
import MeshModel
import ResourceModel

/// Turns what a VirtualService matches into what a route matches.
enum RouteMatches {
  typealias Match = Envoy_Config_Route_V3_RouteMatch
  typealias HeaderMatch = Envoy_Config_Route_V3_HeaderMatcher
  typealias Text = Istio_Networking_V1alpha3_StringMatch

  /// Everything.
  static let all = Match.with { $0.prefix = "/" }

  /// What one match of a VirtualService says of a request.
  static func match(_ wanted: HTTPMatch) -> Match {
    var match = Match()
    switch wanted.uri.matchType {
    case .exact(let path): match.path = path
    case .prefix(let prefix): match.prefix = prefix
    case .regex(let regex): match.safeRegex = .with { $0.regex = regex }
    case nil: match.prefix = "/"
    }
    if wanted.ignoreUriCase { match.caseSensitive = .init(false) }
    match.headers = headers(wanted)
    match.queryParameters = wanted.queryParams.sorted { $0.key < $1.key }.map { name, text in
      .with {
        $0.name = name
        if let matcher = matcher(text) {
          $0.stringMatch = matcher
        } else {
          $0.presentMatch = true
        }
      }
    }
    return match
  }

  private static func headers(_ wanted: HTTPMatch) -> [HeaderMatch] {
    var found = wanted.headers.sorted { $0.key < $1.key }.map { header($0.key, $0.value) }
    found += wanted.withoutHeaders.sorted { $0.key < $1.key }.map { name, text in
      var header = header(name, text)
      header.invertMatch = true
      // A request without the header lacks the value too.
      if header.presentMatch == false { header.treatMissingHeaderAsEmpty = true }
      return header
    }
    if wanted.hasMethod { found.append(header(":method", wanted.method)) }
    if wanted.hasAuthority { found.append(header(":authority", wanted.authority)) }
    if wanted.hasScheme { found.append(header(":scheme", wanted.scheme)) }
    return found
  }

  private static func header(_ name: String, _ text: Text) -> HeaderMatch {
    .with {
      $0.name = name
      if let matcher = matcher(text) {
        $0.stringMatch = matcher
      } else {
        $0.presentMatch = true
      }
    }
  }

  /// Nil when any value will do.
  private static func matcher(_ text: Text) -> Envoy_Type_Matcher_V3_StringMatcher? {
    switch text.matchType {
    case .exact(let value): .with { $0.exact = value }
    case .prefix(let value): value.isEmpty ? nil : .with { $0.prefix = value }
    case .regex(let value):
      value == "*" ? nil : .with { $0.safeRegex = .with { $0.regex = value } }
    case nil: nil
    }
  }

  /// Texts where a rule gives a list, such as origins.
  static func texts(_ wanted: [Text]) -> [Envoy_Type_Matcher_V3_StringMatcher] {
    wanted.map { matcher($0) ?? .with { $0.prefix = "" } }
  }

  /// Whether a match is meant for requests through the mesh to a port, from a workload.
  static func applies(
    _ wanted: HTTPMatch, gateways: Set<String>, port: UInt32, node: ProxyNode
  ) -> Bool {
    if !wanted.gateways.isEmpty, gateways.isDisjoint(with: wanted.gateways) { return false }
    if wanted.port != 0, wanted.port != port { return false }
    if !wanted.sourceNamespace.isEmpty, wanted.sourceNamespace != node.namespace { return false }
    return node.labels.contains(labels: wanted.sourceLabels)
  }

  /// The match lets every request through that comes to the virtual host.
  static func isCatchAll(_ match: Match) -> Bool {
    guard match.headers.isEmpty, match.queryParameters.isEmpty else { return false }
    switch match.pathSpecifier {
    case .prefix("/"), .prefix(""): return true
    default: return false
    }
  }
}
