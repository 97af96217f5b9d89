import Engine
import Glibc

/// Hosts that a request has tried already, so that a retry may look elsewhere
/// (`envoy.retry_host_predicates.previous_hosts`).
package struct AttemptedHosts: BitwiseCopyable {
  private var ids = InlineArray<8, UInt32>(repeating: 0)
  private var count = 0
  /// How often another host is picked in place of one that was tried. The last pick stands, tried
  /// or not (`host_selection_retry_max_attempts`).
  package let extraPicks: Int

  /// No host is avoided.
  package static let none = AttemptedHosts(extraPicks: 0)

  package init(extraPicks: Int) { self.extraPicks = extraPicks }

  /// Remembers a host; beyond eight, the oldest is forgotten.
  package mutating func insert(_ host: Ref<Host>) {
    ids[count & 7] = host.value.id
    count &+= 1
  }

  @inline(__always)
  package func contains(_ host: Ref<Host>) -> Bool {
    var index = 0
    while index < min(count, 8) {
      if ids[index] == host.value.id { return true }
      index &+= 1
    }
    return false
  }
}

/// A host picked for one request.
package struct HostPick: BitwiseCopyable {
  /// Position in the snapshot that was picked from.
  package let index: Int
  /// Its priority has lost so many hosts that health is ignored (`lb_healthy_panic`).
  package let isPanic: Bool
}

