import MeshMessages
import MeshModel
import Resources

/// What is wrong with an HTTP route.
struct HTTPRouteCheck {
  let check: FieldCheck
  /// The rule has no hosts: others refer to it.
  let isDelegate: Bool
  /// The rule is for gateways, perhaps besides the mesh.
  let isOfGateways: Bool

  /// A body that is answered with, in bytes: Envoy's bound.
  private static let longestBody = 1 << 20

  func check(_ route: HTTPRoute, _ path: ConfigPath) {
    checkAnswer(route, path)
    for (index, match) in route.match.enumerated() { check(match, path["match"][index]) }
    checkDestinations(route, path)
    checkRedirect(route, path["redirect"])
    checkDirectResponse(route, path["directResponse"])
    checkRewrite(route, path)
    HTTPPolicyCheck(check: check).check(route, path)
    checkHeaders(route.headers, path["headers"])
  }

  // MARK: What becomes of a request

  private func checkAnswer(_ route: HTTPRoute, _ path: ConfigPath) {
    let answers = [
      ("redirect", route.hasRedirect), ("directResponse", route.hasDirectResponse),
      ("route", !route.route.isEmpty),
    ].filter(\.1).map(\.0)
    if route.hasDelegate {
      if isDelegate {
        check.error(
          path["delegate"], "a delegate has no delegate of its own: write its routes here")
      }
      for answer in answers {
        check.error(
          path[answer], "'delegate' and '\(answer)' exclude each other: remove one")
      }
      return
    }
    guard let answer = answers.first else {
      return check.error(
        path,
        "an HTTP route has a 'route', a 'redirect', a 'directResponse' or a 'delegate': write one")
    }
    if answers.count > 1 {
      check.error(
        path[answers[0]],
        "'\(answers[0])' and '\(answers[1])' exclude each other: remove one")
    }
    guard answer != "route" else { return }
    for (field, isThere) in [("fault", route.hasFault), ("rewrite", route.hasRewrite)]
    where isThere {
      check.error(path[field], "'\(answer)' takes no '\(field)': remove one")
    }
  }

  private func checkDestinations(_ route: HTTPRoute, _ path: ConfigPath) {
    let targets = DestinationCheck(check: check)
    targets.checkWeights(route.route.map(\.weight), path["route"])
    for (index, target) in route.route.enumerated() {
      targets.check(target.destination, path["route"][index])
      checkHeaders(target.headers, path["route"][index]["headers"])
    }
    if route.hasMirror {
      targets.check(route.mirror, path["mirror"], field: nil)
      if !route.mirrors.isEmpty {
        check.error(path["mirror"], "'mirror' and 'mirrors' exclude each other: use 'mirrors'")
      }
    }
    for (index, mirror) in route.mirrors.enumerated() {
      targets.check(mirror.destination, path["mirrors"][index])
      check.percentage(
        mirror.percentage.value, path["mirrors"][index]["percentage"]["value"])
    }
    check.percentage(route.mirrorPercentage.value, path["mirrorPercentage"]["value"])
    if route.hasMirrorPercent {
      if route.mirrorPercent.value > 100 {
        check.error(path["mirrorPercent"], "a percentage is from 0 to 100")
      }
      check.warning(path["mirrorPercent"], "deprecated: use 'mirrorPercentage'")
    }
  }

  private func checkRedirect(_ route: HTTPRoute, _ path: ConfigPath) {
    guard route.hasRedirect else { return }
    let redirect = route.redirect
    let changesPort = redirect.redirectPort != nil
    if redirect.uri.isEmpty, redirect.authority.isEmpty, redirect.scheme.isEmpty,
      redirect.prefixRewrite.isEmpty, !changesPort
    {
      check.error(path, "a redirect says where to: 'uri', 'authority', 'scheme' or 'port'")
    }
    if !redirect.uri.isEmpty, !redirect.prefixRewrite.isEmpty {
      check.error(path["prefixRewrite"], "'uri' and 'prefixRewrite' exclude each other: remove one")
    }
    if !redirect.prefixRewrite.isEmpty {
      for (index, match) in route.match.enumerated() {
        if case .prefix? = match.uri.matchType { continue }
        check.error(
          path["prefixRewrite"],
          "'prefixRewrite' is for paths that match by a prefix: match[\(index)] has none")
      }
    }
    let codes: Set<UInt32> = [0, 301, 302, 303, 307, 308]
    if !codes.contains(redirect.redirectCode) {
      check.error(
        path["redirectCode"],
        "a redirect's code is 301, 302, 303, 307 or 308, not \(redirect.redirectCode)")
    }
    if !["", "http", "https"].contains(redirect.scheme) {
      check.error(path["scheme"], "a scheme is 'http' or 'https', not '\(redirect.scheme)'")
    }
    if case .port(let number)? = redirect.redirectPort { check.port(number, path["port"]) }
  }

  private func checkDirectResponse(_ route: HTTPRoute, _ path: ConfigPath) {
    guard route.hasDirectResponse else { return }
    if !(200...599).contains(route.directResponse.status) {
      check.error(
        path["status"], "a status is from 200 to 599, not \(route.directResponse.status)")
    }
    let size =
      switch route.directResponse.body.specifier {
      case .string(let text): text.utf8.count
      case .bytes(let bytes): bytes.count
      case nil: 0
      }
    if size > Self.longestBody {
      check.error(path["body"], "a body has \(Self.longestBody) bytes at most, not \(size)")
    } else if size > Self.longestBody / 10 {
      check.warning(
        path["body"], "a body of \(size) bytes is sent to every proxy: serve it from a service")
    }
  }

