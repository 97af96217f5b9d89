import CLinux
import Engine
import HTTPCodec
import HTTPModel
import Telemetry
import Upstream

/// HTTP/2 on one connection, of a client or to an endpoint: the session, its streams, and the socket
/// that both share with HTTP/1's connection types, which own it.
///
/// What a wake-up gives a session to send leaves at the end of that wake-up, in as few packets as it
/// takes.
struct HTTP2Connection: ~Copyable, Pooled {
  /// Whose socket it is.
  enum Transport: BitwiseCopyable {
    case none
    case client(Ref<DownstreamConnection>)
    case endpoint(Ref<UpstreamConnection>)
  }

  /// Must stay first: a handle to it is a handle to the whole.
  var session = HTTP2Session()
  var generation: UInt32 = 0
  var nextFree: Ref<HTTP2Connection>?

  var worker: Ref<Worker>?
  var transport = Transport.none
  var socket: Ref<Connection>?
  var stats: Ref<HTTP2Stats>?
  /// The peer opens the streams.
  var isServer = false
  /// Open streams, latest first.
  var streams: Ref<HTTP2Stream>?
  var streamCount = 0
  /// Requests that have come with the bytes at hand; they begin when these have been looked at, so
  /// that one which is reset at once costs nothing more.
  var firstReady: Ref<HTTP2Stream>?
  var lastReady: Ref<HTTP2Stream>?
  /// Links the sessions of the worker that have something to send.
  var nextToSend: Ref<HTTP2Connection>?
  var isWaitingToSend = false
  /// Streams so far.
  var requests: UInt64 = 0
  /// The end has been announced.
  var isDraining = false
  /// Milliseconds that an answer may wait for its client; 0 is no bound.
  var flushTimeout: UInt64 = 0
  var keepalive = HTTP2Keepalive()
  var keepaliveTimer = TimerID.none
  var drainTimer = TimerID.none
  var isAwaitingPong = false
  /// The peer went too far, and that is counted.
  var hasOffended = false
  /// What of the session's numbers has been counted.
  var countedGoAways: UInt32 = 0
  var countedMessagingErrors: UInt32 = 0
}

extension Ref where Value == HTTP2Connection {
  /// SAFETY: `session` is the first stored property.
  var session: Ref<HTTP2Session> { unsafe Ref<HTTP2Session>(raw: raw) }

  var worker: Ref<Worker> {
    guard let worker = value.worker else { preconditionFailure("an open session has a worker") }
    return worker
  }

  var loop: EventLoop { worker.value.loop }

  var stats: Ref<HTTP2Stats> {
    guard let stats = value.stats else { preconditionFailure("an open session has statistics") }
    return stats
  }

  private var socket: Ref<Connection> {
    guard let socket = value.socket else { preconditionFailure("an open session has a socket") }
    return socket
  }

  func count(_ counter: CounterID) { worker.value.stats.add(counter) }

  // MARK: Opening

  /// Begins on a socket that is open. False when there is no memory.
  func open(
    _ options: HTTP2Options, on worker: Ref<Worker>, transport: HTTP2Connection.Transport,
    socket: Ref<Connection>, stats: Ref<HTTP2Stats>, keepalive: HTTP2Keepalive
  ) -> Bool {
    value.worker = worker
    value.transport = transport
    value.socket = socket
    value.stats = stats
    value.isServer = options.role == .server
    value.keepalive = keepalive
    // What is urgent on one stream must not wait behind too much of the others.
    socket.value.highWatermark = min(socket.value.highWatermark, Limits.sessionQueueBytes)
    guard
      unsafe session.open(
        options, memory: worker.value.http2Memory, events: Self.events, owner: raw)
    else { return false }
    count(stats.value.connections)
    wantsToSend()
    startKeepalive()
    return true
  }

  // MARK: Reading

