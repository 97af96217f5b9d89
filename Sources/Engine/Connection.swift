import CLinux

/// What happened when a connection was read.
package enum ReadOutcome {
  /// This many bytes are at the start of the memory that was lent.
  case bytes(Int)
  /// Nothing more for now; `readable` will be called.
  case wait
  /// The peer has closed its side.
  case end
  /// The connection broke; the number is an errno.
  case failed(Int32)
}

/// What a connection tells its owner. Functions without captures: calling one retains nothing.
@safe
package struct ConnectionEvents: BitwiseCopyable {
  package typealias Call = @convention(c) (UnsafeMutableRawPointer) -> Void
  package typealias Connected = @convention(c) (UnsafeMutableRawPointer, Int32) -> Void

  /// There may be something to read, and reading is not paused.
  package let readable: Call
  /// The queue has fallen to the low watermark after it had been above the high one, or is empty.
  package let drained: Call
  /// A connection attempt ended: 0, or an errno.
  package let connected: Connected
  /// The peer hung up while reading is paused.
  package let hungUp: Call

  package init(
    readable: @escaping Call, drained: @escaping Call, connected: @escaping Connected,
    hungUp: @escaping Call
  ) {
    unsafe self.readable = readable
    unsafe self.drained = drained
    unsafe self.connected = connected
    unsafe self.hungUp = hungUp
  }
}

/// A stream socket on one loop, registered once and edge-triggered: what could not be sent waits in
/// a queue with watermarks, and what has not been read is remembered as `mayRead`.
///
/// It decides nothing: its owner reads, writes, pauses and closes, and is told the rest.
@safe @usableFromInline
package struct Connection: ~Copyable {
  @usableFromInline package private(set) var fd: Int32 = -1
  private var registration: UInt32 = 0
  private var events: Ref<ConnectionEvents>?
  private var owner: UnsafeMutableRawPointer?
  private var loop: EventLoop?
  @usableFromInline internal var queue = ByteQueue()
  @usableFromInline internal var readPauses: UInt8 = 0
  /// The last read was not short, or an event came since: reading again may bring something.
  var mayRead = false
  /// A deferred `readable` is on its way. There is never a second one, nor a call for an event before
  /// it: else a peer that keeps sending would have one more read in every turn.
  private var readableIsDue = false
  @usableFromInline internal var sawHangUp = false
  @usableFromInline internal var connecting = false
  @usableFromInline internal var writeFailed = false
  @usableFromInline internal var aboveHigh = false
  /// What stands between this connection and its socket; nil for plain bytes.
  @usableFromInline internal var transport: Ref<Transport>?
  private var transportContext: UnsafeMutableRawPointer?
  /// The socket is connected, and its two ends are still agreeing upon a transport's keys.
  private var shakingHands = false
  /// Everything is written, and the transport's goodbye is what the socket has not taken.
  package private(set) var owesGoodbye = false
  /// Grows with every socket that this slot serves, so that a callback that closes one and opens the
  /// next is noticed even when the kernel hands out the same descriptor.
  private var turn: UInt32 = 0
  /// Bytes that may wait for the peer before its source is asked to pause.
  package var highWatermark = 1024 * 1024
  @usableFromInline package internal(set) var bytesRead: UInt64 = 0
  @usableFromInline package internal(set) var bytesWritten: UInt64 = 0
  /// Where its bytes are counted with those of others, as they go.
  package var tally = ByteTally.none

  package init() {}

  @inlinable package var isOpen: Bool { fd >= 0 }
  @inlinable package var isConnecting: Bool { connecting }
  /// Bytes that wait for the peer.
  @inlinable package var queuedBytes: Int { queue.count }
  /// More than the high watermark is waiting: its source should pause until `drained`.
  @inlinable package var isAboveHighWatermark: Bool { aboveHigh }
  @inlinable package var isReadPaused: Bool { readPauses > 0 }
  /// Bytes go through a transport (TLS).
  @inlinable package var isSecured: Bool { transport != nil }
  /// No write has failed so far.
  @inlinable package var isStillWritable: Bool { !writeFailed }
  /// The peer's last words may have been seen: it hung up, or writing to it failed.
  @inlinable package var mayBeDead: Bool { sawHangUp || writeFailed }
}

