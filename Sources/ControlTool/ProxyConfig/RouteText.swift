/// What routes and virtual hosts match, in istioctl's words.
package enum RouteText {
  /// `/x*`, `/x`, `PathPrefix:/x` or `regex …`.
  package static func match(_ match: JSONValue) -> String {
    if let path = match["path"].stringValue { return path }
    if let prefix = match["path_separated_prefix"].stringValue { return "PathPrefix:" + prefix }
    if let regex = match["safe_regex"]["regex"].stringValue { return "regex " + regex }
    if !match["connect_matcher"].isNull { return "CONNECT" }
    if let template = match["path_match_policy"]["typed_config"]["path_template"].stringValue {
      return "PathTemplate:" + template
    }
    // An empty prefix is left out by some writers.
    return match["prefix"].text + "*"
  }

  /// How many domains of a virtual host are shown; the others are counted.
  private static let shown = 2

  package static func domains(_ domains: [String]) -> String {
    var seen: Set<String> = []
    let names = domains.map(withoutPort).filter { seen.insert($0).inserted }
    let more = names.count > shown ? " + \(names.count - shown) more..." : ""
    return names.prefix(shown).joined(separator: ", ") + more
  }

  private static func withoutPort(_ domain: String) -> String {
    guard let colon = domain.lastIndex(of: ":"), !domain.hasSuffix("]"),
      domain[domain.index(after: colon)...].allSatisfy({ $0.isNumber }),
      domain.hasPrefix("[") || domain.firstIndex(of: ":") == colon
    else { return domain }
    return String(domain[..<colon])
  }
}
