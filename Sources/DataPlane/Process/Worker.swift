import CLinux
import Engine
import HTTPCodec
import HTTPModel
import Telemetry
import Upstream

/// One event loop on one thread, and everything that lives there: connections, streams, pools. It
/// shares with other workers only what cannot change, and what must be counted together.
@safe
struct Worker: ~Copyable {
  let loop: EventLoop
  let index: Int
  let stats: WorkerStats
  var parser: HTTP1HeadParser
  var output = OutputCork()
  var streams = Pool<RequestStream>()
  var pendings = Pool<PendingConnection>(pageCount: 16)
  var downstreams = Pool<DownstreamConnection>()
  var tcpSessions = Pool<TCPSession>(pageCount: 16)
  var plains = Pool<PlainConnection>(pageCount: 16)
  var upstreams = Pool<UpstreamConnection>()
  var tickets = Pool<FilterTicket>()
  var calls = Pool<InternalCall>()
  var sessions = Pool<HTTP2Connection>()
  var sessionStreams = Pool<HTTP2Stream>()
  /// Sessions that have something to send at the end of the wake-up.
  var firstToSend: Ref<HTTP2Connection>?
  let http2Memory = Ref<HTTP2Memory>.immortal(HTTP2Memory())
  /// Where header sections are put together for HPACK.
  var fields = HTTP2FieldList()
  var tls = WorkerTLS()
  /// The latest configuration.
  var snapshot: Ref<Snapshot>
  let shared: Ref<SharedState>
  /// This machine's address, for clients on it.
  let machineAddress: SocketAddress
  let overload: OverloadLevels
  var listeners: [Ref<ActiveListener>] = []
  /// Open connections of clients; the main thread looks at it.
  let openCount = Ref<fl_cell>.immortal(fl_cell())
  /// Sockets that listen; the main thread looks at it.
  let listeningCount = Ref<fl_cell>.immortal(fl_cell())
  let logs: LogProducer
  let renderer = LogRenderer()
  /// Open connections of clients, for a drain to reach.
  private var firstDownstream: Ref<DownstreamConnection>?
  var filterPlaces = WorkerFilterPlaces()
  /// The same of filters whose configuration has come by itself, each at a place of its own.
  var discoveredFilterPlaces = WorkerFilterPlaces()
  private var connectionIDs: UInt64
  private var streamIDs: UInt64 = 0
  private var ticketIDs: UInt64 = 0
  private var dateSecond: UInt64 = 0
  // `date: ` and CRLF around the 29 bytes of a date.
  private var dateText = InlineArray<37, UInt8>(repeating: 0)

  init(
    loop: EventLoop, index: Int, stats: WorkerStats, maxFields: Int,
    snapshot: Ref<Snapshot>, shared: Ref<SharedState>, logs: LogProducer
  ) {
    self.loop = loop
    self.index = index
    self.stats = stats
    self.parser = HTTP1HeadParser(capacity: maxFields)
    self.snapshot = snapshot
    self.shared = shared
    self.machineAddress = shared.value.machineAddress
    self.overload = shared.value.overload
    self.logs = logs
    // Ids of different workers do not meet.
    connectionIDs = UInt64(index) << 48
  }

  mutating func nextConnectionID() -> UInt64 {
    connectionIDs &+= 1
    return connectionIDs
  }

  mutating func nextStreamID() -> UInt64 {
    streamIDs &+= 1
    fl_note_stream(streamIDs)
    return streamIDs
  }

  mutating func nextTicketID() -> UInt64 {
    ticketIDs &+= 1
    return ticketIDs
  }

  /// Lends the `Date` field of this second (RFC 9110 §5.6.7).
  mutating func withDate(_ body: (FieldLine) -> Void) {
    let second = loop.wallClock / 1_000_000_000
    var span = dateText.mutableSpan
    unsafe span.withUnsafeMutableBufferPointer { buffer in
      guard let base = buffer.baseAddress else { return }
      if second != dateSecond {
        dateSecond = second
        var out = unsafe ByteWriter(base: base, capacity: buffer.count)
        out.append("date: ")
        HTTPDate.append(second, to: &out)
        out.append("\r\n")
      }
      let text = unsafe Bytes(base: base, count: buffer.count)
      body(FieldLine(text, id: .date, nameLength: 4))
    }
  }
}

