import CLinux

/// One worker's statistics: the address of its memory, and nothing to count references of.
///
/// Only that worker writes here, with relaxed stores; the main thread reads at any time and adds
/// the workers up. Valid until the `StatsStore` that made it goes.
@safe
@usableFromInline
package struct WorkerStats: @unchecked Sendable {
  // SAFETY: allocated by `StatsStore` and freed with it, after the workers have ended. Every access
  // is atomic. `StatsStoreTests` runs writers and a reader under the thread sanitizer.
  @usableFromInline let directory: UnsafeMutablePointer<UInt64>

  init(directory: UnsafeMutablePointer<UInt64>) {
    unsafe self.directory = directory
  }

  /// Adds `amount` to a counter.
  @inlinable
  package func add(_ id: CounterID, _ amount: UInt64 = 1) {
    guard let cell = unsafe cell(StatLayout.counters, id.index) else { return }
    unsafe telemetry_add_single_writer(cell, amount)
  }

  /// Changes this worker's part of a gauge. The gauge's value is the sum of the parts.
  @inlinable
  package func gaugeAdd(_ id: GaugeID, _ change: Int64) {
    guard let cell = unsafe cell(StatLayout.gauges, id.index) else { return }
    let old = unsafe telemetry_load(cell)
    let new = (old & ~1) &+ (UInt64(bitPattern: change) &<< 1)
    unsafe telemetry_store(cell, new | 1)
  }

  /// Sets this worker's part of a gauge.
  @inlinable
  package func gaugeSet(_ id: GaugeID, _ value: Int64) {
    guard let cell = unsafe cell(StatLayout.gauges, id.index) else { return }
    unsafe telemetry_store(cell, (UInt64(bitPattern: value) &<< 1) | 1)
  }

  /// Records one value, in the histogram's unit. The first value of a decade allocates.
  @inlinable
  package func record(_ id: HistogramID, _ value: UInt64) {
    guard let slot = unsafe cell(StatLayout.histograms, id.index) else { return }
    let histogram =
      unsafe cells(at: telemetry_load(slot))
      ?? Self.allocate(
        StatLayout.histogramCells, into: slot)
    let place = HistogramScale.place(of: value)
    let pageSlot = unsafe histogram + StatLayout.histogramPages + place.page
    let page =
      unsafe cells(at: telemetry_load(pageSlot))
      ?? Self.allocate(
        HistogramScale.firstPageBuckets, into: pageSlot)
    unsafe telemetry_add_single_writer(page + place.bucket, 1)
    unsafe telemetry_add_single_writer(histogram + StatLayout.histogramSum, value)
  }

  /// Where this worker's part of a counter stands, for what adds to it without asking again. Only
  /// the worker may write there, atomically.
  package func address(of id: CounterID) -> UnsafeMutablePointer<UInt64>? {
    unsafe cell(StatLayout.counters, id.index)
  }

  /// The cell of an id, or nil for an id that this memory has no page for: there is none of
  /// those while ids come from the store, and no memory to spoil when they do not.
  @inlinable
  func cell(_ base: Int, _ index: UInt32) -> UnsafeMutablePointer<UInt64>? {
    let page = Int(index) &>> StatLayout.pageShift
    guard page < StatLayout.directoryPages,
      let cells = unsafe cells(at: telemetry_load_acquire(directory + base + page))
    else { return nil }
    return unsafe cells + (Int(index) & (StatLayout.pageCells - 1))
  }

  /// Published with release, so that a reader who follows the address finds zeroes.
  @usableFromInline
  static func allocate(
    _ count: Int, into slot: UnsafeMutablePointer<UInt64>
  ) -> UnsafeMutablePointer<UInt64> {
    let fresh = unsafe allocateCells(count)
    unsafe telemetry_store_release(slot, UInt64(UInt(bitPattern: fresh)))
    return unsafe fresh
  }
}
