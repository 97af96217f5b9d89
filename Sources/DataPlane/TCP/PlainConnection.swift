import CLinux
import Engine
import Inspection
import Telemetry

/// A connection that is answered here, without an upstream: `direct_response`, `echo`, or one that a
/// network filter has refused and lets wait.
struct PlainConnection: ~Copyable, Pooled {
  enum Kind: BitwiseCopyable {
    case says(Bytes)
    case echoes
    /// Refused: closed after a while.
    case waits
  }

  /// Must stay first: a handle to it is a handle to the whole.
  var connection = Connection()
  var generation: UInt32 = 0
  var nextFree: Ref<Self>?

  var worker: Ref<Worker>?
  var listener: Ref<ActiveListener>?
  var chain: Ref<NetworkChain>?
  /// How a filter in front has turned it away.
  var refusal: NetworkFilter.Refusal?
  var kind = Kind.echoes
  var remote = SocketAddress()
  /// The connection's other end.
  var directRemote = SocketAddress()
  var local = SocketAddress()
  /// What a proxy in front of us told besides addresses.
  var told: ConnectionTLVs?
  var access = ConnectionAccess()
  /// What the client asked the connection for.
  var serverName = ClientHello.Text()
  var id: UInt64 = 0
  var openedAt: UInt64 = 0
  var hasEnded = false
  /// Runs during a TLS handshake, and once everything is said.
  var timer = TimerID.none
  /// Its TLS; freed by the engine when the connection is closed.
  var secured: SecureHandle?
}

extension Ref where Value == PlainConnection {
  /// SAFETY: `connection` is the first stored property.
  private var connection: Ref<Connection> { unsafe Ref<Connection>(raw: raw) }

  private var worker: Ref<Worker> {
    guard let worker = value.worker else { preconditionFailure("an open connection has a worker") }
    return worker
  }

  var loop: EventLoop { worker.value.loop }

  /// How long a client has to take what it was told and to close its side; milliseconds.
  private static var goodbyeLimit: UInt64 { 1000 }

  /// Takes over an accepted socket. False when the loop cannot watch it.
  func open(
    _ fd: Int32, on worker: Ref<Worker>, listener: Ref<ActiveListener>, chain: Ref<NetworkChain>,
    kind: PlainConnection.Kind, facts: borrowing ConnectionFacts, refusal: NetworkFilter.Refusal?
  ) -> Bool {
    guard unsafe connection.open(fd, on: worker.value.loop, events: Self.events, owner: raw) else {
      return false
    }
    value.worker = worker
    listener.hold()
    value.listener = listener
    value.chain = chain
    value.kind = kind
    value.refusal = refusal
    value.remote = facts.remote
    value.directRemote = facts.directRemote
    value.told = facts.told
    if let hello = facts.hello { value.serverName = hello.serverName }
    value.access.phase = chain.value.filters.beginning
    value.local = facts.local
    value.id = worker.value.nextConnectionID()
    value.openedAt = loop.now
    value.connection.highWatermark = listener.value.config.value.bufferLimit
    listener.countOpened()
    worker.value.countOpenConnection(1)
    if refusal == nil, let security = chain.value.security { secure(security) }
    begin()
    return true
  }

  /// Puts TLS in between, before anything is read; what is written waits for the handshake.
  private func secure(_ security: ChainSecurity) {
    let place = worker.value.tls.places[security.place]
    guard let secured = SecureHandle.server(place, fd: value.connection.fd) else {
      return closeAfter(1)
    }
    unsafe connection.secure(SecureConnection.transport, context: secured.raw)
    value.secured = secured
    guard security.handshakeLimit > 0 else { return }
    value.timer = unsafe loop.after(
      milliseconds: security.handshakeLimit, context: raw
    ) { raw, _ in
      let plain = unsafe Ref<PlainConnection>(raw: raw)
      plain.value.timer = .none
      plain.value.listener?.countHandshakeTimeout()
      plain.close()
    }
  }

  private func handshakeEnded(_ error: Int32) {
    loop.cancel(value.timer)
    value.timer = .none
    guard error != 0 else { return }
    value.listener?.tellHandshakeFailed(
      with: value.directRemote, value.secured?.failureText ?? "")
    close()
  }

