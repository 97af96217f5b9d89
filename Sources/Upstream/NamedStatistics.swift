import Engine
import Telemetry

/// Statistics of a cluster whose names are made while requests run, as one worker knows them: those
/// of gRPC methods, which stand in requests' paths.
///
/// As with `ResponseCounters`, a name is registered by the main thread when it is first needed; that
/// first time is counted there, and the place sent back. Names come from outside, so there is an end
/// to them (`ConfigBounds.namedStatistics`).
struct NamedStatistics: ~Copyable {
  enum Kind: UInt8, BitwiseCopyable {
    case counter
    case histogram
  }

  private struct Entry: BitwiseCopyable {
    let name: Bytes
    let hash: UInt64
    let kind: Kind
    let id: UInt32
    let next: Ref<Entry>?
  }

  /// Four names to a bucket when all are taken.
  private static let bucketCount = 1024
  private typealias Buckets = InlineArray<1024, Ref<Entry>?>

  // Taken with the first name, because most clusters never have one. Behind a handle, because a table
  // inside the value would be copied to be looked at.
  private var buckets: Ref<Buckets>?
  /// Makes it impossible to choose names that fall into one bucket.
  private var seed: UInt64 = 0
  /// The cluster has as many names as it may have: unknown ones are not asked for any more.
  private var isFull = false

  deinit {
    guard let buckets else { return }
    for bucket in 0..<Self.bucketCount {
      var next = buckets.value[bucket]
      while let entry = next {
        next = entry.value.next
        // SAFETY: made by `learn`, and nobody else has them.
        unsafe entry.value.name.base.deallocate()
        unsafe entry.pointer.deallocate()
      }
    }
    unsafe buckets.pointer.deallocate()
  }

  /// Adds to a counter, or records in a histogram.
  mutating func count(
    _ number: UInt64, _ kind: Kind, _ name: Bytes, stats: WorkerStats,
    missing: (Registration) -> Void
  ) {
    if let id = find(name, kind) {
      switch kind {
      case .counter: stats.add(CounterID(index: id), number)
      case .histogram: stats.record(HistogramID(index: id), number)
      }
      return
    }
    guard !isFull, !name.isEmpty, name.count <= ConfigBounds.namedStatisticBytes else { return }
    missing(Registration(name: name.string, kind: kind, number: number))
  }

  private func find(_ name: Bytes, _ kind: Kind) -> UInt32? {
    guard let buckets else { return nil }
    let hash = hash(name)
    var next = buckets.value[Self.bucket(hash)]
    while let entry = next {
      if entry.value.hash == hash, entry.value.kind == kind, entry.value.name == name {
        return entry.value.id
      }
      next = entry.value.next
    }
    return nil
  }

  private static func bucket(_ hash: UInt64) -> Int {
    Int(truncatingIfNeeded: hash % UInt64(bucketCount))
  }

  /// Eight bytes at a time, mixed by the halves of a product.
  private func hash(_ name: Bytes) -> UInt64 {
    var hash = seed ^ UInt64(truncatingIfNeeded: name.count)
    var index = 0
    while index < name.count {
      let piece = name.word(at: index)
      let product = (hash ^ piece).multipliedFullWidth(by: 0x9E37_79B9_7F4A_7C15)
      hash = product.high ^ product.low
      index &+= 8
    }
    return hash
  }

  /// Remembers a place that the main thread registered; nil when it has taken the last one.
  mutating func learn(_ registration: Registration, id: UInt32?) {
    guard let id else {
      isFull = true
      return
    }
    let name = Bytes.immortal(registration.name)
    if buckets == nil {
      var random = Random()
      seed = random.next()
      buckets = .immortal(Buckets(repeating: nil))
    }
    guard let buckets, find(name, registration.kind) == nil else { return }
    let hash = hash(name)
    let bucket = Self.bucket(hash)
    buckets.value[bucket] = .immortal(
      Entry(
        name: name, hash: hash, kind: registration.kind, id: id, next: buckets.value[bucket]))
  }

  /// Something to count whose name has no place yet.
  struct Registration: Sendable {
    let name: String
    let kind: Kind
    fileprivate let number: UInt64

    /// Registers the statistic and counts this first time. Main thread.
    func perform(prefix: String, in store: StatsStore) -> UInt32 {
      switch kind {
      case .counter:
        let id = store.counter(prefix + name)
        store.main.add(id, number)
        return id.index
      case .histogram:
        let id = store.histogram(prefix + name)
        store.main.record(id, number)
        return id.index
      }
    }
  }
}

/// Which names of each cluster have been given out. Main thread.
final class NamedStatisticsLedger {
  private var names: [String: Set<String>] = [:]

  /// Whether a name is one of the cluster's, or may still become one.
  func admits(_ name: String, of prefix: String) -> Bool {
    var known = names[prefix] ?? []
    if known.contains(name) { return true }
    guard known.count < ConfigBounds.namedStatistics else { return false }
    known.insert(name)
    names[prefix] = known
    if known.count == ConfigBounds.namedStatistics {
      ProcessLog.shared.warning(
        .upstream,
        "\(prefix)* has \(known.count) statistics named after requests: further names are not counted"
      )
    }
    return true
  }
}

extension Bytes {
  /// Up to eight bytes from `index` on, as a number.
  fileprivate func word(at index: Int) -> UInt64 {
    var word: UInt64 = 0
    var end = min(index &+ 8, count)
    while end > index {
      end &-= 1
      word = word &<< 8 | UInt64(self[end])
    }
    return word
  }
}
