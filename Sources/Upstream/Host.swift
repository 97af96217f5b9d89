import CLinux
import Engine
import Synchronization

/// What is counted for one host. Envoy shows these in `/clusters`, under the same names.
package enum HostStat: Int, CaseIterable {
  /// Connections open or being opened.
  case connectionsActive
  case connectionsTotal
  case connectFailures
  case requestsActive
  case requestsTotal
  /// Answers other than 5xx.
  case requestsSucceeded
  /// 5xx answers, resets and failed connections.
  case requestsFailed
  case requestsTimedOut

  /// The name that `/clusters` prints.
  package var name: StaticString {
    switch self {
    case .connectionsActive: "cx_active"
    case .connectionsTotal: "cx_total"
    case .connectFailures: "cx_connect_fail"
    case .requestsActive: "rq_active"
    case .requestsTotal: "rq_total"
    case .requestsSucceeded: "rq_success"
    case .requestsFailed: "rq_error"
    case .requestsTimedOut: "rq_timeout"
    }
  }
}

/// One upstream host, the same one across updates of its cluster: what pools and statistics belong
/// to. Everything an update may change about it (addresses, weight, health) stands in `HostEntry`.
///
/// The main thread makes and frees hosts; those of an ORIGINAL_DST cluster are made by the worker that
/// needs one first (`DestinationTable`). A worker finds them in a `HostSet`, and pins those it keeps
/// something for, so that the host outlives its membership until the last request is done.
@safe
package struct Host: ~Copyable {
  /// Different for every host that the process has ever known.
  package let id: UInt32
  /// For people, logs and `auto_host_rewrite`: the name that was resolved, or the configured one.
  /// The host's own copy.
  package let hostname: Bytes
  package let workerCount: Int
  /// The one address of a host of an ORIGINAL_DST cluster; others may move (`HostEntry`).
  let destination: Buffer<SocketAddress>

  // One lane of cells for each worker, two cache lines wide so that neighbours do not share one.
  // SAFETY: `workerCount * laneCells` cells, freed in `deinit`; indices are checked. A cell has one
  // writer, and is read and written atomically, so that other threads may look.
  private let cells: UnsafeMutablePointer<fl_cell>
  private static let laneCells = 16
  private static let pinCell = 8
  private static let positionCell = 9
  private static let attachmentCell = 10
  private static let pickCell = 11
  private static let lastID = Atomic<UInt32>(0)

  fileprivate init(hostname: Bytes, destination: SocketAddress?, workerCount: Int) {
    id = Self.lastID.wrappingAdd(1, ordering: .relaxed).newValue
    self.destination = Buffer(destination.map { [$0] } ?? [])
    let text = UnsafeMutablePointer<UInt8>.allocate(capacity: max(hostname.count, 1))
    unsafe text.initialize(from: hostname.base, count: hostname.count)
    self.hostname = unsafe Bytes(base: UnsafePointer(text), count: hostname.count)
    self.workerCount = workerCount
    let count = workerCount * Self.laneCells
    let raw = UnsafeMutableRawPointer.allocate(
      byteCount: count * MemoryLayout<fl_cell>.stride, alignment: 128)
    unsafe cells = raw.bindMemory(to: fl_cell.self, capacity: count)
    unsafe cells.initialize(repeating: fl_cell(), count: count)
  }

  deinit {
    unsafe cells.deallocate()
    unsafe hostname.base.deallocate()
  }

  @inline(__always)
  private func cell(_ index: Int, of worker: Int) -> UnsafeMutablePointer<fl_cell> {
    precondition(worker >= 0 && worker < workerCount, "a worker of this process")
    return unsafe cells + (worker &* Self.laneCells &+ index)
  }

  /// Changes one worker's part of a number. Only that worker may call it.
  @inline(__always)
  package func add(_ stat: HostStat, _ change: Int64 = 1, worker: Int) {
    let cell = unsafe cell(stat.rawValue, of: worker)
    unsafe fl_flag_set(cell, fl_flag_get(cell) &+ UInt64(bitPattern: change))
  }

  /// The sum over all workers; any thread may ask.
  @inline(__always)
  package func total(_ stat: HostStat) -> Int64 {
    var sum: UInt64 = 0
    var worker = 0
    while worker < workerCount {
      unsafe sum &+= fl_flag_get(cell(stat.rawValue, of: worker))
      worker &+= 1
    }
    return Int64(bitPattern: sum)
  }

  /// Keeps the host, although it may leave its cluster, until as many `unpin`. For a worker that
  /// found the host in its present `HostSet`.
  package func pin(worker: Int) {
    let cell = unsafe cell(Self.pinCell, of: worker)
    unsafe fl_flag_set(cell, fl_flag_get(cell) &+ 1)
  }

  /// Undoes one `pin`. The worker must not use the host after its last one.
  package func unpin(worker: Int) {
    let cell = unsafe cell(Self.pinCell, of: worker)
    let pins = unsafe fl_flag_get(cell)
    precondition(pins > 0, "the host was pinned")
    // Released, so that whoever frees the host sees everything this worker did to it before.
    unsafe fl_flag_set_release(cell, pins &- 1)
  }

  /// Some worker still keeps something for the host.
  var isPinned: Bool {
    var worker = 0
    while worker < workerCount {
      if unsafe fl_flag_get_acquire(cell(Self.pinCell, of: worker)) != 0 { return true }
      worker += 1
    }
    return false
  }

  /// Counts a choice of this host by its address.
  func countPick(worker: Int) {
    let cell = unsafe cell(Self.pickCell, of: worker)
    unsafe fl_flag_set(cell, fl_flag_get(cell) &+ 1)
  }

  /// How often it was chosen by its address; any thread may ask.
  var picks: UInt64 {
    var sum: UInt64 = 0
    for worker in 0..<workerCount { unsafe sum &+= fl_flag_get(cell(Self.pickCell, of: worker)) }
    return sum
  }

  /// The host's place in the `HostSet` that the worker has now; nil once it has left.
  package func position(worker: Int) -> Int? {
    let stored = unsafe fl_flag_get(cell(Self.positionCell, of: worker))
    return stored == 0 ? nil : Int(truncatingIfNeeded: stored &- 1)
  }

  func setPosition(_ position: Int?, worker: Int) {
    unsafe fl_flag_set(
      cell(Self.positionCell, of: worker), position.map { UInt64($0) &+ 1 } ?? 0)
  }

  /// What the worker keeps for the host, such as its pool: found without a table.
  package func attachment(worker: Int) -> UnsafeMutableRawPointer? {
    let stored = unsafe fl_flag_get(cell(Self.attachmentCell, of: worker))
    return unsafe UnsafeMutableRawPointer(bitPattern: UInt(truncatingIfNeeded: stored))
  }

  package func setAttachment(_ attachment: UnsafeMutableRawPointer?, worker: Int) {
    unsafe fl_flag_set(
      cell(Self.attachmentCell, of: worker), UInt64(UInt(bitPattern: attachment)))
  }
}

extension Ref where Value == Host {
  /// A host with numbers of its own.
  /// - Parameter destination: its address, where that is what it is known by.
  static func make(
    hostname: Bytes, destination: SocketAddress? = nil, workerCount: Int
  ) -> Ref<Host> {
    let memory = UnsafeMutablePointer<Host>.allocate(capacity: 1)
    unsafe memory.initialize(
      to: Host(hostname: hostname, destination: destination, workerCount: workerCount))
    return unsafe Ref(memory)
  }

  /// SAFETY: nobody holds the handle any more: the host is in no set that a worker may still read,
  /// and is not pinned.
  func free() {
    let memory = unsafe pointer
    unsafe memory.deinitialize(count: 1)
    unsafe memory.deallocate()
  }
}
