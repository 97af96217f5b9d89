/// What `/stats` was asked for.
package struct StatsQuery {
  /// How the answer is written.
  package enum Format: Sendable {
    case text
    case json
    case prometheus
  }

  /// How histograms are shown (`histogram_buckets`).
  package enum Histograms: String, CaseIterable, Sendable {
    /// Quantiles, also under Envoy's older name `none`.
    case summary
    case cumulative
    case disjoint
    case detailed
  }

  package var format = Format.text
  /// Only one type of statistic (`type`); nil for all.
  package var type: StatType?
  /// Only what was ever counted, set or recorded (`usedonly`).
  package var usedOnly = false
  package var histograms = Histograms.summary
  /// Prometheus only: also texts, as gauges of value one (`text_readouts`).
  package var showsTexts = false
  /// Only names for which this holds (`filter`).
  package var filter: ((String) -> Bool)?

  package init(format: Format = .text) {
    self.format = format
    // Without the parameter, Prometheus is given buckets, people quantiles.
    if format == .prometheus { histograms = .cumulative }
  }
}