/// One worker's choice among a cluster's hosts. Workers do not share it: each goes round on its own,
/// from a random start so that they do not go in step.
///
/// Everything is laid out when the hosts change; a pick allocates nothing.
package struct LoadBalancer: ~Copyable {
  private let policy: BalancingPolicy
  private var rotations = Buffer<Rotation>([])
  private var queue = Buffer<WeightedTurn>([])

  /// Where one group of hosts stands in its round.
  private struct Rotation: BitwiseCopyable {
    /// Hosts without differing weights: whose turn it is.
    var next: UInt64 = 0
    /// Hosts with differing weights: their part of the queue of turns; otherwise none.
    var turns = 0
    var turnCount = 0
    /// Grows with every turn, so that equal deadlines go in the order of their last turns.
    var order: UInt64 = 0
  }

  package init(policy: BalancingPolicy) { self.policy = policy }

  /// Lays out the rounds for new hosts.
  package mutating func adopt(_ hosts: Ref<HostSet>, random: inout Random) {
    var rotations: [Rotation] = []
    var turns: [WeightedTurn] = []
    for group in hosts.value.groups.array {
      for source in HostGroup.Source.allCases {
        let positions = group.positions(source).array
        var rotation = Rotation(next: random.next())
        let weights = positions.map { hosts.value.hosts[Int($0)].weight }
        if policy.usesWeights, let first = weights.first, weights.contains(where: { $0 != first }) {
          let start = turns.count
          for position in positions {
            let weight = weight(of: hosts.value.hosts[Int(position)])
            // A random part of the first interval has passed: a restart does not send everyone's
            // first request to the same host.
            let passed = Double(random.next() >> 11) / Double(UInt64(1) << 53)
            turns.append(
              WeightedTurn(deadline: passed / weight, order: rotation.order, position: position))
            rotation.order += 1
          }
          turns[start...].sort { $0.isBefore($1) }
          rotation.turns = start
          rotation.turnCount = turns.count - start
        }
        rotations.append(rotation)
      }
    }
    self.rotations = Buffer(rotations)
    queue = Buffer(turns)
  }

  /// A host for one request, or nil when there is none at all.
  /// - Parameter hosts: the snapshot that was adopted last.
  package mutating func pick(
    _ hosts: Ref<HostSet>, random: inout Random, avoiding attempted: borrowing AttemptedHosts
  ) -> HostPick? {
    var extra = attempted.extraPicks
    while true {
      guard let pick = pickOnce(hosts, random: &random) else { return nil }
      guard extra > 0, attempted.contains(hosts.value.hosts[pick.index].host) else { return pick }
      extra &-= 1
    }
  }

  private mutating func pickOnce(_ hosts: Ref<HostSet>, random: inout Random) -> HostPick? {
    let groups = hosts.value.groups
    let chosen = choosePriority(groups, random: &random)
    let positions = groups[chosen.group].positions(chosen.source)
    guard !positions.isEmpty else { return nil }
    let rotation = chosen.group &* HostGroup.Source.allCases.count &+ chosen.source.rawValue
    let index =
      switch policy.algorithm {
      case .random: positions[Self.any(positions, &random)]
      case .roundRobin, .leastRequest:
        if rotations[rotation].turnCount > 0 {
          takeTurn(rotation, hosts)
        } else if case .leastRequest = policy.algorithm {
          leastBusy(positions, hosts, &random)
        } else {
          positions[nextInRound(rotation, of: positions.count)]
        }
      }
    return HostPick(index: Int(index), isPanic: chosen.source == .all)
  }

  /// Which priority serves, and which of its hosts.
  @inline(__always)
  private func choosePriority(
    _ groups: Table<HostGroup>, random: inout Random
  ) -> (group: Int, source: HostGroup.Source) {
    // The usual case takes no random number.
    if groups[0].healthyLoad == 100 { return (0, groups[0].isInPanic ? .all : .healthy) }
    var rest = Int(truncatingIfNeeded: random.next(below: 100))
    var index = 0
    while index < groups.count {
      rest -= groups[index].healthyLoad
      if rest < 0 { return (index, groups[index].isInPanic ? .all : .healthy) }
      index &+= 1
    }
    index = 0
    while index < groups.count {
      rest -= groups[index].degradedLoad
      if rest < 0 { return (index, groups[index].isInPanic ? .all : .degraded) }
      index &+= 1
    }
    return (0, .all)
  }

  @inline(__always)
  private static func any(_ positions: Table<UInt32>, _ random: inout Random) -> Int {
    Int(truncatingIfNeeded: random.next(below: UInt64(positions.count)))
  }

  @inline(__always)
  private mutating func nextInRound(_ rotation: Int, of count: Int) -> Int {
    let turn = rotations[rotation].next
    rotations[rotation].next = turn &+ 1
    return Int(truncatingIfNeeded: turn % UInt64(count))
  }

  /// The least busy of a few hosts taken at random.
  private func leastBusy(
    _ positions: Table<UInt32>, _ hosts: Ref<HostSet>, _ random: inout Random
  ) -> UInt32 {
    var best = positions[Self.any(positions, &random)]
    var fewest = hosts.value.hosts[Int(best)].host.value.total(.requestsActive)
    var more = policy.choiceCount &- 1
    while more > 0 {
      more &-= 1
      let other = positions[Self.any(positions, &random)]
      let active = hosts.value.hosts[Int(other)].host.value.total(.requestsActive)
      if active < fewest {
        best = other
        fewest = active
      }
    }
    return best
  }

  /// Earliest deadline first: the host whose turn is due gets it, and its next one an interval later
  /// that is the shorter the greater its weight.
  private mutating func takeTurn(_ rotation: Int, _ hosts: Ref<HostSet>) -> UInt32 {
    let start = rotations[rotation].turns
    var turn = queue[start]
    let position = turn.position
    turn.deadline += 1 / weight(of: hosts.value.hosts[Int(position)])
    turn.order = rotations[rotation].order
    rotations[rotation].order &+= 1
    sink(turn, from: start, count: rotations[rotation].turnCount)
    return position
  }

  /// Puts `turn` in the place of the first one and restores the heap.
  private mutating func sink(_ turn: WeightedTurn, from start: Int, count: Int) {
    var hole = 0
    while true {
      var child = hole &* 2 &+ 1
      guard child < count else { break }
      if child &+ 1 < count, queue[start &+ child &+ 1].isBefore(queue[start &+ child]) {
        child &+= 1
      }
      guard queue[start &+ child].isBefore(turn) else { break }
      queue[start &+ hole] = queue[start &+ child]
      hole = child
    }
    queue[start &+ hole] = turn
  }

  /// The weight of a host's next turn. LEAST_REQUEST makes a busy host lighter.
  @inline(__always)
  private func weight(of entry: HostEntry) -> Double {
    let weight = Double(entry.weight)
    guard case .leastRequest = policy.algorithm, policy.activeRequestBias > 0 else { return weight }
    let busy = Double(max(0, entry.host.value.total(.requestsActive)) &+ 1)
    return policy.activeRequestBias == 1
      ? weight / busy : weight / pow(busy, policy.activeRequestBias)
  }
}

/// A host's place in a weighted round.
private struct WeightedTurn: BitwiseCopyable {
  var deadline: Double
  var order: UInt64
  var position: UInt32

  @inline(__always)
  func isBefore(_ other: WeightedTurn) -> Bool {
    deadline != other.deadline ? deadline < other.deadline : order < other.order
  }
}
