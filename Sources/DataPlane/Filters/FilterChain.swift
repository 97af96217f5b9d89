import CFilterABI
import Engine
import HTTPModel

/// One filter of a configured chain.
@safe
struct FilterEntry: BitwiseCopyable {
  let name: Bytes
  let table: FilterTable
  /// What the filter's `load` returned.
  let config: UnsafeMutableRawPointer
  /// Where this filter's state begins in a stream's chain memory.
  let stateOffset: Int
  /// The place of this filter among the routes' per-filter configurations.
  let routeSlot: Int
  /// Its place on each worker, where its configuration has come by itself and is no part of the
  /// connection manager's.
  let ownPlace: Int?
  /// Tells configurations apart that took each other's place.
  let serial: UInt32
  let isDisabled: Bool
  let mayReplay: Bool
}

/// The functions of one filter, as Swift calls them: a callback that is absent is never looked for
/// again.
@safe
struct FilterTable: BitwiseCopyable {
  typealias Head =
    @convention(c) (
      UnsafeMutableRawPointer?, UnsafeRawPointer?, OpaquePointer?, Bool
    ) -> fl_verdict
  typealias Body =
    @convention(c) (
      UnsafeMutableRawPointer?, UnsafeRawPointer?, OpaquePointer?, fl_bytes, Bool
    ) -> fl_verdict
  typealias Trailers =
    @convention(c) (
      UnsafeMutableRawPointer?, UnsafeRawPointer?, OpaquePointer?
    ) -> fl_verdict
  typealias Notice =
    @convention(c) (
      UnsafeMutableRawPointer?, UnsafeRawPointer?, OpaquePointer?
    ) -> Void

  let streamNew: Notice?
  let requestHead: Head?
  let requestBody: Body?
  let requestTrailers: Trailers?
  let responseHead: Head?
  let responseBody: Body?
  let responseTrailers: Trailers?
  let onTimer:
    (
      @convention(c) (UnsafeMutableRawPointer?, UnsafeRawPointer?, OpaquePointer?, UInt64) -> Void
    )?
  let onCall:
    (
      @convention(c) (
        UnsafeMutableRawPointer?, UnsafeRawPointer?, OpaquePointer?, UInt64,
        UnsafePointer<fl_call_result>?
      ) -> Void
    )?
  let onLog: Notice?
  let onEnd: Notice?

  /// SAFETY: `table` is a table of this ABI, which lives as long as the process.
  init(_ table: UnsafePointer<fl_filter>) {
    unsafe streamNew = table.pointee.stream_new
    unsafe requestHead = table.pointee.on_request_head
    unsafe requestBody = table.pointee.on_request_body
    unsafe requestTrailers = table.pointee.on_request_trailers
    unsafe responseHead = table.pointee.on_response_head
    unsafe responseBody = table.pointee.on_response_body
    unsafe responseTrailers = table.pointee.on_response_trailers
    unsafe onTimer = table.pointee.on_timer
    unsafe onCall = table.pointee.on_call
    unsafe onLog = table.pointee.on_log
    unsafe onEnd = table.pointee.on_end
  }
}

/// A configured chain: its filters in order, and how much memory one stream needs for them.
struct FilterChain {
  private let entries: Table<FilterEntry>
  var count: Int { entries.count }
  /// Slots first, then the filters' states.
  let memoryBytes: Int
  /// The filter that may replay; those behind it form the attempt.
  let replayIndex: Int?
  /// Some filter wants to know when a stream is logged.
  let listensToLog: Bool

  init(_ list: [FilterEntry], stateBytes: Int) {
    entries = .configured(list)
    memoryBytes = list.count * MemoryLayout<FilterSlot>.stride + stateBytes
    replayIndex = list.firstIndex { $0.mayReplay }
    listensToLog = list.contains { unsafe $0.table.onLog != nil }
  }

  subscript(index: Int) -> Ref<FilterEntry> {
    @inline(__always) get { entries.handle(index) }
  }
}

/// One filter's place on one stream: what `fl_stream *` points to.
@safe
struct FilterSlot {
  let stream: Ref<RequestStream>
  let entry: Ref<FilterEntry>
  let state: UnsafeMutableRawPointer
  let index: Int32
  let mayReplay: Bool
  /// Callbacks are made: the filter is not disabled here, and its stream has not ended for it.
  var isEnabled: Bool
  var routeConfig: UnsafeRawPointer?
  /// Timers and calls of this filter that are under way.
  var tickets: Ref<FilterTicket>?

  var table: FilterTable {
    @inline(__always) get { entry.value.table }
  }
}

