import Engine

/// What is known about a host's health: how far it may be used.
package enum HostHealth: UInt8, BitwiseCopyable {
  case healthy
  /// Used when too few others are healthy.
  case degraded
  /// Used only in panic. Draining and timed-out hosts count as unhealthy, as in Envoy.
  case unhealthy
}

/// One host as it is in one snapshot.
package struct HostEntry: BitwiseCopyable {
  package let host: Ref<Host>
  /// What the configuration says about it.
  package let endpoint: Ref<EndpointConfig>
  /// Where to connect: one address, or several to try in turn. Lives as long as the snapshot.
  package let addresses: Table<SocketAddress>
  package let weight: UInt32
  package let priority: UInt32
  package let health: HostHealth
  /// What is known against it.
  package let flags: HostFlags
}

/// The hosts of one priority: positions in the snapshot, grouped by health.
struct HostGroup: BitwiseCopyable {
  /// Which of a priority's hosts a request may go to.
  enum Source: Int, CaseIterable {
    case all
    case healthy
    case degraded
  }

  let all: Table<UInt32>
  let healthy: Table<UInt32>
  let degraded: Table<UInt32>
  let healthyLoad: Int
  let degradedLoad: Int
  let isInPanic: Bool

  /// The positions of a source.
  func positions(_ source: Source) -> Table<UInt32> {
    switch source {
    case .all: all
    case .healthy: healthy
    case .degraded: degraded
    }
  }
}

/// An immutable snapshot of a cluster's hosts. The main thread makes it and hands it to every worker;
/// once all of them have the next one, it is freed (`HostPublisher`).
///
/// A worker may use it within one callback. What must last longer is a pinned `Host`, or a copy.
package struct HostSet: ~Copyable {
  package let cluster: Ref<ClusterConfig>
  /// Every host, in the order of the configuration.
  package var hosts: Table<HostEntry> { entries.table }
  /// Hosts of the snapshot before this one that are not in this one. Valid while the snapshot is
  /// being taken over (`ClusterView.hostsChanged`).
  package var removed: Table<Ref<Host>> { removedHosts.table }
  package var isEmpty: Bool { entries.count == 0 }

  var groups: Table<HostGroup> { groupStore.table }
  /// Hosts that requests go to while there is no panic.
  package let healthyCount: Int
  package let degradedCount: Int
  package let excludedCount: Int
  package let largestWeight: UInt32

  private let entries: Buffer<HostEntry>
  private let addresses: Buffer<SocketAddress>
  private let removedHosts: Buffer<Ref<Host>>
  private let positions: Buffer<UInt32>
  private let groupStore: Buffer<HostGroup>

  /// What a snapshot is made from: a host, and what this snapshot says about it.
  struct Member {
    var host: Ref<Host>
    var endpoint: Ref<EndpointConfig>
    var addresses: [SocketAddress]
    /// What active health checks have found.
    var checked: HostFlags = []

    /// All that is known against it.
    var flags: HostFlags { checked.union(endpoint.value.health.flags) }
  }

  init(cluster: Ref<ClusterConfig>, members: [Member], removed: [Ref<Host>]) {
    self.cluster = cluster
    addresses = Buffer(members.flatMap(\.addresses))
    var entries: [HostEntry] = []
    entries.reserveCapacity(members.count)
    var offset = 0
    for member in members {
      let end = offset + member.addresses.count
      let flags = member.flags
      entries.append(
        HostEntry(
          host: member.host, endpoint: member.endpoint,
          addresses: addresses.table[offset, end], weight: member.endpoint.value.weight,
          priority: member.endpoint.value.priority, health: flags.health, flags: flags))
      offset = end
    }
    let layout = GroupLayout(entries, panicPercent: cluster.value.panicPercent)
    positions = Buffer(layout.positions)
    groupStore = Buffer(layout.groups(positions.table))
    healthyCount = entries.count { $0.health == .healthy }
    degradedCount = entries.count { $0.health == .degraded }
    excludedCount = entries.count { $0.flags.excludes }
    largestWeight = entries.map(\.weight).max() ?? 0
    self.entries = Buffer(entries)
    removedHosts = Buffer(removed)
  }

  /// Orders positions by priority and health: each group's healthy hosts, then the degraded, then
  /// the others, so that all of a group are one run and each health a part of it.
  private struct GroupLayout {
    var positions: [UInt32] = []
    private var ends: [(healthy: Int, degraded: Int, all: Int)] = []
    /// Hosts of each priority that count as if they were not there.
    private var excluded: [Int]
    private let panicPercent: Int

    init(_ entries: [HostEntry], panicPercent: Int) {
      self.panicPercent = panicPercent
      let priorities = (entries.map { Int($0.priority) }.max() ?? 0) + 1
      var members = [[[UInt32]]](
        repeating: [[], [], []], count: min(priorities, ConfigBounds.priorities))
      excluded = [Int](repeating: 0, count: members.count)
      for (index, entry) in entries.enumerated() {
        if entry.flags.excludes { excluded[Int(entry.priority)] += 1 }
        members[Int(entry.priority)][Int(entry.health.rawValue)].append(UInt32(index))
      }
      for group in members {
        positions += group[0]
        let healthy = positions.count
        positions += group[1]
        let degraded = positions.count
        positions += group[2]
        ends.append((healthy, degraded, positions.count))
      }
    }

    func groups(_ table: Table<UInt32>) -> [HostGroup] {
      var start = 0
      var spans: [(start: Int, healthy: Int, degraded: Int, all: Int)] = []
      for end in ends {
        spans.append((start, end.healthy, end.degraded, end.all))
        start = end.all
      }
      let load = PriorityLoad(
        zip(spans, excluded).map { span, excluded in
          .init(
            total: span.all - span.start - excluded, healthy: span.healthy - span.start,
            degraded: span.degraded - span.healthy)
        }, panicPercent: panicPercent)
      return zip(spans, load.shares).map { span, share in
        HostGroup(
          all: table[span.start, span.all], healthy: table[span.start, span.healthy],
          degraded: table[span.healthy, span.degraded], healthyLoad: share.healthy,
          degradedLoad: share.degraded, isInPanic: share.isInPanic)
      }
    }
  }
}

extension Ref where Value == HostSet {
  /// A snapshot that `free` gives back. Main thread.
  static func make(_ value: consuming HostSet) -> Ref<HostSet> {
    let memory = UnsafeMutablePointer<HostSet>.allocate(capacity: 1)
    unsafe memory.initialize(to: value)
    return unsafe Ref(memory)
  }

  /// SAFETY: every worker has been seen to use a later snapshot.
  func free() {
    let memory = unsafe pointer
    unsafe memory.deinitialize(count: 1)
    unsafe memory.deallocate()
  }
}
