/// What a histogram held at one moment, all workers together: counts per bucket, and the exact
/// sum of the values (Envoy estimates it from the buckets).
package struct HistogramSnapshot: Equatable {
  /// A bucket that holds something; `index` counts the buckets of `HistogramScale`.
  struct Bucket: Equatable {
    var index: Int
    var count: UInt64
  }

  /// In ascending order of values.
  private(set) var buckets: [Bucket] = []
  package private(set) var sum: UInt64 = 0
  /// How many values were recorded.
  package private(set) var count: UInt64 = 0

  package init() {}

  init(buckets: [Bucket], sum: UInt64) {
    self.buckets = buckets
    self.sum = sum
    for bucket in buckets { count &+= bucket.count }
  }

  /// What was recorded since `earlier`.
  func since(_ earlier: HistogramSnapshot) -> HistogramSnapshot {
    var fresh: [Bucket] = []
    var old = earlier.buckets[...]
    for bucket in buckets {
      while let first = old.first, first.index < bucket.index { old.removeFirst() }
      let before = old.first.map { $0.index == bucket.index ? $0.count : 0 } ?? 0
      if bucket.count > before {
        fresh.append(Bucket(index: bucket.index, count: bucket.count - before))
      }
    }
    return HistogramSnapshot(buckets: fresh, sum: sum &- earlier.sum)
  }

  /// The value below which a share of the recorded ones lies; nil when nothing was recorded.
  ///
  /// The rank is the share of the count, rounded up; the values of a bucket count as spread evenly
  /// inside it, so the r-th of n lies at r/(n+1) of its width. Envoy answers the same numbers.
  package func quantile(_ share: Double) -> Double? {
    guard count > 0 else { return nil }
    let wanted = max(1, min(Double(count), (share * Double(count)).rounded(.up)))
    var before = 0.0
    for bucket in buckets {
      let inside = Double(bucket.count)
      if before + inside >= wanted {
        let (lower, width) = HistogramScale.bounds(ofIndex: bucket.index)
        return lower + width * (wanted - before) / (inside + 1)
      }
      before += inside
    }
    return nil
  }

  /// For each bound, how many values lie in buckets that begin below it or at it. Bounds ascend.
  package func cumulativeCounts(upTo bounds: [Double]) -> [UInt64] {
    var counts: [UInt64] = []
    counts.reserveCapacity(bounds.count)
    var next = 0
    var total: UInt64 = 0
    for bound in bounds {
      while next < buckets.count,
        HistogramScale.bounds(ofIndex: buckets[next].index).lower <= bound
      {
        total &+= buckets[next].count
        next += 1
      }
      counts.append(total)
    }
    return counts
  }
}