  /// The socket may have something.
  func readable() {
    let socket = self.socket
    var reads = 0
    while socket.value.isOpen, !socket.value.isReadPaused, session.value.isOpen {
      guard reads < Downstream.readsPerTurn else { return socket.yieldReading(on: loop) }
      reads += 1
      let scratch = unsafe loop.state.value.receiveScratch
      switch unsafe socket.read(into: scratch, capacity: EventLoop.scratchBytes) {
      case .bytes(let n):
        if case .client(let downstream) = value.transport, !downstream.mayGoOn() { return }
        receive(unsafe Bytes(base: UnsafePointer(scratch), count: n))
      case .wait: return
      case .end: return socketEnded(errorNumber: 0)
      case .failed(let error): return socketEnded(errorNumber: error)
      }
    }
  }

  /// The peer sent these bytes.
  func receive(_ bytes: Bytes) {
    let outcome = session.receive(bytes, at: loop.now)
    if case .goesOn = outcome { beginRequests() }
    countNews()
    guard session.value.isOpen else { return }
    wantsToSend()
    guard case .over = outcome else { return }
    // The peer is told why; sending may already bring the end about.
    send()
    if session.value.isOpen { finish() }
  }

  /// The peer has gone too far.
  private func countOffence() {
    let offence = session.value.offence
    guard offence != .none, !value.hasOffended else { return }
    value.hasOffended = true
    if let counter = stats.value.counter(of: offence) { count(counter) }
    switch value.transport {
    case .client(let downstream): downstream.sessionOffended(offence)
    case .endpoint(let upstream): upstream.pool.countProtocolError()
    case .none: break
    }
  }

  private func countNews() {
    countOffence()
    let session = self.session
    let goAways = session.value.goAwaysSent
    if goAways != value.countedGoAways {
      worker.value.stats.add(stats.value.goAwaySent, UInt64(goAways &- value.countedGoAways))
      value.countedGoAways = goAways
    }
    let errors = session.value.messagingErrors
    if errors != value.countedMessagingErrors {
      worker.value.stats.add(
        stats.value.messagingError, UInt64(errors &- value.countedMessagingErrors))
      value.countedMessagingErrors = errors
    }
  }

  // MARK: Sending

  /// There is something to send at the end of this wake-up.
  func wantsToSend() {
    guard !value.isWaitingToSend, session.value.isOpen else { return }
    value.isWaitingToSend = true
    value.nextToSend = worker.value.firstToSend
    worker.value.firstToSend = self
  }

  /// Sends what the socket takes.
  func send() {
    guard session.value.isOpen else { return }
    let outcome = session.send()
    worker.value.output.flush(on: loop)
    countNews()
    if case .over = outcome { finish() }
  }

  /// Puts bytes on the wire, behind what is being gathered for this connection.
  func write(_ bytes: Bytes) {
    worker.value.output.write(bytes, to: socket, on: loop)
  }

  /// The socket takes no more for now.
  var isBlocked: Bool { socket.value.isAboveHighWatermark }

  /// The socket takes more again.
  func drained() { wantsToSend() }

  // MARK: Streams

  /// A stream that has just been opened.
  func addStream(_ id: Int32) -> Ref<HTTP2Stream> {
    let stream = worker.value.sessionStreams.take()
    stream.value.connection = self
    stream.value.id = id
    stream.value.openedAt = loop.now
    stream.value.next = value.streams
    value.streams?.value.previous = stream
    value.streams = stream
    value.streamCount += 1
    value.requests &+= 1
    worker.value.stats.gaugeAdd(stats.value.streamsActive, 1)
    return stream
  }

  /// A stream is gone; its slot is free soon.
  func removeStream(_ stream: Ref<HTTP2Stream>) {
    if let previous = stream.value.previous {
      previous.value.next = stream.value.next
    } else {
      value.streams = stream.value.next
    }
    stream.value.next?.value.previous = stream.value.previous
    stream.value.next = nil
    stream.value.previous = nil
    value.streamCount -= 1
    worker.value.stats.gaugeAdd(stats.value.streamsActive, -1)
    stream.release()
  }

  // MARK: Ends

