import Engine
import HTTPCodec
import TLS

/// Takes part in one call on a server. Called on the loop's thread.
package protocol RPCServerHandler: AnyObject {
  /// A message from the client.
  func received(_ message: [UInt8])
  /// The client sends no more; the call is answered with `finish`.
  func clientFinished()
  /// The call is over: it was finished, cancelled, late, or its connection is gone.
  func ended()
  /// What was queued has left, after `isBlocked` had been true.
  func sendable()
}

extension RPCServerHandler {
  package func sendable() {}
}

/// One call, as its server sees it.
package final class RPCServerCall: RPCStream {
  private unowned let server: RPCServer
  private var handler: RPCServerHandler?
  private var deadline: LoopTimer?
  private var hasSentHead = false
  private var hasFinished = false
  /// What the client sent with the call; pseudo fields included.
  package private(set) var metadata: RPCFields = []

  init(_ server: RPCServer) {
    self.server = server
    super.init(messageLimit: RPCLimits.requestBytes)
  }

  /// Who calls.
  package var peer: SocketAddress { connection?.peer ?? SocketAddress() }

  /// The call came over TLS.
  package var isSecured: Bool { connection?.isSecured == true }

  /// The certificate that the caller presented, verified by the rules of the port when the connection
  /// began; nil when there was none. It may have expired since.
  package var peerCertificate: CertificateFacts? { connection?.peerCertificate }

  // MARK: Answering

  /// Queues a message; nothing happens when the call is over.
  package func send(_ message: [UInt8]) {
    guard !isOver else { return }
    if !hasSentHead {
      hasSentHead = true
      let head: RPCFields = [(":status", "200"), ("content-type", "application/grpc")]
      guard connection?.respond(self, head, endStream: false) == true else {
        return reset(HTTP2Code.internalError)
      }
    }
    queue(message)
  }

  /// Ends the call.
  package func finish(_ status: RPCStatus) {
    guard !isOver, !hasFinished else { return }
    hasFinished = true
    if hasSentHead {
      endOutput(trailers: status.fields)
    } else {
      let head: RPCFields = [(":status", "200"), ("content-type", "application/grpc")]
      refuse(head + status.fields)
    }
    finishHandling()
  }

  private func refuse(_ head: RPCFields) {
    hasSentHead = true
    hasFinished = true
    dropOutput()
    if connection?.respond(self, head, endStream: true) != true {
      reset(HTTP2Code.internalError)
    }
  }

  private func finishHandling() {
    end()
    deadline?.cancel()
    let handler = self.handler
    self.handler = nil
    handler?.ended()
  }

  // MARK: The client's side

  override func headCame(_ fields: RPCFields) {
    metadata = fields
    // What does not speak gRPC is answered in HTTP (gRPC over HTTP/2, "Requests").
    guard fields[":method"] == "POST" else {
      return refuseHTTP([(":status", "405"), ("allow", "POST")])
    }
    guard fields.areGRPC else { return refuseHTTP([(":status", "415")]) }
    let path = fields[":path"] ?? ""
    guard let begin = server.methods[path] else {
      return finish(RPCStatus(.unimplemented, "no method '\(path)'"))
    }
    if let text = fields["grpc-timeout"] {
      guard let milliseconds = RPCTimeout.milliseconds(text) else {
        return finish(RPCStatus(.internal, "'\(text)' is no grpc-timeout"))
      }
      startDeadline(milliseconds)
    }
    let handler = begin(self)
    // Who is refused at once is not heard.
    if isOver { handler.ended() } else { self.handler = handler }
  }

  private func refuseHTTP(_ head: RPCFields) {
    refuse(head)
    finishHandling()
  }

  private func startDeadline(_ milliseconds: UInt64) {
    let timer = LoopTimer(on: server.runtime.loop)
    timer.set(milliseconds: milliseconds) { [unowned self] in
      finish(RPCStatus(.deadlineExceeded, "the deadline has passed"))
    }
    deadline = timer
  }

  override func messageCame(_ message: [UInt8]) { handler?.received(message) }

  override func peerFinished(trailers: RPCFields?) {
    handler?.clientFinished()
  }

  override func peerFailed(_ status: RPCStatus) { finish(status) }

  override func lost(_ status: RPCStatus) { finishHandling() }

  override func drained() { handler?.sendable() }

  override func sentLast() {
    // An answer to half a request: the rest is not wanted (RFC 9113 §8.1).
    if !hasPeerEnded { connection?.reset(self, HTTP2Code.noError) }
  }
}