extension Worker {
  /// The listener for an address: that very one, or the one for its port on every address.
  func listener(for address: SocketAddress) -> Ref<ActiveListener>? {
    var wildcard: Ref<ActiveListener>?
    for listener in listeners {
      let own = listener.value.config.value.address
      if own == address { return listener }
      if !own.isUnix, own.port == address.port, own.isWildcard,
        own.isIPv6 == address.isIPv6 || wildcard == nil
      {
        wildcard = listener
      }
    }
    return wildcard
  }

  /// What a filter keeps on this worker.
  func filterState(
    of manager: Ref<ConnectionManager>, index: Int, ownPlace: Int?
  ) -> UnsafeMutableRawPointer? {
    if let ownPlace {
      return unsafe discoveredFilterPlaces.state(manager: ownPlace, filter: 0)
    }
    return unsafe filterPlaces.state(manager: manager.value.index, filter: index)
  }

  /// Connections of clients that are open; any thread may ask.
  var openConnections: Int64 { unsafe Int64(clamping: fl_flag_get(openCount.pointer)) }

  /// A listening socket has been opened or closed.
  func countListening(_ change: Int) {
    let cell = unsafe listeningCount.pointer
    unsafe fl_flag_set(cell, fl_flag_get(cell) &+ UInt64(bitPattern: Int64(change)))
  }

  func countOpenConnection(_ change: Int64) {
    unsafe fl_flag_set(
      openCount.pointer, fl_flag_get(openCount.pointer) &+ UInt64(bitPattern: change))
  }

  mutating func link(_ downstream: Ref<DownstreamConnection>) {
    downstream.value.nextOpen = firstDownstream
    downstream.value.previousOpen = nil
    countOpenConnection(1)
    firstDownstream?.value.previousOpen = downstream
    firstDownstream = downstream
  }

  mutating func unlink(_ downstream: Ref<DownstreamConnection>) {
    if let previous = downstream.value.previousOpen {
      previous.value.nextOpen = downstream.value.nextOpen
    } else {
      firstDownstream = downstream.value.nextOpen
    }
    downstream.value.nextOpen?.value.previousOpen = downstream.value.previousOpen
    countOpenConnection(-1)
  }

  /// The clients' connections; each may be closed while they are walked.
  var openDownstreams: [Ref<DownstreamConnection>] {
    var all: [Ref<DownstreamConnection>] = []
    var current = firstDownstream
    while let downstream = current {
      all.append(downstream)
      current = downstream.value.nextOpen
    }
    return all
  }
}

/// What the main thread may use of a worker once its thread runs: everything else of it is the
/// worker's own, to read as much as to write.
struct WorkerLink {
  let mailbox: Mailbox
  let stats: WorkerStats
  private let openCount: Ref<fl_cell>
  private let listeningCount: Ref<fl_cell>
  /// When the wake-up at hand began, in monotonic nanoseconds; 0 while the worker waits.
  let busySince: Ref<fl_cell>

  /// Taken before the worker's thread starts.
  init(_ worker: Ref<Worker>) {
    mailbox = worker.value.loop.mailbox
    stats = worker.value.stats
    openCount = worker.value.openCount
    listeningCount = worker.value.listeningCount
    busySince = worker.value.loop.state.value.busySince
  }

  /// Connections of clients that are open.
  var openConnections: Int64 { unsafe Int64(clamping: fl_flag_get(openCount.pointer)) }

  /// Nothing can come any more, and nothing is under way.
  var isDrained: Bool { unsafe fl_flag_get(listeningCount.pointer) == 0 && openConnections == 0 }
}

/// What the main thread and all workers know; it changes only through atomic flags.
struct SharedState {
  let machineAddress: SocketAddress
  let callManager: Ref<ConnectionManager>
  let healthCheckFailed: Ref<fl_cell>
  let overload: OverloadLevels
  /// Clients' connections of the whole process; nil where they are not bounded.
  let bound: ConnectionBound?
  /// Tells the main thread that the calling worker is done with the snapshot of this version.
  let snapshotReleased: @Sendable (UInt64) -> Void
  /// Tells it that the host of this number wants no more requests.
  let hostAskedToBeLeft: @Sendable (UInt32) -> Void

  /// `/healthcheck/fail` was called.
  var isFailingHealthChecks: Bool { unsafe fl_flag_get(healthCheckFailed.pointer) != 0 }
}
