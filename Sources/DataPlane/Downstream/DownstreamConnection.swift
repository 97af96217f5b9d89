import CLinux
import Engine
import HTTPCodec
import HTTPModel
import Telemetry

/// One HTTP/1.1 connection from a client: turns bytes into requests, one at a time, and responses
/// into bytes. Pipelined requests wait, unread as far as possible, until their turn.
///
/// Longer than most files: reading, pausing and closing share every state here, and a reader who
/// asks what happens to a byte at any moment finds the answer without leaving it.
struct DownstreamConnection: ~Copyable, Pooled {
  enum Phase: UInt8 {
    /// Between requests, or within a head.
    case head
    /// Within a request's body.
    case body
    /// The request is whole; its response is not.
    case waiting
    /// After an accepted upgrade: bytes pass as they come.
    case tunnel
    /// The last response is on its way, or has gone: what comes is thrown away.
    case closing
  }

  /// Must stay first: a handle to it is a handle to the whole.
  var connection = Connection()
  var generation: UInt32 = 0
  var nextFree: Ref<Self>?
  /// The client speaks HTTP/2: what it sends is the session's, and of all below only what opens,
  /// closes and times the connection concerns it.
  var session: Ref<HTTP2Connection>?
  /// It has a session, or had one.
  var isHTTP2 = false

  /// Links the open connections of the worker.
  var nextOpen: Ref<DownstreamConnection>?
  var previousOpen: Ref<DownstreamConnection>?
  var worker: Ref<Worker>?
  var listener: Ref<ActiveListener>?
  var chain: Ref<NetworkChain>?
  var terminal: HTTPTerminal?
  /// Who asks, as far as a proxy in front of us is believed.
  var remote = SocketAddress()
  /// The other end of the connection itself.
  var directRemote = SocketAddress()
  /// Where the client wanted to go.
  var local = SocketAddress()
  /// The client's address as text; of a Unix client nothing.
  var remoteText = AddressText()
  /// The same as x-forwarded-for shall have it.
  var forwardedText = AddressText()
  /// The client is one of the connection manager's `internal_address_config`.
  var remoteIsInternal = false
  var id: UInt64 = 0

  var phase = Phase.head
  /// Bytes that came before their turn, or a head that is not whole.
  var stash: Block?
  var scanner = HeadScanner()
  /// How long a head that is not whole has to be before all of it is parsed again.
  var parseAgainAt = 0
  var decoder = BodyDecoder()
  var stream: Ref<RequestStream>?
  /// The request at hand allows the connection to go on.
  var keepAlive = true
  var isHTTP10 = false
  var requests: UInt32 = 0
  /// The protocol of the response body: set with its head.
  var chunkedResponse = false
  var openedAt: UInt64 = 0
  /// When the last request ended, or the connection was opened.
  var idleSince: UInt64 = 0
  var headStartedAt: UInt64 = 0
  var idleTimer = TimerID.none
  var headTimer = TimerID.none
  var closeTimer = TimerID.none
  var durationTimer = TimerID.none
  /// Reading is paused because a request is at work and more bytes are there.
  var heldBack = false
  /// Reading is paused because the stream, or the endpoint behind it, cannot take more.
  var pauses = RequestPauses()
  /// The client will say nothing more; it may still listen.
  var endOfInput = false
  /// It left while a request of its was at work.
  var leftDuringRequest = false
  /// What went wrong with the connection itself.
  var flags = ResponseFlags()
  /// What `%DOWNSTREAM_DETECTED_CLOSE_TYPE%` shows.
  var closeType: StaticString = "Normal"
  /// Numbers that filters keep for as long as the connection.
  var filterNumbers: Block?
  /// What is kept has not been looked at since the connection may go on: reading has to wait for it.
  var stashIsFresh = false
  /// Bytes are being worked on further up the stack; what is to be done behind them is done there.
  var isConsuming = false
  var absenceTimer = TimerID.none
  var handshakeTimer = TimerID.none
  /// Its TLS; freed by the engine when the connection is closed.
  var secured: SecureHandle?
  /// What had been written when the client was last found to be there.
  var writtenAtLastSign: UInt64 = 0
}

