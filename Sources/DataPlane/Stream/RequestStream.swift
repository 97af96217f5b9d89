import CFilterABI
import Engine
import HTTPCodec
import HTTPModel
import Routing
import Telemetry
import Upstream

/// One request, from its complete head to its access-log line. It lives in a slot of its worker and
/// is reached through a handle; what happens to it is told in the order in which it happens:
///
///  1. `begin`: the connection manager's own rules (`RequestStream+Admission`), the route
///     (`RequestStream+Route`), the filters in configured order (`RequestStream+RequestPath`).
///  2. `startAttempt`: the router, where the chain ends: cluster, endpoint, pooled connection
///     (`RequestStream+Attempt`).
///  3. `responseHead`: the filters in reverse, then the client (`RequestStream+ResponsePath`).
///  4. `finish`: counted, logged, released (`RequestStream+End`).
///
/// Whatever is answered here, by a filter, by the router or because the request is malformed, goes
/// through `replyLocally` (`RequestStream+LocalReply`).
struct RequestStream: ~Copyable, Pooled {
  var generation: UInt32 = 0
  var nextFree: Ref<RequestStream>?

  var worker: Ref<Worker>?
  var manager: Ref<ConnectionManager>?
  /// The configuration that it began with, held to its end.
  var snapshot: Ref<Snapshot>?
  /// The client's connection, which an HTTP/2 client's requests share. Nil for a request of our own: a
  /// filter's call, or a mirrored request.
  var downstream: Ref<DownstreamConnection>?
  /// How the client is reached.
  var client = ClientLink.none
  var call: Ref<InternalCall>?

  // MARK: The messages

  var requestHead = HeaderMap()
  var responseHead = HeaderMap()
  var requestTrailers = HeaderMap()
  var responseTrailers = HeaderMap()
  var request = BodyPath()
  var response = BodyPath()
  var isHEAD = false
  var minor: UInt8 = 1
  var status = 0

  // MARK: Decisions

  var route = RouteState()
  var isInternal = false
  /// Who asks, where x-forwarded-for says so and is trusted; else it is the connection's other end.
  var claimedAddress = SocketAddress()
  /// The target named `https`.
  var schemeIsSecure = false
  var wantsUpgrade = false
  /// The upgrade was accepted: both bodies are now whatever the peers say.
  var isUpgraded = false
  var flags = ResponseFlags()
  /// What %RESPONSE_CODE_DETAILS% shows.
  var details = Bytes.empty
  /// Memory of details that were put together.
  var detailsBlock: Block?
  /// Memory of texts that filters asked for.
  var textBlock: Block?

  // MARK: Filters

  var chainMemory: Block?
  /// Filters of this stream that are alive.
  var slots: Ref<FilterSlot>?
  var slotCount = 0
  /// Filter callbacks on the stack: what they ask for is done when they have returned.
  var depth = 0
  var wanted = PendingActions()
  var wantedFailure = FL_FAILURE_NONE
  /// The filter that answered: what comes from in front of a replaying filter, or from nowhere in the
  /// chain, is no attempt of its.
  var replyOrigin = Int.max
  /// The filter that has prepared `replyHead` and `replyBody`.
  var preparedBy = -1
  var replyHead = HeaderMap()
  var replyBody = ByteQueue()
  var replyStatus = 0
  /// What the client spoke, where a filter has changed the request's content type.
  var caller = Caller.unknown
  /// What a gRPC caller is told in the status's place; -1 derives it from the status.
  var replyGRPCStatus: Int32 = -1
  /// What a body callback puts in its piece's place.
  var replacement: Block?
  var hasReplacement = false
  var metadata = Metadata()

  /// The route's mirrors that wait for the whole body, one bit each.
  var mirrors: UInt64 = 0
  /// What has left for the upstream must be kept: for mirrors, or for a redirect.
  var keepsSentBody = false
  var sentBody = ByteQueue()
  /// It was more than may be kept.
  var sentBodyIsCut = false

  // MARK: Attempts

  var attempt = AttemptState()
  var upstream = UpstreamLink.none
  var upstreamIsHTTP2 = false
  /// Links streams that wait for a connection of the same pool.
  var nextPending: Ref<RequestStream>?
  var previousPending: Ref<RequestStream>?
  var pendingPool: Ref<HostPool>?

  // MARK: Account

