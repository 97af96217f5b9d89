import Engine
import GRPC
import HTTPModel
import Telemetry
import Upstream

/// The checks of one host: asks, waits for the answer, and waits until it asks again.
final class HealthCheckSession {
  /// There until the cluster's hosts are others; whoever is told of those may find it freed.
  let host: Ref<Host>
  let hostID: UInt32
  /// What the checks have found so far.
  private(set) var flags: HostFlags
  unowned let cluster: ClusterHealthChecks
  private let address: SocketAddress
  /// The endpoint's name for checks; a copy, because the host may outlive that endpoint.
  private let ownName: [UInt8]
  private let socket: CheckSocket
  private var state: HealthCheckState
  private var answer: HealthCheckAnswer
  /// TCP: what came, and how many of the expected pieces it had.
  private var arrived: [UInt8] = []
  /// HTTP/2: made when first needed.
  private var openedChannel: RPCChannel?
  var question: PlainQuestion?
  var call: RPCCall?
  var reply: [UInt8]?
  private(set) var isAsking = false
  /// The end of the wait at hand: for the next check, or for the answer.
  private var timer = TimerID.none

  /// Bytes of a TCP answer in which the expected ones are looked for.
  private static let arrivedBytes = 64 * 1024
  private static let userAgent = "Envoy/HC"

  init(
    _ host: Ref<Host>, at address: SocketAddress, named ownName: Bytes,
    of cluster: ClusterHealthChecks
  ) {
    self.host = host
    hostID = host.value.id
    self.address = address
    self.ownName = ownName.copy
    self.cluster = cluster
    flags = .unchecked(in: cluster.config)
    state = HealthCheckState(cluster.check.thresholds)
    answer = HealthCheckAnswer(isHEAD: false)
    socket = CheckSocket(on: cluster.loop)
    socket.onEvent = { [unowned self] in take($0) }
  }

  deinit { cluster.loop.cancel(timer) }

  /// Begins: at once, or within the initial jitter.
  func start() {
    let jitter = cluster.check.intervals.initialJitter
    guard jitter > 0 else { return wait(1) }
    wait(max(1, cluster.random() % jitter))
  }

  /// Ends for good.
  func stop() {
    cluster.loop.cancel(timer)
    timer = .none
    socket.onEvent = { _ in }
    disconnect()
  }

  /// The next question is asked on another connection.
  func disconnect() {
    socket.close()
    question?.cancel()
    call?.cancel()
    openedChannel?.close()
  }

  private func wait(_ milliseconds: UInt64) {
    cluster.loop.cancel(timer)
    // SAFETY: `deinit` cancels the timer.
    timer = unsafe cluster.loop.after(
      milliseconds: milliseconds, context: Unmanaged.passUnretained(self).toOpaque()
    ) { raw, _ in
      let session = unsafe Unmanaged<HealthCheckSession>.fromOpaque(raw).takeUnretainedValue()
      session.timer = .none
      if session.isAsking { session.timedOut() } else { session.ask() }
    }
  }

  // MARK: Asking

  private func ask() {
    cluster.count(cluster.stats.attempt)
    isAsking = true
    wait(cluster.check.timeout)
    switch cluster.check.question {
    case .grpc(let grpc): return ask(grpc)
    case .http(let http) where http.isHTTP2: return ask(http)
    case .http, .tcp: break
    }
    guard !socket.isOpen else { return askOnSocket() }
    socket.connect(to: address, from: cluster.config.value.source) {
      cluster.prepare($0, to: address, hostname: host.value.hostname)
    }
  }

  var channel: RPCChannel {
    if let openedChannel { return openedChannel }
    let channel = makeChannel()
    openedChannel = channel
    return channel
  }

  private func makeChannel() -> RPCChannel {
    var name = name(.empty)
    switch cluster.check.question {
    case .grpc(let grpc): name = self.name(grpc.authority)
    case .http(let http): name = self.name(http.host)
    case .tcp: break
    }
    // The channel belongs to the session, and closes its connections when that stops.
    let prepare = { [unowned self] in
      cluster.prepare($0, to: address, hostname: host.value.hostname) ? RPCTransport.plain : nil
    }
    return RPCChannel(
      cluster.rpc, authority: String(decoding: name, as: UTF8.self),
      connectMilliseconds: cluster.check.timeout, userAgent: Self.userAgent,
      source: cluster.config.value.source, isSecured: cluster.isSecured,
      prepare: cluster.isPreparing ? prepare : nil
    ) { [address] in address }
  }

  private func askOnSocket() {
    switch cluster.check.question {
    case .http(let http):
      answer = HealthCheckAnswer(isHEAD: http.method == "HEAD")
      socket.send(request(http))
    case .tcp(let tcp):
      arrived = []
      if !tcp.send.isEmpty { socket.send(tcp.send.copy) }
      // Being able to connect was the question.
      if tcp.receive.isEmpty {
        socket.close()
        succeeded(isDegraded: false)
      }
    case .grpc: break
    }
  }