extension Ref where Value == RequestStream {
  /// The slot of the filter at `index`.
  @inline(__always)
  func slot(_ index: Int) -> Ref<FilterSlot> {
    // One comparison for both ends: a negative number is a very large one.
    precondition(UInt(bitPattern: index) < UInt(bitPattern: value.slotCount), "a filter's place")
    guard let first = value.slots else { preconditionFailure("a stream with filters has slots") }
    return unsafe Ref<FilterSlot>(first.pointer + index)
  }

  /// Calls one callback of a filter; what it asks for meanwhile waits in `wanted`.
  @inline(__always)
  func call<Result>(
    _ slot: Ref<FilterSlot>,
    _ body: (UnsafeMutableRawPointer?, UnsafeRawPointer?, OpaquePointer?) -> Result
  ) -> Result {
    value.depth &+= 1
    let result = unsafe body(
      slot.value.state, UnsafeRawPointer(slot.value.entry.value.config), OpaquePointer(slot.raw))
    value.depth &-= 1
    return result
  }

  /// The filters that it began with: those of the connection manager, unless the configuration of some
  /// has come by itself.
  @inline(__always)
  var chain: Ref<FilterChain> {
    snapshot.value.chain(ofManager: manager.value.index) ?? manager.value.chain
  }

  /// Makes fresh instances of all filters.
  func buildChain() {
    let chain = self.chain
    value.slotCount = chain.value.count
    guard chain.value.count > 0 else { return }
    let block = loop.state.value.blocks.take(max(chain.value.memoryBytes, BlockPool.smallest))
    value.chainMemory = block
    // SAFETY: the block holds `memoryBytes`; slots stand first, states at their offsets behind them.
    unsafe value.slots = Ref<FilterSlot>(raw: UnsafeMutableRawPointer(block.base))
    makeFilters(from: 0, in: block)
  }

  private func makeFilters(from start: Int, in block: Block) {
    guard start < value.slotCount, let first = value.slots else { return }
    // Most routes say nothing about filters.
    let hasConfigs = value.route.match?.hasFilterConfigs ?? false
    let chain = self.chain
    // SAFETY: slots and entries are `slotCount` each, from the first to the last.
    var slot = unsafe first.pointer + start
    let end = unsafe first.pointer + value.slotCount
    var entry = unsafe chain.value[start].pointer
    var index = Int32(truncatingIfNeeded: start)
    while unsafe slot < end {
      let one = unsafe Ref<FilterEntry>(entry)
      var isDisabled = one.value.isDisabled
      var config: UnsafeRawPointer?
      if hasConfigs { unsafe (config, isDisabled) = unsafe routeConfig(of: one) }
      unsafe slot.initialize(
        to: FilterSlot(
          stream: self, entry: one,
          state: UnsafeMutableRawPointer(block.base + one.value.stateOffset),
          index: index, mayReplay: one.value.mayReplay,
          isEnabled: !isDisabled, routeConfig: config, tickets: nil))
      if !isDisabled, let prepare = unsafe one.value.table.streamNew {
        unsafe call(Ref<FilterSlot>(slot)) { unsafe prepare($0, $1, $2) }
      }
      unsafe slot += 1
      unsafe entry += 1
      index &+= 1
    }
  }

  /// Ends the filters from `index` on: their timers and calls are cancelled, and they hear so.
  func endFilters(from index: Int) {
    guard index < value.slotCount, let first = value.slots else { return }
    // SAFETY: the slots are `slotCount`.
    var slot = unsafe first.pointer + index
    let end = unsafe first.pointer + value.slotCount
    while unsafe slot < end {
      let one = unsafe Ref<FilterSlot>(slot)
      if one.value.isEnabled {
        if let callback = unsafe one.value.entry.value.table.onEnd {
          // A last look and a last count: it is too late to ask for anything.
          let wanted = value.wanted
          unsafe call(one) { unsafe callback($0, $1, $2) }
          value.wanted = wanted
        }
        close(one)
      }
      unsafe slot += 1
    }
  }

  /// The filter in `slot` hears no more of this stream.
  @inline(__always)
  func close(_ slot: Ref<FilterSlot>) {
    if slot.value.tickets != nil { cancelTickets(of: slot) }
    slot.value.isEnabled = false
  }

  /// Makes the filters behind `index` anew: an attempt's filters know nothing of the last one.
  func renewFilters(behind index: Int) {
    guard let block = value.chainMemory else { return }
    endFilters(from: index + 1)
    makeFilters(from: index + 1, in: block)
  }
}

extension Bytes {
  /// The view as the filter door lends it.
  @inline(__always)
  var abi: fl_bytes { unsafe fl_bytes(data: base, count: count) }

  /// A view that a filter lends.
  @inline(__always)
  init(_ bytes: fl_bytes) {
    guard let data = unsafe bytes.data else {
      self = .empty
      return
    }
    unsafe self.init(base: data, count: bytes.count)
  }
}
