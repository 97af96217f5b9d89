import CLinux
import Engine
import TLS
import Telemetry
import Upstream

/// The TLS of one connection: its session, and the place it counts at. Made with the socket, and freed
/// by the engine when the socket is closed.
struct SecureConnection: ~Copyable {
  fileprivate var session: TLSSession
  let place: Ref<TLSPlace>
  fileprivate var facts: TLSFacts?
  fileprivate var hasFailed = false
  /// What goes to the socket before TLS does, and how much of it has gone.
  fileprivate var prelude: [UInt8]
  fileprivate var preludeSent = 0
  private let fd: Int32

  init(
    _ session: consuming TLSSession, place: Ref<TLSPlace>, fd: Int32, prelude: [UInt8] = []
  ) {
    self.session = session
    self.place = place
    self.fd = fd
    self.prelude = prelude
  }

  /// 0 when nothing is left to send, or an errno, negated.
  fileprivate mutating func sendPrelude() -> Int {
    while preludeSent < prelude.count {
      let n = unsafe prelude.span.extracting(preludeSent...).withUnsafeBufferPointer {
        unsafe fl_send(fd, $0.baseAddress, $0.count)
      }
      guard n > 0 else { return n < 0 ? n : -Int(EPIPE) }
      preludeSent += n
    }
    prelude = []
    preludeSent = 0
    return 0
  }

  /// The functions through which the engine drives it.
  nonisolated(unsafe) static let transport = Ref<Transport>.immortal(
    unsafe Transport(
      handshake: { unsafe SecureHandle(raw: $0).handshake() },
      read: { unsafe SecureHandle(raw: $0).read(into: $1, capacity: $2) },
      write: { unsafe SecureHandle(raw: $0).write($1, count: $2) },
      mayRead: { unsafe SecureHandle(raw: $0).value.session.mayRead },
      wake: { unsafe SecureHandle(raw: $0).value.session.wake(hungUp: $1) },
      sayGoodbye: { unsafe SecureHandle(raw: $0).value.session.shutdown() },
      release: { unsafe SecureHandle(raw: $0).release() }))
}

typealias SecureHandle = Ref<SecureConnection>

extension Ref where Value == SecureConnection {
  /// A client's connection; nil when out of memory, when a request's name is too long for TLS, or as
  /// long as a secret is not there.
  /// - Parameters:
  ///   - asked: what the requests say that the connection is for.
  ///   - speaks: the HTTP that ALPN offers where the configuration names nothing; nil: something else.
  ///   - protocols: what to ask for by ALPN in place of what connections for requests do.
  ///   - prelude: bytes that go to the socket before the handshake does.
  static func client(
    _ place: Ref<TLSPlace>, fd: Int32, hostname: Bytes, asked: RequestedName = RequestedName(),
    speaks: UpstreamProtocol? = nil, protocols: [UInt8]? = nil, prelude: [UInt8] = []
  ) -> SecureHandle? {
    guard let context = place.value.context else {
      place.value.countNotReady(isClient: true)
      return nil
    }
    let names = place.value.client
    let name = names.serverName(of: hostname, asked: asked)
    guard
      let session = TLSSession.client(
        context, fd: fd, name: name,
        matchesName: names.matchesServerName && !name.isEmpty,
        required: asked.required.copy, offer: speaks?.offer ?? [], protocols: protocols,
        cache: place.value.sessions)
    else { return nil }
    return .immortal(SecureConnection(session, place: place, fd: fd, prelude: prelude))
  }

  /// A server's connection; nil when out of memory, or as long as a secret is not there.
  static func server(_ place: Ref<TLSPlace>, fd: Int32) -> SecureHandle? {
    guard let context = place.value.context else {
      place.value.countNotReady(isClient: false)
      return nil
    }
    guard let session = TLSSession.server(context, fd: fd) else { return nil }
    return .immortal(SecureConnection(session, place: place, fd: fd))
  }

