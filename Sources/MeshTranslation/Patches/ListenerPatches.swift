import MeshMessages
import MeshModel
import ResourceModel
import SwiftProtobuf

/// What patches make of listeners: the listeners themselves, then what is in them, from the outside inwards;
/// last come those that are added, which nothing else changes.
struct ListenerPatches {
  typealias Listener = Envoy_Config_Listener_V3_Listener
  typealias Chain = Envoy_Config_Listener_V3_FilterChain

  let run: PatchRun

  func apply(to listeners: inout [Listener]) {
    listeners = listeners.compactMap(patched)
    for patch in run.patches(.listener, run.adds) {
      guard let added = try? Listener(serializedBytes: patch.value) else { continue }
      if listeners.contains(where: { $0.name == added.name || $0.isBound(as: added) }) {
        run.note(patch, "there is a listener '\(added.name)', or one at its address, already")
      } else if run.accepts(added, insteadOf: nil, patch, added.name, FairleadTrial.problems) {
        listeners.append(added)
      }
    }
  }

  private func patched(_ listener: Listener) -> Listener? {
    var listener = listener
    // Routes that stand in a listener are patched as those that do not: before it is.
    let routes = RoutePatches(run: run)
    for patch in routes.ordered {
      attempt(patch, &listener) { routes.apply(patch, toInlineOf: &$0) }
    }
    for patch in run.patches(.listener) where ListenerMatching(patch: patch).matches(listener) {
      if patch.operation == .remove { return nil }
      guard patch.isMerge, let changed = listener.merged(with: patch) else { continue }
      run.keep(changed, over: &listener, patch, listener.name, FairleadTrial.problems)
    }
    for patch in run.patches(.listenerFilter) {
      attempt(patch, &listener) {
        FilterPatches(run: run).applyListenerFilter(patch, to: &$0)
      }
    }
    patchChains(&listener)
    return listener
  }

  private func patchChains(_ listener: inout Listener) {
    for patch in run.patches(.filterChain) where patch.operation != .add {
      attempt(patch, &listener) { listener in
        patch.operation == .remove
          ? Self.removeChains(patch, in: &listener)
          : listener.changeChains(patch) { $0.merge(patch, run) }
      }
    }
    let filters = FilterPatches(run: run)
    for patch in run.patches(.networkFilter) where patch.operation != .merge {
      attempt(patch, &listener) { $0.changeChains(patch) { FilterPatches.edit(patch, &$0) } }
    }
    for patch in run.patches(.networkFilter) where patch.operation == .merge {
      attempt(patch, &listener) { $0.changeChains(patch) { filters.merge(patch, &$0) } }
    }
    for patch in run.patches(.httpFilter) where patch.operation != .merge {
      attempt(patch, &listener) { $0.changeChains(patch) { filters.editHTTP(patch, &$0) } }
    }
    for patch in run.patches(.httpFilter) where patch.operation == .merge {
      attempt(patch, &listener) { $0.changeChains(patch) { filters.mergeHTTP(patch, &$0) } }
    }
    for patch in run.patches(.filterChain) where patch.operation == .add {
      attempt(patch, &listener) { listener in
        guard ListenerMatching(patch: patch).matches(listener),
          let chain = try? Chain(serializedBytes: patch.value)
        else { return false }
        // No proxy takes two chains of which none could be chosen.
        let known = listener.filterChains.map(\.filterChainMatch)
        guard !known.contains(chain.filterChainMatch) else {
          run.note(patch, "'\(listener.name)' has a chain with the same conditions already")
          return false
        }
        listener.filterChains.append(chain)
        return true
      }
    }
  }

  /// Changes a listener, unless the client could not run it then.
  private func attempt(
    _ patch: EnvoyPatch, _ listener: inout Listener, _ change: (inout Listener) -> Bool
  ) {
    var changed = listener
    guard change(&changed) else { return }
    run.keep(changed, over: &listener, patch, listener.name, FairleadTrial.problems)
  }

  private static func removeChains(_ patch: EnvoyPatch, in listener: inout Listener) -> Bool {
    let matching = ListenerMatching(patch: patch)
    guard matching.matches(listener) else { return false }
    let whole = listener
    listener.filterChains.removeAll { matching.matches($0, of: whole) }
    if listener.hasDefaultFilterChain, matching.matches(listener.defaultFilterChain, of: whole) {
      listener.clearDefaultFilterChain()
    }
    return listener.filterChains.count < whole.filterChains.count
      || listener.hasDefaultFilterChain != whole.hasDefaultFilterChain
  }
}

extension Envoy_Config_Listener_V3_Listener {
  /// Changes every chain that a patch means; false when none has been.
  fileprivate mutating func changeChains(
    _ patch: EnvoyPatch, _ change: (inout Envoy_Config_Listener_V3_FilterChain) -> Bool
  ) -> Bool {
    let matching = ListenerMatching(patch: patch)
    guard matching.matches(self) else { return false }
    let whole = self
    var hasChanged = false
    for place in filterChains.indices where matching.matches(filterChains[place], of: whole) {
      if change(&filterChains[place]) { hasChanged = true }
    }
    if hasDefaultFilterChain, matching.matches(defaultFilterChain, of: whole),
      change(&defaultFilterChain)
    {
      hasChanged = true
    }
    return hasChanged
  }

  /// Whether two ask for the same address.
  fileprivate func isBound(as other: Self) -> Bool {
    let address = other.address.socketAddress
    return address.portValue != 0 && hasAddress && self.address == other.address
      && !(hasBindToPort && !bindToPort.value)
  }
}

extension Envoy_Config_Listener_V3_FilterChain {
  /// Lays a patch over the chain; the configuration of a socket of the same name is merged.
  fileprivate mutating func merge(_ patch: EnvoyPatch, _ run: PatchRun) -> Bool {
    let mine = transportSocket
    let hadSocket = hasTransportSocket
    var base = self
    guard let given = try? Self(serializedBytes: patch.value) else { return false }
    let replacesSocket = given.hasTransportSocket && hadSocket
    if replacesSocket { base.clearTransportSocket() }
    guard var whole = base.merged(with: patch) else { return false }
    if replacesSocket, mine.name == given.transportSocket.name {
      guard let both = mine.typedConfig.merged(with: given.transportSocket.typedConfig) else {
        run.note(
          patch, "the socket of chain '\(name)' is of another type: \(mine.typedConfig.typeURL)")
        return false
      }
      whole.transportSocket.typedConfig = both
    }
    self = whole
    return true
  }
}
