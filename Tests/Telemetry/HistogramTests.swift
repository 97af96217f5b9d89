import Testing

@testable import Telemetry

@Suite("Histograms")
struct HistogramTests {
  private func recorded(_ values: [UInt64]) -> HistogramSnapshot {
    let store = StatsStore()
    let id = store.histogram("h")
    for value in values { store.main.record(id, value) }
    return store.snapshot(id)
  }

  @Test("every value lies in the bucket that its two leading digits name")
  func scale() {
    for value: UInt64 in [0, 1, 9, 10, 99, 100, 109, 110, 999, 1000, 12_345, 987_654_321] {
      let place = HistogramScale.place(of: value)
      let bounds = HistogramScale.bounds(
        ofIndex: HistogramScale.index(page: place.page, bucket: place.bucket))
      #expect(bounds.lower <= Double(value))
      #expect(Double(value) < bounds.lower + max(bounds.width, 1))
    }
  }

  @Test("a value beyond the scale is recorded as the largest one")
  func overflow() {
    let largest = HistogramScale.place(of: 999_999_999_999_999)
    #expect(largest.page == HistogramScale.pageCount - 1)
    #expect(largest.bucket == HistogramScale.pageBuckets - 1)
    let beyond = HistogramScale.place(of: .max)
    #expect(beyond.page == largest.page && beyond.bucket == largest.bucket)
  }

  // Each row was printed by Envoy 1.40 after it had recorded these values.
  @Test("quantiles are those that Envoy prints")
  func quantiles() {
    let mixed = recorded([0, 1, 1, 1, 1, 7])
    #expect(
      [0, 0.25, 0.5, 0.75, 0.9, 1].map { mixed.quantile($0) } == [
        0, 1.02, 1.04, 1.08, 7.05, 7.05,
      ])
    let ones = recorded([1, 1, 1, 1, 1, 1])
    #expect(ones.quantile(0) == 1.0142857142857142)
    #expect(ones.quantile(0.5) == 1.042857142857143)
    #expect(ones.quantile(1) == 1.0857142857142856)
    #expect(recorded([51]).quantile(0.99) == 51.5)
    #expect(recorded([]).quantile(0.5) == nil)
  }

  @Test("cumulative counts put a value at a bound below it")
  func cumulative() {
    let snapshot = recorded([0, 1, 5, 10, 11, 250])
    #expect(snapshot.cumulativeCounts(upTo: [0.5, 1, 5, 10, 100, 250]) == [1, 2, 3, 4, 5, 6])
    #expect(snapshot.sum == 277)
  }

  @Test("an interval holds what was recorded since the one before")
  func intervals() {
    let store = StatsStore()
    let id = store.histogram("h")
    store.main.record(id, 5)
    store.latchIntervals()
    #expect(store.interval(id).count == 1)
    store.main.record(id, 5)
    store.main.record(id, 3000)
    store.latchIntervals()
    #expect(store.interval(id).count == 2)
    #expect(store.interval(id).sum == 3005)
    store.latchIntervals()
    #expect(store.interval(id).count == 0)
    #expect(store.snapshot(id).count == 3)
  }
}
