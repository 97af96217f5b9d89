import MeshMessages
import MeshModel
import ResourceModel
import SwiftProtobuf

/// The routes of requests that a workload sends: one configuration for each port on which any service
/// takes requests, with a virtual host for each of those services.
struct OutboundRoutes {
  typealias Configuration = Envoy_Config_Route_V3_RouteConfiguration
  typealias VirtualHost = Envoy_Config_Route_V3_VirtualHost
  typealias Route = Envoy_Config_Route_V3_Route

  let scope: OutboundScope
  let profile: ClientProfile
  let notes: OmissionNotes

  private var node: ProxyNode { scope.node }
  private var snapshot: MeshSnapshot { scope.snapshot }

  /// All configurations that the proxy's listeners name.
  func build() -> [Configuration] {
    var ports: Set<UInt32> = []
    for service in scope.services {
      for port in service.ports where port.spoken.isHTTP { ports.insert(port.number) }
    }
    var found = ports.sorted().map { configuration(port: $0) }
    for service in scope.services {
      for port in service.ports where port.spoken == .auto {
        found.append(sniffed(service, port))
      }
    }
    if node.httpProxyPort != nil { found.append(proxied(ports)) }
    return found
  }

  /// Named after its port.
  private func configuration(port: UInt32) -> Configuration {
    var hosts = virtualHosts(port: port, withPorts: false)
    hosts.sort { $0.name < $1.name }
    hosts.append(catchAll)
    return frame(String(port), hosts)
  }

  /// Of one service of which it is found out what is spoken: every request is its.
  private func sniffed(_ service: MeshService, _ port: MeshPort) -> Configuration {
    var taken: Set<String> = []
    let made = virtualHosts(of: [service], port: port.number, withPorts: false, &taken)
    let hosts = made.prefix(1).map { host in
      var host = host
      host.domains = ["*"]
      return host
    }
    return frame("\(service.hostname):\(port.number)", Array(hosts))
  }

  /// Of clients that name their target in the request: every service, on every port.
  private func proxied(_ ports: Set<UInt32>) -> Configuration {
    var hosts = ports.sorted().flatMap { virtualHosts(port: $0, withPorts: true) }
    hosts.sort { $0.name < $1.name }
    hosts.append(catchAll)
    var configuration = frame("http_proxy", hosts)
    configuration.ignorePortInHostMatching = false
    return configuration
  }

  private func frame(_ name: String, _ hosts: [VirtualHost]) -> Configuration {
    .with {
      $0.name = name
      $0.virtualHosts = hosts
      $0.validateClusters = .init(false)
      $0.ignorePortInHostMatching = true
      $0.maxDirectResponseBodySizeBytes = .init(1_048_576)
    }
  }

  private var catchAll: VirtualHost {
    .with {
      $0.domains = ["*"]
      $0.includeRequestAttemptCount = true
      $0.routes = [
        .with {
          $0.match = RouteMatches.all
          if scope.allowsAny {
            $0.name = "allow_any"
            $0.route = .with {
              $0.cluster = ClusterName.passthrough
              $0.timeout = .init()
              $0.maxStreamDuration = .with { $0.grpcTimeoutHeaderMax = .init() }
            }
          } else {
            $0.name = "block_all"
            $0.directResponse = .with { $0.status = 502 }
          }
        }
      ]
      $0.name = scope.allowsAny ? "allow_any" : "block_all"
    }
  }

  // MARK: Virtual hosts

  private func virtualHosts(port: UInt32, withPorts: Bool) -> [VirtualHost] {
    var taken: Set<String> = []
    var hosts = virtualHosts(
      of: scope.services.filter { $0.port(port)?.spoken.isHTTP ?? false }, port: port,
      withPorts: withPorts, &taken)
    hosts += unregistered(port: port, withPorts: withPorts, &taken)
    return hosts
  }

  private func virtualHosts(
    of services: [MeshService], port: UInt32, withPorts: Bool, _ taken: inout Set<String>
  ) -> [VirtualHost] {
    // A name in full is nobody else's short form.
    let names = Set(services.map(\.hostname))
    return services.compactMap { service in
      let all = ServiceDomains.domains(of: service, for: node, withPort: withPorts ? port : nil)
      let mine = all.filter { domain in
        (domain == service.hostname || !names.contains(domain)) && taken.insert(domain).inserted
      }
      guard !mine.isEmpty else { return nil }
      return .with {
        $0.name = "\(service.hostname):\(port)"
        $0.domains = mine
        $0.routes = routes(for: service, port)
        $0.includeRequestAttemptCount = profile.isProxy
      }
    }
  }

  /// The routes of a service: those of the rule for it, or else one to its cluster.
  func routes(for service: MeshService, _ port: UInt32) -> [Route] {
    if let rule = scope.virtualService(for: service.hostname) { return routes(of: rule, port) }
    var action = Envoy_Config_Route_V3_RouteAction()
    action.cluster = ClusterName.outbound(service.hostname, port)
    action.timeout = .init()
    if let retry = RetryPolicies.policy(default: snapshot.settings.defaultRetry) {
      action.retryPolicy = retry
    }
    if profile.isProxy {
      action.maxStreamDuration = .with { $0.grpcTimeoutHeaderMax = .init() }
      if profile.balancesByHash,
        let hash = RouteActions.hash(service, port, subset: "", in: scope)
      {
        action.hashPolicy = [hash]
        action.retryPolicy = RetryPolicies.withoutPredicate(action.retryPolicy)
      }
    }
    return [
      .with {
        $0.name = "default"
        $0.match = profile.isProxy ? RouteMatches.all : .with { $0.prefix = "" }
        $0.route = action
      }
    ]
  }