/// Why a request is not read on; each cause goes away on its own.
struct RequestPauses: OptionSet, BitwiseCopyable {
  let rawValue: UInt8
  /// The filter chain holds as much as it may.
  static let byStream = RequestPauses(rawValue: 1 << 0)
  /// More than its watermark waits for the endpoint.
  static let byUpstream = RequestPauses(rawValue: 1 << 1)
}

typealias Downstream = Ref<DownstreamConnection>

extension Ref where Value == DownstreamConnection {
  /// SAFETY: `connection` is the first stored property.
  var connection: Ref<Connection> { unsafe Ref<Connection>(raw: raw) }

  var held: Ref<Worker> {
    guard let worker = value.worker else { preconditionFailure("an open connection has a worker") }
    return worker
  }

  var loop: EventLoop { held.value.loop }

  var manager: Ref<ConnectionManager> {
    guard let terminal = value.terminal else {
      preconditionFailure("an open connection has a connection manager")
    }
    return terminal.manager
  }

  nonisolated(unsafe) static let events = Ref<ConnectionEvents>.immortal(
    unsafe ConnectionEvents(
      readable: { unsafe Downstream(raw: $0).readable() },
      drained: { unsafe Downstream(raw: $0).drained() },
      connected: { unsafe Downstream(raw: $0).handshakeEnded($1) },
      hungUp: { unsafe Downstream(raw: $0).hungUp() }))

  /// Its listener is about to stop: this is the last request.
  var listenerDrains: Bool { value.listener?.value.isDraining ?? false }

  /// Our end of the connection itself; only logs ask.
  var directLocal: SocketAddress {
    value.connection.isOpen ? ListenSocket.localAddress(of: value.connection.fd) : value.local
  }

  // MARK: Opening

  /// Takes over an accepted socket. False when the loop cannot watch it.
  func open(
    _ fd: Int32, on worker: Ref<Worker>, listener: Ref<ActiveListener>, chain: Ref<NetworkChain>,
    terminal: HTTPTerminal, facts: borrowing ConnectionFacts
  ) -> Bool {
    let remote = facts.remote
    value.worker = worker
    value.listener = listener
    value.chain = chain
    value.terminal = terminal
    value.remote = remote
    value.directRemote = facts.directRemote
    value.local = facts.local
    guard unsafe connection.open(fd, on: worker.value.loop, events: Self.events, owner: raw) else {
      return false
    }
    value.connection.highWatermark = listener.value.config.value.bufferLimit
    value.remoteText = AddressText(remote)
    // A loopback client is this machine: its own address says more to the next hop.
    value.forwardedText =
      HostRules.isLoopback(remote)
      ? AddressText(worker.value.machineAddress) : value.remoteText
    value.remoteIsInternal = manager.value.internalAddresses.contains(remote)
    value.id = worker.value.nextConnectionID()
    value.openedAt = loop.now
    value.idleSince = loop.now
    value.phase = .head
    countOpened()
    if manager.value.codec == .http2, !startSession() {
      close()
      return true
    }
    startIdleTimer()
    let limit = manager.value.maxConnectionDuration
    if limit > 0 {
      value.durationTimer = unsafe loop.after(milliseconds: limit, context: raw) { raw, _ in
        unsafe Downstream(raw: raw).reachedMaxDuration()
      }
    }
    return true
  }

  // MARK: Reading

  /// Reads of one connection before the others have their turn. More than one would let a peer that
  /// cuts its body into chunks of one byte keep everybody waiting.
  static var readsPerTurn: Int { 1 }

