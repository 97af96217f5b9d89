import CLinux
import Engine
import HTTPCodec
import HTTPModel
import Telemetry

/// One HTTP/1.1 connection from a client: turns bytes into requests, one at a time, and responses
/// into bytes. Pipelined requests wait, unread as far as possible, until their turn.
///
/// What it keeps, and how it begins. The rest stands beside it, by phase: `+Reading` (bytes from the
/// socket, and what is kept of them), `+Requests` (heads and bodies), `+Flow` (pauses, and bytes to the
/// client), `+Closing` (every way to the end), `+Timers`.
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
  /// It was redirected to us, or a proxy in front of us says so: `local` is not our own address.
  var isRestored = false
  /// What a proxy in front of us told besides addresses.
  var told: ConnectionTLVs?
  var access = ConnectionAccess()
  /// A filter of the listener has read what the client asked the connection for.
  var wasInspected = false
  /// Pools whose connections say that they are for this client.
  var ownPools: Ref<HostPool>?
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
  /// Why we have ended it, or are about to.
  var closeReason: LocalCloseReason?
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
    value.isRestored = facts.isRestored
    value.told = facts.told
    value.wasInspected = facts.hello != nil
    value.access.phase = chain.value.filters.beginning
    guard unsafe connection.open(fd, on: worker.value.loop, events: Self.events, owner: raw) else {
      return false
    }
    listener.hold()
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
}

extension DownstreamConnection {
  /// Blank again, but for the slot's own fields.
  mutating func reset() {
    let generation = self.generation
    let next = nextFree
    self = DownstreamConnection()
    self.generation = generation
    nextFree = next
  }
}