/// The operations on a connection take a handle: callbacks may reach the same connection again.
extension Ref where Value == Connection {
  /// Takes over a connected socket.
  package func open(
    _ fd: Int32, on loop: EventLoop, events: Ref<ConnectionEvents>, owner: UnsafeMutableRawPointer
  ) -> Bool { unsafe start(fd, connecting: false, on: loop, events: events, owner: owner) }

  /// Asks the kernel to probe a silent peer (TCP keepalive); nil leaves the kernel's number.
  package func keepAlive(probes: UInt32?, idleSeconds: UInt32?, intervalSeconds: UInt32?) {
    let tcp = Int32(IPPROTO_TCP)
    _ = fl_set_int(value.fd, SOL_SOCKET, SO_KEEPALIVE, 1)
    if let probes { _ = fl_set_int(value.fd, tcp, TCP_KEEPCNT, Int32(clamping: probes)) }
    if let idleSeconds { _ = fl_set_int(value.fd, tcp, TCP_KEEPIDLE, Int32(clamping: idleSeconds)) }
    if let intervalSeconds {
      _ = fl_set_int(value.fd, tcp, TCP_KEEPINTVL, Int32(clamping: intervalSeconds))
    }
  }

  /// The kernel's estimate of the way to the peer and back; nil where there is none, as for Unix
  /// sockets.
  package var roundTripMicroseconds: UInt32? {
    let estimate = fl_round_trip_microseconds(value.fd)
    return estimate >= 0 ? UInt32(clamping: estimate) : nil
  }

  /// Begins to connect; `connected` is called when that has ended, never from within this call.
  /// Returns 0, or the errno of an attempt that failed at once; minus an errno when it is `source`, our
  /// own end, that could not be had.
  package func connect(
    to address: SocketAddress, from source: SourceBinding? = nil, on loop: EventLoop,
    events: Ref<ConnectionEvents>, owner: UnsafeMutableRawPointer
  ) -> Int32 {
    let fd = fl_socket(address.family)
    guard fd >= 0 else { return -fd }
    if !address.isUnix { _ = fl_set_nodelay(fd) }
    if let source {
      let prepared = source.prepare(fd, for: address)
      guard prepared == 0 else {
        _ = CLinux.close(fd)
        return prepared
      }
    }
    let result = unsafe address.withKernelAddress { unsafe fl_connect(fd, $0, $1) }
    guard result == 0 || result == -EINPROGRESS else {
      _ = CLinux.close(fd)
      return -result
    }
    guard unsafe start(fd, connecting: true, on: loop, events: events, owner: owner) else {
      _ = CLinux.close(fd)
      return EMFILE
    }
    return 0
  }

  /// Puts a transport between the connection and its socket, before any byte has passed; it belongs
  /// to the connection from here on. `connected` is called, on a server too, when its handshake has
  /// ended; what is written before waits, and `readable` comes only after.
  package func secure(_ transport: Ref<Transport>, context: UnsafeMutableRawPointer) {
    unsafe value.adopt(transport, context)
  }

  private func start(
    _ fd: Int32, connecting: Bool, on loop: EventLoop, events: Ref<ConnectionEvents>,
    owner: UnsafeMutableRawPointer
  ) -> Bool {
    value.beginTurn()
    let registration = unsafe loop.register(fd, events: FL_EPOLL_STREAM, context: raw) {
      raw, flags in
      unsafe Ref<Connection>(raw: raw).handle(flags)
    }
    guard let registration else { return false }
    unsafe value.adopt(fd, registration, loop, events, owner, connecting: connecting)
    return true
  }

  private func handle(_ flags: UInt32) {
    guard let events = value.eventTable, let owner = unsafe value.ownerContext else { return }
    let turn = value.currentTurn
    if flags & FL_EPOLLHANGUP != 0 { value.noteHangUp() }
    if value.isSecured { value.wakeTransport(flags) }
    var flags = flags
    if value.isConnecting {
      guard let error = value.stepTowardsConnected(flags) else { return }
      value.noteConnected()
      unsafe events.value.connected(owner, error)
      // The same event may stand for room for what was written meanwhile, and for the peer's first
      // bytes: there will be no other. The owner may also have closed the connection.
      guard error == 0, value.isStill(turn) else { return }
      // The handshake's last read may have taken the peer's first bytes with it.
      if value.isSecured { flags |= FL_EPOLLIN | FL_EPOLLOUT }
    }
    // A transport's write may have waited for a read.
    if flags & FL_EPOLLOUT != 0 || value.isSecured, value.queuedBytes > 0 || value.owesGoodbye {
      guard let loop = value.eventLoop else { return }
      if value.flush(blocks: &loop.state.value.blocks) { unsafe events.value.drained(owner) }
      // The owner may have closed it, or even handed the slot to another socket.
      guard value.isStill(turn) else { return }
    }
    // And its read for a write.
    guard flags & ~FL_EPOLLOUT != 0 || value.transportMayRead else { return }
    value.noteReadable()
    if !value.isReadPaused {
      if !value.isReadableDue { unsafe events.value.readable(owner) }
    } else if value.mayBeDead {
      unsafe events.value.hungUp(owner)
    }
  }

