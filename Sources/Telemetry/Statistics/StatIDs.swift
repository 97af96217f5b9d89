/// A counter's place in every worker's memory. Zero is the counter nobody sees: what a
/// `StatsMatcher` excludes, and what comes after the last place, is counted there.
@usableFromInline
package struct CounterID: Equatable, Hashable, Sendable {
  @usableFromInline
  package let index: UInt32

  /// Counts into the void.
  @usableFromInline
  package static let discarded = CounterID(index: 0)

  @inlinable
  package init(index: UInt32) { self.index = index }
}

/// A gauge's place in every worker's memory. Zero is the gauge nobody sees.
@usableFromInline
package struct GaugeID: Equatable, Hashable, Sendable {
  @usableFromInline
  package let index: UInt32

  /// Holds values for nobody.
  @usableFromInline
  package static let discarded = GaugeID(index: 0)

  @inlinable
  package init(index: UInt32) { self.index = index }
}

/// A histogram's place in every worker's memory. Zero is the histogram nobody sees.
@usableFromInline
package struct HistogramID: Equatable, Hashable, Sendable {
  @usableFromInline
  package let index: UInt32

  /// Records for nobody.
  @usableFromInline
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
