import Resources

/// Who is told of resources of one kind.
package struct ResourceWatcher {
  /// An answer with something for this watcher has come. Returns what of it is refused: the rest has
  /// been taken over.
  package let update: (DiscoveredSet) -> [Refusal]
  /// An answer has come that could not be taken apart, with the reasons: nothing of it counts.
  package let refused: ([String]) -> Void
  /// The stream has ended; another one is tried.
  package let disconnected: () -> Void

  package init(
    update: @escaping (DiscoveredSet) -> [Refusal], refused: @escaping ([String]) -> Void,
    disconnected: @escaping () -> Void
  ) {
    self.update = update
    self.refused = refused
    self.disconnected = disconnected
  }
}

/// The watchers of one kind of resources, and what those who wait for a name were last told. Whoever is
/// told may begin watches, and end them.
struct WatchList {
  private var all: [Int: ResourceWatcher] = [:]
  private var named: [String: [Int: ResourceWatcher]] = [:]
  /// What was accepted under names that somebody holds: a server does not send it again to whoever asks
  /// as the second.
  private var latest: [String: DiscoveredSet] = [:]

  mutating func add(_ watcher: ResourceWatcher, _ id: Int, named name: String?) {
    if let name { named[name, default: [:]][id] = watcher } else { all[id] = watcher }
  }

  mutating func remove(_ id: Int, named name: String?) {
    guard let name else {
      all[id] = nil
      return
    }
    named[name]?[id] = nil
    guard named[name]?.isEmpty == true else { return }
    named[name] = nil
    latest[name] = nil
  }

  /// Those who want everything, in the order in which they came.
  var wildcardIDs: [Int] { all.keys.sorted() }

  func ids(named name: String) -> [Int] { (named[name] ?? [:]).keys.sorted() }

  func watcher(_ id: Int, named name: String?) -> ResourceWatcher? {
    guard let name else { return all[id] }
    return named[name]?[id]
  }

  var everybody: [ResourceWatcher] { Array(all.values) + named.values.flatMap(\.values) }

  /// Keeps what was accepted for whoever asks later.
  mutating func note(_ set: DiscoveredSet, named name: String) {
    if named[name] != nil { latest[name] = set }
  }

  func latest(named name: String) -> DiscoveredSet? { latest[name] }
}