  /// Hosts of rules that no service has; Istio gives them a virtual host on port 80.
  private func unregistered(
    port: UInt32, withPorts: Bool, _ taken: inout Set<String>
  ) -> [VirtualHost] {
    guard port == 80 else { return [] }
    var hosts: [VirtualHost] = []
    for rule in scope.virtualServices where !rule.spec.http.isEmpty {
      for host in rule.spec.hosts.map({ snapshot.fullName($0, in: rule.namespace) }) {
        guard !scope.hasService(coveredBy: host),
          taken.insert(host).inserted
        else { continue }
        let made = routes(of: rule, port)
        guard !made.isEmpty else { continue }
        hosts.append(
          .with {
            $0.name = "\(host):\(port)"
            $0.domains = withPorts ? [host, "\(host):\(port)"] : [host]
            $0.routes = made
            $0.includeRequestAttemptCount = true
          })
      }
    }
    return hosts
  }

  // MARK: Routes of a rule

  /// The routes of a rule for requests that come to a port.
  /// - Parameter gateways: how rules name where they come: `mesh` for sidecars.
  func routes(
    of rule: Rule<VirtualService>, _ port: UInt32, gateways: Set<String> = ["mesh"]
  ) -> [Route] {
    var routes: [Route] = []
    let actions = RouteActions(
      scope: scope, profile: profile, notes: notes, rule: rule, port: port)
    for http in delegated(rule) {
      if http.match.isEmpty {
        routes.append(route(http, nil, actions))
        return routes
      }
      for match in http.match
      where RouteMatches.applies(match, gateways: gateways, port: port, node: node) {
        let made = route(http, match, actions)
        routes.append(made)
        // What would come behind it could never match.
        if RouteMatches.isCatchAll(made.match) { return routes }
      }
    }
    return routes
  }

  private func route(_ http: HTTPRoute, _ match: HTTPMatch?, _ actions: RouteActions) -> Route {
    var route = Route()
    route.match = match.map { RouteMatches.match($0) } ?? RouteMatches.all
    if !profile.isProxy, match == nil { route.match = .with { $0.prefix = "" } }
    route.name = http.name
    if let name = match?.name, !name.isEmpty {
      route.name += http.name.isEmpty ? name : "." + name
    }
    if profile.isProxy {
      route.metadata = .with {
        $0.filterMetadata["istio"] = .init("config", actions.rule.object.id.istioPath)
      }
    }
    actions.apply(http, to: &route)
    return route
  }

  /// The rule's routes, with those of others that it delegates to in their places.
  private func delegated(_ rule: Rule<VirtualService>) -> [HTTPRoute] {
    rule.spec.http.flatMap { http -> [HTTPRoute] in
      guard http.hasDelegate else { return [http] }
      let namespace = http.delegate.namespace.isEmpty ? rule.namespace : http.delegate.namespace
      let delegate = snapshot.virtualServices.first {
        $0.namespace == namespace && $0.object.name == http.delegate.name && $0.spec.hosts.isEmpty
      }
      return (delegate?.spec.http ?? []).map { Delegation.merge(http, $0) }
    }
  }
}

/// A route of a VirtualService that hands over to another.
enum Delegation {
  /// The delegate's route, as far as the root's lets requests come to it: each match is both.
  static func merge(_ root: HTTPRoute, _ delegate: HTTPRoute) -> HTTPRoute {
    var merged = delegate
    if !root.name.isEmpty {
      merged.name = delegate.name.isEmpty ? root.name : root.name + "-" + delegate.name
    }
    if delegate.match.isEmpty {
      merged.match = root.match
    } else if !root.match.isEmpty {
      merged.match = root.match.flatMap { outer in delegate.match.map { both(outer, $0) } }
    }
    if root.hasTimeout, !delegate.hasTimeout { merged.timeout = root.timeout }
    if root.hasRetries, !delegate.hasRetries { merged.retries = root.retries }
    if root.hasFault, !delegate.hasFault { merged.fault = root.fault }
    if root.hasCorsPolicy, !delegate.hasCorsPolicy { merged.corsPolicy = root.corsPolicy }
    if root.hasHeaders, !delegate.hasHeaders { merged.headers = root.headers }
    if root.hasRewrite, !delegate.hasRewrite { merged.rewrite = root.rewrite }
    if root.hasMirror, !delegate.hasMirror { merged.mirror = root.mirror }
    if root.mirrors.count > 0, delegate.mirrors.isEmpty { merged.mirrors = root.mirrors }
    return merged
  }

  /// The inner match, with what only the outer one says.
  private static func both(_ outer: HTTPMatch, _ inner: HTTPMatch) -> HTTPMatch {
    var both = inner
    if !inner.hasUri, outer.hasUri {
      both.uri = outer.uri
      both.ignoreUriCase = outer.ignoreUriCase
    }
    if !inner.hasMethod, outer.hasMethod { both.method = outer.method }
    if !inner.hasAuthority, outer.hasAuthority { both.authority = outer.authority }
    if !inner.hasScheme, outer.hasScheme { both.scheme = outer.scheme }
    if inner.port == 0 { both.port = outer.port }
    if inner.sourceNamespace.isEmpty { both.sourceNamespace = outer.sourceNamespace }
    both.headers.merge(outer.headers) { own, _ in own }
    both.withoutHeaders.merge(outer.withoutHeaders) { own, _ in own }
    both.queryParams.merge(outer.queryParams) { own, _ in own }
    both.sourceLabels.merge(outer.sourceLabels) { own, _ in own }
    if inner.gateways.isEmpty { both.gateways = outer.gateways }
    return both
  }
}
