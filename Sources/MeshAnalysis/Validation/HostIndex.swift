/// The hosts of a list, to be asked which of them cover another: by looking up, since a list may have a
/// hundred thousand.
struct HostIndex {
  private var exact: [String: Int] = [:]
  /// What follows `*`, of hosts that begin with it.
  private var endings: [String: Int] = [:]
  /// How long those are, in bytes; each once.
  private var lengths: Set<Int> = []

  /// Longer ones are no names of hosts, and are refused for that.
  private static let nameBytes = 255

  init(_ hosts: [String] = []) {
    for (place, host) in hosts.enumerated() { insert(host, at: place) }
  }

  /// - Parameter place: in the list, from the front.
  mutating func insert(_ host: String, at place: Int) {
    if exact[host] == nil { exact[host] = place }
    guard host.hasPrefix("*"), host.utf8.count <= Self.nameBytes else { return }
    let ending = String(host.dropFirst())
    if endings[ending] == nil { endings[ending] = place }
    if !ending.isEmpty { lengths.insert(ending.utf8.count) }
  }

  /// The place of the first one that is the host, or has a `*` for what stands before.
  func first(covering host: String) -> Int? {
    var found = exact[host]
    // `*` alone covers everything.
    if let place = endings[""] { found = min(found ?? place, place) }
    let bytes = host.utf8
    // What `*` stands for is not empty.
    for length in lengths where length < min(bytes.count, Self.nameBytes) {
      guard let ending = String(bytes.suffix(length)), let place = endings[ending] else { continue }
      found = min(found ?? place, place)
    }
    return found
  }
}
