import MeshMessages
import MeshModel
import ResourceModel
import SwiftProtobuf

/// Turns what a VirtualService does with a request into what a route does.
struct RouteActions {
  typealias Route = Envoy_Config_Route_V3_Route
  typealias Action = Envoy_Config_Route_V3_RouteAction

  let scope: OutboundScope
  let profile: ClientProfile
  let notes: OmissionNotes
  let rule: Rule<VirtualService>
  /// The port on which the request comes.
  let port: UInt32

  /// Sets what becomes of the requests of a route.
  func apply(_ http: HTTPRoute, to route: inout Route) {
    setHeaders(http.headers, of: &route)
    if http.hasRedirect {
      route.redirect = redirect(http.redirect)
    } else if http.hasDirectResponse {
      route.directResponse = .with {
        $0.status = http.directResponse.status
        switch http.directResponse.body.specifier {
        case .string(let text): $0.body = .with { $0.inlineString = text }
        case .bytes(let bytes): $0.body = .with { $0.inlineBytes = bytes }
        case nil: break
        }
      }
    } else {
      var action = action(http)
      if http.hasRewrite { setRewrite(http.rewrite, of: &action, match: route.match) }
      route.route = action
    }
    setPerFilter(http, of: &route)
  }

  // MARK: Where to

  private func action(_ http: HTTPRoute) -> Action {
    var action = Action()
    setClusters(http.route, of: &action)
    setTimeout(http, of: &action)
    if let retry = RetryPolicies.policy(http, default: scope.snapshot.settings.defaultRetry) {
      action.retryPolicy =
        hashes(http.route).isEmpty ? retry : RetryPolicies.withoutPredicate(retry)
    }
    guard profile.isProxy else { return action }
    action.hashPolicy = hashes(http.route)
    action.requestMirrorPolicies = mirrors(http)
    return action
  }

  /// The cluster that a destination names. A service that nobody knows has one too: its requests are
  /// answered with 503, and whoever looks finds the name.
  func cluster(_ destination: Destination) -> String {
    let host = scope.snapshot.fullName(destination.host, in: rule.namespace)
    return ClusterName.outbound(host, number(of: destination, host), subset: destination.subset)
  }

  /// The clusters of a connection's destinations: one, or shares.
  func clusters(
    _ destinations: [Istio_Networking_V1alpha3_RouteDestination]
  ) -> [(name: String, weight: UInt32)] {
    if destinations.count == 1 { return [(cluster(destinations[0].destination), 1)] }
    return destinations.filter { $0.weight > 0 }.map {
      (cluster($0.destination), UInt32(clamping: $0.weight))
    }
  }

  private func number(of destination: Destination, _ host: String) -> UInt32 {
    if destination.hasPort, destination.port.number != 0 { return destination.port.number }
    guard let service = scope.service(named: host), service.ports.count == 1 else { return port }
    return service.ports[0].number
  }

  private func setClusters(
    _ destinations: [Istio_Networking_V1alpha3_HTTPRouteDestination], of action: inout Action
  ) {
    // Of a single destination the weight says nothing; of several, none is none.
    let used = destinations.count == 1 ? destinations : destinations.filter { $0.weight > 0 }
    if used.count == 1, !used[0].hasHeaders {
      action.cluster = cluster(used[0].destination)
      return
    }
    action.weightedClusters = .with {
      $0.clusters = used.map { one in
        .with {
          $0.name = cluster(one.destination)
          $0.weight = .init(used.count == 1 ? 100 : UInt32(clamping: one.weight))
          let request = one.headers.request
          let response = one.headers.response
          var changed = HeaderChanges(request)
          $0.hostRewriteSpecifier = changed.takeHost().map { .hostRewriteLiteral($0) }
          $0.requestHeadersToAdd = changed.options
          $0.requestHeadersToRemove = request.remove
          $0.responseHeadersToAdd = HeaderChanges(response).options
          $0.responseHeadersToRemove = response.remove
        }
      }
    }
  }

