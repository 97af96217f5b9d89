/// A counter's place in every worker's memory. Zero is the counter nobody sees: what a
/// `StatsMatcher` excludes, and what comes after the last place, is counted there.
package struct CounterID: Equatable, Hashable, Sendable {
  package let index: UInt32

  /// Counts into the void.
  package static let discarded = CounterID(index: 0)

  @inlinable
  package init(index: UInt32) { self.index = index }
}

/// A gauge's place in every worker's memory. Zero is the gauge nobody sees.
package struct GaugeID: Equatable, Hashable, Sendable {
  package let index: UInt32

  /// Holds values for nobody.
  package static let discarded = GaugeID(index: 0)

  @inlinable
  package init(index: UInt32) { self.index = index }
}

/// A histogram's place in every worker's memory. Zero is the histogram nobody sees.
package struct HistogramID: Equatable, Hashable, Sendable {
  package let index: UInt32

  /// Records for nobody.
  package static let discarded = HistogramID(index: 0)

  @inlinable
  package init(index: UInt32) { self.index = index }
}

/// What a statistic is, as `/stats?type=` names it.
package enum StatType: UInt8, CaseIterable, Sendable {
  case counter
  case gauge
  case histogram
  case textReadout
}
