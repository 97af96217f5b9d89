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
  /// Those who have been told something.
  private var told: Set<Int> = []

  mutating func add(_ watcher: ResourceWatcher, _ id: Int, named name: String?) {
    if let name { named[name, default: [:]][id] = watcher } else { all[id] = watcher }
  }

  /// What was accepted stays until it is forgotten: as long as the server has not heard that nobody wants
  /// it, it would not send it again.
  mutating func remove(_ id: Int, named name: String?) {
    told.remove(id)
    guard let name else {
      all[id] = nil
      return
    }
    named[name]?[id] = nil
    if named[name]?.isEmpty == true { named[name] = nil }
  }

  /// The server has heard that nobody wants the name, or there is no such resource any more.
  mutating func forget(_ name: String) { latest[name] = nil }

  /// Somebody has been told something.
  mutating func noteTold(_ id: Int) { told.insert(id) }

  func isTold(_ id: Int) -> Bool { told.contains(id) }

  /// Those who have not been told anything, with the names that they want.
  var untold: [(id: Int, name: String?)] {
    let everything = all.keys.map { (id: $0, name: String?.none) }
    let single = named.flatMap { name, watchers in
      watchers.keys.map { (id: $0, name: String?.some(name)) }
    }
    return (everything + single).filter { !told.contains($0.id) }.sorted { $0.id < $1.id }
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
