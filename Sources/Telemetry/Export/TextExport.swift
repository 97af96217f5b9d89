/// `/stats` as text and as JSON: texts first, then counters and gauges by name, then histograms.
struct TextExport {
  private enum Phase {
    case texts
    case scalars
    case histograms
    case done
  }

  private let store: StatsStore
  private let query: StatsQuery
  private let texts: [String]
  private let scalars: [StatReference]
  private let histograms: [StatReference]
  private let histogramWriter: HistogramWriter
  private let isJSON: Bool
  private var phase = Phase.texts
  private var next = 0
  /// Whether a JSON list already has an element, so that the next one needs a comma.
  private var needsComma = false
  private var hasHistograms = false

  init(_ store: StatsStore, _ query: StatsQuery) {
    self.store = store
    self.query = query
    let showsTexts = query.type == nil || query.type == .textReadout
    texts = showsTexts ? store.texts.keys.sorted().filter { query.shows($0) } : []
    scalars = store.scalarsInOrder
    histograms = store.histogramsInOrder
    histogramWriter = HistogramWriter(mode: query.histograms)
    isJSON = query.format == .json
  }

  mutating func append(to output: inout [UInt8], limit: Int) -> Bool {
    if isJSON && phase == .texts && next == 0 { output.append("{\"stats\":[") }
    // Names that the filter refuses append nothing but cost time too.
    var budget = 10_000
    while phase != .done && output.count < limit && budget > 0 {
      budget -= 1
      step(&output)
    }
    return phase != .done
  }

  private mutating func step(_ output: inout [UInt8]) {
    switch phase {
    case .texts where next < texts.count: appendText(texts[next], to: &output)
    case .texts: return enter(.scalars)
    case .scalars where next < scalars.count: appendScalar(scalars[next], to: &output)
    case .scalars: return enter(.histograms)
    case .histograms where next < histograms.count: appendHistogram(histograms[next], to: &output)
    case .histograms:
      if isJSON {
        if hasHistograms { output.append(histogramWriter.jsonEnd) }
        output.append("]}")
      }
      return enter(.done)
    case .done: return
    }
    next += 1
  }

  private mutating func enter(_ phase: Phase) {
    self.phase = phase
    next = 0
  }

  private mutating func appendText(_ name: String, to output: inout [UInt8]) {
    let value = store.texts[name] ?? ""
    if isJSON {
      appendComma(to: &output)
      output.append("{\"name\":")
      output.appendJSON(name)
      output.append(",\"value\":")
      output.appendJSON(value)
      output.append("}")
    } else {
      output.append("\(name): \"")
      output.append(value)
      output.append("\"\n")
    }
  }

  private mutating func appendScalar(_ reference: StatReference, to output: inout [UInt8]) {
    let name = store.name(reference.type, reference.place)
    guard query.shows(reference, name: name, in: store) else { return }
    let value = store.scalarText(reference)
    if isJSON {
      appendComma(to: &output)
      output.append("{\"name\":")
      output.appendJSON(name)
      output.append(",\"value\":\(value)}")
    } else {
      output.append("\(name): \(value)\n")
    }
  }

  private mutating func appendHistogram(_ reference: StatReference, to output: inout [UInt8]) {
    let name = store.name(.histogram, reference.place)
    guard query.shows(reference, name: name, in: store) else { return }
    let id = HistogramID(index: reference.place)
    let reading = HistogramReading(
      name: name, total: store.snapshot(id), interval: store.interval(id),
      bounds: store.bounds(forHistogramNamed: name))
    guard isJSON else { return histogramWriter.appendText(reading, to: &output) }
    appendComma(to: &output)
    if !hasHistograms {
      output.append(histogramWriter.jsonStart)
      hasHistograms = true
    }
    histogramWriter.appendJSON(reading, to: &output)
  }

  private mutating func appendComma(to output: inout [UInt8]) {
    if needsComma { output.append(UInt8(ascii: ",")) }
    needsComma = true
  }
}

extension StatsStore {
  /// A counter's or gauge's value in digits. Gauges below zero print as Envoy's unsigned ones
  /// never would; they show that something was taken away twice.
  func scalarText(_ reference: StatReference) -> String {
    reference.type == .gauge
      ? String(value(GaugeID(index: reference.place)))
      : String(value(CounterID(index: reference.place)))
  }
}
