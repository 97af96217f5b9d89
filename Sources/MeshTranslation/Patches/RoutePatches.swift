import MeshMessages
import MeshModel
import ResourceModel
import SwiftProtobuf

/// What patches make of route configurations, of the virtual hosts in them, and of their routes.
struct RoutePatches {
  typealias Configuration = Envoy_Config_Route_V3_RouteConfiguration
  typealias VirtualHost = Envoy_Config_Route_V3_VirtualHost
  typealias Route = Envoy_Config_Route_V3_Route

  let run: PatchRun

  func apply(to configurations: inout [Configuration]) {
    let patches = ordered
    guard !patches.isEmpty else { return }
    for place in configurations.indices {
      for patch in patches {
        var changed = configurations[place]
        guard apply(patch, to: &changed) else { continue }
        run.keep(
          changed, over: &configurations[place], patch, "routes " + changed.name,
          FairleadTrial.problems)
      }
    }
  }

  /// From the outside inwards, and what is added last.
  var ordered: [EnvoyPatch] {
    run.patches(.routeConfiguration)
      + run.patches(.virtualHost) { $0.operation != .add }
      + run.patches(.httpRoute) { $0.isMerge || $0.operation == .remove }
      + run.patches(.httpRoute) { !$0.isMerge && $0.operation != .remove }
      + run.patches(.virtualHost) { $0.operation == .add }
  }

  /// The same for routes that stand in a listener.
  func apply(_ patch: EnvoyPatch, toInlineOf listener: inout Envoy_Config_Listener_V3_Listener)
    -> Bool
  {
    func change(_ chain: inout Envoy_Config_Listener_V3_FilterChain) -> Bool {
      var hasChanged = false
      for place in chain.filters.indices {
        let isChanged = chain.filters[place].changeManager { manager in
          guard case .routeConfig? = manager.routeSpecifier else { return false }
          return apply(patch, to: &manager.routeConfig)
        }
        if isChanged { hasChanged = true }
      }
      return hasChanged
    }
    var hasChanged = false
    for place in listener.filterChains.indices {
      if change(&listener.filterChains[place]) { hasChanged = true }
    }
    if listener.hasDefaultFilterChain, change(&listener.defaultFilterChain) { hasChanged = true }
    return hasChanged
  }

  private func apply(_ patch: EnvoyPatch, to configuration: inout Configuration) -> Bool {
    guard matches(configuration, patch) else { return false }
    switch patch.applyTo {
    case .routeConfiguration:
      guard patch.isMerge, let whole = configuration.merged(with: patch) else { return false }
      configuration = whole
      return true
    case .virtualHost: return changeHosts(patch, &configuration)
    case .httpRoute:
      var hasChanged = false
      for place in configuration.virtualHosts.indices
      where matches(configuration.virtualHosts[place], patch) {
        if changeRoutes(patch, &configuration.virtualHosts[place]) { hasChanged = true }
      }
      return hasChanged
    default: return false
    }
  }

  private func changeHosts(_ patch: EnvoyPatch, _ configuration: inout Configuration) -> Bool {
    let given = try? VirtualHost(serializedBytes: patch.value)
    switch patch.operation {
    case .add:
      guard let given else { return false }
      configuration.virtualHosts.append(given)
      return true
    case .remove:
      let count = configuration.virtualHosts.count
      configuration.virtualHosts.removeAll { matches($0, patch) }
      return configuration.virtualHosts.count < count
    default: break
    }
    var hasChanged = false
    for place in configuration.virtualHosts.indices
    where matches(configuration.virtualHosts[place], patch) {
      let changed =
        patch.isMerge ? configuration.virtualHosts[place].merged(with: patch) : given
      guard let changed else { continue }
      configuration.virtualHosts[place] = changed
      hasChanged = true
    }
    return hasChanged
  }

  private func changeRoutes(_ patch: EnvoyPatch, _ host: inout VirtualHost) -> Bool {
    guard patch.isMerge else {
      guard let given = try? Route(serializedBytes: patch.value) else { return false }
      let hasMatch = patch.routes?.vhost.hasRoute ?? false
      // A route that goes first wants the one that it names to be there all the same.
      if patch.operation == .insertFirst, hasMatch,
        !host.routes.contains(where: { matches($0, patch) })
      {
        return false
      }
      return ListEdit(
        operation: patch.operation, item: given,
        hasMatch: hasMatch || patch.operation == .remove, matches: { matches($0, patch) }
      ).apply(to: &host.routes, end: host.routes.count)
    }
    var hasChanged = false
    for place in host.routes.indices where matches(host.routes[place], patch) {
      guard let whole = host.routes[place].merged(with: patch) else { continue }
      host.routes[place] = whole
      hasChanged = true
    }
    return hasChanged
  }

  // MARK: Matching

  private func matches(_ configuration: Configuration, _ patch: EnvoyPatch) -> Bool {
    guard let match = patch.routes else { return true }
    if !match.name.isEmpty, match.name != configuration.name { return false }
    let name = RouteName(configuration.name)
    if match.portNumber != 0, name.port != match.portNumber { return false }
    guard run.context == .gateway else { return true }
    return (match.portName.isEmpty || match.portName == name.portName)
      && (match.gateway.isEmpty || match.gateway == name.gateway)
  }

  private func matches(_ host: VirtualHost, _ patch: EnvoyPatch) -> Bool {
    guard let match = patch.routes, match.hasVhost else { return true }
    return (match.vhost.name.isEmpty || match.vhost.name == host.name)
      && (match.vhost.domainName.isEmpty || host.domains.contains(match.vhost.domainName))
  }

  private func matches(_ route: Route, _ patch: EnvoyPatch) -> Bool {
    guard let match = patch.routes, match.hasVhost, match.vhost.hasRoute else { return true }
    let wanted = match.vhost.route
    if !wanted.name.isEmpty, wanted.name != route.name { return false }
    return switch (wanted.action, route.action) {
    case (.any, _), (.route, .route?), (.redirect, .redirect?),
      (.directResponse, .directResponse?), (_, nil):
      true
    default: false
    }
  }
}

/// What the name of a route configuration says: `80`, `inbound|80||`, `http.80`, or
/// `https.443.port.gateway.namespace`.
struct RouteName {
  private(set) var port: UInt32?
  private(set) var portName = ""
  /// `namespace/name`.
  private(set) var gateway = ""

  init(_ name: String) {
    if name.hasPrefix("inbound|") {
      let parts = name.split(separator: "|", omittingEmptySubsequences: false)
      port = parts.count > 1 ? UInt32(parts[1]) : nil
      return
    }
    let parts = name.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
    switch (parts.first, parts.count) {
    case ("http", 2): port = UInt32(parts[1])
    case ("https", 5):
      port = UInt32(parts[1])
      portName = parts[2]
      gateway = parts[4] + "/" + parts[3]
    default: port = UInt32(name)
    }
  }
}