  private func readable() {
    let loop = self.loop
    var reads = 0
    while value.connection.isOpen, !value.connection.isReadPaused {
      if value.phase == .closing { return discard() }
      if let session = value.session { return session.readable() }
      guard reads < Self.readsPerTurn else { return connection.yieldReading(on: loop) }
      guard value.stash == nil || !value.stashIsFresh else {
        consumeStash()
        flushOutput()
        continue
      }
      reads += 1
      guard value.stash == nil else {
        guard readIntoStash() else { return }
        continue
      }
      let scratch = unsafe loop.state.value.receiveScratch
      switch unsafe connection.read(into: scratch, capacity: EventLoop.scratchBytes) {
      case .bytes(let n):
        value.stashIsFresh = false
        let used = unsafe consume(scratch, n)
        if used < n, value.connection.isOpen { unsafe keep(scratch + used, n - used) }
      case .wait: return
      case .end: return inputEnded()
      case .failed: return inputFailed()
      }
      flushOutput()
    }
  }

  /// Reads behind what is kept already. False when there is nothing more to do now.
  private func readIntoStash() -> Bool {
    guard var block = value.stash else { return true }
    if block.used == block.capacity {
      guard let larger = grow(block) else {
        refuseHead(.headTooLarge)
        return false
      }
      block = larger
    }
    let outcome = unsafe connection.read(
      into: block.base + block.used, capacity: block.capacity - block.used)
    switch outcome {
    case .bytes(let n):
      block.used += n
      consumeStash()
    case .wait: return false
    case .end:
      inputEnded()
      return false
    case .failed:
      inputFailed()
      return false
    }
    flushOutput()
    return true
  }

  private func grow(_ block: Block) -> Block? {
    guard block.capacity < BlockPool.largest else { return nil }
    let larger = held.value.loop.state.value.blocks.take(block.capacity * 2)
    _ = larger.append(block.bytes())
    loop.state.value.blocks.release(block)
    value.stash = larger
    return larger
  }

  /// Works on what is kept, as far as the phase allows.
  private func consumeStash() {
    guard let block = value.stash else { return }
    // The block is not the connection's while it is worked on: what remains is kept anew.
    value.stash = nil
    value.stashIsFresh = false
    let used = unsafe consume(block.base, block.used)
    let left = block.used - used
    if left > 0, value.connection.isOpen, value.phase != .closing {
      if used > 0 { unsafe _ = memmove(block.base, block.base + used, left) }
      block.used = left
      value.stash = block
    } else {
      loop.state.value.blocks.release(block)
    }
    closeAfterLastRequest()
  }

  /// Once the client has said everything and what it said is answered, there is nothing to stay for.
  private func closeAfterLastRequest() {
    guard value.endOfInput, value.stream == nil, value.phase == .head, !value.isConsuming,
      value.connection.isOpen, value.stash == nil || !value.stashIsFresh
    else { return }
    beginClosing()
  }

  private func keep(_ bytes: UnsafeMutablePointer<UInt8>, _ n: Int) {
    guard value.phase != .closing else { return }
    let block = loop.state.value.blocks.take(min(max(n + 1024, 4096), BlockPool.largest))
    _ = unsafe block.append(Bytes(base: UnsafePointer(bytes), count: n))
    value.stash = block
  }

  /// Hands bytes to the phase they belong to; how many were used.
  private func consume(_ bytes: UnsafeMutablePointer<UInt8>, _ n: Int) -> Int {
    value.isConsuming = true
    defer { value.isConsuming = false }
    var used = 0
    while used < n, value.connection.isOpen {
      switch value.phase {
      case .head:
        let taken = unsafe consumeHead(bytes + used, n - used)
        guard taken > 0 else { return used }
        used += taken
      case .body, .tunnel:
        let input = unsafe Bytes(base: UnsafePointer(bytes), count: n)
        let before = used
        unsafe consumeBody(input, bytes, at: &used)
        // Paused, or in need of more bytes to make out trailers: what is left is kept.
        if used == before { return used }
      case .waiting:
        holdBack()
        return used
      case .closing:
        return n
      }
    }
    return used
  }

  // MARK: Head