  /// Announces the end, and ends when the requests that are under way are answered. The last stream is
  /// named later, for requests that are on their way meanwhile (RFC 9113 §6.8).
  func drain(within milliseconds: UInt64) {
    guard !value.isDraining, session.value.isOpen else { return }
    value.isDraining = true
    session.announceEnd()
    wantsToSend()
    value.drainTimer = unsafe loop.after(milliseconds: max(milliseconds, 1), context: raw) {
      raw, _ in
      let connection = unsafe Ref<HTTP2Connection>(raw: raw)
      connection.value.drainTimer = .none
      connection.session.end()
      connection.wantsToSend()
    }
  }

  /// Ends at once for new streams.
  func endNow() {
    guard session.value.isOpen else { return }
    value.isDraining = true
    session.end()
    wantsToSend()
  }

  /// The session has said all it had to: the socket ends.
  private func finish() {
    switch value.transport {
    case .client(let downstream): downstream.sessionEnded()
    case .endpoint(let upstream): upstream.sessionEnded(byPeer: false, errorNumber: 0)
    case .none: return
    }
  }

  private func socketEnded(errorNumber: Int32) {
    switch value.transport {
    case .client(let downstream): downstream.sessionLost()
    case .endpoint(let upstream):
      upstream.sessionEnded(byPeer: true, errorNumber: errorNumber)
    case .none: return
    }
  }

  /// Gives everything back; the socket is its owner's to close. Requests that are under way hear of
  /// it through `lost`.
  func close(_ lost: (Ref<RequestStream>) -> Void) {
    guard session.value.isOpen else { return }
    loop.cancel(value.keepaliveTimer)
    loop.cancel(value.drainTimer)
    value.keepaliveTimer = .none
    value.drainTimer = .none
    session.close()
    while let stream = value.streams {
      let request = stream.value.request
      removeStream(stream)
      if let request { lost(request) }
    }
    releaseLater()
  }

  private func releaseLater() {
    unsafe loop.later(context: raw) { raw, _ in
      let connection = unsafe Ref<HTTP2Connection>(raw: raw)
      // The wake-up at hand still has it in its list of those who want to send.
      if connection.value.isWaitingToSend { return connection.releaseLater() }
      let worker = connection.worker
      connection.value.reset()
      worker.value.sessions.release(connection)
    }
  }

  // MARK: Keepalive

  private func startKeepalive() {
    let interval = value.keepalive.interval
    guard interval > 0 else { return }
    let jitter = interval * value.keepalive.jitter / 100
    let extra = jitter > 0 ? loop.state.value.random.next() % (jitter + 1) : 0
    value.keepaliveTimer = unsafe loop.after(milliseconds: interval + extra, context: raw) {
      raw, _ in unsafe Ref<HTTP2Connection>(raw: raw).askForLife()
    }
  }

  private func askForLife() {
    value.isAwaitingPong = true
    session.ping()
    wantsToSend()
    value.keepaliveTimer = unsafe loop.after(milliseconds: value.keepalive.timeout, context: raw) {
      raw, _ in unsafe Ref<HTTP2Connection>(raw: raw).gotNoAnswer()
    }
  }

  private func gotNoAnswer() {
    value.keepaliveTimer = .none
    count(stats.value.keepaliveTimeout)
    if case .client(let downstream) = value.transport {
      downstream.value.closeReason = .pingTimeout
    }
    giveUp()
  }

  /// The peer neither reads nor answers: the connection closes as it is.
  func giveUp() {
    switch value.transport {
    case .client(let downstream): downstream.close()
    case .endpoint(let upstream): upstream.sessionEnded(byPeer: false, errorNumber: 0)
    case .none: return
    }
  }

  func pong() {
    guard value.isAwaitingPong else { return }
    value.isAwaitingPong = false
    loop.cancel(value.keepaliveTimer)
    startKeepalive()
  }
}

extension HTTP2Connection {
  /// Blank again, but for the slot's own fields.
  fileprivate mutating func reset() {
    let generation = self.generation
    let next = nextFree
    self = HTTP2Connection()
    self.generation = generation
    nextFree = next
  }
}

extension Ref where Value == Worker {
  /// Sends what the wake-up gave the sessions to send.
  func sendSessions() {
    while let connection = value.firstToSend {
      value.firstToSend = connection.value.nextToSend
      connection.value.nextToSend = nil
      connection.value.isWaitingToSend = false
      connection.send()
    }
  }
}
