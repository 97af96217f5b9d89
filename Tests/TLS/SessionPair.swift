import Glibc
import TLS

/// Both ends of a TLS connection in one thread, over a pair of sockets.
@safe
final class SessionPair {
  private var serverFD: Int32
  private var clientFD: Int32
  private var server: TLSSession
  private var client: TLSSession

  /// How a handshake ended, on each side.
  struct Ending: Equatable {
    var server: TLSOutcome
    var client: TLSOutcome
  }

  init?(
    server: TLSContext, client: TLSContext, name: String = "", matchesName: Bool = false,
    required: String = "", offer: String = "", cache: SessionCache? = nil
  ) {
    var pair: [Int32] = [-1, -1]
    guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue), 0, &pair) == 0
    else { return nil }
    serverFD = pair[0]
    clientFD = pair[1]
    guard let first = TLSSession.server(server, fd: pair[0]),
      let second = TLSSession.client(
        client, fd: pair[1], name: name, matchesName: matchesName,
        required: Array(required.utf8), offer: Array(offer.utf8), cache: cache)
    else { return nil }
    self.server = first
    self.client = second
  }

  deinit {
    hangUp(.server)
    hangUp(.client)
  }

  /// Closes the socket without a goodbye.
  func hangUp(_ side: Side) {
    let fd = side == .server ? serverFD : clientFD
    if fd >= 0 { close(fd) }
    if side == .server { serverFD = -1 } else { clientFD = -1 }
  }

  /// One step of one end's handshake.
  func step(_ side: Side) -> TLSOutcome {
    wake(side)
    return side == .server ? server.handshake() : client.handshake()
  }

  /// Puts bytes on the wire towards the server, past the client.
  func sendRaw(toServer bytes: [UInt8]) {
    _ = send(clientFD, bytes, bytes.count, 0)
  }

  /// Takes from the wire what has come to one end, before that end sees it.
  func takeRaw(fromServer isServer: Bool) -> [UInt8] {
    var memory = [UInt8](repeating: 0, count: 65536)
    let n = recv(isServer ? serverFD : clientFD, &memory, memory.count, 0)
    return Array(memory.prefix(max(0, n)))
  }

  /// Runs both handshakes until both have ended.
  func handshake() -> Ending {
    var ending = Ending(server: .waitForRead, client: .waitForRead)
    for _ in 0..<20 {
      if Self.isWaiting(ending.client) {
        client.wake(hungUp: false)
        ending.client = client.handshake()
      }
      if Self.isWaiting(ending.server) {
        server.wake(hungUp: false)
        ending.server = server.handshake()
      }
      if !Self.isWaiting(ending.client), !Self.isWaiting(ending.server) { break }
    }
    return ending
  }

  private static func isWaiting(_ outcome: TLSOutcome) -> Bool {
    outcome == .waitForRead || outcome == .waitForWrite
  }

  enum Side {
    case server
    case client
  }

  /// Looks at one end.
  func look<Result>(_ side: Side, _ body: (borrowing TLSSession) -> Result) -> Result {
    side == .server ? body(server) : body(client)
  }

  func wake(_ side: Side) {
    if side == .server { server.wake(hungUp: false) } else { client.wake(hungUp: false) }
  }

  /// Reads at most `capacity` bytes.
  func read(_ side: Side, _ capacity: Int = 65536) -> (TLSOutcome, [UInt8]) {
    var memory = [UInt8](repeating: 0, count: capacity)
    let outcome = memory.withUnsafeMutableBufferPointer { buffer in
      guard let base = buffer.baseAddress else { return TLSOutcome.failed }
      return side == .server
        ? server.read(into: base, capacity: capacity)
        : client.read(into: base, capacity: capacity)
    }
    guard case .done(let count) = outcome else { return (outcome, []) }
    return (outcome, Array(memory.prefix(count)))
  }

  func write(_ side: Side, _ bytes: [UInt8]) -> TLSOutcome {
    bytes.withUnsafeBufferPointer { buffer in
      guard let base = buffer.baseAddress else { return .done(0) }
      return side == .server
        ? server.write(base, count: buffer.count)
        : client.write(base, count: buffer.count)
    }
  }

  /// False when the goodbye could not be said yet.
  @discardableResult
  func shutdown(_ side: Side) -> Bool {
    side == .server ? server.shutdown() : client.shutdown()
  }

  /// Lets the client take what the server sent behind its handshake: tickets.
  func settle() {
    wake(.client)
    _ = read(.client)
  }
}
