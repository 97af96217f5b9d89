import MeshMessages
import MeshModel

/// Where things are in the lists of an `OutboundScope`, found out when it is first asked: for each of a
/// thousand services the same is looked for.
final class ScopeIndex {
  /// Where the hosts of virtual services are named.
  struct Rules {
    /// Those in full.
    var byHost: [String: [Int]] = [:]
    /// Those with `*`, in the order of the rules.
    var patterns: [(host: String, place: Int)] = []
  }

  private var services: [String: Int]?
  private var rules: Rules?
  private var destinationRules: [ObjectKey: EffectiveRule?] = [:]
  private var accessLogs: [AccessLogs.Mode: [AccessLogs.Log]] = [:]

  private struct ObjectKey: Hashable {
    let hostname: String
    let namespace: String
  }

  func places(_ list: [MeshService]) -> [String: Int] {
    if let services { return services }
    let made = Dictionary(
      list.enumerated().map { ($1.hostname, $0) }, uniquingKeysWith: { first, _ in first })
    services = made
    return made
  }

  func rules(_ list: [Rule<VirtualService>], in snapshot: MeshSnapshot) -> Rules {
    if let rules { return rules }
    var made = Rules()
    for (place, rule) in list.enumerated() {
      for host in rule.spec.hosts.map({ snapshot.fullName($0, in: rule.namespace) }) {
        if host.hasPrefix("*") {
          made.patterns.append((host, place))
        } else if made.byHost[host]?.last != place {
          made.byHost[host, default: []].append(place)
        }
      }
    }
    rules = made
    return made
  }

  func destinationRule(of service: MeshService, _ find: () -> EffectiveRule?) -> EffectiveRule? {
    let key = ObjectKey(hostname: service.hostname, namespace: service.namespace)
    if let known = destinationRules[key] { return known }
    let found = find()
    destinationRules[key] = .some(found)
    return found
  }

  func accessLogs(
    _ mode: AccessLogs.Mode, _ make: () -> [AccessLogs.Log]
  ) -> [AccessLogs.Log] {
    if let known = accessLogs[mode] { return known }
    let made = make()
    accessLogs[mode] = made
    return made
  }
}
