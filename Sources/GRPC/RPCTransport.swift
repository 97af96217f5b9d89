import CLinux
import Engine
import TLS

/// What stands between a connection and its socket, as far as calls have to know about it.
package struct RPCTransport {
  /// Why it failed, in words; empty while it has not.
  let failure: () -> String
  /// Its two ends have agreed upon HTTP/2, or had no way to.
  let carriesHTTP2: () -> Bool
  /// The certificate that the peer presented, if it was verified.
  let peer: () -> CertificateFacts?

  package init(
    failure: @escaping () -> String = { "" }, carriesHTTP2: @escaping () -> Bool = { true },
    peer: @escaping () -> CertificateFacts? = { nil }
  ) {
    self.failure = failure
    self.carriesHTTP2 = carriesHTTP2
    self.peer = peer
  }

  /// Nothing: plain bytes.
  package static var plain: RPCTransport { RPCTransport() }
}

/// TLS for the connections of a channel, or of a port of a server.
///
/// The context may be replaced at any time: new connections begin with it, and those that are there
/// keep what they began with.
package final class RPCSecurity {
  package var context: TLSContext
  private let serverName: String
  private let requiredName: [UInt8]

  /// For a server. Whoever presents a certificate has it verified by the context's rules; whether one
  /// has to be presented is the context's to say.
  package init(server context: TLSContext) {
    self.context = context
    serverName = ""
    requiredName = []
  }

  /// For a channel.
  /// - Parameters:
  ///   - serverName: whom to ask for (SNI), a DNS name; empty asks for nobody.
  ///   - required: what the server's certificate has to name, in whatever kind of name; empty: the
  ///     context's rules are all.
  package init(client context: TLSContext, serverName: String = "", required: String = "") {
    self.context = context
    self.serverName = serverName
    requiredName = Array(required.utf8)
  }

  /// What gRPC demands of both ends (gRPC over HTTP/2, "Security").
  package static let protocols = ["h2"]

  /// Puts TLS under a connection that was accepted; nil when out of memory.
  func secure(accepted socket: Ref<Connection>) -> RPCTransport? {
    guard let session = TLSSession.server(context, fd: socket.value.fd) else { return nil }
    return Self.secure(socket, session)
  }

  /// Puts TLS under a connection that has begun to connect; nil when out of memory, or when the name is
  /// longer than TLS carries.
  package func secure(connecting socket: Ref<Connection>) -> RPCTransport? {
    let session = TLSSession.client(
      context, fd: socket.value.fd, name: serverName, required: requiredName)
    guard let session else { return nil }
    return Self.secure(socket, session)
  }

  private static func secure(
    _ socket: Ref<Connection>, _ session: consuming TLSSession
  ) -> RPCTransport {
    let tls = Ref<SecureSocket>.immortal(SecureSocket(session))
    unsafe socket.secure(SecureSocket.transport, context: tls.raw)
    // The closures are called only while the connection is open, and so the session there.
    return RPCTransport(
      failure: { tls.value.session.failureText },
      carriesHTTP2: { tls.value.session.applicationProtocol.elementsEqual("h2".utf8) },
      peer: { tls.value.session.isPeerVerified ? tls.value.session.peer : nil })
  }
}

/// The TLS of one connection: made with its socket, and freed by the engine when that is closed.
private struct SecureSocket: ~Copyable {
  fileprivate var session: TLSSession

  init(_ session: consuming TLSSession) { self.session = session }

  nonisolated(unsafe) static let transport = Ref<Transport>.immortal(
    unsafe Transport(
      handshake: { unsafe Ref<SecureSocket>(raw: $0).handshake() },
      read: { unsafe Ref<SecureSocket>(raw: $0).read(into: $1, capacity: $2) },
      write: { unsafe Ref<SecureSocket>(raw: $0).write($1, count: $2) },
      mayRead: { unsafe Ref<SecureSocket>(raw: $0).value.session.mayRead },
      wake: { unsafe Ref<SecureSocket>(raw: $0).value.session.wake(hungUp: $1) },
      sayGoodbye: { unsafe Ref<SecureSocket>(raw: $0).value.session.shutdown() },
      release: { unsafe Ref<SecureSocket>(raw: $0).destroy() }))
}

extension Ref where Value == SecureSocket {
  fileprivate func handshake() -> Int {
    switch value.session.handshake() {
    case .done: 0
    case .waitForRead, .waitForWrite: -Int(EAGAIN)
    case .end, .failed: failureNumber
    }
  }

  fileprivate func read(into memory: UnsafeMutablePointer<UInt8>, capacity: Int) -> Int {
    switch unsafe value.session.read(into: memory, capacity: capacity) {
    case .done(let n): n
    case .waitForRead, .waitForWrite: -Int(EAGAIN)
    case .end: 0
    case .failed: failureNumber
    }
  }

  fileprivate func write(_ memory: UnsafePointer<UInt8>, count: Int) -> Int {
    switch unsafe value.session.write(memory, count: count) {
    case .done(let n): n
    case .waitForRead, .waitForWrite: -Int(EAGAIN)
    case .end, .failed: failureNumber
    }
  }

  private var failureNumber: Int {
    let error = value.session.socketError
    return -Int(error == 0 ? EPROTO : error)
  }
}