  private func consumeHead(_ bytes: UnsafeMutablePointer<UInt8>, _ n: Int) -> Int {
    let worker = held
    let manager = self.manager
    if value.requests == 0, manager.value.codec == .auto,
      let used = unsafe consumePreface(bytes, n)
    {
      return used
    }
    if value.headStartedAt == 0 {
      headBegan()
    } else if n < value.parseAgainAt, n <= manager.value.maxHeadBytes,
      case .incomplete = value.scanner.scan(unsafe Bytes(base: UnsafePointer(bytes), count: n))
    {
      return 0
    }
    let outcome = unsafe worker.value.parser.parseRequest(
      bytes, n, maxFields: manager.value.maxFields)
    switch outcome {
    case .complete(let length) where length <= manager.value.maxHeadBytes:
      headEnded()
      unsafe beginRequest(bytes + worker.value.parser.start, length - worker.value.parser.start)
      return length
    case .complete:
      refuseHead(.headTooLarge)
    case .incomplete:
      if n > manager.value.maxHeadBytes {
        refuseHead(.headTooLarge)
        return n
      }
      // Parsing all of it for every byte that comes would be work without bound; between the steps
      // only its end is looked for.
      value.parseAgainAt = n + n / 4 + 128
      return 0
    case .invalid(let error):
      refuseHead(error)
    }
    return n
  }

  private func headBegan() {
    if value.requests == 0 { countProtocol() }
    value.headStartedAt = loop.now
    value.scanner = HeadScanner()
    startHeadTimer()
  }

  /// Bounds the time until a head is whole.
  func startHeadTimer() {
    let limit = manager.value.requestHeadersTimeout
    guard limit > 0, value.headTimer == .none else { return }
    value.headTimer = unsafe loop.after(milliseconds: limit, context: raw) { raw, _ in
      unsafe Downstream(raw: raw).headTimedOut()
    }
  }

  func headEnded() {
    value.headStartedAt = 0
    if value.headTimer != .none {
      loop.cancel(value.headTimer)
      value.headTimer = .none
    }
  }

  private func beginRequest(_ head: UnsafeMutablePointer<UInt8>, _ length: Int) {
    let worker = held
    let stream = newStream()
    unsafe stream.value.requestHead.load(
      Bytes(base: UnsafePointer(head), count: length), worker.value.parser.found,
      from: &loop.state.value.blocks)
    let minor = worker.value.parser.minor
    value.isHTTP10 = minor == 0
    guard !stream.value.requestHead.overflowed else {
      value.keepAlive = false
      value.phase = .waiting
      return stream.refuse(.headTooLarge)
    }
    let (framing, error) = HTTP1Framing.request(stream.value.requestHead, minor: minor)
    value.keepAlive = framing.keepAlive
    value.decoder = BodyDecoder(framing.body)
    let hasBody = !framing.body.isNone
    value.phase = hasBody ? .body : .waiting
    let text = unsafe Bytes(base: UnsafePointer(head), count: length)
    let method = text[worker.value.parser.method.lowerBound, worker.value.parser.method.upperBound]
    let target = text[worker.value.parser.target.lowerBound, worker.value.parser.target.upperBound]
    if let error {
      stream.refuse(error)
      return
    }
    stream.begin(
      method: method, target: target, minor: minor,
      // Behind a body, nobody could tell where the new protocol begins: such a request stays HTTP
      // (RFC 9110 §7.8 lets us ignore Upgrade).
      wantsUpgrade: framing.wantsUpgrade && !hasBody, endStream: !hasBody)
  }

  private func newStream() -> Ref<RequestStream> {
    let worker = held
    let stream = worker.value.streams.take()
    value.stream = stream
    value.requests &+= 1
    stream.open(
      on: worker, manager: manager, downstream: self, snapshot: worker.holdSnapshot())
    return stream
  }

  /// Answers a head that cannot be read, and closes.
  private func refuseHead(_ error: HTTP1Error) {
    headEnded()
    value.keepAlive = false
    value.phase = .waiting
    newStream().refuse(error)
  }

  // MARK: Body

