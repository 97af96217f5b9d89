import Resources

/// Which resources end by themselves, and when. It is told the time; it knows no clock.
struct ResourceExpiry {
  struct Key: Hashable {
    let type: ResourceType
    let name: String
  }

  private var deadlines: [Key: UInt64] = [:]

  /// A resource has come, with a time to live or without.
  mutating func note(_ key: Key, timeToLive: UInt64?, now: UInt64) {
    deadlines[key] = timeToLive.map { now &+ $0 }
  }

  /// A heartbeat: what has no deadline needs none.
  mutating func renew(_ key: Key, timeToLive: UInt64?, now: UInt64) {
    guard deadlines[key] != nil else { return }
    note(key, timeToLive: timeToLive, now: now)
  }

  /// It is gone, or nobody wants it.
  mutating func forget(_ key: Key) { deadlines[key] = nil }

  /// Those whose time is over, which are forgotten.
  mutating func takeDue(now: UInt64) -> [Key] {
    let due = deadlines.filter { $0.value <= now }.keys
      .sorted { ($0.type.rawValue, $0.name) < ($1.type.rawValue, $1.name) }
    for key in due { deadlines[key] = nil }
    return due
  }

  /// When the next one's time is over.
  var next: UInt64? { deadlines.values.min() }
}
