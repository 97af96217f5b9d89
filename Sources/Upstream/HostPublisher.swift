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
  private var members: [Standing] = []
  private let workerCount: Int
  private var views: [(view: Ref<ClusterView>, mailbox: Mailbox)] = []
  private var retiredSets: [(set: Ref<HostSet>, keeping: [AnyObject], until: UInt64)] = []
  private var retiredHosts: [(host: Ref<Host>, until: UInt64)] = []
  /// The endpoints of those hosts that the last update brought, and that were not there before.
  private(set) var added: [Ref<EndpointConfig>] = []
  /// Own what the present snapshot's endpoints are laid out in, where the cluster does not.
  private var keeping: [AnyObject] = []
  /// There will be no other hosts.
  private(set) var isRetired = false

  /// A host of the present snapshot, and what owns its endpoint.
  private struct Standing {
    var key: Key
    var member: HostSet.Member
    var keeping: AnyObject?
  }

  init(config: Ref<ClusterConfig>, workerCount: Int) {
    self.config = config
    self.workerCount = workerCount
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
    var found: [Int: Standing] = [:]
    var added: [Standing] = []
    var changed = false
    defer { self.added = added.map(\.member.endpoint) }
    for host in wanted {
      let key = host.key
      // With other addresses it is another host, as in Envoy: connections to the old ones go. So it is
      // when it is checked elsewhere, because what was found there says nothing, and when another
      // transport socket is for it: what was begun with the old one is not gone on with.
      if let old = remaining.removeValue(forKey: key),
        Self.same(members[old].member.addresses, host.addresses),
        isCheckedAlike(members[old].member.endpoint.value, host.endpoint.value),
        isSecuredAlike(members[old].member.endpoint, host.endpoint)
      {
        var standing = members[old]
        if !Self.same(standing.member.endpoint, host.endpoint) { changed = true }
        if standing.member.checked.remove(.pendingRemoval) != nil { changed = true }
        standing.member.endpoint = host.endpoint
        standing.keeping = keeping
        found[old] = standing
      } else {
        changed = true
        let made = Ref<Host>.make(hostname: host.hostname, workerCount: workerCount)
        let isChecked = config.value.healthCheck != nil && !host.endpoint.value.isUnchecked
        added.append(
          Standing(
            key: key,
            member: .init(
              host: made, endpoint: host.endpoint, addresses: host.addresses,
              checked: isChecked ? .unchecked(in: config) : []),
            keeping: keeping))
      }
    }
    for index in members.indices where found[index] == nil && outlives(members[index].member) {
      var standing = members[index]
      if standing.member.checked.insert(.pendingRemoval).inserted { changed = true }
      found[index] = standing
    }
    let removed = members.indices.filter { found[$0] == nil }.map { members[$0].member.host }
    guard changed || !removed.isEmpty else { return false }
    // Hosts that stay keep their order: what a round-robin has seen stays true.
    members = members.indices.compactMap { found[$0] } + added
    publish(removed: removed)
    return true
  }

  /// It is no longer wanted, and stays: what checks find of a host is believed rather than what
  /// discovery says, so that a discovery service that has lost its memory takes no traffic away.
  private func outlives(_ member: HostSet.Member) -> Bool {
    config.value.healthCheck != nil && !config.value.ignoresHealthOnRemoval
      && config.value.discovery != .logicalDNS && !member.endpoint.value.isUnchecked
      && member.flags.isDisjoint(with: [.failedActive, .failedEDS])
  }

  /// Publishes hosts that workers have made, beside those there are (ORIGINAL_DST).
  func add(_ hosts: [Ref<Host>], endpoint: Ref<EndpointConfig>) {
    added = hosts.map { _ in endpoint }
    members += hosts.map { host in
      Standing(
        key: Key(place: Int(host.value.id), identity: ""),
        member: .init(
          host: host, endpoint: endpoint, addresses: host.value.destination.table.array))
    }
    publish(removed: [])
  }

  /// Lets go of hosts. Returns whether there were such.
  func remove(where isUnwanted: (Ref<Host>) -> Bool) -> Bool {
    let kept = members.filter { !isUnwanted($0.member.host) }
    guard kept.count < members.count else { return false }
    let ids = Set(kept.map { $0.member.host.value.id })
    let removed = members.map(\.member.host).filter { !ids.contains($0.value.id) }
    members = kept
    added = []
    publish(removed: removed)
    return true
  }

  /// The cluster is no more: all hosts leave. When nothing is left to be freed, no worker has anything
  /// of the cluster under way either.
  func retire() {
    isRetired = true
    let removed = members.map(\.member.host)
    members = []
    publish(removed: removed)
  }

  /// What came of flags that were set.
  enum FlagsOutcome {
    case unchanged
    case changed
    /// Nothing but its health had kept the host.
    case left
  }

  /// Publishes what health checks have found of a host.
  func setFlags(_ flags: HostFlags, of host: Ref<Host>) -> FlagsOutcome {
    guard let place = members.firstIndex(where: { $0.member.host == host }) else {
      return .unchanged
    }
    let old = members[place].member.checked
    let isLeaving = old.contains(.pendingRemoval)
    if isLeaving, flags.contains(.failedActive) {
      members.remove(at: place)
      added = []
      publish(removed: [host])
      return .left
    }
    let newer = isLeaving ? flags.union(.pendingRemoval) : flags
    guard newer != old else { return .unchanged }
    members[place].member.checked = newer
    publish(removed: [])
    return .changed
  }

  /// What endpoints say about a host.
  private static func same(_ a: Ref<EndpointConfig>, _ b: Ref<EndpointConfig>) -> Bool {
    if a == b { return true }
    let (a, b) = (a.value, b.value)
    let (here, there) = (a.locality.value, b.locality.value)
    return a.weight == b.weight && a.priority == b.priority && a.health == b.health
      && here.region == there.region && here.zone == there.zone && here.subZone == there.subZone
  }

  private func isSecuredAlike(_ one: Ref<EndpointConfig>, _ other: Ref<EndpointConfig>) -> Bool {
    config.value.security(of: one) == config.value.security(of: other)
  }

  private func isCheckedAlike(_ a: EndpointConfig, _ b: EndpointConfig) -> Bool {
    config.value.healthCheck == nil
      || (a.healthCheckPort == b.healthCheckPort && a.isUnchecked == b.isUnchecked)
  }

  private static func same(_ a: [SocketAddress], _ b: [SocketAddress]) -> Bool {
    a.count == b.count && zip(a, b).allSatisfy { $0 == $1 }
  }

  private func publish(removed: [Ref<Host>]) {
    version += 1
    retiredSets.append((current, keeping, version))
    // Most often one object owns them all.
    keeping = []
    for standing in members {
      if let owner = standing.keeping, keeping.last !== owner { keeping.append(owner) }
    }
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
