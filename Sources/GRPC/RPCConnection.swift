import CLinux
import Engine
import HTTPCodec
import HTTPModel
import TLS

/// What a connection tells the channel or server that it belongs to.
protocol RPCConnectionOwner: AnyObject {
  /// The peer opens a stream; nil refuses it.
  func streamOpened(on connection: RPCConnection) -> RPCStream?
  /// The peer takes no more calls on this connection.
  func goesAway(_ connection: RPCConnection)
  /// It ends before it could carry anything.
  func failedToBegin(_ connection: RPCConnection, _ reason: String)
  /// The connection is closed; its streams have heard of it.
  func closed(_ connection: RPCConnection)
}

/// One HTTP/2 connection that carries calls, of a channel or of a server: the session, its socket and
/// its streams.
///
/// TLS comes between connection and socket as everywhere else (`Connection.secure`); what has to be
/// known of it here is an `RPCTransport`.
final class RPCConnection {
  private enum State {
    case open
    /// The session has said all; the last bytes may still be on their way to the peer.
    case lingering
    case closed
  }

  let runtime: RPCRuntime
  let peer: SocketAddress
  private weak var owner: RPCConnectionOwner?
  private let sessionSlot: Ref<RPCRuntime.SessionSlot>
  private let socketSlot: Ref<RPCRuntime.SocketSlot>
  private let keepalive: HTTP2Keepalive
  private var state = State.open
  private(set) var streams: [ObjectIdentifier: RPCStream] = [:]
  /// Frames on their way to the socket: many small ones make one packet.
  private var gathered: [UInt8] = []
  private var isFlushPlanned = false
  private(set) var isDraining = false
  private let pingTimer: LoopTimer
  private let idleTimer: LoopTimer
  private var isAwaitingPong = false
  private var transport = RPCTransport.plain
  /// The certificate that the peer presented in the handshake, if it was verified.
  private(set) var peerCertificate: CertificateFacts?
  /// The way to the peer is there; before, what ends is no call but an attempt.
  private var hasBegun = false

  private var session: Ref<HTTP2Session> { sessionSlot.session }
  private var socket: Ref<Connection> { socketSlot.socket }
  private var loop: EventLoop { runtime.loop }

  /// The socket is the caller's to open, with `openSocket`.
  init(
    _ runtime: RPCRuntime, owner: RPCConnectionOwner, peer: SocketAddress,
    keepalive: HTTP2Keepalive
  ) {
    self.runtime = runtime
    self.owner = owner
    self.peer = peer
    self.keepalive = keepalive
    sessionSlot = runtime.sessions.take()
    socketSlot = runtime.sockets.take()
    pingTimer = LoopTimer(on: runtime.loop)
    idleTimer = LoopTimer(on: runtime.loop)
  }

  // MARK: Opening

  /// Takes over an accepted socket. False, and the socket is closed, when that fails.
  func accept(_ fd: Int32, _ security: RPCSecurity?) -> Bool {
    let began = unsafe begin(.server) { socket, owner in
      guard unsafe socket.open(fd, on: loop, events: Self.socketEvents, owner: owner) else {
        _ = CLinux.close(fd)
        return nil
      }
      return security.map { $0.secure(accepted: socket) } ?? .plain
    }
    guard began else { return false }
    guard security != nil else {
      settle()
      return true
    }
    pingTimer.set(milliseconds: RPCLimits.handshakeMilliseconds) { [unowned self] in
      fail("no handshake in time")
    }
    return true
  }

  /// Begins to connect; calls may be begun at once, and wait. False when it has failed at once.
  func connect(
    within milliseconds: UInt64, from source: SourceBinding? = nil,
    prepare: ((Ref<Connection>) -> RPCTransport?)? = nil
  ) -> Bool {
    let began = unsafe begin(.client) { socket, owner in
      let error = unsafe socket.connect(
        to: peer, from: source, on: loop, events: Self.socketEvents, owner: owner)
      guard error == 0 else { return nil }
      return prepare.map { $0(socket) } ?? .plain
    }
    guard began else { return false }
    pingTimer.set(milliseconds: milliseconds) { [unowned self] in
      fail("no connection in time")
    }
    return true
  }