  var startedAt: UInt64 = 0
  var startedWallClock: UInt64 = 0
  var requestEndedAt: UInt64 = 0
  var upstreamStartedAt: UInt64 = 0
  var upstreamRequestEndedAt: UInt64 = 0
  var upstreamRespondedAt: UInt64 = 0
  var upstreamEndedAt: UInt64 = 0
  var responseStartedAt: UInt64 = 0
  var responseEndedAt: UInt64 = 0
  var lastActivity: UInt64 = 0
  var bytesReceived: UInt64 = 0
  var bytesSent: UInt64 = 0
  /// Bytes of the heads as they crossed the wire: received, sent on, answered, sent back.
  var receivedHeadBytes: UInt32 = 0
  var upstreamHeadBytes: UInt32 = 0
  var requestHeadBytes: UInt32 = 0
  var responseHeadBytes: UInt32 = 0
  var streamID: UInt64 = 0
  var upstreamConnectionID: UInt64 = 0
  var upstreamLocal = SocketAddress()
  /// The TLS of the connection that carries the request; nil for plain ones.
  var upstreamFacts: TLSFacts?
  var localReplyBody = Bytes.empty
  var isHealthCheck = false
  /// Stays with the slot: the next stream finds it armed.
  var idleTimer = LazyTimer()
  var durationTimer = TimerID.none
  var requestTimer = TimerID.none

  // MARK: Where it stands

  /// The response's head has gone to the client.
  var headSent = false
  /// A response is on its way back through the filters, or has arrived.
  var isResponding = false
  /// Nothing is to be done any more; the slot is about to be released.
  var isOver = false
  var pausedUpstream = false
  var isCounted = false
  var chunkedResponse = false
  var closesConnection = false
}

/// One direction's body on its way through the filters: where the chain waits, and what waits there.
struct BodyPath: ~Copyable {
  enum Mode: UInt8 {
    case flowing
    /// The chain waits until the filter resumes it.
    case held
    /// The chain waits until the whole body has come.
    case buffering
  }

  var mode = Mode.flowing
  /// The filter at which the chain waits, when it does not flow; the number of filters stands for
  /// the router.
  var position = 0
  /// The head has gone beyond `position` already.
  var headPassed = false
  var queue = ByteQueue()
  /// Bytes at the front of the queue that the filter at `position` has seen.
  var seen = 0
  /// The end waits in the queue, behind its bytes.
  var endQueued = false
  var trailersQueued = false
  /// The source has said everything.
  var ended = false
  /// The whole body is in the hand of a caller further up, who delivers it behind the head.
  var isInHand = false
  var hasTrailers = false
  /// The head has reached the end of the chain.
  var headDelivered = false
  /// The end has reached the end of the chain.
  var endDelivered = false
  var limit = 0
  /// The source has been asked to pause because of the queue.
  var pausedSource = false

  var isFlowing: Bool { mode == .flowing }

  /// Nothing follows the head.
  var endsWithHead: Bool { ended && !isInHand && queue.isEmpty && !hasTrailers }
}

/// What a client expects an answer in.
enum Caller: UInt8 {
  /// The request's fields say it.
  case unknown
  case gRPC
  case other
}

/// What filters asked for while one of them was running.
struct PendingActions: OptionSet, BitwiseCopyable {
  let rawValue: UInt8
  static let reply = PendingActions(rawValue: 1 << 0)
  static let reset = PendingActions(rawValue: 1 << 1)
  static let resumeRequest = PendingActions(rawValue: 1 << 2)
  static let resumeResponse = PendingActions(rawValue: 1 << 3)
  /// Giving up on the attempt, because of `wantedFailure`.
  static let failure = PendingActions(rawValue: 1 << 4)
}

/// The attempt at hand, and what is kept for another one.
struct AttemptState: ~Copyable {
  /// 1 for the first; 0 before the router was reached.
  var number: UInt32 = 0
  var failure = FL_FAILURE_NONE
  /// The failure came from a socket: its errno.
  var errorNumber: Int32 = 0
  var requestStarted = false
  var responseStarted = false
  /// Bytes of the body have left for the upstream.
  var bodySent = false
  /// The connection was used before: its peer may have closed it while our request was on its way.
  var onReusedConnection = false
  /// A reused connection failed and the request went out again unnoticed.
  var silentRepeats: UInt8 = 0
  var isRunning = false
  /// The response that has not been counted among the cluster's yet; 0 is none.
  var uncountedStatus = 0
  /// It was made here because the attempt failed.
  var isUncountedFailure = false
  var localReply = false
  /// The last attempt that failed did so by a timeout.
  var timedOut = false

