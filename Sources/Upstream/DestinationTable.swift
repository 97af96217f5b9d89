import Engine

/// One worker's hosts of an ORIGINAL_DST cluster, by address: those that all workers know, and those
/// that it has made itself and the main thread has not published yet.
///
/// Open addressing with linear probing; at most half of the slots are taken. Who connects may choose
/// the addresses, so they are hashed with a seed of the worker's own.
struct DestinationTable: ~Copyable {
  private struct Slot: BitwiseCopyable {
    var hash: UInt64 = 0
    /// Nil: nobody is here.
    var host: Ref<Host>?
  }

  private var slots = Buffer<Slot>([])
  private var seed: UInt64 = 0
  private(set) var count = 0

  private static let firstSlotCount = 16

  /// The host at an address.
  func find(_ address: SocketAddress) -> Ref<Host>? {
    place(of: address, address.hash(seed: seed)).flatMap { slots[$0].host }
  }

  /// Adds a host whose address has none.
  mutating func insert(_ host: Ref<Host>, random: inout Random) {
    if count &* 2 >= slots.count { grow(random: &random) }
    put(host, host.value.destination[0].hash(seed: seed))
    count += 1
  }

  /// Takes over a snapshot: what it has let go of leaves, what other workers have made comes.
  mutating func adopt(_ hosts: Ref<HostSet>, random: inout Random) {
    for index in 0..<hosts.value.removed.count { remove(hosts.value.removed[index]) }
    for index in 0..<hosts.value.hosts.count {
      let host = hosts.value.hosts[index].host
      guard count < ConfigBounds.destinationsPerCluster,
        find(host.value.destination[0]) == nil
      else { continue }
      insert(host, random: &random)
    }
  }

  /// Takes out a host; another one at its address stays.
  private mutating func remove(_ host: Ref<Host>) {
    let address = host.value.destination[0]
    guard var hole = place(of: address, address.hash(seed: seed)), slots[hole].host == host else {
      return
    }
    count -= 1
    // Whoever stood behind it because its own place was taken moves up: searches end at a hole.
    var next = following(hole)
    while slots[next].host != nil {
      let home = Int(truncatingIfNeeded: slots[next].hash) & (slots.count &- 1)
      if distance(from: home, to: next) >= distance(from: hole, to: next) {
        slots[hole] = slots[next]
        hole = next
      }
      next = following(next)
    }
    slots[hole] = Slot()
  }

  // MARK: Slots

  private func place(of address: SocketAddress, _ hash: UInt64) -> Int? {
    guard count > 0 else { return nil }
    var index = Int(truncatingIfNeeded: hash) & (slots.count &- 1)
    while let host = slots[index].host {
      if slots[index].hash == hash, host.value.destination[0].isSamePlace(as: address) {
        return index
      }
      index = following(index)
    }
    return nil
  }

  private func following(_ index: Int) -> Int { (index &+ 1) & (slots.count &- 1) }

  private func distance(from: Int, to: Int) -> Int { (to &- from) & (slots.count &- 1) }

  private mutating func put(_ host: Ref<Host>, _ hash: UInt64) {
    var index = Int(truncatingIfNeeded: hash) & (slots.count &- 1)
    while slots[index].host != nil { index = following(index) }
    slots[index] = Slot(hash: hash, host: host)
  }

  private mutating func grow(random: inout Random) {
    if slots.count == 0 { seed = random.next() }
    let older = slots.table.array
    slots = Buffer([Slot](repeating: Slot(), count: max(Self.firstSlotCount, older.count * 2)))
    for slot in older {
      if let host = slot.host { put(host, slot.hash) }
    }
  }
}