  private func setTimeout(_ http: HTTPRoute, of action: inout Action) {
    // Envoy would give up after 15 s; Istio waits as long as its user says, or for ever.
    let timeout = http.hasTimeout ? http.timeout : ProtobufDuration()
    if profile.isProxy {
      action.timeout = timeout
      // A route with the newer field takes its time from there alone. Without a time of its own it has
      // gRPC's callers say theirs; with one, that holds for them too.
      if timeout == .init() {
        action.maxStreamDuration = .with { $0.grpcTimeoutHeaderMax = timeout }
      }
    } else {
      action.maxStreamDuration = .with {
        $0.maxStreamDuration = timeout
        $0.grpcTimeoutHeaderMax = timeout
      }
    }
  }

  // MARK: Copies

  private func mirrors(_ http: HTTPRoute) -> [Action.RequestMirrorPolicy] {
    var all: [Action.RequestMirrorPolicy] = []
    if http.hasMirror {
      var share = 100.0
      if http.hasMirrorPercentage { share = http.mirrorPercentage.value }
      if http.hasMirrorPercent { share = Double(http.mirrorPercent.value) }
      if share > 0 { all.append(mirror(http.mirror, share)) }
    }
    for one in http.mirrors {
      let share = one.hasPercentage ? one.percentage.value : 100
      if share > 0 { all.append(mirror(one.destination, share)) }
    }
    return all
  }

  private func mirror(_ destination: Destination, _ share: Double) -> Action.RequestMirrorPolicy {
    .with {
      $0.cluster = cluster(destination)
      $0.runtimeFraction = .with { $0.defaultValue = Self.fraction(share) }
    }
  }

  /// A percentage in millionths, which is as exact as Istio is.
  static func fraction(_ percent: Double) -> Envoy_Type_V3_FractionalPercent {
    .with {
      $0.numerator = UInt32(clamping: Int64(min(max(percent, 0), 100) * 10_000))
      $0.denominator = .million
    }
  }

  // MARK: Same key, same endpoint

  private func hashes(
    _ destinations: [Istio_Networking_V1alpha3_HTTPRouteDestination]
  ) -> [Action.HashPolicy] {
    guard profile.balancesByHash else { return [] }
    return destinations.compactMap { one in
      let host = scope.snapshot.fullName(one.destination.host, in: rule.namespace)
      guard let service = scope.service(named: host) else { return nil }
      return Self.hash(
        service, number(of: one.destination, host), subset: one.destination.subset, in: scope)
    }
  }

  /// How requests to a service are told apart, if a rule wants it; the route says so, and the cluster's
  /// balancer uses it.
  static func hash(
    _ service: MeshService, _ port: UInt32, subset: String, in scope: OutboundScope
  ) -> Action.HashPolicy? {
    guard let effective = scope.destinationRule(for: service) else { return nil }
    let policy = effective.policy(port: port, subset: effective.subset(subset))
    guard case .consistentHash(let hash)? = policy.loadBalancer.lbPolicy else { return nil }
    return .with {
      switch hash.hashKey {
      case .httpHeaderName(let name): $0.header = .with { $0.headerName = name }
      case .httpCookie(let cookie):
        $0.cookie = .with {
          $0.name = cookie.name
          $0.path = cookie.path
          if cookie.hasTtl { $0.ttl = cookie.ttl }
          $0.attributes = cookie.attributes.map { attribute in
            .with {
              $0.name = attribute.name
              $0.value = attribute.value
            }
          }
        }
      case .useSourceIp(let uses): $0.connectionProperties = .with { $0.sourceIp = uses }
      case .httpQueryParameterName(let name): $0.queryParameter = .with { $0.name = name }
      case nil: break
      }
    }
  }

  // MARK: Other words for the request

