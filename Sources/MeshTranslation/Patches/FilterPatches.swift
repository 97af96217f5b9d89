import MeshMessages
import MeshModel
import ResourceModel
import SwiftProtobuf

/// What patches make of the filters of a listener and of a filter chain.
struct FilterPatches {
  typealias Listener = Envoy_Config_Listener_V3_Listener
  typealias Chain = Envoy_Config_Listener_V3_FilterChain
  typealias Filter = Envoy_Config_Listener_V3_Filter
  typealias Manager = NetworkFilters.Manager
  typealias HTTPFilter = NetworkFilters.HTTPFilter

  let run: PatchRun

  // MARK: In front of chains

  func applyListenerFilter(_ patch: EnvoyPatch, to listener: inout Listener) -> Bool {
    let matching = ListenerMatching(patch: patch)
    let wanted = matching.listenerFilter
    guard matching.matches(listener),
      let given = try? Envoy_Config_Listener_V3_ListenerFilter(serializedBytes: patch.value)
    else { return false }
    guard patch.operation == .merge else {
      return ListEdit(
        operation: patch.operation, item: given, hasMatch: wanted != nil,
        matches: { ListenerMatching.matches(wanted, $0.name) }
      ).apply(to: &listener.listenerFilters, end: listener.listenerFilters.count)
    }
    guard wanted != nil else { return false }
    var hasChanged = false
    for place in listener.listenerFilters.indices
    where listener.listenerFilters[place].name == wanted {
      if case .typedConfig(let theirs)? = given.configType,
        case .typedConfig(let mine)? = listener.listenerFilters[place].configType
      {
        guard let both = mine.merged(with: theirs) else {
          run.note(
            patch, "'\(given.name)' of '\(listener.name)' is of another type: \(mine.typeURL)")
          continue
        }
        listener.listenerFilters[place].typedConfig = both
      }
      hasChanged = true
      if !given.name.isEmpty { listener.listenerFilters[place].name = given.name }
    }
    return hasChanged
  }

  // MARK: Network filters

  /// Adds, removes and replaces.
  static func edit(_ patch: EnvoyPatch, _ chain: inout Chain) -> Bool {
    guard let given = try? Filter(serializedBytes: patch.value) else { return false }
    let wanted = ListenerMatching(patch: patch).networkFilter
    let endsChain = chain.filters.last.map { isTerminal($0) } ?? false
    return ListEdit(
      operation: patch.operation, item: given, hasMatch: wanted != nil,
      matches: { ListenerMatching.matches(wanted, $0.name) }
    ).apply(
      to: &chain.filters,
      end: chain.filters.count - (endsChain && !isTerminal(given) ? 1 : 0))
  }

  /// Network filters that take the connection, and so come last.
  private static func isTerminal(_ filter: Filter) -> Bool {
    let names = [
      "http_connection_manager.v3.HttpConnectionManager", "tcp_proxy.v3.TcpProxy", "echo.v3.Echo",
      "redis_proxy.v3.RedisProxy", "thrift_proxy.v3.ThriftProxy", "dubbo_proxy.v3.DubboProxy",
      "generic_proxy.v3.GenericProxy", "direct_response.v3.Config",
    ]
    return names.contains { filter.typedConfig.typeURL.hasSuffix("." + $0) }
  }

  func merge(_ patch: EnvoyPatch, _ chain: inout Chain) -> Bool {
    guard let given = try? Filter(serializedBytes: patch.value) else { return false }
    let wanted = ListenerMatching(patch: patch).networkFilter
    var hasChanged = false
    for place in chain.filters.indices
    where ListenerMatching.matches(wanted, chain.filters[place].name) {
      guard case .typedConfig(let mine)? = chain.filters[place].configType else { continue }
      if case .typedConfig(let theirs)? = given.configType {
        guard let both = merged(mine, theirs, patch, chain.filters[place].name) else { continue }
        chain.filters[place].typedConfig = both
      }
      if !given.name.isEmpty { chain.filters[place].name = given.name }
      hasChanged = true
    }
    return hasChanged
  }