  fileprivate func release() {
    // SAFETY: made by `client` or `server`, and the engine lets go of it once.
    unsafe pointer.deinitialize(count: 1)
    unsafe pointer.deallocate()
  }

  // MARK: Driving

  fileprivate func handshake() -> Int {
    let step = value.sendPrelude()
    guard step == 0 else { return step }
    switch value.session.handshake() {
    case .done:
      value.place.value.count(finished: value.session)
      return 0
    case .waitForRead, .waitForWrite: return -Int(EAGAIN)
    case .end, .failed:
      countFailure()
      return failureNumber
    }
  }

  fileprivate func read(into memory: UnsafeMutablePointer<UInt8>, capacity: Int) -> Int {
    switch unsafe value.session.read(into: memory, capacity: capacity) {
    case .done(let n): return n
    case .waitForRead, .waitForWrite: return -Int(EAGAIN)
    case .end: return 0
    case .failed:
      countFailure()
      return failureNumber
    }
  }

  fileprivate func write(_ memory: UnsafePointer<UInt8>, count: Int) -> Int {
    switch unsafe value.session.write(memory, count: count) {
    case .done(let n): return n
    case .waitForRead, .waitForWrite: return -Int(EAGAIN)
    case .end, .failed:
      countFailure()
      return failureNumber
    }
  }

  private func countFailure() {
    guard !value.hasFailed else { return }
    value.hasFailed = true
    value.place.value.count(failed: value.session)
  }

  private var failureNumber: Int {
    let error = value.session.socketError
    return -Int(error == 0 ? EPROTO : error)
  }

  /// ALPN has agreed upon HTTP/2.
  var agreedOnHTTP2: Bool { value.session.applicationProtocol.elementsEqual("h2".utf8) }

  /// What the two ends showed each other; read from the certificates when somebody first asks.
  var facts: TLSFacts {
    if let facts = value.facts { return facts }
    let facts = TLSFacts(value.session)
    value.facts = facts
    return facts
  }

  /// The peer has closed its side without saying that it is the end.
  var endedWithoutGoodbye: Bool { value.session.endedWithoutGoodbye }

  /// Why it failed, in OpenSSL's words.
  var failureText: String { value.session.failureText }

  /// The peer's certificate, for whoever forwards it whole.
  var peerPEM: [UInt8] { value.session.peerPEM }
  var peerChainPEM: [UInt8] { value.session.peerChainPEM }
}

extension UpstreamProtocol {
  /// The names of ALPN (RFC 7301 §3.1), each behind its length, the preferred first; as Envoy offers
  /// them.
  fileprivate var offer: [UInt8] {
    switch self {
    case .http1: Array("\u{8}http/1.1".utf8)
    case .http2: Array("\u{2}h2".utf8)
    case .negotiated: Array("\u{2}h2\u{8}http/1.1".utf8)
    case .downstream: []
    }
  }
}

/// What the two ends of a connection agreed upon and showed each other.
final class TLSFacts {
  let version: [UInt8]
  let cipher: [UInt8]
  let serverName: [UInt8]
  let applicationProtocol: [UInt8]
  let sessionID: [UInt8]
  let group: [UInt8]
  let peer: CertificateFacts?
  let local: CertificateFacts?
  let peerPEM: [UInt8]
  /// This hop's element of x-forwarded-client-cert, once a request has needed it.
  var forwardedElement: [UInt8]?
  /// The peer's names for filters, once one has asked.
  private(set) lazy var peerNames = peer.map(PeerNames.init)
  /// The peer's certificate was verified, and is what it should be.
  let isPeerVerified: Bool

  init(_ session: borrowing TLSSession) {
    version = Array(session.version.utf8)
    cipher = Array(session.cipher.utf8)
    serverName = session.serverName
    applicationProtocol = session.applicationProtocol
    sessionID = session.sessionID
    group = Array(session.curve.utf8)
    peerPEM = session.peerPEM
    peer = session.peer
    local = session.local
    isPeerVerified = session.isPeerVerified
  }
}