  private func setRewrite(
    _ rewrite: Istio_Networking_V1alpha3_HTTPRewrite, of action: inout Action,
    match: Envoy_Config_Route_V3_RouteMatch
  ) {
    if rewrite.hasUriRegexRewrite {
      action.regexRewrite = .with {
        $0.pattern = .with { $0.regex = rewrite.uriRegexRewrite.match }
        $0.substitution = rewrite.uriRegexRewrite.rewrite
      }
    } else if !rewrite.uri.isEmpty {
      if case .safeRegex(let regex) = match.pathSpecifier {
        // There is no prefix to replace: all that matched is.
        action.regexRewrite = .with {
          $0.pattern = regex
          $0.substitution = rewrite.uri
        }
      } else {
        action.prefixRewrite = rewrite.uri
      }
    }
    if !rewrite.authority.isEmpty { action.hostRewriteLiteral = rewrite.authority }
  }

  private func redirect(
    _ rule: Istio_Networking_V1alpha3_HTTPRedirect
  ) -> Envoy_Config_Route_V3_RedirectAction {
    .with {
      $0.hostRedirect = rule.authority
      if !rule.prefixRewrite.isEmpty {
        $0.prefixRewrite = rule.prefixRewrite
      } else if !rule.uri.isEmpty {
        $0.pathRedirect = rule.uri
      }
      if !rule.scheme.isEmpty { $0.schemeRedirect = rule.scheme }
      switch rule.redirectPort {
      case .port(let port): $0.portRedirect = port
      case .derivePort(.fromRequestPort): $0.portRedirect = port
      case .derivePort, nil: break
      }
      $0.responseCode =
        switch rule.redirectCode {
        case 302: .found
        case 303: .seeOther
        case 307: .temporaryRedirect
        case 308: .permanentRedirect
        default: .movedPermanently
        }
    }
  }

  private func setHeaders(_ headers: Istio_Networking_V1alpha3_Headers, of route: inout Route) {
    var request = HeaderChanges(headers.request)
    // A host is no header that could be added; it is set by the action, below.
    _ = request.takeHost()
    route.requestHeadersToAdd = request.options
    route.requestHeadersToRemove = headers.request.remove
    route.responseHeadersToAdd = HeaderChanges(headers.response).options
    route.responseHeadersToRemove = headers.response.remove
  }

  // MARK: Filters

  private func setPerFilter(_ http: HTTPRoute, of route: inout Route) {
    if case .route(var action)? = route.action {
      var request = HeaderChanges(http.headers.request)
      if let host = request.takeHost() { action.hostRewriteLiteral = host }
      route.route = action
    }
    if http.hasFault {
      guard profile.isProxy else {
        notes.note(rule.object.id, "http.fault", "the client injects no faults")
        return
      }
      route.typedPerFilterConfig["envoy.filters.http.fault"] = FaultRules.fault(http.fault).packed
    }
    if http.hasCorsPolicy {
      guard profile.answersCORS else {
        notes.note(rule.object.id, "http.corsPolicy", "cross-origin requests are passed on")
        return
      }
      route.typedPerFilterConfig["envoy.filters.http.cors"] = CORSRules.policy(http.corsPolicy)
        .packed(as: "envoy.extensions.filters.http.cors.v3.CorsPolicy")
    }
  }
}

/// What is added to a message's header, and set in it.
struct HeaderChanges {
  private var replaced: [(String, String)]
  private let added: [(String, String)]

  init(_ operations: Istio_Networking_V1alpha3_Headers.HeaderOperations) {
    replaced = operations.set.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
    added = operations.add.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
  }

  /// The host, if it is to be another, which is then no longer among the headers.
  mutating func takeHost() -> String? {
    let isHost = { (name: String) in [":authority", "host"].contains(name.lowercased()) }
    let host = replaced.first { isHost($0.0) }?.1
    replaced.removeAll { isHost($0.0) }
    return host
  }

  var options: [Envoy_Config_Core_V3_HeaderValueOption] {
    replaced.map { Self.option($0, .overwriteIfExistsOrAdd) }
      + added.map { Self.option($0, .appendIfExistsOrAdd) }
  }

  private static func option(
    _ field: (String, String),
    _ action: Envoy_Config_Core_V3_HeaderValueOption.HeaderAppendAction
  ) -> Envoy_Config_Core_V3_HeaderValueOption {
    .with {
      $0.header = .with {
        $0.key = field.0
        $0.value = field.1
      }
      $0.appendAction = action
    }
  }
}