  private func begin(
    _ role: HTTP2Options.Role,
    _ openSocket: (Ref<Connection>, UnsafeMutableRawPointer) -> RPCTransport?
  ) -> Bool {
    var options = HTTP2Options()
    options.role = role
    options.maxConcurrentStreams = RPCLimits.callsPerConnection
    options.streamWindow = RPCLimits.streamWindow
    options.connectionWindow = RPCLimits.connectionWindow
    // SAFETY: retained until the connection is closed and no callback can name it any more.
    let context = unsafe Unmanaged.passRetained(self).toOpaque()
    guard let transport = unsafe openSocket(socket, context),
      unsafe session.open(
        options, memory: runtime.memory, events: Self.sessionEvents, owner: context)
    else {
      state = .closed
      socket.close(on: loop)
      releaseLater()
      return false
    }
    self.transport = transport
    socket.value.highWatermark = RPCLimits.socketBytes
    wantsToSend()
    return true
  }

  private func connected(_ error: Int32) {
    guard error == 0 else { return fail(describe(error)) }
    guard transport.carriesHTTP2() else {
      return fail("TLS did not agree upon HTTP/2, by ALPN")
    }
    pingTimer.cancel()
    peerCertificate = transport.peer()
    settle()
  }

  /// The way to the peer is there.
  private func settle() {
    hasBegun = true
    startKeepalive()
    watchIdleness()
  }

  private func fail(_ reason: String) {
    let status = RPCStatus(.unavailable, "\(peer.description): \(reason)")
    if !hasBegun { owner?.failedToBegin(self, reason) }
    close(status)
  }

  /// What TLS says of an error, or else the system.
  private func describe(_ error: Int32) -> String {
    let failure = transport.failure()
    return failure.isEmpty ? Self.reason(error) : "TLS error: \(failure)"
  }

  /// There is TLS under it.
  var isSecured: Bool { state == .open && socket.value.isSecured }

  static func reason(_ error: Int32) -> String { unsafe String(cString: strerror(error)) }

  /// Both sides take calls.
  var takesCalls: Bool { state == .open && !isDraining && session.takesRequests }

  // MARK: Reading

  private func readable() {
    // So many reads before others get their turn; each is at most the loop's scratch buffer.
    var readsLeft = 16
    while state != .closed, socket.value.isOpen {
      guard readsLeft > 0 else { return socket.yieldReading(on: loop) }
      readsLeft -= 1
      let scratch = unsafe loop.state.value.receiveScratch
      switch unsafe socket.read(into: scratch, capacity: EventLoop.scratchBytes) {
      case .bytes(let n): receive(unsafe Bytes(base: UnsafePointer(scratch), count: n))
      case .wait: return
      case .end:
        return close(RPCStatus(.unavailable, "\(peer.description): the peer closed the connection"))
      case .failed(let error): return fail(describe(error))
      }
    }
  }

  private func receive(_ bytes: Bytes) {
    // What comes after the end of the session is read so that the end is not a reset, and dropped.
    guard state == .open else { return }
    let outcome = session.receive(bytes, at: loop.now)
    guard state == .open else { return }
    guard case .over = outcome else { return wantsToSend() }
    flush()
    if state == .open { linger() }
  }

  // MARK: Sending

  /// Something is to be sent when the events at hand have been dealt with.
  func wantsToSend() {
    guard state == .open, !isFlushPlanned else { return }
    isFlushPlanned = true
    loop.soon { [weak self] in
      self?.isFlushPlanned = false
      self?.flush()
    }
  }

  private func flush() {
    while state == .open {
      let outcome = session.send()
      let hasWritten = !gathered.isEmpty
      writeGathered()
      guard state == .open else { return }
      if case .over = outcome { return linger() }
      guard hasWritten, !socket.value.isAboveHighWatermark, session.wantsToSend else {
        return
      }
    }
  }

  private func writeGathered() {
    guard !gathered.isEmpty else { return }
    unsafe gathered.withUnsafeBufferPointer { buffer in
      guard let base = buffer.baseAddress else { return }
      socket.write(unsafe Bytes(base: base, count: buffer.count), on: loop)
    }
    gathered.removeAll(keepingCapacity: gathered.capacity <= 2 * RPCLimits.gatheredBytes)
  }

  /// No room: the session asks again when the socket has drained.
  private var isFull: Bool {
    gathered.count >= RPCLimits.gatheredBytes || socket.value.isAboveHighWatermark
  }

