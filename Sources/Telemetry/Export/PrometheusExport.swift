/// `/stats/prometheus`: the text exposition format 0.0.4. Statistics whose names are alike but for
/// their labels form a family, and a family is written in one place; counters come first, then
/// gauges, texts and histograms.
struct PrometheusExport {
  private enum Phase {
    /// Names are sorted into families: the part that costs most, so it is done in pieces too.
    case grouping
    case writing
    case done
  }

  private struct Family {
    var name: String
    var members: [StatReference]
  }

  private static let types: [StatType] = [.counter, .gauge, .histogram]

  private let store: StatsStore
  private let query: StatsQuery
  private let all: [StatReference]
  private var texts: [String]
  private var phase = Phase.grouping
  private var families: [String: [StatReference]] = [:]
  private var type = StatType.counter
  private var ordered: [Family] = []
  private var nextFamily = 0
  private var next = 0

  init(_ store: StatsStore, _ query: StatsQuery) {
    self.store = store
    self.query = query
    all = store.scalarsInOrder + store.histogramsInOrder
    texts = query.showsTexts ? store.texts.keys.sorted().filter { query.shows($0) } : []
  }

  mutating func append(to output: inout [UInt8], limit: Int) -> Bool {
    // About 10 ms of work at most.
    var budget = 5_000
    while phase != .done && output.count < limit && budget > 0 {
      budget -= 1
      switch phase {
      case .grouping: group()
      case .writing: write(&output)
      case .done: break
      }
    }
    return phase != .done
  }

  // MARK: Grouping

  private mutating func group() {
    while next < all.count && all[next].type != type { next += 1 }
    guard next < all.count else {
      ordered = families.keys.sorted().map { Family(name: $0, members: families[$0] ?? []) }
      families = [:]
      phase = .writing
      nextFamily = 0
      next = 0
      return
    }
    let reference = all[next]
    let name = store.name(reference.type, reference.place)
    if query.shows(reference, name: name, in: store) {
      families[store.options.tags.extract(from: name).name, default: []].append(reference)
    }
    next += 1
  }

  private mutating func advanceType(_ output: inout [UInt8]) {
    next = 0
    switch type {
    case .counter: type = .gauge
    case .gauge:
      appendTexts(to: &output)
      type = .histogram
    case .histogram, .textReadout:
      phase = .done
      return
    }
    phase = .grouping
  }

  // MARK: Writing

  private mutating func write(_ output: inout [UInt8]) {
    guard nextFamily < ordered.count else { return advanceType(&output) }
    let family = ordered[nextFamily]
    let name = "envoy_" + Self.sanitized(family.name)
    if next == 0 { output.append("# TYPE \(name) \(typeName)\n") }
    if next < family.members.count {
      append(family.members[next], family: name, to: &output)
      next += 1
    }
    if next == family.members.count {
      nextFamily += 1
      next = 0
    }
  }

  private var typeName: String {
    switch type {
    case .counter: "counter"
    case .gauge, .textReadout: "gauge"
    case .histogram: query.histograms == .summary ? "summary" : "histogram"
    }
  }

  private func append(_ reference: StatReference, family: String, to output: inout [UInt8]) {
    let name = store.name(reference.type, reference.place)
    // Removed since the names were grouped.
    guard !name.isEmpty else { return }
    let labels = Self.labels(store.options.tags.extract(from: name).tags)
    guard reference.type == .histogram else {
      return output.append("\(family){\(labels)} \(store.scalarText(reference))\n")
    }
    let snapshot = store.snapshot(HistogramID(index: reference.place))
    let prefix = labels.isEmpty ? "" : labels + ","
    if query.histograms == .summary {
      for percentile in HistogramWriter.percentiles {
        let share = NumberText.general(percentile / 100, digits: 16)
        let value = NumberText.general(snapshot.quantile(percentile / 100) ?? .nan, digits: 32)
        output.append("\(family){\(prefix)quantile=\"\(share)\"} \(value)\n")
      }
    } else {
      let bounds = store.bounds(forHistogramNamed: name)
      for (bound, count) in zip(bounds, snapshot.cumulativeCounts(upTo: bounds)) {
        let upper = NumberText.general(bound, digits: 32)
        output.append("\(family)_bucket{\(prefix)le=\"\(upper)\"} \(count)\n")
      }
      output.append("\(family)_bucket{\(prefix)le=\"+Inf\"} \(snapshot.count)\n")
    }
    output.append("\(family)_sum{\(labels)} \(snapshot.sum)\n")
    output.append("\(family)_count{\(labels)} \(snapshot.count)\n")
  }

  /// A text has no number to give: it becomes a label of a gauge that is one.
  private func appendTexts(to output: inout [UInt8]) {
    for text in texts {
      let (remaining, tags) = store.options.tags.extract(from: text)
      let value = TagRules.Tag(name: "text_value", value: store.texts[text] ?? "")
      let name = "envoy_" + Self.sanitized(remaining)
      output.append("# TYPE \(name) gauge\n\(name){\(Self.labels(tags + [value]))} 1\n")
    }
  }

  // MARK: Names

  /// Only letters, digits and underscores; the rest becomes underscores.
  private static func sanitized(_ name: String) -> String {
    let bytes = name.utf8.map { byte in
      switch byte {
      case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: byte
      default: UInt8(ascii: "_")
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  private static func labels(_ tags: [TagRules.Tag]) -> String {
    tags.map { "\(sanitized($0.name))=\"\(escaped($0.value))\"" }.joined(separator: ",")
  }

  private static func escaped(_ value: String) -> String {
    guard value.utf8.contains(where: { $0 == 0x22 || $0 == 0x5C || $0 == 0x0A }) else {
      return value
    }
    var bytes: [UInt8] = []
    for byte in value.utf8 {
      switch byte {
      case UInt8(ascii: "\""): bytes.append("\\\"")
      case UInt8(ascii: "\\"): bytes.append("\\\\")
      case UInt8(ascii: "\n"): bytes.append("\\n")
      default: bytes.append(byte)
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}
