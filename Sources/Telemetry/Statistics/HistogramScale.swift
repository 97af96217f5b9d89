/// The buckets every histogram records into: two significant digits, so 90 to a decade, and one
/// for every integer below 100. A recorded value is known to within ten percent, as in Envoy.
///
/// Buckets live in pages. The first holds 0 to 99, each further one a decade; a page is allocated
/// when a value first falls into it, because most histograms never see more than three decades.
@usableFromInline
package enum HistogramScale {
  /// Decades from 100 to 10^15. Milliseconds beyond that are 30,000 years; such a value is
  /// recorded as the largest one.
  @usableFromInline
  package static let pageCount = 14
  /// Buckets of the first page.
  @usableFromInline
  package static let firstPageBuckets = 100
  /// Buckets of each further page.
  @usableFromInline
  package static let pageBuckets = 90
  /// All buckets.
  @usableFromInline
  package static let bucketCount = firstPageBuckets + (pageCount - 1) * pageBuckets

  /// Where `value` is counted.
  @inlinable
  package static func place(of value: UInt64) -> (page: Int, bucket: Int) {
    if value < 100 { return (0, Int(truncatingIfNeeded: value)) }
    var mantissa = value
    var page = 0
    repeat {
      mantissa /= 10
      page += 1
    } while mantissa >= 100
    guard page < pageCount else { return (pageCount - 1, pageBuckets - 1) }
    return (page, Int(truncatingIfNeeded: mantissa) - 10)
  }

  /// The index of a bucket among all, in the order of their values.
  static func index(page: Int, bucket: Int) -> Int {
    page == 0 ? bucket : firstPageBuckets + (page - 1) * pageBuckets + bucket
  }

  /// The smallest value of a bucket, and how far the bucket reaches. Integers below ten occupy
  /// the bucket that their two-digit form (`7.0`) starts; zero has a bucket without width.
  static func bounds(ofIndex index: Int) -> (lower: Double, width: Double) {
    switch index {
    case ..<1: return (0, 0)
    case 1..<10: return (Double(index), 0.1)
    case 10..<firstPageBuckets: return (Double(index), 1)
    default:
      let (decade, step) = (index - firstPageBuckets).quotientAndRemainder(dividingBy: pageBuckets)
      var width = 10.0
      for _ in 0..<decade { width *= 10 }
      return (Double(step + 10) * width, width)
    }
  }
}
