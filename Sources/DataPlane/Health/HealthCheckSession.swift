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
  private unowned let cluster: ClusterHealthChecks
  private let address: SocketAddress
  /// The endpoint's name for checks; a copy, because the host may outlive that endpoint.
  private let ownName: [UInt8]
  private let socket: CheckSocket
  private var state: HealthCheckState
  private var answer: HealthCheckAnswer
  /// TCP: what came, and how many of the expected pieces it had.
  private var arrived: [UInt8] = []
  /// gRPC: made when first needed.
  private var channel: RPCChannel?
  private var call: RPCCall?
  private var reply: [UInt8]?
  private var isAsking = false
  /// The end of the wait at hand: for the next check, or for the answer.
  private var timer = TimerID.none

  /// Bytes of a TCP answer in which the expected ones are looked for.
  private static let arrivedBytes = 64 * 1024

  init(
    _ host: Ref<Host>, at address: SocketAddress, named ownName: Bytes,
    of cluster: ClusterHealthChecks
  ) {
    self.host = host
    hostID = host.value.id
    self.address = address
    self.ownName = ownName.array
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
    call?.cancel()
    channel?.close()
    socket.onEvent = { _ in }
    socket.close()
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
    if case .grpc(let grpc) = cluster.check.question { return ask(grpc) }
    guard !socket.isOpen else { return question() }
    socket.connect(to: address, cluster.tlsPlace(), hostname: host.value.hostname)
  }

  private func question() {
    switch cluster.check.question {
    case .http(let http):
      answer = HealthCheckAnswer(isHEAD: http.method == "HEAD")
      socket.send(request(http))
    case .tcp(let tcp):
      arrived = []
      if !tcp.send.isEmpty { socket.send(tcp.send.array) }
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
    return (configured.isEmpty ? cluster.config.value.name : configured).array
  }

  private func request(_ http: HTTPHealthCheck) -> [UInt8] {
    let name = name(http.host)
    return http.method.array + Array(" ".utf8) + http.path.array + Array(" HTTP/1.1\r\nhost: ".utf8)
      + name + Array("\r\n".utf8) + http.fields.array + Array("\r\n".utf8)
  }

  private func timedOut() {
    socket.close()
    call?.cancel()
    channel?.close()
    failed(.timeout)
  }

  // MARK: Answers

  private func take(_ event: CheckSocket.Event) {
    switch event {
    case .connected: question()
    case .bytes(let bytes): take(bytes)
    case .ended: ended()
    }
  }

  private func ended() {
    switch cluster.check.question {
    case .http:
      guard isAsking else { return }
      if answer.endsWithConnection { judge() } else { failed(.network) }
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
        judge()
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

  private func judge() {
    guard case .http(let http) = cluster.check.question else { return }
    if http.expected.contains(answer.status) { return succeeded(isDegraded: answer.isDegraded) }
    if answer.asksToBeLeft { flags.insert(.excluded) }
    failed(.answer(isRetriable: http.retriable.contains(answer.status)))
  }

  // MARK: Results

  private func succeeded(isDegraded: Bool) {
    cluster.count(cluster.stats.success)
    let change = state.succeeded()
    flags.subtract([.pendingActive, .timedOut, .degradedActive])
    if state.isHealthy { flags.subtract([.failedActive, .excluded]) }
    if isDegraded { flags.insert(.degradedActive) }
    note(succeeded: true, change)
  }

  private func failed(_ failure: HealthCheckState.Failure) {
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
    socket.close()
    failed(.passive)
  }
}

// MARK: gRPC

extension HealthCheckSession: RPCCallHandler {
  private func ask(_ grpc: GRPCHealthCheck) {
    let channel =
      self.channel
      ?? RPCChannel(
        cluster.rpc, authority: String(decoding: name(grpc.authority), as: UTF8.self),
        connectMilliseconds: cluster.check.timeout
      ) { [address] in address }
    self.channel = channel
    reply = nil
    let call = channel.start("/grpc.health.v1.Health/Check", handler: self)
    self.call = call
    call.send(GRPCHealthMessage.request(service: grpc.service.array))
    call.finish()
  }

  func received(_ message: [UInt8]) { reply = message }

  func ended(_ status: RPCStatus) {
    call = nil
    guard isAsking else { return }
    if !cluster.check.reusesConnection { channel?.close() }
    switch status.code {
    case .ok where reply.map(GRPCHealthMessage.isServing) ?? false: succeeded(isDegraded: false)
    case .unavailable, .deadlineExceeded: failed(.network)
    default: failed(.answer(isRetriable: false))
    }
  }
}

/// The two messages of `grpc.health.v1`, small enough to be written by hand.
enum GRPCHealthMessage {
  /// `HealthCheckRequest`: the service is field 1, a string.
  static func request(service: [UInt8]) -> [UInt8] {
    guard !service.isEmpty else { return [] }
    var message: [UInt8] = [0x0A]
    var length = service.count
    while length > 127 {
      message.append(UInt8(truncatingIfNeeded: length) | 0x80)
      length >>= 7
    }
    return message + [UInt8(length)] + service
  }

  /// `HealthCheckResponse`: the status is field 1, an enum, in which SERVING is 1.
  static func isServing(_ message: [UInt8]) -> Bool { message == [0x08, 0x01] }
}

extension Bytes {
  fileprivate var array: [UInt8] { (0..<count).map { self[$0] } }
}
