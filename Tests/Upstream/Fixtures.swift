import Engine
import Resources
import Synchronization
import Testing

@testable import Upstream

/// The memory of every configuration that a test has compiled: tests keep configurations longer than
/// what they were compiled for, and a leak check finds them here.
private let keptMemory = Mutex(KeptMemory())

/// SAFETY: it only holds on to what it is given, and never looks at it.
private struct KeptMemory: @unchecked Sendable {
  private var all: [ResourceMemory] = []

  mutating func keep(_ memory: ResourceMemory) { all.append(memory) }
}

/// Clusters compiled from YAML, as an operator writes them, and what was said about them.
struct CompiledClusters {
  let all: [CompiledCluster]
  let complaints: [String]

  /// - Parameter yaml: the items of `static_resources.clusters`.
  init(_ yaml: String) {
    let indented = yaml.split(separator: "\n").map { "    " + $0 }.joined(separator: "\n")
    let loaded = BootstrapLoader.load(
      file: nil, yaml: "static_resources:\n  clusters:\n" + indented)
    let path = ConfigPath.root.field("static_resources").field("clusters")
    all = loaded.bootstrap.staticResources.clusters.enumerated().map { index, cluster in
      let memory = ResourceMemory()
      let config = memory.whileOpen {
        ClusterCompiler(diagnostics: loaded.diagnostics).compile(cluster, at: path.index(index))
      }
      keptMemory.withLock { $0.keep(memory) }
      return CompiledCluster(name: cluster.name, config: config, memory: memory)
    }
    complaints = loaded.diagnostics.all.map(\.description)
  }

  /// The first cluster.
  var first: ClusterConfig { all[0].config.value }
}

/// One configured host of a made-up cluster.
struct TestHost {
  var weight: UInt32 = 1
  var health = HostHealth.healthy
  var priority: UInt32 = 0
}

/// A snapshot of made-up hosts at 10.0.0.1 and onwards.
func makeHosts(
  _ hosts: [TestHost], policy: BalancingPolicy = BalancingPolicy(algorithm: .roundRobin),
  workers: Int = 1
) -> Ref<HostSet> {
  let cluster = CompiledClusters("- name: c").all[0].config
  let locality = Ref.immortal(LocalityConfig(region: .empty, zone: .empty, subZone: .empty))
  return .make(
    HostSet(
      cluster: cluster,
      members: hosts.enumerated().map { index, host in
        let address = SocketAddress(ip: "10.0.0.\(index + 1)", port: 80) ?? SocketAddress()
        return .init(
          host: .make(hostname: .empty, workerCount: workers),
          endpoint: .immortal(
            EndpointConfig(
              index: index, dnsName: .empty, port: 80, addresses: .immortal([address]),
              hostname: .empty, weight: host.weight, priority: host.priority,
              health: host.health, healthCheckPort: 0, healthCheckName: .empty,
              isUnchecked: false, locality: locality)),
          addresses: [address])
      }, removed: []))
}

/// How often each host is picked.
func countPicks(
  _ picks: Int, _ hosts: Ref<HostSet>, _ policy: BalancingPolicy, seed: UInt64 = 1,
  avoiding attempted: AttemptedHosts = .none
) -> [Int] {
  var random = Random(seed: seed)
  var balancer = LoadBalancer(policy: policy)
  balancer.adopt(hosts, random: &random)
  var counts = [Int](repeating: 0, count: hosts.value.hosts.count)
  for _ in 0..<picks {
    guard let pick = balancer.pick(hosts, random: &random, avoiding: attempted) else { continue }
    counts[pick.index] += 1
  }
  return counts
}
