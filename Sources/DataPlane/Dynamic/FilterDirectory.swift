import ResourceModel

/// All configurations of HTTP filters that come by themselves, and the chains that take them. Main
/// thread.
final class FilterDirectory {
  private struct Key: Hashable {
    let name: String
    let source: Envoy_Config_Core_V3_ConfigSource
  }

  private unowned let server: Server
  private var subscriptions: [Key: FilterSubscription] = [:]
  /// By the places of their connection managers.
  private var chains: [Int: FollowedChain] = [:]
  private var lastSerial: UInt32 = 1

  init(_ server: Server) { self.server = server }

  /// In the order of their names.
  var all: [FilterSubscription] {
    subscriptions.sorted { $0.key.name < $1.key.name }.map(\.value)
  }

  /// Tells one configuration from all others; 1 is those that come with their chain.
  func nextSerial() -> UInt32 {
    lastSerial = lastSerial == .max ? 2 : lastSerial + 1
    return lastSerial
  }

  /// Has the filters of connection managers follow their configurations.
  /// - Returns: those that a listener waits for.
  func follow(_ managers: [CompiledManager]) -> [FilterSubscription] {
    var awaited: [FilterSubscription] = []
    var all: [FilterSubscription] = []
    for manager in managers {
      for (index, filter) in manager.filters.enumerated() {
        guard let discovery = filter.discovery else { continue }
        let key = Key(name: filter.name, source: discovery.source)
        let subscription =
          subscriptions[key] ?? FilterSubscription(filter.name, discovery.source, for: server)
        subscriptions[key] = subscription
        let chain = chains[manager.place] ?? FollowedChain(manager, for: server)
        chains[manager.place] = chain
        subscription.add(chain, at: index)
        all.append(subscription)
        if discovery.isWaitedFor { awaited.append(subscription) }
      }
    }
    // Once every chain is there that the first answer has to suit.
    for subscription in all { subscription.start() }
    return awaited
  }

  /// The listener of a connection manager drains: its requests go on with what they have, and it has no say
  /// in what comes, which is meant for the listener in its place.
  func freeze(_ manager: CompiledManager) {
    if let chain = chains[manager.place] { release(chain) }
  }

  /// A connection manager is no more.
  func leave(_ manager: CompiledManager) {
    guard let chain = chains.removeValue(forKey: manager.place) else { return }
    chain.end()
    release(chain)
  }

  private func release(_ chain: FollowedChain) {
    for (key, subscription) in subscriptions where subscription.remove(chain) {
      subscription.end()
      subscriptions[key] = nil
      let scope = FilterSubscription.scope(key.name)
      // `a.b` counts among what begins with `a`.
      if !subscriptions.keys.contains(where: {
        FilterSubscription.scope($0.name).hasPrefix(scope)
      }) {
        server.config.store.remove(prefix: scope)
      }
    }
  }

  /// The names of configurations that a connection manager still waits for.
  func awaited(by manager: CompiledManager) -> [String] {
    manager.filters.compactMap { filter in
      guard let discovery = filter.discovery, discovery.isWaitedFor,
        subscriptions[Key(name: filter.name, source: discovery.source)]?.isInitialized != true
      else { return nil }
      return filter.name
    }
  }
}