  private func merged(
    _ mine: Google_Protobuf_Any, _ theirs: Google_Protobuf_Any, _ patch: EnvoyPatch, _ name: String
  ) -> Google_Protobuf_Any? {
    let both = mine.merged(with: theirs)
    // Where any filter is meant, those of other types are not.
    if both == nil, ListenerMatching(patch: patch).networkFilter != nil {
      run.note(patch, "'\(name)' is not merged: its configuration is of another type")
    }
    return both
  }

  // MARK: HTTP filters

  /// Adds, removes and replaces.
  func editHTTP(_ patch: EnvoyPatch, _ chain: inout Chain) -> Bool {
    guard let given = try? HTTPFilter(serializedBytes: patch.value) else { return false }
    let matching = ListenerMatching(patch: patch)
    let wanted = matching.httpFilter
    return changeManagers(matching, &chain) { manager in
      ListEdit(
        operation: patch.operation, item: given, hasMatch: wanted != nil,
        matches: { ListenerMatching.matches(wanted, $0.name) }
      ).apply(to: &manager.httpFilters, end: end(of: manager.httpFilters, patch, given))
    }
  }

  func mergeHTTP(_ patch: EnvoyPatch, _ chain: inout Chain) -> Bool {
    guard let given = try? HTTPFilter(serializedBytes: patch.value) else { return false }
    let matching = ListenerMatching(patch: patch)
    let wanted = matching.httpFilter
    return changeManagers(matching, &chain) { manager in
      var hasChanged = false
      for place in manager.httpFilters.indices
      where ListenerMatching.matches(wanted, manager.httpFilters[place].name) {
        guard case .typedConfig(let mine)? = manager.httpFilters[place].configType else { continue }
        if case .typedConfig(let theirs)? = given.configType {
          guard let both = merged(mine, theirs, patch, manager.httpFilters[place].name) else {
            continue
          }
          manager.httpFilters[place].typedConfig = both
        }
        if !given.name.isEmpty { manager.httpFilters[place].name = given.name }
        hasChanged = true
      }
      return hasChanged
    }
  }

  /// Where what is added goes: by its class behind what authenticates or authorises, else in front of the
  /// router.
  private func end(of filters: [HTTPFilter], _ patch: EnvoyPatch, _ given: HTTPFilter) -> Int {
    func isRouter(_ filter: HTTPFilter) -> Bool {
      filter.typedConfig.typeURL.hasSuffix("/" + Self.router)
    }
    func place(behind names: [String]) -> Int {
      filters.lastIndex { names.contains($0.name) }.map { $0 + 1 } ?? 0
    }
    if patch.operation == .add {
      switch patch.filterClass {
      case .authn: return place(behind: Self.authentication)
      case .authz: return place(behind: Self.authentication + Self.authorization)
      case .stats, .unspecified, .UNRECOGNIZED: break
      }
    }
    let hasRouter = filters.last.map(isRouter) ?? false
    return filters.count - (hasRouter && !isRouter(given) ? 1 : 0)
  }

  private static let router = "envoy.extensions.filters.http.router.v3.Router"
  private static let authentication = ["envoy.filters.http.jwt_authn"]
  private static let authorization = ["envoy.filters.http.rbac", "envoy.filters.http.ext_authz"]

  private func changeManagers(
    _ matching: ListenerMatching, _ chain: inout Chain, _ change: (inout Manager) -> Bool
  ) -> Bool {
    var hasChanged = false
    for place in chain.filters.indices
    where ListenerMatching.matches(matching.networkFilter, chain.filters[place].name) {
      if chain.filters[place].changeManager(change) { hasChanged = true }
    }
    return hasChanged
  }
}

extension Envoy_Config_Listener_V3_Filter {
  /// Changes a connection manager; false for any other filter, and when nothing has changed.
  mutating func changeManager(_ change: (inout NetworkFilters.Manager) -> Bool) -> Bool {
    guard typedConfig.isA(NetworkFilters.Manager.self),
      var manager = try? NetworkFilters.Manager(serializedBytes: typedConfig.value),
      change(&manager)
    else { return false }
    typedConfig = manager.packed
    return true
  }
}