  // For replays
  var head = HeaderMap()
  var keepsBody = false
  var retained = ByteQueue()
  var retainLimit: UInt64 = 0
  var retainedWhole = true
  var replayDelay: UInt64 = 0
  var replayTimer = TimerID.none
  var avoidAttempts: UInt32 = 0
  var holdsRetry = false
  var tried = AttemptedHosts.none

  var cluster: Ref<ClusterView>?
  /// Whom the request is for, where the cluster's TLS is to know.
  var name: Block?
  /// The endpoint, pinned for as long as the stream speaks of it.
  var host: Ref<Host>?
  /// Its address; known as long as `host` is.
  var hostAddress = SocketAddress()
  var holdsRequest = false
  var holdsPending = false
  var framing = BodyFraming.none
  /// The cluster's bound on one attempt.
  var durationTimer = TimerID.none
  /// A trusted caller's own bound (`x-envoy-upstream-stream-duration-ms`).
  var askedDuration: UInt64?
  /// The endpoint reset the stream, and not the connection.
  var wasReset = false
  /// A filter has counted the route's timeout: its reply is the cluster's failure.
  var routeTimedOut = false
}

extension Ref where Value == RequestStream {
  var worker: Ref<Worker> {
    guard let worker = value.worker else { preconditionFailure("an open stream has a worker") }
    return worker
  }

  var manager: Ref<ConnectionManager> {
    guard let manager = value.manager else { preconditionFailure("an open stream has a manager") }
    return manager
  }

  var snapshot: Ref<Snapshot> {
    guard let snapshot = value.snapshot else {
      preconditionFailure("an open stream has a snapshot")
    }
    return snapshot
  }

  /// The routes of its connection manager.
  var routes: RouteTable { snapshot.value.routes[manager.value.index] }

  var loop: EventLoop { worker.value.loop }

  /// Prepares a fresh slot.
  /// - Parameter snapshot: held for the stream, which gives it back at its end.
  func open(
    on worker: Ref<Worker>, manager: Ref<ConnectionManager>,
    downstream: Ref<DownstreamConnection>?, snapshot: Ref<Snapshot>
  ) {
    value.worker = worker
    value.manager = manager
    value.snapshot = snapshot
    value.downstream = downstream
    if let downstream { value.client = .http1(downstream) }
    value.startedAt = worker.value.loop.now
    value.startedWallClock = worker.value.loop.wallClock
    value.lastActivity = value.startedAt
    value.streamID = worker.value.nextStreamID()
    value.request.limit = manager.value.bufferLimit
    value.response.limit = manager.value.bufferLimit
  }

  /// Who asks, as far as we trust what we are told; no address for a request of our own.
  var clientAddress: SocketAddress {
    if value.claimedAddress.isKnown { return value.claimedAddress }
    return value.downstream?.value.remote ?? SocketAddress()
  }

  /// 1. The head is whole: admission, route, filters.
  /// - Parameter endStream: no body follows.
  func begin(
    method: Bytes, target: Bytes, minor: Int, wantsUpgrade: Bool, endStream: Bool
  ) {
    value.minor = UInt8(truncatingIfNeeded: minor)
    value.wantsUpgrade = wantsUpgrade
    value.request.ended = endStream
    if endStream { value.requestEndedAt = value.startedAt }
    countStarted()
    guard admit(method: method, target: target), !isShed() else { return }
    enterChain()
  }

  /// The same for a head of HTTP/2, which is in `requestHead` already.
  func beginHTTP2(endStream: Bool, isTooLarge: Bool) {
    value.request.ended = endStream
    if endStream { value.requestEndedAt = value.startedAt }
    countStarted()
    guard !isTooLarge, !value.requestHead.overflowed else { return refuseHTTP2(.headTooLarge) }
    guard admitHTTP2(), !isShed() else { return }
    enterChain()
  }

  /// The process has too much to do already. No filter hears of the request.
  private func isShed() -> Bool {
    guard worker.value.overload.isFull(.stopAcceptingRequests) else { return false }
    worker.value.stats.add(manager.value.stats.value.rqOverloadClose)
    replyLocally(.overload)
    return true
  }

  private func enterChain() {
    matchRoute()
    startTimers()
    buildChain()
    guard manager.value.strictHeaders.isEmpty || checkStrictly() else { return }
    runRequestHead(from: 0)
  }
}