  private func begin() {
    switch value.kind {
    case .echoes: break
    case .says(let text):
      connection.write(text, on: loop)
      if value.connection.queuedBytes == 0 { sayGoodbye() }
    case .waits:
      connection.pauseReading()
      closeAfter(value.refusal?.delay ?? 0)
    }
  }

  private func closeAfter(_ milliseconds: UInt64) {
    loop.cancel(value.timer)
    value.timer = unsafe loop.after(milliseconds: milliseconds, context: raw) { raw, _ in
      let plain = unsafe Ref<PlainConnection>(raw: raw)
      plain.value.timer = .none
      plain.close()
    }
  }

  /// Everything is said: the client's own words are thrown away for a while, so that the kernel does
  /// not answer them with a reset that destroys ours.
  private func sayGoodbye() {
    connection.shutdownWrite()
    closeAfter(Self.goodbyeLimit)
  }

  private func readable() {
    while value.connection.isOpen, !value.connection.isReadPaused {
      let scratch = unsafe loop.state.value.receiveScratch
      switch unsafe connection.read(into: scratch, capacity: EventLoop.scratchBytes) {
      case .bytes(let n): echo(unsafe Bytes(base: UnsafePointer(scratch), count: n))
      case .wait: return
      case .failed: return close()
      case .end:
        value.hasEnded = true
        if value.connection.queuedBytes == 0 { close() }
        return
      }
    }
  }

  private func echo(_ bytes: Bytes) {
    guard case .echoes = value.kind, mayGoOn() else { return }
    connection.write(bytes, on: loop)
    if value.connection.isAboveHighWatermark { connection.pauseReading() }
  }

  /// SAFETY: a slot never moves, so that a stored property of it has one address.
  private var access: Ref<ConnectionAccess> {
    unsafe withUnsafeMutablePointer(to: &value.access) { unsafe Ref<ConnectionAccess>($0) }
  }

  /// Asks the rules of access in front, when the client has said something: whether it may go on.
  private func mayGoOn() -> Bool {
    guard value.access.phase != .settled, let chain = value.chain else { return true }
    guard value.access.phase != .refused else { return false }
    let verdict = value.serverName.withBytes { name in
      chain.value.filters.judge(
        ConnectionSubject(
          local: value.local, remote: value.remote, directRemote: value.directRemote,
          secured: value.secured, serverName: name, told: value.told, access: access),
        worker.value.stats, loop)
    }
    guard case .refused(let delay) = verdict else { return true }
    if delay > 0 {
      connection.pauseReading()
      closeAfter(delay)
    } else {
      close()
    }
    return false
  }

  private func drained() {
    if value.connection.isReadPaused, value.access.phase != .refused {
      connection.resumeReading(on: loop)
    }
    guard value.connection.queuedBytes == 0 else { return }
    if value.hasEnded { return close() }
    if case .says = value.kind { sayGoodbye() }
  }

  /// Closes now and gives everything back.
  func close() {
    guard value.connection.isOpen else { return }
    loop.cancel(value.timer)
    value.timer = .none
    value.listener?.value.config.value.accessLogs.write(PlainLogSource(self), on: worker)
    connection.close(on: loop)
    value.access.release(into: &loop.state.value.blocks)
    if value.refusal == nil { value.chain?.value.filters.release(worker.value.stats) }
    value.listener?.countClosed(lifetime: (loop.now &- value.openedAt) / 1_000_000)
    worker.value.countOpenConnection(-1)
    // Callers may still be on the stack with this handle.
    unsafe loop.later(context: raw) { raw, _ in
      let plain = unsafe Ref<PlainConnection>(raw: raw)
      let worker = plain.worker
      plain.value.listener?.letGo()
      plain.value.reset()
      worker.value.plains.release(plain)
    }
  }

  nonisolated(unsafe) private static let events = Ref<ConnectionEvents>.immortal(
    unsafe ConnectionEvents(
      readable: { unsafe Ref<PlainConnection>(raw: $0).readable() },
      drained: { unsafe Ref<PlainConnection>(raw: $0).drained() },
      connected: { unsafe Ref<PlainConnection>(raw: $0).handshakeEnded($1) },
      hungUp: { unsafe Ref<PlainConnection>(raw: $0).close() }))
}

extension PlainConnection {
  /// Blank again, but for the slot's own fields.
  fileprivate mutating func reset() {
    let generation = self.generation
    let next = nextFree
    self = PlainConnection()
    self.generation = generation
    nextFree = next
  }
}
