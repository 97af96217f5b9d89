import Engine
import HTTPCodec

/// Follows one call that we make. Called on the loop's thread; nothing after `ended`.
package protocol RPCCallHandler: AnyObject {
  /// A message from the server.
  func received(_ message: [UInt8])
  /// The call is over, exactly once.
  func ended(_ status: RPCStatus)
  /// What was queued has left, after `isBlocked` had been true.
  func sendable()
}

extension RPCCallHandler {
  package func sendable() {}
}

/// A way to a server: a connection when there are calls to make, another one when it has ended.
///
///     let runtime = RPCRuntime(loop: loop)
///     let channel = RPCChannel(runtime, authority: "control:15010") { address }
///     let call = channel.start("/helloworld.Greeter/SayHello", handler: self)
///     call.send(request)
///     call.finish()
///
/// `self.received` is called with each answer and `self.ended` at the end. A stream that is to be
/// there for as long as the process, such as ADS, is an `RPCPersistentStream` on a channel.
package final class RPCChannel {
  let runtime: RPCRuntime
  private let authority: String
  private let connectMilliseconds: UInt64
  private let keepalive: HTTP2Keepalive
  private let userAgent: String
  private let source: SourceBinding?
  private let isSecured: Bool
  private let prepare: ((Ref<Connection>) -> RPCTransport?)?
  private let address: () -> SocketAddress?
  private var connections: [ObjectIdentifier: RPCConnection] = [:]

  /// - Parameters:
  ///   - connectMilliseconds: how long a connection may take to come about; Envoy's default.
  ///   - keepalive: when the server is asked whether it is there; never, unless told otherwise,
  ///     because gRPC's own servers end connections that ask more often than every five minutes.
  ///   - userAgent: what we call ourselves.
  ///   - source: where connections begin; nil leaves that to the kernel.
  ///   - isSecured: `prepare` puts TLS between, and calls say so.
  ///   - prepare: what is done with a connection that has just been opened, before a byte has passed;
  ///     nil when that fails.
  ///   - address: where the server is, asked for every connection; nil when nobody knows.
  package init(
    _ runtime: RPCRuntime, authority: String, connectMilliseconds: UInt64 = 5000,
    keepalive: HTTP2Keepalive = HTTP2Keepalive(), userAgent: String = "fairlead",
    source: SourceBinding? = nil, isSecured: Bool = false,
    prepare: ((Ref<Connection>) -> RPCTransport?)? = nil, address: @escaping () -> SocketAddress?
  ) {
    self.runtime = runtime
    self.authority = authority
    self.connectMilliseconds = connectMilliseconds
    self.keepalive = keepalive
    self.userAgent = userAgent
    self.source = source
    self.isSecured = isSecured
    self.prepare = prepare
    self.address = address
  }

  /// A channel over TLS.
  package convenience init(
    _ runtime: RPCRuntime, authority: String, security: RPCSecurity,
    connectMilliseconds: UInt64 = 5000, keepalive: HTTP2Keepalive = HTTP2Keepalive(),
    address: @escaping () -> SocketAddress?
  ) {
    self.init(
      runtime, authority: authority, connectMilliseconds: connectMilliseconds,
      keepalive: keepalive, isSecured: true, prepare: { security.secure(connecting: $0) },
      address: address)
  }

  deinit { close() }

  /// Begins a call. What goes wrong, at once or later, is told by `ended`, never from within this.
  /// - Parameters:
  ///   - path: `/package.Service/Method`.
  ///   - milliseconds: how long the call may take; nil is no bound.
  package func start(
    _ path: String, metadata: RPCFields = [], timeout milliseconds: UInt64? = nil,
    handler: RPCCallHandler
  ) -> RPCCall {
    let call = RPCCall(runtime.loop, handler: handler)
    var fields: RPCFields = [
      (":method", "POST"), (":scheme", scheme), (":path", path), (":authority", authority),
      ("te", "trailers"), ("content-type", "application/grpc"), ("user-agent", userAgent),
    ]
    if let milliseconds {
      fields.add("grpc-timeout", RPCTimeout.text(milliseconds))
      call.startDeadline(milliseconds)
    }
    begin(call, fields + metadata, hasBody: true)
    return call
  }

  /// Asks something that is not gRPC, and has no body.
  /// - Parameter fields: behind `:scheme` and `:authority`, which the channel knows.
  package func ask(
    method: String, path: String, _ fields: RPCFields, then: @escaping (PlainAnswer?) -> Void
  ) -> PlainQuestion {
    let question = PlainQuestion(then: then)
    let head: RPCFields = [
      (":method", method), (":scheme", scheme), (":path", path), (":authority", authority),
    ]
    begin(question, head + fields, hasBody: false)
    return question
  }

  /// The loop that everything here belongs to.
  package var loop: EventLoop { runtime.loop }

  private var scheme: String { isSecured ? "https" : "http" }

  private func begin(_ stream: RPCStream, _ fields: RPCFields, hasBody: Bool) {
    do throws(RPCStatus) {
      let connection = try takeConnection()
      guard connection.start(stream, fields, hasBody: hasBody) else {
        throw RPCStatus(.unavailable, "the connection takes no more calls")
      }
    } catch {
      runtime.loop.soon { stream.lost(error) }
    }
  }

  private func takeConnection() throws(RPCStatus) -> RPCConnection {
    if let known = connections.values.first(where: \.takesCalls) { return known }
    guard let address = address() else {
      throw RPCStatus(.unavailable, "\(authority) has no address")
    }
    let connection = RPCConnection(runtime, owner: self, peer: address, keepalive: keepalive)
    guard connection.connect(within: connectMilliseconds, from: source, prepare: prepare) else {
      throw RPCStatus(.unavailable, "cannot connect to \(address.description)")
    }
    connections[ObjectIdentifier(connection)] = connection
    return connection
  }

  /// Ends everything at once; calls fail.
  package func close() {
    for connection in connections.values {
      connection.close(RPCStatus(.cancelled, "the channel is closed"))
    }
  }
}