  private func consumeBody(
    _ input: Bytes, _ memory: UnsafeMutablePointer<UInt8>, at position: inout Int
  ) {
    guard let stream = value.stream else { return }
    while value.phase == .body || value.phase == .tunnel, value.stream == stream {
      switch unsafe value.decoder.nextJoined(memory, input.count, at: &position) {
      case .data(let data):
        // A body of known length ends with its last byte, and saying so at once saves a packet.
        let isLast = value.decoder.isDone
        if isLast { value.phase = .waiting }
        stream.requestData(data, endStream: isLast)
      case .end:
        value.phase = .waiting
        stream.requestData(.empty, endStream: true)
      case .trailers:
        unsafe consumeTrailers(memory, input.count, at: &position)
        return
      case .needMore:
        return
      case .invalid:
        value.keepAlive = false
        value.phase = .waiting
        stream.requestBroken()
        position = input.count
        return
      }
    }
  }

  private func consumeTrailers(
    _ memory: UnsafeMutablePointer<UInt8>, _ n: Int, at position: inout Int
  ) {
    guard let stream = value.stream else { return }
    let worker = held
    let left = n - position
    let outcome = unsafe worker.value.parser.parseTrailers(
      memory + position, left, maxFields: manager.value.maxFields)
    switch outcome {
    case .complete(let length) where length <= Limits.trailerBytes:
      let text = unsafe Bytes(base: UnsafePointer(memory) + position, count: length)
      position += length
      value.phase = .waiting
      value.decoder.finishTrailers()
      guard !worker.value.parser.found.isEmpty else {
        return stream.requestData(.empty, endStream: true)
      }
      stream.requestTrailers(text, worker.value.parser.found)
    case .incomplete where left <= Limits.trailerBytes:
      return
    default:
      value.keepAlive = false
      value.phase = .waiting
      position = n
      stream.requestBroken()
    }
  }

  // MARK: Flow control

  /// A request is at work: what comes for the next one stays in the socket.
  private func holdBack() {
    value.stashIsFresh = true
    guard !value.heldBack else { return }
    value.heldBack = true
    connection.pauseReading()
  }

  /// The stream cannot take more for now.
  func pauseRequest(_ reason: RequestPauses = .byStream) {
    guard !value.pauses.contains(reason) else { return }
    if value.pauses.isEmpty { connection.pauseReading() }
    value.pauses.insert(reason)
    held.value.stats.add(manager.value.stats.value.pausedReading)
  }

  /// The stream takes bytes again; those kept meanwhile come first.
  func resumeRequest(_ reason: RequestPauses = .byStream) {
    guard value.pauses.contains(reason) else { return }
    value.pauses.remove(reason)
    held.value.stats.add(manager.value.stats.value.resumedReading)
    if value.pauses.isEmpty { resume() }
  }

  private func resume() {
    let pending = value.stash != nil
    if pending { value.stashIsFresh = true }
    connection.resumeReading(on: loop)
    guard pending, !value.connection.isReadPaused else { return }
    unsafe loop.later(context: raw, tag: value.id) { raw, id in
      let downstream = unsafe Downstream(raw: raw)
      guard downstream.value.id == id, downstream.value.connection.isOpen,
        !downstream.value.connection.isReadPaused, downstream.value.stash != nil,
        downstream.value.stashIsFresh
      else { return }
      downstream.consumeStash()
      downstream.flushOutput()
    }
  }

  private func drained() {
    if let session = value.session, value.phase != .closing { return session.drained() }
    if value.phase == .closing {
      if value.connection.queuedBytes == 0 { finishClosing() }
      return
    }
    value.stream?.downstreamDrained()
  }

  // MARK: Writing

  /// Puts bytes behind what is being gathered for this connection in this wake-up.
  @inline(__always)
  func write(_ bytes: Bytes) {
    held.value.output.write(bytes, to: connection, on: loop)
  }

  func flushOutput() { held.value.output.flush(on: loop) }

  /// The upgrade was accepted: from here on bytes pass as they come.
  func beginTunnel() {
    value.phase = .tunnel
    value.keepAlive = false
    value.decoder = BodyDecoder(.untilClose)
    if value.heldBack {
      value.heldBack = false
      resume()
    } else if value.stash != nil {
      connection.pauseReading()
      resume()
    }
  }

