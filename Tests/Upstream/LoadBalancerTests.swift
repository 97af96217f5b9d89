import Engine
import Testing

@testable import Upstream

@Suite("Load balancing")
struct LoadBalancerTests {
  static let roundRobin = BalancingPolicy(algorithm: .roundRobin)
  static let leastRequest = BalancingPolicy(algorithm: .leastRequest)
  static let random = BalancingPolicy(algorithm: .random)

  @Test(
    "a cluster without hosts has nothing to pick", arguments: [roundRobin, leastRequest, random])
  func empty(policy: BalancingPolicy) {
    #expect(countPicks(3, makeHosts([]), policy) == [])
  }

  @Test("round robin gives every host its turn, in order", arguments: 1...5)
  func plainRoundRobin(hosts: Int) {
    let set = makeHosts([TestHost](repeating: TestHost(), count: hosts))
    var random = Random(seed: 7)
    var balancer = LoadBalancer(policy: Self.roundRobin)
    balancer.adopt(set, random: &random)
    var previous: Int?
    for _ in 0..<hosts * 3 {
      guard let pick = balancer.pick(set, random: &random, avoiding: .none) else {
        Issue.record("a host is picked")
        return
      }
      if let previous { #expect(pick.index == (previous + 1) % hosts) }
      previous = pick.index
    }
  }

  @Test("workers start their rounds at different hosts")
  func randomStart() {
    let set = makeHosts([TestHost](repeating: TestHost(), count: 10))
    let starts = Set(
      (1...50).map { countPicks(1, set, Self.roundRobin, seed: $0).firstIndex(of: 1) })
    #expect(starts.count > 5)
  }

  @Test(
    "weighted round robin is exact to one pick per round",
    arguments: [[1, 2], [3, 1], [1, 1, 8], [5, 3, 2, 7], [1, 100]] as [[UInt32]],
    [1, 2, 3] as [UInt64])
  func weighted(weights: [UInt32], seed: UInt64) {
    let set = makeHosts(weights.map { TestHost(weight: $0) })
    let rounds = 50
    let total = weights.reduce(0, +)
    let counts = countPicks(rounds * Int(total), set, Self.roundRobin, seed: seed)
    for (count, weight) in zip(counts, weights) {
      #expect(abs(count - rounds * Int(weight)) <= 1, "\(counts)")
    }
  }

  @Test("weighted turns are spread, not bunched")
  func spread() {
    let set = makeHosts([TestHost(weight: 5), TestHost(weight: 1), TestHost(weight: 1)])
    var random = Random(seed: 3)
    var balancer = LoadBalancer(policy: Self.roundRobin)
    balancer.adopt(set, random: &random)
    var run = 0
    for _ in 0..<700 {
      let index = balancer.pick(set, random: &random, avoiding: .none)?.index
      run = index == 0 ? run + 1 : 0
      #expect(run <= 5)
    }
  }

  @Test("random ignores weights and spreads evenly")
  func randomSpread() {
    let set = makeHosts((1...4).map { TestHost(weight: $0) })
    let counts = countPicks(40_000, set, Self.random)
    for count in counts { #expect((9_500...10_500).contains(count), "\(counts)") }
  }

  @Test("least request prefers idle hosts and never the busiest of two")
  func powerOfTwo() {
    let set = makeHosts([TestHost](repeating: TestHost(), count: 4))
    for index in 0..<4 {
      set.value.hosts[index].host.value.add(.requestsActive, Int64(index), worker: 0)
    }
    let counts = countPicks(16_000, set, Self.leastRequest)
    // With two choices of four, with replacement, the i-th busiest wins with (2(4-i)-1)/16.
    for (count, expected) in zip(counts, [7_000, 5_000, 3_000, 1_000]) {
      #expect(abs(count - expected) < 300, "\(counts)")
    }
  }

  @Test("least request sees the requests of all workers")
  func allWorkers() {
    let set = makeHosts([TestHost(), TestHost()], workers: 3)
    set.value.hosts[0].host.value.add(.requestsActive, 1, worker: 2)
    let policy = BalancingPolicy(algorithm: .leastRequest, choiceCount: 30)
    #expect(countPicks(100, set, policy) == [0, 100])
  }

  @Test("least request with weights favours heavy hosts and shuns busy ones")
  func weightedLeastRequest() {
    let set = makeHosts([TestHost(weight: 1), TestHost(weight: 3)])
    let idle = countPicks(4000, set, Self.leastRequest)
    #expect(abs(idle[1] - 3000) <= 2, "\(idle)")
    // Three requests more make the heavy host lighter than the other.
    set.value.hosts[1].host.value.add(.requestsActive, 5, worker: 0)
    let busy = countPicks(3000, set, Self.leastRequest)
    #expect(abs(busy[0] - 2000) <= 2, "\(busy)")
    let unbiased = BalancingPolicy(algorithm: .leastRequest, activeRequestBias: 0)
    let still = countPicks(4000, set, unbiased)
    #expect(abs(still[1] - 3000) <= 2, "\(still)")
  }

  @Test("unhealthy hosts get nothing while half of the hosts are healthy")
  func health() {
    let set = makeHosts([
      TestHost(health: .unhealthy), TestHost(), TestHost(health: .unhealthy), TestHost(),
    ])
    #expect(countPicks(100, set, Self.roundRobin) == [0, 50, 0, 50])
  }

  @Test("below half, all hosts are used and the pick says that this is panic")
  func panic() {
    let hosts = [TestHost(), TestHost(health: .unhealthy), TestHost(health: .unhealthy)]
    let set = makeHosts(hosts)
    #expect(countPicks(99, set, Self.roundRobin) == [33, 33, 33])
    var random = Random(seed: 1)
    var balancer = LoadBalancer(policy: Self.roundRobin)
    balancer.adopt(set, random: &random)
    #expect(balancer.pick(set, random: &random, avoiding: .none)?.isPanic == true)
  }

  @Test("degraded hosts take what healthy ones cannot")
  func degraded() {
    // 1 of 2 healthy: 70 percent; the degraded one offers 70 too and gets the missing 30.
    let set = makeHosts([TestHost(), TestHost(health: .degraded)])
    let counts = countPicks(10_000, set, Self.roundRobin)
    #expect(abs(counts[0] - 7_000) < 200, "\(counts)")
  }

  @Test("a failing priority spills to the next")
  func spill() {
    let set = makeHosts([
      TestHost(), TestHost(health: .unhealthy), TestHost(priority: 1), TestHost(priority: 1),
    ])
    let counts = countPicks(10_000, set, Self.roundRobin)
    #expect(abs(counts[0] - 7_000) < 200, "\(counts)")
    #expect(counts[1] == 0)
    #expect(abs(counts[2] - counts[3]) <= 1)
  }

  @Test("a retry avoids hosts tried before, as often as it may pick again")
  func avoids() {
    let set = makeHosts([TestHost(), TestHost()])
    var once = AttemptedHosts(extraPicks: 1)
    once.insert(set.value.hosts[0].host)
    // In turn, the second pick after a tried host is always the other one.
    #expect(countPicks(100, set, Self.roundRobin, avoiding: once) == [0, 100])
    var never = AttemptedHosts(extraPicks: 0)
    never.insert(set.value.hosts[0].host)
    #expect(countPicks(100, set, Self.roundRobin, avoiding: never) == [50, 50])
    once.insert(set.value.hosts[1].host)
    #expect(countPicks(100, set, Self.roundRobin, avoiding: once).reduce(0, +) == 100)
  }

  @Test("eight tried hosts are remembered, the ninth displaces the first")
  func remembersEight() {
    let set = makeHosts([TestHost](repeating: TestHost(), count: 9))
    var attempted = AttemptedHosts(extraPicks: 1)
    for index in 0..<8 { attempted.insert(set.value.hosts[index].host) }
    #expect(attempted.contains(set.value.hosts[0].host))
    attempted.insert(set.value.hosts[8].host)
    #expect(!attempted.contains(set.value.hosts[0].host))
    #expect(attempted.contains(set.value.hosts[8].host))
  }
}

@Suite("Dividing load between priorities")
struct PriorityLoadTests {
  typealias Population = PriorityLoad.Population

  private func shares(_ populations: [(total: Int, healthy: Int, degraded: Int)]) -> PriorityLoad {
    PriorityLoad(
      populations.map { Population(total: $0.total, healthy: $0.healthy, degraded: $0.degraded) })
  }

  // The tables of Envoy's documentation on priorities, degraded hosts and panic.
  @Test(
    "P1 gets what P0 cannot take",
    arguments: [
      (100, 100, 0), (72, 100, 0), (71, 99, 1), (50, 70, 30), (25, 35, 65), (0, 0, 100),
    ])
  func twoPriorities(healthyInP0: Int, p0: Int, p1: Int) {
    let load = shares([(100, healthyInP0, 0), (100, 100, 0)])
    #expect(load.shares.map(\.healthy) == [p0, p1])
    #expect(load.shares.allSatisfy { !$0.isInPanic })
  }

  @Test("when all priorities together are short, what they have is scaled to all the load")
  func scaled() {
    let load = shares([(100, 25, 0), (100, 25, 0)])
    #expect(load.shares.map(\.healthy) == [50, 50])
    #expect(load.shares.allSatisfy { $0.isInPanic })
  }

  @Test(
    "half of the hosts healthy is no panic yet, one less is", arguments: [(50, false), (49, true)])
  func panicThreshold(healthy: Int, panics: Bool) {
    #expect(shares([(100, healthy, 0)]).shares[0].isInPanic == panics)
  }

  @Test("a threshold of zero is no panic, whatever there is", arguments: [0, 1, 100])
  func neverPanics(total: Int) {
    let load = PriorityLoad([Population(total: total, healthy: 0, degraded: 0)], panicPercent: 0)
    #expect(!load.shares[0].isInPanic)
  }

  @Test("in panic everywhere, load follows the number of hosts")
  func totalPanic() {
    let load = shares([(30, 0, 0), (70, 1, 0)])
    #expect(load.shares.map(\.healthy) == [30, 70])
    #expect(load.shares.allSatisfy { $0.isInPanic })
  }

  @Test("with nothing available, the first priority serves in panic")
  func nothing() {
    let load = shares([(10, 0, 0), (10, 0, 0)])
    #expect(load.shares[0] == .init(healthy: 100, isInPanic: true))
    #expect(load.shares[1] == .init())
  }

  @Test("degraded hosts come after the healthy ones of all priorities")
  func degraded() {
    let load = shares([(100, 0, 100), (100, 50, 0)])
    #expect(load.shares.map(\.healthy) == [0, 70])
    #expect(load.shares.map(\.degraded) == [30, 0])
  }

  @Test("all load is given out", arguments: 0...10, 0...10)
  func sums(first: Int, second: Int) {
    let load = shares([(10, first, 10 - first), (7, min(second, 7), 0), (3, 1, 1)])
    #expect(load.shares.reduce(0) { $0 + $1.healthy + $1.degraded } == 100)
  }
}
