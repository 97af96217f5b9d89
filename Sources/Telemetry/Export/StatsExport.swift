/// Writes the answer to one `/stats` request, a piece at a time, so that a hundred thousand
/// statistics do not hold up the main thread.
///
/// Names that appear meanwhile are not shown, names that go are passed over.
package struct StatsExport {
  private enum Writer {
    case text(TextExport)
    case prometheus(PrometheusExport)
  }

  private var writer: Writer

  /// Begins an answer. Main thread only, like the store.
  package init(_ store: StatsStore, _ query: StatsQuery) {
    switch query.format {
    case .text, .json: writer = .text(TextExport(store, query))
    case .prometheus: writer = .prometheus(PrometheusExport(store, query))
    }
  }

  /// Appends about `bytes` of the answer to `output`; says whether more follows. A call may append
  /// nothing and still have worked towards the next one.
  package mutating func append(to output: inout [UInt8], about bytes: Int = 65_536) -> Bool {
    let limit = output.count + bytes
    switch writer {
    case .text(var export):
      let more = export.append(to: &output, limit: limit)
      writer = .text(export)
      return more
    case .prometheus(var export):
      let more = export.append(to: &output, limit: limit)
      writer = .prometheus(export)
      return more
    }
  }
}

extension StatsStore {
  /// The whole answer at once, for tests and small stores.
  package func export(_ query: StatsQuery) -> String {
    var export = StatsExport(self, query)
    var output: [UInt8] = []
    while export.append(to: &output) {}
    return String(decoding: output, as: UTF8.self)
  }
}

extension StatsQuery {
  /// Whether a statistic of this name is part of the answer, its type and use left aside.
  func shows(_ name: String) -> Bool { filter?(name) ?? true }

  /// Whether this statistic is part of the answer.
  func shows(_ reference: StatReference, name: String, in store: StatsStore) -> Bool {
    guard !name.isEmpty, type == nil || type == reference.type else { return false }
    if usedOnly && !store.isUsed(reference.type, reference.place) { return false }
    return shows(name)
  }
}
