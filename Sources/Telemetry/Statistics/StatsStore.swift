/// What `stats_config` of the bootstrap sets.
package struct StatsOptions {
  /// Bucket bounds for the histograms whose names match (`histogram_bucket_settings`); the first
  /// match decides.
  package struct HistogramBounds {
    package var matches: (String) -> Bool
    package var bounds: [Double]

    package init(matches: @escaping (String) -> Bool, bounds: [Double]) {
      self.matches = matches
      self.bounds = bounds
    }
  }

  /// Whether a statistic of this name is kept at all (`stats_matcher`).
  package var keeps: (String) -> Bool = { _ in true }
  package var histogramBounds: [HistogramBounds] = []
  package var tags = TagRules()

  package init() {}

  /// Envoy's bounds where none are configured.
  package static let defaultBounds: [Double] = [
    0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000, 300_000,
    600_000, 1_800_000, 3_600_000,
  ]
}

/// All statistics of the process, under Envoy's names. Belongs to the main thread, which registers
/// names, hands each worker its memory, and adds up what the workers counted.
///
/// Registering a known name returns the id it has, so that two users of a name count together.
package final class StatsStore {
  package let options: StatsOptions
  /// The main thread's own part: what it counts itself, and the gauges only it sets.
  package let main: WorkerStats

  private var counters = StatNames()
  private var gauges = StatNames()
  private var histograms = StatNames()
  private(set) var texts: [String: String] = [:]
  private var memories: [StatMemory] = []
  /// What counters held when they were last reset: their cells are the workers' to write.
  private var counterBases: [UInt32: UInt64] = [:]
  private var latched: [UInt32: (total: HistogramSnapshot, interval: HistogramSnapshot)] = [:]
  private var orders = StatOrders()
  /// Gauges of the main thread alone whose values need more bits than a worker's part of one has.
  private var wholes: [UInt32: Int64] = [:]

  package init(options: StatsOptions = StatsOptions()) {
    self.options = options
    let memory = StatMemory()
    main = unsafe WorkerStats(directory: memory.directory)
    memories.append(memory)
    for type in [StatType.counter, .gauge, .histogram] {
      memory.ensurePage(of: type, for: 0)
    }
  }

  deinit {
    for memory in memories { memory.deallocate() }
  }

  /// Memory for one more worker. It lives as long as the store.
  package func makeWorker() -> WorkerStats {
    let memory = StatMemory()
    for type in [StatType.counter, .gauge, .histogram] {
      for first in stride(from: 0, to: names(of: type).count, by: StatLayout.pageCells) {
        memory.ensurePage(of: type, for: UInt32(first))
      }
    }
    memories.append(memory)
    return unsafe WorkerStats(directory: memory.directory)
  }

  // MARK: Registering

  /// The counter of this name.
  package func counter(_ name: String) -> CounterID {
    CounterID(index: place(of: name, type: .counter))
  }

  /// The gauge of this name.
  package func gauge(_ name: String) -> GaugeID {
    GaugeID(index: place(of: name, type: .gauge))
  }

  /// The histogram of this name.
  package func histogram(_ name: String) -> HistogramID {
    HistogramID(index: place(of: name, type: .histogram))
  }

  /// Sets a gauge that only the main thread has a part in, to any value: a hash, say.
  package func setWhole(_ id: GaugeID, _ value: Int64) {
    guard id.index != 0 else { return }
    main.gaugeSet(id, 0)
    wholes[id.index] = value
  }

  /// Sets a statistic that is a text, such as a version.
  package func setText(_ name: String, _ value: String) {
    let name = StatNames.sanitized(name)
    guard options.keeps(name) else { return }
    texts[name] = value
  }

  /// Forgets every statistic whose name starts with `prefix`, such as those of a removed cluster.
  /// No worker may write to them any more: their places go to the next names.
  package func remove(prefix: String) { remove { $0.hasPrefix(prefix) } }

  /// The same for many prefixes in one pass; each ends with a dot.
  package func remove(scopes: Set<String>) {
    remove { name in
      name.indices.contains { name[$0] == "." && scopes.contains(String(name[...$0])) }
    }
  }

  private func remove(where matches: (String) -> Bool) {
    for type in [StatType.counter, .gauge, .histogram] {
      let places = withNames(of: type) { $0.remove(where: matches) }
      for place in places {
        for memory in memories { memory.clear(type, place) }
        if type == .counter { counterBases[place] = nil }
        if type == .gauge { wholes[place] = nil }
        if type == .histogram { latched[place] = nil }
      }
    }
    for name in texts.keys.filter(matches) { texts[name] = nil }
    orders = StatOrders()
  }

  private func place(of name: String, type: StatType) -> UInt32 {
    let name = StatNames.sanitized(name)
    if let known = names(of: type).place(of: name) { return known }
    guard !name.isEmpty, options.keeps(name),
      let place = withNames(of: type, { $0.add(name, capacity: StatLayout.capacity) })
    else { return 0 }
    for memory in memories { memory.ensurePage(of: type, for: place) }
    orders = StatOrders()
    return place
  }

  private func withNames<Result>(
    of type: StatType, _ change: (inout StatNames) -> Result
  ) -> Result {
    switch type {
    case .gauge: change(&gauges)
    case .histogram: change(&histograms)
    case .counter, .textReadout: change(&counters)
    }
  }

  private func names(of type: StatType) -> StatNames {
    switch type {
    case .gauge: gauges
    case .histogram: histograms
    case .counter, .textReadout: counters
    }
  }

  // MARK: Reading

  /// What all workers counted since the start or the last reset.
  package func value(_ id: CounterID) -> UInt64 {
    var total: UInt64 = 0
    for memory in memories { total &+= memory.value(.counter, id.index) }
    return total &- (counterBases[id.index] ?? 0)
  }

  /// The sum of all workers' parts.
  package func value(_ id: GaugeID) -> Int64 {
    if let whole = wholes[id.index] { return whole }
    var total: Int64 = 0
    for memory in memories {
      total &+= Int64(bitPattern: memory.value(.gauge, id.index)) >> 1
    }
    return total
  }

  /// What all workers recorded.
  package func snapshot(_ id: HistogramID) -> HistogramSnapshot {
    var counts = [UInt64](repeating: 0, count: HistogramScale.bucketCount)
    var sum: UInt64 = 0
    var any = false
    for memory in memories {
      any = memory.addHistogram(id.index, into: &counts, sum: &sum) || any
    }
    guard any else { return HistogramSnapshot() }
    let buckets = counts.enumerated().compactMap { index, count in
      count == 0 ? nil : HistogramSnapshot.Bucket(index: index, count: count)
    }
    return HistogramSnapshot(buckets: buckets, sum: sum)
  }

  /// What was recorded between the last two calls of `latchIntervals`.
  package func interval(_ id: HistogramID) -> HistogramSnapshot {
    latched[id.index]?.interval ?? HistogramSnapshot()
  }

  /// Whether anything was ever counted, set or recorded here (`usedonly`).
  package func isUsed(_ type: StatType, _ place: UInt32) -> Bool {
    switch type {
    case .counter: memories.contains { $0.value(.counter, place) != 0 }
    case .gauge: memories.contains { $0.value(.gauge, place) & 1 != 0 }
    case .histogram: memories.contains { $0.value(.histogram, place) != 0 }
    case .textReadout: true
    }
  }

  /// Ends the interval of every histogram; called once per flush interval (5 s by default).
  package func latchIntervals() {
    for place in 1..<UInt32(max(1, histograms.count)) where isUsed(.histogram, place) {
      let total = snapshot(HistogramID(index: place))
      let before = latched[place]?.total ?? HistogramSnapshot()
      latched[place] = (total, total.since(before))
    }
  }

  /// Starts all counters at zero again (`/reset_counters`).
  package func resetCounters() {
    for place in 1..<UInt32(max(1, counters.count)) {
      let total = memories.reduce(0) { $0 &+ $1.value(.counter, place) }
      counterBases[place] = total == 0 ? nil : total
    }
  }

  /// The name at a place; empty when the name was removed.
  func name(_ type: StatType, _ place: UInt32) -> String {
    let names = names(of: type).names
    return Int(place) < names.count ? names[Int(place)] : ""
  }

  /// The bucket bounds of a histogram, as configured or Envoy's.
  func bounds(forHistogramNamed name: String) -> [Double] {
    options.histogramBounds.first { $0.matches(name) }?.bounds ?? StatsOptions.defaultBounds
  }

  // MARK: Order

  /// Counters and gauges in the order of their names, as `/stats` prints them.
  var scalarsInOrder: [StatReference] {
    if let known = orders.scalars { return known }
    let all =
      StatReference.all(of: .counter, in: counters) + StatReference.all(of: .gauge, in: gauges)
    let sorted = all.sorted { name($0.type, $0.place) < name($1.type, $1.place) }
    orders.scalars = sorted
    return sorted
  }

  /// Histograms in the order of their names.
  var histogramsInOrder: [StatReference] {
    if let known = orders.histograms { return known }
    let sorted = StatReference.all(of: .histogram, in: histograms)
      .sorted { name($0.type, $0.place) < name($1.type, $1.place) }
    orders.histograms = sorted
    return sorted
  }
}

/// One statistic, for those who walk all of them.
struct StatReference {
  var type: StatType
  var place: UInt32

  static func all(of type: StatType, in names: StatNames) -> [StatReference] {
    names.names.indices.compactMap { index in
      names.names[index].isEmpty ? nil : StatReference(type: type, place: UInt32(index))
    }
  }
}

/// Orders that hold until a name comes or goes.
private struct StatOrders {
  var scalars: [StatReference]?
  var histograms: [StatReference]?
}
