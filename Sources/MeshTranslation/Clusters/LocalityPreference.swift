import MeshMessages
import MeshModel

/// The endpoints of one locality, and how much they are preferred.
struct LocalityGroup {
  let locality: MeshLocality
  let endpoints: [MeshEndpoint]
  /// 0 is used first.
  var priority: UInt32 = 0
  /// Of all localities of a priority; nil for as many as there are endpoints.
  var weight: UInt32?
}

/// Decides which localities a proxy's requests go to first (Istio: `localityLbSetting`).
struct LocalityPreference {
  let setting: Istio_Networking_V1alpha3_LocalityLoadBalancerSetting
  /// Where the proxy is.
  let origin: MeshLocality
  /// The labels of its workload.
  let labels: [String: String]

  /// Sets priorities or weights.
  func apply(to groups: inout [LocalityGroup]) {
    guard !origin.isEmpty || !setting.failoverPriority.isEmpty else { return }
    if let rule = setting.distribute.first(where: { Self.covers($0.from, origin) }) {
      distribute(rule.to, over: &groups)
      return
    }
    if setting.failoverPriority.isEmpty {
      for index in groups.indices { groups[index].priority = priority(of: groups[index].locality) }
    } else {
      for index in groups.indices { groups[index].priority = priorityByLabels(of: groups[index]) }
    }
    compact(&groups)
  }

  /// By how much of the place is the same; where nothing is, regions that a rule names come first.
  private func priority(of locality: MeshLocality) -> UInt32 {
    guard locality.region == origin.region else {
      let rules = setting.failover.filter { $0.from == origin.region }
      guard !rules.isEmpty else { return 3 }
      return rules.contains { $0.to == locality.region } ? 3 : 4
    }
    guard locality.zone == origin.zone else { return 2 }
    return locality.subzone == origin.subzone ? 0 : 1
  }

  /// By how many labels, from the first on, are the same on both sides; an entry may name the value.
  private func priorityByLabels(of group: LocalityGroup) -> UInt32 {
    let theirs = group.endpoints.first?.labels ?? [:]
    var same: UInt32 = 0
    for entry in setting.failoverPriority {
      let parts = entry.split(separator: "=", maxSplits: 1).map(String.init)
      guard let name = parts.first else { break }
      let wanted = parts.count > 1 ? parts[1] : value(name, labels, origin)
      guard wanted == value(name, theirs, group.locality) else { break }
      same += 1
    }
    return UInt32(setting.failoverPriority.count) - same
  }

  private func value(
    _ name: String, _ labels: [String: String], _ place: MeshLocality
  ) -> String? {
    switch name {
    case "topology.kubernetes.io/region": labels[name] ?? place.region
    case "topology.kubernetes.io/zone": labels[name] ?? place.zone
    case "topology.istio.io/subzone": labels[name] ?? place.subzone
    default: labels[name]
    }
  }

  private func distribute(_ shares: [String: UInt32], over groups: inout [LocalityGroup]) {
    var kept: [LocalityGroup] = []
    for (pattern, share) in shares.sorted(by: { $0.key < $1.key }) where share > 0 {
      var matching = groups.filter { Self.covers(pattern, $0.locality) }
      let all = matching.reduce(0) { $0 + $1.endpoints.count }
      for index in matching.indices {
        // A share is a percentage; scaled, so that small localities keep a part of it.
        let part =
          Double(share) * 100 * Double(matching[index].endpoints.count) / Double(max(all, 1))
        matching[index].weight = UInt32(max(1, part))
        if !kept.contains(where: { $0.locality == matching[index].locality }) {
          kept.append(matching[index])
        }
      }
    }
    groups = kept
  }

  /// Priorities without gaps, as Envoy wants them.
  private func compact(_ groups: inout [LocalityGroup]) {
    let used = Set(groups.map(\.priority)).sorted()
    for index in groups.indices {
      groups[index].priority = UInt32(used.firstIndex(of: groups[index].priority) ?? 0)
    }
  }

  /// Whether `region/zone/*` covers a locality.
  private static func covers(_ pattern: String, _ locality: MeshLocality) -> Bool {
    let parts = pattern.split(separator: "/", omittingEmptySubsequences: false)
    let place = [locality.region, locality.zone, locality.subzone]
    for (index, part) in parts.prefix(3).enumerated() {
      if part == "*" { return true }
      if part != place[index] { return false }
    }
    return true
  }
}