  private func drained() {
    switch state {
    case .open: wantsToSend()
    case .lingering: socket.shutdownWrite()
    case .closed: return
    }
  }

  // MARK: Streams

  /// Begins a call on a connection that takes one.
  func start(_ stream: RPCStream, _ fields: RPCFields, hasBody: Bool) -> Bool {
    stream.connection = self
    let context = unsafe Unmanaged.passUnretained(stream).toOpaque()
    let id = runtime.withList(fields) {
      unsafe session.submitRequest($0, stream: context, hasBody: hasBody)
    }
    guard let id else { return false }
    stream.id = id
    add(stream)
    wantsToSend()
    return true
  }

  private func add(_ stream: RPCStream) {
    // The session knows a stream by its address; it is kept here until the session has forgotten it.
    streams[ObjectIdentifier(stream)] = stream
    idleTimer.cancel()
  }

  /// Sends the head of an answer, which may be all of it.
  func respond(_ stream: RPCStream, _ fields: RPCFields, endStream: Bool) -> Bool {
    guard state == .open else { return false }
    let context = unsafe Unmanaged.passUnretained(stream).toOpaque()
    let isSubmitted = runtime.withList(fields) {
      unsafe session.submitResponse(stream.id, $0, body: endStream ? nil : context)
    }
    wantsToSend()
    return isSubmitted
  }

  /// Called by a stream from within `available`.
  func submitTrailers(_ stream: RPCStream, _ fields: RPCFields) -> Bool {
    runtime.withList(fields) { session.submitTrailers(stream.id, $0) }
  }

  /// A stream has more to send.
  func resume(_ stream: RPCStream) {
    guard state == .open else { return }
    session.resumeBody(stream.id)
    wantsToSend()
  }

  /// So many bytes of a stream have been taken.
  func consume(_ stream: RPCStream, _ bytes: Int) {
    guard state == .open, bytes > 0 else { return }
    session.consume(stream.id, bytes)
    wantsToSend()
  }

  /// Ends a stream before its time.
  func reset(_ stream: RPCStream, _ code: UInt32) {
    guard state == .open else { return }
    session.reset(stream.id, code)
    wantsToSend()
  }

  private func streamClosed(_ stream: RPCStream, _ code: UInt32, byPeer: Bool) {
    streams[ObjectIdentifier(stream)] = nil
    stream.closed(code)
    guard streams.isEmpty else { return }
    if isDraining { endSession() } else { watchIdleness() }
  }

  // MARK: Ends

  /// Takes no more calls, and closes when the last one has ended.
  func drain() {
    guard state == .open, !isDraining else { return }
    isDraining = true
    session.announceEnd()
    if streams.isEmpty { endSession() } else { wantsToSend() }
  }

  private func endSession() {
    guard state == .open else { return }
    session.end()
    wantsToSend()
  }

  private func watchIdleness() {
    idleTimer.set(milliseconds: RPCLimits.idleMilliseconds) { [unowned self] in drain() }
  }

  /// The session is over, the socket not yet: the peer gets what was said last.
  private func linger() {
    state = .lingering
    session.close()
    loseStreams(RPCStatus(.unavailable, "\(peer.description): the connection has ended"))
    owner?.closed(self)
    guard state == .lingering else { return }
    if socket.value.queuedBytes == 0 { socket.shutdownWrite() }
    idleTimer.cancel()
    pingTimer.set(milliseconds: RPCLimits.lingerMilliseconds) { [unowned self] in closeSocket() }
  }

  /// Ends at once; what is under way fails with this status.
  func close(_ reason: RPCStatus) {
    switch state {
    case .closed: return
    case .lingering: closeSocket()
    case .open:
      session.close()
      closeSocket()
      loseStreams(reason)
      owner?.closed(self)
    }
  }

  private func closeSocket() {
    state = .closed
    pingTimer.cancel()
    idleTimer.cancel()
    socket.close(on: loop)
    // What it names goes with the socket, and not before it.
    transport = .plain
    releaseLater()
  }

  private func loseStreams(_ reason: RPCStatus) {
    let lost = streams.values
    streams = [:]
    for stream in lost { stream.lost(reason) }
  }

