import Engine

/// The main thread's side of one cluster's hosts: keeps each host's identity across updates, makes
/// snapshots, hands them to the workers, and frees what no worker can see any more.
///
/// A snapshot is free when every worker has taken over a later one: workers use it only within a
/// callback. A host that left is free when, besides, nobody has it pinned: pins are only taken by
/// workers that see the host in their snapshot, so none can appear after that.
final class HostPublisher {
  /// A host as an update wants it.
  struct Wanted {
    var endpoint: Ref<EndpointConfig>
    var key: Key
    var addresses: [SocketAddress]
    var hostname: Bytes
  }

  /// What makes it the same host as before, besides its list of addresses.
  struct Key: Hashable {
    /// Tells hosts with one identity apart.
    let place: Int
    let identity: String
  }

  let config: Ref<ClusterConfig>
  private(set) var current: Ref<HostSet>
  /// How many snapshots have been published since the first.
  private(set) var version: UInt64 = 0
  private var members: [(key: Key, member: HostSet.Member)] = []
  private let workerCount: Int
  private var views: [(view: Ref<ClusterView>, mailbox: Mailbox)] = []
  private var retiredSets: [(set: Ref<HostSet>, keeping: AnyObject?, until: UInt64)] = []
  private var retiredHosts: [(host: Ref<Host>, until: UInt64)] = []
  private let nextID: () -> UInt32
  /// How many hosts the last update brought that were not there before.
  private(set) var addedCount = 0
  /// Owns what the present snapshot's endpoints are laid out in, where the cluster does not.
  private var keeping: AnyObject?
  /// There will be no other hosts.
  private(set) var isRetired = false

  /// - Parameter nextID: a number that no host of the process has had.
  init(
    config: Ref<ClusterConfig>, workerCount: Int, nextID: @escaping () -> UInt32
  ) {
    self.config = config
    self.workerCount = workerCount
    self.nextID = nextID
    current = .make(HostSet(cluster: config, members: [], removed: []))
  }

  deinit {
    // Else the process ends, and workers may have it still.
    if isRetired { current.free() }
  }

  /// Adds a worker. Only before its thread runs, so that it starts from the present snapshot.
  func attach(_ view: Ref<ClusterView>, mailbox: Mailbox) { views.append((view, mailbox)) }

  /// Publishes these hosts, unless they are the ones there are. Returns whether they differed.
  /// - Parameter keeping: owns the endpoints; kept as long as the hosts are published.
  func update(_ wanted: [Wanted], keeping: AnyObject? = nil) -> Bool {
    var remaining = Dictionary(
      members.enumerated().map { ($0.element.key, $0.offset) }, uniquingKeysWith: { a, _ in a })
    var found: [Int: HostSet.Member] = [:]
    var added: [(key: Key, member: HostSet.Member)] = []
    var changed = false
    defer { addedCount = added.count }
    for host in wanted {
      let key = host.key
      // With other addresses it is another host, as in Envoy: connections to the old ones go. So it is
      // when it is checked elsewhere, because what was found there says nothing.
      if let old = remaining.removeValue(forKey: key),
        Self.same(members[old].member.addresses, host.addresses),
        isCheckedAlike(members[old].member.endpoint.value, host.endpoint.value)
      {
        var member = members[old].member
        if !Self.same(member.endpoint, host.endpoint) { changed = true }
        member.endpoint = host.endpoint
        found[old] = member
      } else {
        changed = true
        let made = Ref<Host>.make(
          id: nextID(), hostname: host.hostname, workerCount: workerCount)
        // Not to be used before it was found to be healthy.
        let isChecked = config.value.healthCheck != nil && !host.endpoint.value.isUnchecked
        added.append(
          (
            key,
            .init(
              host: made, endpoint: host.endpoint, addresses: host.addresses,
              checked: isChecked ? [.failedActive, .pendingActive] : [])
          ))
      }
    }
    let removed = members.indices.filter { found[$0] == nil }.map { members[$0].member.host }
    guard changed || !removed.isEmpty else { return false }
    // Hosts that stay keep their order: what a round-robin has seen stays true.
    members =
      members.enumerated().compactMap { index, old in found[index].map { (old.key, $0) } } + added
    publish(removed: removed, keeping: keeping)
    return true
  }

  /// The cluster is no more: all hosts leave. When nothing is left to be freed, no worker has anything
  /// of the cluster under way either.
  func retire() {
    isRetired = true
    let removed = members.map(\.member.host)
    members = []
    publish(removed: removed, keeping: nil)
  }

  /// Publishes what health checks have found of a host. Returns whether that is news.
  func setFlags(_ flags: HostFlags, of host: Ref<Host>) -> Bool {
    guard let place = members.firstIndex(where: { $0.member.host == host }),
      members[place].member.checked != flags
    else { return false }
    members[place].member.checked = flags
    publish(removed: [], keeping: keeping)
    return true
  }

  /// What endpoints say about a host.
  private static func same(_ a: Ref<EndpointConfig>, _ b: Ref<EndpointConfig>) -> Bool {
    if a == b { return true }
    let (a, b) = (a.value, b.value)
    let (here, there) = (a.locality.value, b.locality.value)
    return a.weight == b.weight && a.priority == b.priority && a.health == b.health
      && here.region == there.region && here.zone == there.zone && here.subZone == there.subZone
  }

  private func isCheckedAlike(_ a: EndpointConfig, _ b: EndpointConfig) -> Bool {
    config.value.healthCheck == nil
      || (a.healthCheckPort == b.healthCheckPort && a.isUnchecked == b.isUnchecked)
  }

  private static func same(_ a: [SocketAddress], _ b: [SocketAddress]) -> Bool {
    a.count == b.count && zip(a, b).allSatisfy { $0 == $1 }
  }

  private func publish(removed: [Ref<Host>], keeping: AnyObject?) {
    version += 1
    retiredSets.append((current, self.keeping, version))
    self.keeping = keeping
    for host in removed { retiredHosts.append((host, version)) }
    current = .make(HostSet(cluster: config, members: members.map(\.member), removed: removed))
    let set = Handover(current)
    let version = self.version
    for (view, mailbox) in views {
      let view = Handover(view)
      mailbox.post { loop in
        view.ref.adopt(set.ref, version: version, random: &loop.state.value.random)
      }
    }
    sweep()
  }

  /// Frees what no worker can see any more.
  func sweep() {
    guard hasRetired else { return }
    // With no workers yet, nobody sees anything.
    let reached = views.map { $0.view.value.adoptedVersion }.min() ?? version
    retiredSets.removeAll { retired in
      guard retired.until <= reached else { return false }
      retired.set.free()
      return true
    }
    retiredHosts.removeAll { retired in
      guard retired.until <= reached, !retired.host.value.isPinned else { return false }
      retired.host.free()
      return true
    }
  }

  /// Something waits to be freed.
  var hasRetired: Bool { !retiredSets.isEmpty || !retiredHosts.isEmpty }
}

extension HostPublisher.Wanted {
  /// - Parameter identity: what makes it the same host as before, besides its endpoint: its address, or
  ///   nothing for a host that is a name (LOGICAL_DNS).
  init(
    endpoint: Ref<EndpointConfig>, identity: SocketAddress?, addresses: [SocketAddress],
    hostname: Bytes
  ) {
    self.init(
      endpoint: endpoint,
      key: .init(place: endpoint.value.index, identity: identity?.description ?? ""),
      addresses: addresses, hostname: hostname)
  }
}