  /// Reads once, at most `capacity` bytes.
  @inline(__always)
  package func read(into memory: UnsafeMutablePointer<UInt8>, capacity: Int) -> ReadOutcome {
    unsafe value.read(into: memory, capacity: capacity)
  }

  /// Sends now what the socket takes and queues the rest.
  @inline(__always)
  package func write(_ bytes: Bytes, on loop: EventLoop) {
    value.write(bytes, .empty, blocks: &loop.state.value.blocks)
  }

  /// Sends two pieces with one call.
  @inline(__always)
  package func write(_ first: Bytes, _ second: Bytes, on loop: EventLoop) {
    value.write(first, second, blocks: &loop.state.value.blocks)
  }

  /// Asks for no more `readable` calls until as many `resumeReading`.
  package func pauseReading() { value.pause() }

  /// Undoes one `pauseReading`; what was not read meanwhile is announced by a deferred `readable`.
  package func resumeReading(on loop: EventLoop) {
    guard value.resume() else { return }
    unsafe loop.later(context: raw, tag: UInt64(value.currentTurn)) { raw, tag in
      let connection = unsafe Ref<Connection>(raw: raw)
      guard connection.value.isStill(UInt32(truncatingIfNeeded: tag)) else { return }
      connection.value.noteReadableCalled()
      guard !connection.value.isReadPaused, let events = connection.value.eventTable,
        let owner = unsafe connection.value.ownerContext
      else { return }
      unsafe events.value.readable(owner)
    }
  }

  /// Lets other connections have their turn: `readable` is called again after the events at hand.
  package func yieldReading(on loop: EventLoop) {
    value.pause()
    resumeReading(on: loop)
  }

  /// Says that nothing more will be written, once the queue is empty. Where the socket does not take a
  /// transport's words for it, they follow later, and `drained` tells when.
  package func shutdownWrite() { value.endWriting() }

  /// Closes at once; what is queued is lost.
  /// - Parameter reset: the peer sees RST instead of an orderly end.
  package func close(on loop: EventLoop, reset: Bool = false) {
    guard value.isOpen else { return }
    if reset { fl_reset_on_close(value.fd) } else { value.sayGoodbye() }
    loop.unregister(value.registrationIndex)
    _ = CLinux.close(value.fd)
    value.forget(blocks: &loop.state.value.blocks)
  }
}

extension Connection {
  fileprivate var eventTable: Ref<ConnectionEvents>? { events }
  fileprivate var ownerContext: UnsafeMutableRawPointer? { unsafe owner }
  fileprivate var eventLoop: EventLoop? { loop }
  fileprivate var registrationIndex: UInt32 { registration }
  fileprivate var currentTurn: UInt32 { turn }

  /// The same socket as in that turn, and open.
  fileprivate func isStill(_ turn: UInt32) -> Bool { self.turn == turn && fd >= 0 }

  /// Forgets the socket before; the queue is empty, because closing has emptied it.
  fileprivate mutating func beginTurn() {
    precondition(fd < 0, "the slot's last socket is closed")
    let turn = self.turn &+ 1
    self = Connection()
    self.turn = turn
  }

  fileprivate mutating func adopt(
    _ fd: Int32, _ registration: UInt32, _ loop: EventLoop, _ events: Ref<ConnectionEvents>,
    _ owner: UnsafeMutableRawPointer, connecting: Bool
  ) {
    self.fd = fd
    self.registration = registration
    self.loop = loop
    self.events = events
    unsafe self.owner = owner
    self.connecting = connecting
    // Whatever arrived before registration is announced by epoll's first edge.
    mayRead = true
  }

  fileprivate mutating func forget(blocks: inout BlockPool) {
    fd = -1
    connecting = false
    aboveHigh = false
    owesGoodbye = false
    events = nil
    unsafe owner = nil
    queue.removeAll(into: &blocks)
    if transport != nil { releaseTransport() }
  }

