import Engine
import Resources

// What comes of time that passes: resources whose time is over, and those that an earlier process has
// kept while no control plane answers.
extension XDSClient {
  /// The loop's time.
  var milliseconds: UInt64 { loop.now / 1_000_000 }

  // MARK: Times to live

  func armExpiry() {
    guard let next = expiry.next else { return expiryTimer.cancel() }
    let now = milliseconds
    // Rounded up, so that it is over when we look.
    expiryTimer.set(milliseconds: next > now ? next - now + 1 : 1) { [weak self] in self?.expire() }
  }

  private func expire() {
    for key in expiry.takeDue(now: milliseconds) {
      states[key.type]?.expired(key.name)
      watches[key.type]?.forget(key.name)
      cache?.remove(key.type, key.name)
      onProblem("'\(key.name)' has not been sent again in time: it is removed")
      _ = tellAll(key.type, DiscoveredSet(version: "", resources: [], removed: [key.name]))
      _ = tell(key.type, key.name, DiscoveredSet(version: "", resources: []))
    }
    armExpiry()
  }

  // MARK: What was kept

  /// How long the control plane has to answer before what is kept, and nobody has asked for by then, is
  /// taken from the disk.
  private static let sweepMilliseconds: UInt64 = 60_000

  func planSweep() {
    guard cache != nil, !hasSwept else { return }
    hasSwept = true
    sweepTimer.set(milliseconds: Self.sweepMilliseconds) { [weak self] in
      guard let self, isAnswered else { return }
      for type in [ResourceType.endpoints, .routes, .extensions] {
        if let state = states[type] { cache?.keepOnly(type, state.heldNames) }
      }
      // In the delta variant nobody says what went while this process was away.
      guard variant == .delta else { return }
      for type in [ResourceType.clusters, .listeners] {
        if let names = announced[type] { cache?.keepOnly(type, names) }
      }
    }
  }

  /// Hands what an earlier process has kept to those who have not been told anything.
  func serveStored() {
    guard cache != nil else { return }
    for type in ResourceType.inOrder {
      for (id, name) in watches[type]?.untold ?? [] { serveStored(type, id, name) }
    }
  }

  /// The same for one, who does not want to wait any longer. False when there is nothing for it.
  package func serveStored(_ watch: Watch) -> Bool {
    guard watches[watch.type]?.untold.contains(where: { $0.id == watch.id }) == true else {
      return false
    }
    return serveStored(watch.type, watch.id, watch.name)
  }

  @discardableResult
  private func serveStored(_ type: ResourceType, _ id: Int, _ name: String?) -> Bool {
    guard let cache else { return false }
    let stored = name.map { cache.load(type, $0).map { [$0] } ?? [] } ?? cache.load(type)
    let resources = stored.compactMap { resource($0, type) }
    guard let newest = stored.max(by: { $0.at < $1.at }), !resources.isEmpty else { return false }
    let set = DiscoveredSet(version: newest.version, resources: resources, isStored: true)
    watches[type]?.noteTold(id)
    let refused = Set(
      (watches[type]?.watcher(id, named: name)?.update(set) ?? []).map(\.name))
    if let name, refused.isEmpty { watches[type]?.note(set, named: name) }
    var inForce: [String: String] = [:]
    for one in stored where !refused.contains(one.name) {
      inForce[one.name] = one.version
      cache.onEvent(.served)
    }
    states[type]?.restored(inForce)
    return true
  }

  private func resource(_ stored: ResourceCache.Stored, _ type: ResourceType) -> DiscoveredResource?
  {
    // The type is one that we know.
    guard
      var resource = try? DiscoveryMessage.read(
        typeURL: type.url, value: stored.value, origin: "cache"), resource.name == stored.name
    else { return nil }
    resource.storedAt = stored.at
    return resource
  }
}