  // MARK: Ends

  /// The stream has ended in good order: the next request's turn, or the end.
  func streamEnded(mayContinue: Bool) {
    value.stream = nil
    loop.cancel(value.absenceTimer)
    value.absenceTimer = .none
    value.idleSince = loop.now
    let limit = manager.value.maxRequestsPerConnection
    let exhausted = limit > 0 && value.requests >= limit
    guard mayContinue, value.keepAlive, !exhausted, !listenerDrains else {
      return beginClosing()
    }
    value.phase = .head
    if !value.pauses.isEmpty {
      value.pauses = []
      connection.resumeReading(on: loop)
    }
    if value.heldBack {
      value.heldBack = false
      resume()
    } else if value.stash != nil {
      holdBack()
      value.heldBack = false
      resume()
    }
    closeAfterLastRequest()
  }

  /// The stream cannot be answered to its end: the client must not take what it has for the whole.
  func streamBroken() {
    value.stream = nil
    flushOutput()
    close(reset: true)
  }

  /// Says goodbye once everything is sent: our side closes, and what the client still sends is read
  /// for a while, so that the kernel does not answer it with a reset that destroys our last response
  /// (Envoy: `delayed_close_timeout`).
  func beginClosing() {
    guard value.phase != .closing else { return }
    value.phase = .closing
    value.stream = nil
    cancelTimers()
    if let block = value.stash {
      loop.state.value.blocks.release(block)
      value.stash = nil
    }
    flushOutput()
    while value.connection.isReadPaused { connection.resumeReading(on: loop) }
    let limit = manager.value.delayedCloseTimeout
    if limit > 0 {
      value.closeTimer = unsafe loop.after(milliseconds: limit, context: raw) { raw, _ in
        let downstream = unsafe Downstream(raw: raw)
        downstream.countDelayedCloseTimeout()
        downstream.close()
      }
    }
    if value.connection.queuedBytes == 0 { finishClosing() }
  }

  private func finishClosing() {
    guard value.connection.isOpen else { return }
    if value.endOfInput || manager.value.delayedCloseTimeout == 0 { return close() }
    connection.shutdownWrite()
  }

  private func discard() {
    let scratch = unsafe loop.state.value.receiveScratch
    for _ in 0..<Self.readsPerTurn {
      switch unsafe connection.read(into: scratch, capacity: EventLoop.scratchBytes) {
      case .bytes: continue
      case .wait: return
      case .failed:
        value.closeType = "RemoteReset"
        return close()
      case .end:
        value.endOfInput = true
        if value.connection.queuedBytes == 0 { close() }
        return
      }
    }
    connection.yieldReading(on: loop)
  }

  private func inputEnded() {
    value.endOfInput = true
    guard let stream = value.stream else {
      // Bytes without an end are no request; an empty connection just closes.
      return value.connection.queuedBytes == 0 ? close() : beginClosing()
    }
    // Cut short, or one side of a tunnel: the end of it.
    guard value.phase == .waiting else { return stream.downstreamGone() }
    watchForAbsence()
  }

  /// How long a client that has closed its side may get nothing before it is taken for gone.
  private static var absenceLimit: UInt64 { 30 }

  /// The client has closed its side behind a whole request. Either it only has nothing more to ask,
  /// or it has left: both look the same until we write. So an answer that comes at once, or keeps
  /// coming, is delivered; and when nothing comes, the upstream is told that nobody waits.
  private func watchForAbsence() {
    guard value.absenceTimer == .none else { return }
    value.writtenAtLastSign = value.connection.bytesWritten
    value.absenceTimer = unsafe loop.after(milliseconds: Self.absenceLimit, context: raw) {
      raw, _ in
      let downstream = unsafe Downstream(raw: raw)
      downstream.value.absenceTimer = .none
      downstream.checkAbsence()
    }
  }

  private func checkAbsence() {
    guard let stream = value.stream else { return }
    // What is queued waits for a client that is there: a departed one answers with a reset.
    let hasQueue = value.connection.queuedBytes > 0 && value.connection.isStillWritable
    guard hasQueue || value.connection.bytesWritten != value.writtenAtLastSign else {
      return stream.downstreamGone()
    }
    watchForAbsence()
  }

