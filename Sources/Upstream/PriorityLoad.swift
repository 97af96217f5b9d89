import Resources

/// How traffic is divided between the priorities of a cluster, from what share of each is available.
///
/// A priority takes all the traffic it can while 1/1.4 of its hosts are healthy; what is missing
/// spills to the next. Degraded hosts come after every healthy one. When less than half of the
/// hosts are available, health is not believed any more ("panic") and all hosts are used.
struct PriorityLoad {
  /// How many hosts a priority has, and how many of them may be used.
  struct Population {
    var total: Int
    var healthy: Int
    var degraded: Int
  }

  /// What one priority gets.
  struct Share: Equatable {
    /// Percent of all requests for its healthy hosts.
    var healthy = 0
    /// Percent of all requests for its degraded hosts.
    var degraded = 0
    /// Its requests go to any of its hosts, whatever their health.
    var isInPanic = false
  }

  /// One for each priority; the percentages add up to 100 unless there is no host at all.
  let shares: [Share]

  /// Envoy's default `overprovisioning_factor`, in percent: a priority that lost a bit more than a
  /// quarter of its hosts still carries its whole load.
  static let overprovisioningPercent = 140
  /// - Parameter panicPercent: below so many percent of usable hosts, a priority panics.
  init(_ populations: [Population], panicPercent: Int = Defaults.healthyPanicThreshold) {
    shares = Self.divide(populations, panicPercent)
  }

  private static func divide(_ populations: [Population], _ panicPercent: Int) -> [Share] {
    let healthy = populations.map { availability($0.healthy, of: $0.total) }
    let degraded = populations.map { availability($0.degraded, of: $0.total) }
    let available = min(100, (healthy + degraded).reduce(0, +))
    var shares = [Share](repeating: Share(), count: populations.count)
    guard !shares.isEmpty else { return [] }

    guard available > 0 else {
      // Nothing is available anywhere: the first priority serves with what it has, unless it is never
      // to panic.
      shares[0] = Share(healthy: 100, isInPanic: panics(populations[0], panicPercent))
      return shares
    }
    if available < 100 {
      for index in shares.indices {
        shares[index].isInPanic = panics(populations[index], panicPercent)
      }
      if shares.allSatisfy(\.isInPanic) {
        divideBySize(&shares, populations)
        return shares
      }
    }
    var rest = 100
    for index in shares.indices {
      shares[index].healthy = min(rest, healthy[index] * 100 / available)
      rest -= shares[index].healthy
    }
    for index in shares.indices {
      shares[index].degraded = min(rest, degraded[index] * 100 / available)
      rest -= shares[index].degraded
    }
    // What rounding has left over goes where traffic goes first.
    if let first = healthy.firstIndex(where: { $0 > 0 }) {
      shares[first].healthy += rest
    } else if let first = degraded.firstIndex(where: { $0 > 0 }) {
      shares[first].degraded += rest
    }
    return shares
  }

  private static func availability(_ usable: Int, of total: Int) -> Int {
    total == 0 ? 0 : min(100, usable * overprovisioningPercent / total)
  }

  /// An empty priority panics too: it may then take a share of nothing.
  private static func panics(_ population: Population, _ panicPercent: Int) -> Bool {
    let usable = population.healthy + population.degraded
    guard population.total > 0 else { return panicPercent > 0 }
    return usable * 100 < panicPercent * population.total
  }

  /// With every priority in panic, each gets traffic by the number of its hosts.
  private static func divideBySize(_ shares: inout [Share], _ populations: [Population]) {
    let total = populations.reduce(0) { $0 + $1.total }
    var rest = 100
    for index in shares.indices {
      shares[index].healthy = populations[index].total * 100 / total
      rest -= shares[index].healthy
    }
    if let first = populations.firstIndex(where: { $0.total > 0 }) { shares[first].healthy += rest }
  }
}