extension RPCChannel: RPCConnectionOwner {
  func failedToBegin(_ connection: RPCConnection, _ reason: String) {}

  /// Servers open no streams.
  func streamOpened(on connection: RPCConnection) -> RPCStream? { nil }
  /// `takesCalls` says so from now on.
  func goesAway(_ connection: RPCConnection) {}
  func closed(_ connection: RPCConnection) { connections[ObjectIdentifier(connection)] = nil }
}

/// One call, as its client sees it.
package final class RPCCall: RPCStream {
  private var handler: RPCCallHandler?
  private let loop: EventLoop
  private var deadline: LoopTimer?
  /// The server has said how the call ended; else the connection failed it, or we gave it up.
  package private(set) var isAnswered = false
  /// What the answer's head says is wrong with it, to be told with its end.
  private var refusal: RPCStatus?

  init(_ loop: EventLoop, handler: RPCCallHandler) {
    self.loop = loop
    self.handler = handler
    super.init(messageLimit: RPCLimits.responseBytes)
  }

  // MARK: Asking

  /// Queues a message; nothing happens when the call is over.
  package func send(_ message: [UInt8]) {
    guard !isOver else { return }
    queue(message)
  }

  /// Says that no more messages follow.
  package func finish() { endOutput(trailers: nil) }

  /// Gives the call up; `ended` is not called any more.
  package func cancel() {
    handler = nil
    giveUp(RPCStatus(.cancelled))
  }

  func startDeadline(_ milliseconds: UInt64) {
    let timer = LoopTimer(on: loop)
    timer.set(milliseconds: milliseconds) { [unowned self] in
      giveUp(RPCStatus(.deadlineExceeded, "no answer in time"))
    }
    deadline = timer
  }

  private func giveUp(_ status: RPCStatus) {
    guard !isOver else { return }
    reset(HTTP2Code.cancel)
    conclude(status)
  }

  private func conclude(_ status: RPCStatus) {
    guard !isOver else { return }
    end()
    deadline?.cancel()
    let handler = self.handler
    self.handler = nil
    handler?.ended(status)
  }

  // MARK: The server's side

  override func headCame(_ fields: RPCFields) {
    let status = fields[":status"] ?? ""
    if status != "200" {
      refusal = .fromHTTP(Int(status) ?? 0)
    } else if !fields.areGRPC {
      refusal = RPCStatus(
        .unknown, "the answer's content-type is '\(fields["content-type"] ?? "")', not gRPC's")
    }
    // What follows would be somebody's error page.
    guard let refusal else { return }
    isAnswered = true
    giveUp(refusal)
  }

  override func messageCame(_ message: [UInt8]) { handler?.received(message) }

  override func peerFinished(trailers: RPCFields?) {
    // The server wants no more of what we have.
    if !hasEndedOutput { reset(HTTP2Code.cancel) }
    isAnswered = true
    conclude(
      trailers.map { .fromTrailers($0) }
        ?? RPCStatus(.internal, "the answer ended without trailers"))
  }

  override func peerFailed(_ status: RPCStatus) { giveUp(status) }

  override func lost(_ status: RPCStatus) { conclude(status) }

  override func drained() { handler?.sendable() }
}