  private func inputFailed() {
    // Through TLS this may only be an end without a goodbye.
    if value.secured == nil { value.closeType = "RemoteReset" }
    // The client has ended it, either way.
    value.endOfInput = true
    guard let stream = value.stream else { return close() }
    stream.downstreamGone()
  }

  private func hungUp() {
    // Only seen while reading is paused: its last bytes may wait in the socket, with requests.
    if value.stream != nil { watchForAbsence() } else { close() }
  }

  /// Closes now and gives everything back.
  func close(reset: Bool = false) {
    guard value.connection.isOpen else { return }
    cancelTimers()
    closeSession()
    held.value.output.forget(connection)
    if reset { value.closeType = "LocalReset" }
    if let listener = value.listener { log(to: listener) }
    countClosed()
    connection.close(on: loop, reset: reset)
    if let block = value.filterNumbers {
      loop.state.value.blocks.release(block)
      value.filterNumbers = nil
    }
    if let block = value.stash {
      loop.state.value.blocks.release(block)
      value.stash = nil
    }
    // Callers may still be on the stack with this handle.
    unsafe loop.later(context: raw) { raw, _ in
      let downstream = unsafe Downstream(raw: raw)
      guard let worker = downstream.value.worker else { return }
      downstream.value.reset()
      worker.value.downstreams.release(downstream)
    }
  }

  // MARK: Timers

  private func cancelTimers() {
    loop.cancel(value.idleTimer)
    loop.cancel(value.headTimer)
    loop.cancel(value.closeTimer)
    loop.cancel(value.durationTimer)
    loop.cancel(value.absenceTimer)
    loop.cancel(value.handshakeTimer)
    value.handshakeTimer = .none
    value.absenceTimer = .none
    value.idleTimer = .none
    value.headTimer = .none
    value.closeTimer = .none
    value.durationTimer = .none
  }

  /// One timer for the connection's life, looked at when it fires: requests do not touch it.
  private func startIdleTimer() {
    let limit = manager.value.connectionIdleTimeout
    guard limit > 0 else { return }
    let idle = (loop.now &- value.idleSince) / 1_000_000
    let left = idle < limit ? limit - idle : 1
    value.idleTimer = unsafe loop.after(milliseconds: left, context: raw) { raw, _ in
      unsafe Downstream(raw: raw).checkIdle()
    }
  }

  private func checkIdle() {
    value.idleTimer = .none
    let limit = manager.value.connectionIdleTimeout
    let isBusy = value.stream != nil || value.session.map { $0.value.streamCount > 0 } ?? false
    if isBusy { value.idleSince = loop.now }
    guard !isBusy, (loop.now &- value.idleSince) / 1_000_000 >= limit else {
      return startIdleTimer()
    }
    countIdleTimeout()
    if let session = value.session { return session.endNow() }
    value.headStartedAt == 0 ? beginClosing() : close()
  }

  private func headTimedOut() {
    value.headTimer = .none
    value.keepAlive = false
    value.phase = .waiting
    value.headStartedAt = 0
    value.stashIsFresh = false
    newStream().headTimedOut()
    flushOutput()
  }

  private func reachedMaxDuration() {
    value.durationTimer = .none
    countMaxDuration()
    value.keepAlive = false
    if value.session != nil { return drainSession() }
    if value.stream == nil { beginClosing() }
  }

  /// The worker drains: an idle connection closes now, a busy one after its response.
  func drain() {
    value.keepAlive = false
    if value.session != nil { return drainSession() }
    if value.stream == nil, value.phase == .head, value.headStartedAt == 0 { beginClosing() }
  }
}

extension DownstreamConnection {
  /// Blank again, but for the slot's own fields.
  fileprivate mutating func reset() {
    let generation = self.generation
    let next = nextFree
    self = DownstreamConnection()
    self.generation = generation
    nextFree = next
  }
}