  /// Gives the slots back when nobody on the stack can name them, nor this object, any more.
  private func releaseLater() {
    loop.soon { [self] in
      runtime.sessions.release(sessionSlot)
      runtime.sockets.release(socketSlot)
      unsafe Unmanaged.passUnretained(self).release()
    }
  }

  // MARK: Keepalive

  private func startKeepalive() {
    guard keepalive.interval > 0 else { return }
    let jitter = keepalive.interval * keepalive.jitter / 100
    let extra = jitter > 0 ? loop.state.value.random.next(below: jitter + 1) : 0
    pingTimer.set(milliseconds: keepalive.interval + extra) { [unowned self] in askForLife() }
  }

  private func askForLife() {
    isAwaitingPong = true
    session.ping()
    wantsToSend()
    pingTimer.set(milliseconds: keepalive.timeout) { [unowned self] in
      close(RPCStatus(.unavailable, "\(peer.description): no answer to a ping"))
    }
  }

  private func pong() {
    guard isAwaitingPong else { return }
    isAwaitingPong = false
    startKeepalive()
  }
}

// MARK: Events

extension RPCConnection {
  private static func from(_ raw: UnsafeMutableRawPointer) -> RPCConnection {
    // SAFETY: the context that `begin` gave, retained until after the last callback.
    unsafe Unmanaged<RPCConnection>.fromOpaque(raw).takeUnretainedValue()
  }

  private static func stream(_ raw: UnsafeMutableRawPointer) -> RPCStream {
    // SAFETY: the connection keeps a stream until the session has forgotten it.
    unsafe Unmanaged<RPCStream>.fromOpaque(raw).takeUnretainedValue()
  }

  nonisolated(unsafe) private static let socketEvents = Ref<ConnectionEvents>.immortal(
    unsafe ConnectionEvents(
      readable: { unsafe from($0).readable() },
      drained: { unsafe from($0).drained() },
      connected: { unsafe from($0).connected($1) },
      hungUp: { unsafe from($0).readable() }))

  nonisolated(unsafe) private static let sessionEvents = Ref<HTTP2Events>.immortal(
    unsafe HTTP2Events(
      opened: { unsafe from($0).opened($1) },
      sectionBegan: { unsafe stream($1).sectionBegan() },
      field: { _, context, name, nameLength, value, valueLength in
        unsafe stream(context).field(
          Bytes(base: name, count: nameLength), Bytes(base: value, count: valueLength))
      },
      sectionEnded: { unsafe stream($1).sectionEnded(endStream: $2) },
      data: { unsafe stream($1).received(Bytes(base: $2, count: $3)) },
      dataEnded: { unsafe stream($1).peerEnded() },
      sentLast: { unsafe stream($1).sentLast() },
      closed: { unsafe from($0).streamClosed(stream($1), $2, byPeer: $3) },
      goingAway: { owner, _, _ in unsafe from(owner).peerGoes() },
      settings: { _ in },
      pong: { unsafe from($0).pong() },
      available: { _, context, most, end in
        let (count, found) = unsafe stream(context).available(most)
        unsafe end.pointee = found.rawValue
        return count
      },
      write: { owner, data, length in
        unsafe from(owner).gather(Bytes(base: data, count: length))
      },
      writeBody: { owner, context, head, length in
        let connection = unsafe from(owner)
        let stream = unsafe stream(context)
        // The call may have been given up while the frame waited for the socket.
        guard stream.queuedBytes >= length else { return HTTP2BodyWrite.gone.rawValue }
        guard unsafe connection.gather(Bytes(base: head, count: 9)) else {
          return HTTP2BodyWrite.blocked.rawValue
        }
        stream.moveOutput(length, to: &connection.gathered)
        return HTTP2BodyWrite.sent.rawValue
      }))

  private func opened(_ id: Int32) -> UnsafeMutableRawPointer? {
    guard !isDraining, let stream = owner?.streamOpened(on: self) else { return nil }
    stream.connection = self
    stream.id = id
    add(stream)
    return unsafe Unmanaged.passUnretained(stream).toOpaque()
  }

  private func peerGoes() {
    isDraining = true
    owner?.goesAway(self)
    if streams.isEmpty { endSession() }
  }

  private func gather(_ bytes: Bytes) -> Bool {
    guard !isFull else { return false }
    unsafe gathered.append(contentsOf: UnsafeBufferPointer(start: bytes.base, count: bytes.count))
    return true
  }
}
