import Engine
import GRPC
import HTTPModel
import Upstream
import XDSClient

/// Checks the application behind the proxy, in the place of Istio's agent, and reports what changes. Main
/// thread.
///
/// The application withstands nothing of us, and we nothing of it but what a health check's answer may
/// be: its head is judged, and the connection closed.
final class ApplicationProbe {
  private let probe: ReadinessProbe
  private let loop: EventLoop
  private let socket: CheckSocket
  private let timer: LoopTimer
  /// For connections with TLS.
  private let place: Ref<TLSPlace>?
  private let isProxyReady: () -> Bool
  private let report: (ApplicationHealth) -> Void
  private var state: ReadinessState
  private var answer = HealthCheckAnswer(isHEAD: false)
  private var channel: RPCChannel?
  private var call: RPCCall?
  private var reply: [UInt8]?
  private var isAsking = false
  private var askedAt: UInt64 = 0

  /// - Parameters:
  ///   - place: of the probe's `security`.
  ///   - isProxyReady: a workload whose proxy cannot serve is not ready either.
  ///   - report: called with what has changed, never from within a call of this object.
  init(
    _ probe: ReadinessProbe, on loop: EventLoop, place: Ref<TLSPlace>?,
    isProxyReady: @escaping () -> Bool,
    report: @escaping (ApplicationHealth) -> Void
  ) {
    self.probe = probe
    self.loop = loop
    self.place = place
    self.isProxyReady = isProxyReady
    self.report = report
    socket = CheckSocket(on: loop)
    timer = LoopTimer(on: loop)
    state = ReadinessState(
      successThreshold: probe.successThreshold, failureThreshold: probe.failureThreshold)
    socket.onEvent = { [weak self] in self?.take($0) }
  }

  /// Begins when the initial delay is over.
  func start() { wait(probe.initialDelay) }

  private func wait(_ milliseconds: UInt64) {
    timer.set(milliseconds: max(1, milliseconds)) { [weak self] in self?.ask() }
  }

  private var now: UInt64 { loop.now / 1_000_000 }

  // MARK: Asking

  private func ask() {
    askedAt = now
    isAsking = true
    guard isProxyReady() else { return failed("the proxy is not ready") }
    timer.set(milliseconds: probe.timeout) { [weak self] in
      guard let self else { return }
      failed("no answer of \(probe.address.description) within \(probe.timeout / 1000)s")
    }
    if case .grpc(let service) = probe.question { return ask(for: service) }
    socket.connect(to: probe.address, from: nil, prepare: secure)
  }

  /// Puts TLS in between, where it is to be; false when out of memory.
  private func secure(_ connection: Ref<Connection>) -> Bool {
    guard let place else { return true }
    let secured = SecureHandle.client(place, fd: connection.value.fd, hostname: .empty)
    guard let secured else { return false }
    unsafe connection.secure(SecureConnection.transport, context: secured.raw)
    return true
  }

  private func ask(for service: String) {
    let channel = RPCChannel(
      RPCRuntime(loop: loop), authority: probe.address.description,
      connectMilliseconds: probe.timeout, userAgent: ReadinessProbe.userAgent
    ) { [address = probe.address] in address }
    self.channel = channel
    reply = nil
    let call = channel.start("/grpc.health.v1.Health/Check", handler: self)
    self.call = call
    call.send(GRPCHealthMessage.request(service: Array(service.utf8)))
    call.finish()
  }

  // MARK: Answers

  private func take(_ event: CheckSocket.Event) {
    guard isAsking else { return socket.close() }
    switch event {
    case .connected:
      guard case .http(let request) = probe.question else { return succeeded() }
      answer = HealthCheckAnswer(isHEAD: false)
      socket.send(request)
    case .bytes(let bytes):
      let step = answer.take(bytes, &loop.state.value.blocks)
      if case .invalid = step {
        return failed("the answer of \(probe.address.description) is not HTTP/1.1")
      }
      if answer.hasHead { judge(answer.status) }
    case .ended:
      failed("\(probe.address.description) cannot be connected to, or closes without an answer")
    }
  }

  private func judge(_ status: Int) {
    guard 200..<400 ~= status else {
      return failed("\(probe.address.description) answers with \(status)")
    }
    succeeded()
  }

  // MARK: Results

  private func succeeded() {
    finish()
    if state.succeeded() { report(.ready) }
  }

  private func failed(_ reason: String) {
    finish()
    if state.failed() { report(.unready(reason)) }
  }

  /// The next check begins a period after this one did.
  private func finish() {
    isAsking = false
    socket.close()
    call?.cancel()
    call = nil
    channel?.close()
    channel = nil
    let next = askedAt + probe.period
    wait(next > now ? next - now : 1)
  }
}

extension ApplicationProbe: RPCCallHandler {
  /// More than one message is no answer to this question.
  func received(_ message: [UInt8]) { reply = reply == nil ? message : [] }

  func ended(_ status: RPCStatus) {
    guard isAsking, call != nil else { return }
    call = nil
    guard status.code == .ok else {
      return failed("\(probe.address.description) answers with \(status.code): \(status.message)")
    }
    guard let reply, GRPCHealthMessage.isServing(reply) else {
      return failed("\(probe.address.description) says that it is not serving")
    }
    succeeded()
  }
}