  fileprivate mutating func noteHangUp() { sawHangUp = true }
  fileprivate mutating func noteReadable() { mayRead = true }
  fileprivate mutating func noteConnected() { connecting = false }
  fileprivate var isReadableDue: Bool { readableIsDue }
  fileprivate mutating func noteReadableCalled() { readableIsDue = false }
  fileprivate mutating func pause() { readPauses &+= 1 }

  fileprivate mutating func resume() -> Bool {
    precondition(readPauses > 0, "reading was paused")
    readPauses &-= 1
    guard readPauses == 0, mayRead || sawHangUp, !readableIsDue else { return false }
    readableIsDue = true
    return true
  }

  fileprivate mutating func read(
    into memory: UnsafeMutablePointer<UInt8>, capacity: Int
  ) -> ReadOutcome {
    guard mayRead else { return .wait }
    if let transport { return unsafe read(through: transport, into: memory, capacity: capacity) }
    let n = unsafe fl_recv(fd, memory, capacity)
    if n > 0 {
      // A short read has emptied the socket, and the next byte brings an event of its own; but after
      // a hang-up there is no further event, so the end has to be read.
      if n < capacity && !sawHangUp { mayRead = false }
      bytesRead &+= UInt64(n)
      tally.addReceived(n)
      return .bytes(n)
    }
    if n == 0 { return .end }
    if n == -Int(EAGAIN) {
      mayRead = false
      return .wait
    }
    return .failed(Int32(truncatingIfNeeded: -n))
  }

  fileprivate mutating func write(_ first: Bytes, _ second: Bytes, blocks: inout BlockPool) {
    guard !writeFailed, fd >= 0 else { return }
    bytesWritten &+= UInt64(first.count &+ second.count)
    tally.addSent(first.count &+ second.count)
    guard queue.isEmpty, !connecting else {
      enqueue(first, second, blocks: &blocks)
      return
    }
    if let transport { return write(first, second, through: transport, blocks: &blocks) }
    let n: Int
    if second.isEmpty {
      n = unsafe fl_send(fd, first.base, first.count)
    } else {
      n = Self.sendPair(fd, first, second)
    }
    if n == first.count &+ second.count { return }
    if n < 0 && n != -Int(EAGAIN) {
      // Whoever sent nothing more may still have sent an answer: reading tells how it ended.
      writeFailed = true
      return
    }
    let sent = max(n, 0)
    if sent < first.count {
      enqueue(first.dropFirst(sent), second, blocks: &blocks)
    } else {
      enqueue(second.dropFirst(sent &- first.count), .empty, blocks: &blocks)
    }
  }

  private static func sendPair(_ fd: Int32, _ first: Bytes, _ second: Bytes) -> Int {
    var pieces = unsafe (
      iovec(iov_base: UnsafeMutableRawPointer(mutating: first.base), iov_len: first.count),
      iovec(iov_base: UnsafeMutableRawPointer(mutating: second.base), iov_len: second.count)
    )
    // SAFETY: a tuple of two of the same type lies in memory as an array of two.
    return unsafe withUnsafeMutablePointer(to: &pieces) { pair in
      unsafe pair.withMemoryRebound(to: iovec.self, capacity: 2) { unsafe fl_sendv(fd, $0, 2) }
    }
  }

  mutating func enqueue(_ first: Bytes, _ second: Bytes, blocks: inout BlockPool) {
    queue.append(first, from: &blocks)
    if !second.isEmpty { queue.append(second, from: &blocks) }
    if queue.count > highWatermark { aboveHigh = true }
  }

  /// Sends what is queued; true when the owner should hear `drained`.
  fileprivate mutating func flush(blocks: inout BlockPool) -> Bool {
    if let transport {
      flush(through: transport, blocks: &blocks)
    } else {
      flushSocket(blocks: &blocks)
    }
    if owesGoodbye, queue.isEmpty { endWriting() }
    let low = queue.count <= highWatermark / 2
    let told = (queue.isEmpty && !owesGoodbye) || (aboveHigh && low)
    if low { aboveHigh = false }
    return told
  }

  private mutating func flushSocket(blocks: inout BlockPool) {
    while !queue.isEmpty {
      let first = queue.front
      let second = queue.second
      let n =
        unsafe second.isEmpty
        ? fl_send(fd, first.base, first.count) : Self.sendPair(fd, first, second)
      if n == -Int(EAGAIN) { break }
      guard n >= 0 else {
        writeFailed = true
        queue.removeAll(into: &blocks)
        break
      }
      queue.drop(n, into: &blocks)
      if n < first.count &+ second.count { break }
    }
  }
}