  private func checkRewrite(_ route: HTTPRoute, _ path: ConfigPath) {
    let changed = [route.headers.request.set, route.headers.request.add]
    let authorities = changed.flatMap { $0.keys.filter(Self.isAuthority) }
    let isRewritten = !route.rewrite.authority.isEmpty
    if authorities.count + (isRewritten ? 1 : 0) > 1 {
      check.error(
        path["headers"]["request"],
        "the authority is set more than once: keep one of "
          + (authorities.sorted() + (isRewritten ? ["rewrite.authority"] : []))
          .joined(separator: ", "))
    }
    guard route.hasRewrite else { return }
    let rewrite = route.rewrite
    let place = path["rewrite"]
    if rewrite.uri.isEmpty, rewrite.authority.isEmpty, !rewrite.hasUriRegexRewrite {
      check.error(place, "a rewrite says what to: 'uri', 'authority' or 'uriRegexRewrite'")
    }
    guard rewrite.hasUriRegexRewrite else { return }
    if !rewrite.uri.isEmpty {
      check.error(place["uri"], "'uri' and 'uriRegexRewrite' exclude each other: remove one")
    }
    let regex = rewrite.uriRegexRewrite
    if regex.match.isEmpty || regex.rewrite.isEmpty {
      return check.error(place["uriRegexRewrite"], "both 'match' and 'rewrite' are needed")
    }
    check.expression(regex.match, place["uriRegexRewrite"]["match"])
    if Expression.mistake(in: regex.match) == nil,
      let mistake = Expression.mistake(in: regex.match, substitution: regex.rewrite)
    {
      check.error(place["uriRegexRewrite"]["rewrite"], "no text to replace with: \(mistake)")
    }
  }

  // MARK: Matches

  private func check(_ match: HTTPMatch, _ path: ConfigPath) {
    if match == HTTPMatch() {
      check.warning(
        path, "matches every request: say 'uri', 'headers', … under it, or remove the 'match'")
    }
    if match.hasUri { check.match(match.uri, path["uri"], takesEmptyPrefix: true) }
    for (name, text, isThere) in [
      ("scheme", match.scheme, match.hasScheme), ("method", match.method, match.hasMethod),
      ("authority", match.authority, match.hasAuthority),
    ] where isThere {
      check.match(text, path[name])
    }
    for (field, texts) in [("headers", match.headers), ("withoutHeaders", match.withoutHeaders)] {
      for (name, text) in texts.sorted(by: { $0.key < $1.key }) {
        checkHeaderMatch(name, path[field].key(name))
        check.match(text, path[field].key(name), takesPresence: true)
      }
    }
    for (name, text) in match.queryParams.sorted(by: { $0.key < $1.key }) {
      check.match(text, path["queryParams"].key(name), takesPresence: true)
    }
    if match.port != 0 { check.port(match.port, path["port"]) }
    check.labels(match.sourceLabels, path["sourceLabels"])
    if !match.sourceNamespace.isEmpty {
      check.namespace(match.sourceNamespace, path["sourceNamespace"])
    }
  }

  private static let pseudoHeaders: Set<String> = [
    ":method", ":scheme", ":authority", ":path", ":status",
  ]

  private func checkHeaderMatch(_ name: String, _ path: ConfigPath) {
    if name.hasPrefix("@request.auth.claims") {
      if !isOfGateways {
        check.error(path, "claims of a token are for gateways: name the 'gateways' of this rule")
      }
    } else if !Self.pseudoHeaders.contains(name) {
      check.header(name, path)
    }
  }

  // MARK: Headers

  private static func isAuthority(_ name: String) -> Bool {
    [":authority", "host"].contains(name.lowercased())
  }

  private func checkHeaders(_ headers: Istio_Networking_V1alpha3_Headers, _ path: ConfigPath) {
    check(headers.request, path["request"], takesAuthority: true)
    check(headers.response, path["response"], takesAuthority: false)
  }

  private func check(
    _ operations: Istio_Networking_V1alpha3_Headers.HeaderOperations, _ path: ConfigPath,
    takesAuthority: Bool
  ) {
    for (field, values) in [("set", operations.set), ("add", operations.add)] {
      for (name, value) in values.sorted(by: { $0.key < $1.key }) {
        let place = path[field].key(name)
        if !(takesAuthority && Self.isAuthority(name)) { checkChanged(name, place) }
        if value.utf8.contains(where: { ($0 < 0x20 && $0 != 0x09) || $0 == 0x7F }) {
          check.error(place, "a header's value has no control characters")
        }
      }
    }
    for (index, name) in operations.remove.enumerated() {
      checkChanged(name, path["remove"][index])
    }
  }

  private func checkChanged(_ name: String, _ path: ConfigPath) {
    if name.hasPrefix(":") || name.lowercased() == "host" {
      check.error(path, "'\(name)' is not changed here: 'rewrite' has fields for it")
    } else {
      check.header(name, path)
    }
  }
}
