import CLinux
import Glibc

/// The layout of one worker's statistics: three directories of pages, at a fixed address for the
/// worker's whole life. Main adds pages before it hands out an id that needs them, so that a worker
/// never finds one missing and never allocates for a counter.
///
/// Everything is a 64-bit cell: counters; gauges (shifted left by one, the lowest bit telling that
/// the gauge was ever set); addresses of pages; and addresses of histograms.
@usableFromInline
enum StatLayout {
  /// Cells to a page, as a power of two: 32 KiB of address space, touched where used.
  @usableFromInline static let pageShift = 12
  @usableFromInline static let pageCells = 1 << pageShift
  /// Pages to a directory. A million names of each type is ten times the largest fleet's
  /// configuration; what comes after is counted by `CounterID.discarded`.
  @usableFromInline static let directoryPages = 256
  /// The most ids of one type.
  static let capacity = UInt32(directoryPages * pageCells)

  @usableFromInline static let counters = 0
  @usableFromInline static let gauges = directoryPages
  @usableFromInline static let histograms = 2 * directoryPages
  /// Cells of all three directories.
  static let directoryCells = 3 * directoryPages

  /// A histogram: its sum, then the addresses of its bucket pages.
  @usableFromInline static let histogramSum = 0
  @usableFromInline static let histogramPages = 1
  @usableFromInline static let histogramCells = 1 + HistogramScale.pageCount

  static func directory(of type: StatType) -> Int {
    switch type {
    case .gauge: gauges
    case .histogram: histograms
    case .counter, .textReadout: counters
    }
  }
}

/// Zeroed cells. Running out of memory for statistics ends the process: it is not able to start,
/// or its machine has none left.
@usableFromInline
func allocateCells(_ count: Int) -> UnsafeMutablePointer<UInt64> {
  guard let raw = unsafe calloc(count, MemoryLayout<UInt64>.stride) else {
    fatalError("out of memory for statistics")
  }
  return unsafe raw.bindMemory(to: UInt64.self, capacity: count)
}

/// The address kept in a cell, or nil where nothing has been put yet.
@inlinable
func cells(at address: UInt64) -> UnsafeMutablePointer<UInt64>? {
  unsafe UnsafeMutablePointer(bitPattern: UInt(truncatingIfNeeded: address))
}

/// One worker's cells, from the main thread's side: it adds pages and reads.
@safe
struct StatMemory {
  // SAFETY: owned by the store that made it, freed in its `deinit`; reads are atomic.
  let directory: UnsafeMutablePointer<UInt64>

  init() {
    unsafe directory = allocateCells(StatLayout.directoryCells)
  }

  /// Makes sure that the worker finds a page for this place.
  func ensurePage(of type: StatType, for place: UInt32) {
    let slot = unsafe directory + StatLayout.directory(of: type) + Int(place) / StatLayout.pageCells
    guard unsafe telemetry_load(slot) == 0 else { return }
    let page = unsafe allocateCells(StatLayout.pageCells)
    unsafe telemetry_store_release(slot, UInt64(UInt(bitPattern: page)))
  }

  /// The raw content of a cell; for a histogram, zero says that nothing was recorded.
  func value(_ type: StatType, _ place: UInt32) -> UInt64 {
    guard let cell = unsafe cell(type, place) else { return 0 }
    return unsafe telemetry_load_acquire(cell)
  }

  /// Adds this worker's buckets to `counts`. Says whether the worker recorded anything.
  func addHistogram(_ place: UInt32, into counts: inout [UInt64], sum: inout UInt64) -> Bool {
    guard let histogram = unsafe cells(at: value(.histogram, place)) else { return false }
    for page in 0..<HistogramScale.pageCount {
      let slot = unsafe histogram + StatLayout.histogramPages + page
      guard let buckets = unsafe cells(at: telemetry_load_acquire(slot)) else { continue }
      let count = page == 0 ? HistogramScale.firstPageBuckets : HistogramScale.pageBuckets
      for bucket in 0..<count {
        let value = unsafe telemetry_load(buckets + bucket)
        counts[HistogramScale.index(page: page, bucket: bucket)] &+= value
      }
    }
    sum &+= unsafe telemetry_load(histogram + StatLayout.histogramSum)
    return true
  }

  /// Empties a place for its next name. The worker must be done with it.
  func clear(_ type: StatType, _ place: UInt32) {
    guard let cell = unsafe cell(type, place) else { return }
    if type == .histogram { freeHistogram(unsafe telemetry_load_acquire(cell)) }
    unsafe telemetry_store(cell, 0)
  }

  /// Gives all memory back. Nobody may hold this worker's `WorkerStats` any more.
  func deallocate() {
    for page in 0..<StatLayout.directoryCells {
      guard let cells = unsafe cells(at: telemetry_load_acquire(directory + page)) else { continue }
      if page >= StatLayout.histograms {
        for place in 0..<StatLayout.pageCells {
          freeHistogram(unsafe telemetry_load_acquire(cells + place))
        }
      }
      unsafe free(cells)
    }
    unsafe free(directory)
  }

  private func freeHistogram(_ address: UInt64) {
    guard let histogram = unsafe cells(at: address) else { return }
    for page in 0..<HistogramScale.pageCount {
      let slot = unsafe histogram + StatLayout.histogramPages + page
      unsafe free(cells(at: telemetry_load_acquire(slot)))
    }
    unsafe free(histogram)
  }

  private func cell(_ type: StatType, _ place: UInt32) -> UnsafeMutablePointer<UInt64>? {
    guard place < StatLayout.capacity else { return nil }
    let slot = unsafe directory + StatLayout.directory(of: type) + Int(place) / StatLayout.pageCells
    guard let page = unsafe cells(at: telemetry_load_acquire(slot)) else { return nil }
    return unsafe page + Int(place) % StatLayout.pageCells
  }
}

/// Gives back what `allocateCells` took.
func freeCells(_ cells: UnsafeMutablePointer<UInt64>) {
  unsafe free(cells)
}
