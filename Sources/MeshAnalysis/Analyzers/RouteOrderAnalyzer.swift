import MeshMessages
import MeshModel
import MeshTranslation
import Resources

/// Routes that no request comes to, since one before them takes it: the first that matches counts.
enum RouteOrderAnalyzer {
  static func analyze(_ context: AnalysisContext) {
    for rule in context.snapshot.virtualServices {
      let spec = ConfigPath.root["spec"]
      let http = rule.spec.http.enumerated().map { index, route in
        Route(
          name: route.name.isEmpty ? "#\(index)" : Words.quoted(route.name),
          matches: route.match.map(Match.http), isDelegate: route.hasDelegate)
      }
      check(http, of: rule, spec["http"], context)
      let tcp = rule.spec.tcp.enumerated().map { index, route in
        Route(name: "#\(index)", matches: route.match.map(Match.tcp), isDelegate: false)
      }
      check(tcp, of: rule, spec["tcp"], context)
      let tls = rule.spec.tls.enumerated().map { index, route in
        Route(name: "#\(index)", matches: route.match.map(Match.tls), isDelegate: false)
      }
      check(tls, of: rule, spec["tls"], context)
    }
  }

  private struct Route {
    let name: String
    let matches: [Match]
    let isDelegate: Bool
  }

  private enum Match: Equatable {
    case http(HTTPMatch)
    case tcp(Istio_Networking_V1alpha3_L4MatchAttributes)
    case tls(Istio_Networking_V1alpha3_TLSMatchAttributes)

    var name: String? {
      if case .http(let match) = self, !match.name.isEmpty { return match.name }
      return nil
    }

    /// The same in all that decides: names are for people.
    var condition: Match {
      guard case .http(var match) = self else { return self }
      match.name = ""
      match.statPrefix = ""
      return .http(match)
    }

    /// Takes everything: nothing is asked.
    var isEverything: Bool {
      switch condition {
      case .http(let match):
        var rest = match
        // Every path begins with these.
        if case .prefix(let prefix)? = match.uri.matchType, prefix.isEmpty || prefix == "/" {
          rest.clearUri()
        }
        rest.ignoreUriCase = false
        return rest == HTTPMatch()
      case .tcp(let match): return match == .init()
      case .tls(let match): return match == .init()
      }
    }

    /// Whether whatever the other takes is taken by this one.
    func covers(_ other: Match) -> Bool {
      if isEverything || condition == other.condition { return true }
      guard case .http(let mine) = condition, case .http(let its) = other.condition,
        case .prefix(let prefix)? = mine.uri.matchType, mine.ignoreUriCase == its.ignoreUriCase
      else { return false }
      let longer: String
      switch its.uri.matchType {
      case .prefix(let text), .exact(let text): longer = text
      default: return false
      }
      guard longer.hasPrefix(prefix) else { return false }
      var (left, right) = (mine, its)
      left.clearUri()
      right.clearUri()
      return left == right || left == HTTPMatch.with { $0.ignoreUriCase = mine.ignoreUriCase }
    }
  }

  private static func check(
    _ routes: [Route], of rule: Rule<VirtualService>, _ path: ConfigPath,
    _ context: AnalysisContext
  ) {
    var before: [(match: Match, route: String)] = []
    var catchesAll: String?
    for (index, route) in routes.enumerated() {
      let place = path[index]
      if let catchesAll {
        let reason =
          route.matches.isEmpty
          ? "only the last rule can have no matches"
          : "rule \(catchesAll) before it has no matches, and takes everything"
        context.report(
          .unreachableRule, rule.object, place,
          "VirtualService rule \(route.name) not used (\(reason)).")
        continue
      }
      if route.matches.isEmpty {
        // What a delegate does not take, later routes get.
        if !route.isDelegate { catchesAll = route.name }
        continue
      }
      let covered = route.matches.map { match in before.first { $0.match.covers(match) } }
      if covered.allSatisfy({ $0 != nil }) {
        context.report(
          .unreachableRule, rule.object, place,
          "VirtualService rule \(route.name) not used (all matches are taken by rules before it).")
      } else {
        for (number, taken) in covered.enumerated() {
          guard let taken else { continue }
          let name = route.matches[number].name.map(Words.quoted) ?? "#\(number)"
          context.report(
            .ineffectiveMatch, rule.object, place["match"][number],
            "VirtualService rule \(route.name) match \(name) is not used (duplicate/overlapping "
              + "match in rule \(taken.route)).")
        }
      }
      guard !route.isDelegate else { continue }
      before += route.matches.map { ($0, route.name) }
    }
  }
}
