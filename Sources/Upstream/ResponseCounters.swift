import Engine
import Telemetry

/// Counts a cluster's responses by code, class and origin on one worker:
/// `upstream_rq_200`, `upstream_rq_2xx`, `upstream_rq_completed`, `upstream_rq_time`, and the same
/// under `internal.` and `external.`; those that were not the last one under `retry.`, those of
/// upstreams that call themselves canaries under `canary.` too.
///
/// Envoy shows these once they have happened, and there may be five hundred codes, so a place is
/// registered when it is first needed. Registering is the main thread's: it counts that first time
/// itself and sends the place back. From then on counting is two loads and a store.
struct ResponseCounters: ~Copyable {
  /// Which of a cluster's five families of statistics.
  enum Family: Int, CaseIterable, Sendable {
    case all
    case `internal`
    case external
    case retry
    case canary

    var prefix: StaticString {
      switch self {
      case .all: ""
      case .internal: "internal."
      case .external: "external."
      case .retry: "retry."
      case .canary: "canary."
      }
    }
  }

  /// One statistic: slots 0 to 5 are the total and the classes, the rest are codes.
  private enum Slot {
    static let completed = 0
    static let time = 6
    static let firstCode = 100
    static let lastCode = 599
    static let pageSize = 100

    /// `upstream_rq_completed` and the classes share the first page; every hundred codes have one.
    static func name(_ slot: Int) -> String {
      switch slot {
      case completed: "upstream_rq_completed"
      case time: "upstream_rq_time"
      case 1...5: "upstream_rq_\(slot)xx"
      default: "upstream_rq_\(slot)"
      }
    }
  }

  private struct Page: BitwiseCopyable {
    var ids = InlineArray<100, UInt32>(repeating: 0)
  }

  // Six pages to a family; a page is allocated with its first place and never moves. Behind a handle,
  // because a table inside the value would be copied to be looked at.
  private let pages = Ref.configured(InlineArray<30, Ref<Page>?>(repeating: nil))

  deinit {
    for index in 0..<30 { pages.value[index]?.destroy() }
  }

  /// Counts one response. A code outside 100 to 599 counts as completed only.
  /// - Parameter milliseconds: from the request's end to the response's; nil is not recorded.
  mutating func count(
    code: Int, family: Family, milliseconds: UInt64?, stats: WorkerStats,
    missing: (Registration) -> Void
  ) {
    add(Slot.completed, family, stats, missing)
    if code >= Slot.firstCode && code <= Slot.lastCode {
      add(code / 100, family, stats, missing)
      add(code, family, stats, missing)
    }
    guard let milliseconds else { return }
    let id = place(Slot.time, family)
    if id != 0 {
      stats.record(HistogramID(index: id), milliseconds)
    } else {
      missing(Registration(family: family, slot: Slot.time, milliseconds: milliseconds))
    }
  }

  @inline(__always)
  private mutating func add(
    _ slot: Int, _ family: Family, _ stats: WorkerStats, _ missing: (Registration) -> Void
  ) {
    let id = place(slot, family)
    if id != 0 { return stats.add(CounterID(index: id)) }
    missing(Registration(family: family, slot: slot, milliseconds: nil))
  }

  @inline(__always)
  private func place(_ slot: Int, _ family: Family) -> UInt32 {
    let index = family.rawValue &* 6 &+ slot / Slot.pageSize
    guard let page = pages.value[index] else { return 0 }
    return page.value.ids[slot % Slot.pageSize]
  }

  /// Remembers a place that the main thread registered.
  mutating func learn(_ registration: Registration, id: UInt32) {
    let slot = registration.slot
    let index = registration.family.rawValue * 6 + slot / Slot.pageSize
    let page = pages.value[index] ?? .immortal(Page())
    pages.value[index] = page
    // A statistic that is not kept has place 0, which here means unknown: the place beyond all
    // others is counted by nobody either, and is not asked for again.
    page.value.ids[slot % Slot.pageSize] = id == 0 ? .max : id
  }

  /// Something to count that has no place yet.
  struct Registration: BitwiseCopyable, Sendable {
    let family: Family
    fileprivate let slot: Int
    fileprivate let milliseconds: UInt64?

    /// Registers the statistic and counts this first time. Main thread.
    func perform(prefix: String, in store: StatsStore) -> UInt32 {
      let name = prefix + "\(family.prefix)" + Slot.name(slot)
      guard let milliseconds else {
        let id = store.counter(name)
        store.main.add(id)
        return id.index
      }
      let id = store.histogram(name)
      store.main.record(id, milliseconds)
      return id.index
    }
  }
}