// MARK: Through a transport

extension Connection {
  fileprivate mutating func adopt(
    _ transport: Ref<Transport>, _ context: UnsafeMutableRawPointer
  ) {
    self.transport = transport
    unsafe transportContext = context
    shakingHands = !connecting
    connecting = true
  }

  private var through: UnsafeMutableRawPointer {
    guard let context = unsafe transportContext else {
      preconditionFailure("a transport has a context")
    }
    return unsafe context
  }

  fileprivate func wakeTransport(_ flags: UInt32) {
    guard let transport, flags & ~FL_EPOLLOUT != 0 else { return }
    unsafe transport.value.wake(through, flags & FL_EPOLLHANGUP != 0)
  }

  fileprivate var transportMayRead: Bool {
    guard let transport else { return false }
    return unsafe transport.value.mayRead(through)
  }

  /// How connecting ended: 0 or an errno; nil while it goes on.
  fileprivate mutating func stepTowardsConnected(_ flags: UInt32) -> Int32? {
    if !shakingHands {
      guard flags & (FL_EPOLLOUT | FL_EPOLLHANGUP) != 0 else { return nil }
      let error = fl_socket_error(fd)
      guard error == 0, transport != nil else { return error }
      shakingHands = true
    }
    guard let transport else { return 0 }
    let step = unsafe transport.value.handshake(through)
    guard step != -Int(EAGAIN) else { return nil }
    shakingHands = false
    return Int32(truncatingIfNeeded: -step)
  }

  fileprivate mutating func read(
    through transport: Ref<Transport>, into memory: UnsafeMutablePointer<UInt8>, capacity: Int
  ) -> ReadOutcome {
    let n = unsafe transport.value.read(through, memory, capacity)
    if n > 0 {
      mayRead = unsafe transport.value.mayRead(through)
      bytesRead &+= UInt64(n)
      tally.addReceived(n)
      return .bytes(n)
    }
    if n == 0 { return .end }
    if n == -Int(EAGAIN) {
      mayRead = false
      return .wait
    }
    return .failed(Int32(truncatingIfNeeded: -n))
  }

  fileprivate mutating func write(
    _ first: Bytes, _ second: Bytes, through transport: Ref<Transport>, blocks: inout BlockPool
  ) {
    let left = send(first, through: transport)
    guard !writeFailed else { return }
    guard left.isEmpty else { return enqueue(left, second, blocks: &blocks) }
    guard !second.isEmpty else { return }
    let rest = send(second, through: transport)
    if !rest.isEmpty, !writeFailed { enqueue(rest, .empty, blocks: &blocks) }
  }

  /// Hands over as much as is taken; what is left has to be offered again as it stands, or with more
  /// behind it. The queue does so: its first block begins with what was refused.
  private mutating func send(_ bytes: Bytes, through transport: Ref<Transport>) -> Bytes {
    var left = bytes
    while !left.isEmpty {
      let n = unsafe transport.value.write(through, left.base, left.count)
      if n == -Int(EAGAIN) { break }
      guard n >= 0 else {
        writeFailed = true
        break
      }
      left = left.dropFirst(n)
    }
    return left
  }

  private mutating func flush(through transport: Ref<Transport>, blocks: inout BlockPool) {
    while !queue.isEmpty {
      let front = queue.front
      let left = send(front, through: transport)
      guard !writeFailed else { return queue.removeAll(into: &blocks) }
      queue.drop(front.count &- left.count, into: &blocks)
      if !left.isEmpty { return }
    }
  }

  fileprivate mutating func endWriting() {
    owesGoodbye = !sayGoodbye()
    if !owesGoodbye { _ = fl_shutdown_write(fd) }
  }

  /// Tells the peer that nothing more will come, where the transport has words for it. False when the
  /// socket does not take them.
  @discardableResult
  fileprivate func sayGoodbye() -> Bool {
    guard let transport, !shakingHands, !writeFailed else { return true }
    return unsafe transport.value.sayGoodbye(through)
  }

  private mutating func releaseTransport() {
    guard let transport else { return }
    unsafe transport.value.release(through)
    self.transport = nil
    unsafe transportContext = nil
    shakingHands = false
  }
}