  /// What the host is called by: its own name for checks, the check's, or the cluster's.
  private func name(_ configured: Bytes) -> [UInt8] {
    if !ownName.isEmpty { return ownName }
    return (configured.isEmpty ? cluster.config.value.name : configured).copy
  }

  private func request(_ http: HTTPHealthCheck) -> [UInt8] {
    let name = name(http.host)
    return http.method.copy + Array(" ".utf8) + http.path.copy + Array(" HTTP/1.1\r\nhost: ".utf8)
      + name + Array("\r\n".utf8) + http.fields.copy + Array("\r\n".utf8)
  }

  private func timedOut() {
    disconnect()
    failed(.timeout)
  }

  // MARK: Answers

  private func take(_ event: CheckSocket.Event) {
    switch event {
    case .connected: askOnSocket()
    case .bytes(let bytes): take(bytes)
    case .ended: ended()
    }
  }

  private func ended() {
    switch cluster.check.question {
    case .http:
      guard isAsking else { return }
      if answer.endsWithConnection { judge(answer) } else { failed(.network) }
    case .grpc: return
    case .tcp:
      // A connection that closes between checks is a failure as well, as in Envoy.
      failed(.network)
    }
  }

  private func take(_ bytes: Bytes) {
    // Nobody asked: the host and we no longer agree on where answers begin.
    guard isAsking else { return socket.close() }
    switch cluster.check.question {
    case .http:
      switch answer.take(bytes, &cluster.loop.state.value.blocks) {
      case .more: return
      case .invalid:
        socket.close()
        failed(.network)
      case .whole:
        if !answer.keepsAlive || !cluster.check.reusesConnection { socket.close() }
        judge(answer)
      }
    case .tcp(let tcp):
      for index in 0..<bytes.count { arrived.append(bytes[index]) }
      if matches(tcp.receive) {
        arrived = []
        if !cluster.check.reusesConnection { socket.close() }
        succeeded(isDegraded: false)
      } else if arrived.count > Self.arrivedBytes {
        socket.close()
        failed(.network)
      }
    case .grpc: return
    }
  }

  /// Every expected piece is there, each behind the one before.
  private func matches(_ pieces: Table<Bytes>) -> Bool {
    unsafe arrived.withUnsafeBufferPointer { buffer in
      guard let base = buffer.baseAddress else { return pieces.isEmpty }
      var rest = unsafe Bytes(base: base, count: buffer.count)
      for index in 0..<pieces.count {
        guard let found = rest.range(of: pieces[index]) else { return false }
        rest = rest.dropFirst(found + pieces[index].count)
      }
      return true
    }
  }

  private func judge(_ answer: borrowing HealthCheckAnswer) {
    judge(
      status: answer.status, isDegraded: answer.isDegraded, asksToBeLeft: answer.asksToBeLeft)
  }

  func judge(status: Int, isDegraded: Bool, asksToBeLeft: Bool) {
    guard case .http(let http) = cluster.check.question else { return }
    if http.expected.contains(status) { return succeeded(isDegraded: isDegraded) }
    if asksToBeLeft { flags.insert(.excluded) }
    failed(.answer(isRetriable: http.retriable.contains(status)))
  }

  // MARK: Results

  func succeeded(isDegraded: Bool) {
    cluster.count(cluster.stats.success)
    let change = state.succeeded()
    flags.subtract([.pendingActive, .timedOut, .degradedActive])
    if state.isHealthy { flags.subtract([.failedActive, .excluded]) }
    if isDegraded { flags.insert(.degradedActive) }
    note(succeeded: true, change)
  }

  func failed(_ failure: HealthCheckState.Failure) {
    cluster.count(cluster.stats.failure)
    flags.subtract([.pendingActive, .timedOut])
    switch failure {
    case .timeout:
      flags.insert(.timedOut)
      cluster.count(cluster.stats.networkFailure)
    case .network: cluster.count(cluster.stats.networkFailure)
    case .passive: cluster.count(cluster.stats.passiveFailure)
    case .answer: break
    }
    let change = state.failed(failure)
    if !state.isHealthy { flags.insert(.failedActive) }
    note(succeeded: false, change)
  }

  private func note(succeeded: Bool, _ change: HealthCheckState.Change) {
    isAsking = false
    let intervals = cluster.check.intervals
    let next = intervals.next(
      hasTraffic: cluster.hasTraffic, succeeded: succeeded, change: change)
    wait(intervals.jittered(next, random: cluster.random()))
    cluster.note(self, change)
  }

  /// A response to a request asked that no more be sent.
  func failedPassively() {
    flags.insert(.excluded)
    guard state.isHealthy else { return cluster.note(self, .none) }
    disconnect()
    failed(.passive)
  }
}
