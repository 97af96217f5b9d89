import Engine
import Glibc
import Testing

/// A transport of a few lines: each side greets with a byte, reads come out three bytes at a time from
/// what was taken off the socket at once, and a last byte says goodbye.
private final class ToyTransport {
  private static let greeting = UInt8(ascii: "H")
  fileprivate static let farewell = UInt8(0xFF)

  private let fd: Int32
  private var hasGreeted = false
  private var held: [UInt8] = []
  private var isDrained = false
  nonisolated(unsafe) private(set) static var released = 0

  init(_ fd: Int32) { self.fd = fd }

  private static func of(_ context: UnsafeMutableRawPointer) -> ToyTransport {
    Unmanaged<ToyTransport>.fromOpaque(context).takeUnretainedValue()
  }

  nonisolated(unsafe) static let table = Ref<Transport>.immortal(
    Transport(
      handshake: { ToyTransport.of($0).handshake() },
      read: { ToyTransport.of($0).read($1, $2) },
      write: { send(ToyTransport.of($0).fd, $1, min($2, 5), Int32(MSG_NOSIGNAL)) },
      mayRead: { !ToyTransport.of($0).held.isEmpty || !ToyTransport.of($0).isDrained },
      wake: { context, _ in ToyTransport.of(context).isDrained = false },
      sayGoodbye: { ToyTransport.of($0).put(ToyTransport.farewell) },
      release: {
        ToyTransport.released += 1
        Unmanaged<ToyTransport>.fromOpaque($0).release()
      }))

  /// False when the socket does not take it.
  @discardableResult
  private func put(_ byte: UInt8) -> Bool {
    var byte = byte
    return send(fd, &byte, 1, Int32(MSG_NOSIGNAL)) == 1
  }

  /// 1 when something came, 0 at the end, or minus an errno.
  private func fill() -> Int {
    var memory = [UInt8](repeating: 0, count: 65536)
    let n = recv(fd, &memory, memory.count, Int32(MSG_DONTWAIT))
    guard n > 0 else {
      isDrained = n < 0
      return n == 0 ? -Int(ECONNRESET) : -Int(EAGAIN)
    }
    held += memory[..<n]
    return 1
  }

  private func handshake() -> Int {
    if !hasGreeted { put(Self.greeting) }
    hasGreeted = true
    let n = held.isEmpty ? fill() : 1
    guard n > 0 else { return n }
    return held.removeFirst() == Self.greeting ? 0 : -Int(EPROTO)
  }

  private func read(_ memory: UnsafeMutablePointer<UInt8>, _ capacity: Int) -> Int {
    if held.isEmpty {
      let n = fill()
      guard n > 0 else { return n }
    }
    guard held[0] != Self.farewell else { return 0 }
    let n = min(capacity, 3, held.firstIndex(of: Self.farewell) ?? held.count)
    for index in 0..<n { memory[index] = held[index] }
    held.removeFirst(n)
    return n
  }

  /// Puts one between an owner's connection and its socket.
  static func secure(_ owner: Owner) {
    let transport = ToyTransport(owner.connection.value.fd)
    owner.connection.secure(
      table, context: Unmanaged.passRetained(transport).toOpaque())
  }
}

@Suite("Connections through a transport", .serialized)
struct TransportTests {
  let loop = EventLoop()

  private func pair() throws -> (Owner, Int32) {
    var pair: [Int32] = [-1, -1]
    let kind = Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue)
    try #require(socketpair(AF_UNIX, kind, 0, &pair) == 0)
    let owner = Owner(loop)
    try #require(owner.open(pair[0]))
    return (owner, pair[1])
  }

  private func turn(until isDone: () -> Bool) {
    for _ in 0..<100 where !isDone() { loop.turn(waitAtMost: 10) }
  }

  private func put(_ text: String, on fd: Int32) { send(fd, text, text.utf8.count, 0) }

  @Test("what is written before the handshake waits, and what came with it is read")
  func early() throws {
    let (owner, peer) = try pair()
    defer { close(peer) }
    ToyTransport.secure(owner)
    owner.write("early")
    #expect(owner.queuedBytes == 5)
    #expect(owner.connectedWith == nil)
    put("Hwith the greeting", on: peer)
    turn { owner.received.count == 17 }
    #expect(owner.connectedWith == 0)
    #expect(String(decoding: owner.received, as: UTF8.self) == "with the greeting")
    var memory = [UInt8](repeating: 0, count: 64)
    let n = recv(peer, &memory, 64, 0)
    #expect(String(decoding: memory.prefix(max(0, n)), as: UTF8.self) == "Hearly")
  }

  @Test("bytes that the transport holds are announced again after a pause")
  func pause() throws {
    let (owner, peer) = try pair()
    defer { close(peer) }
    ToyTransport.secure(owner)
    owner.readsAtOnce = false
    put("Habcdefgh", on: peer)
    turn { owner.readableCount > 0 }
    owner.connection.pauseReading()
    owner.connection.resumeReading(on: loop)
    owner.readsAtOnce = true
    turn { owner.received.count == 8 }
    #expect(String(decoding: owner.received, as: UTF8.self) == "abcdefgh")
  }

  @Test("a handshake that fails is a connection that fails")
  func failure() throws {
    let (owner, peer) = try pair()
    defer { close(peer) }
    ToyTransport.secure(owner)
    put("X", on: peer)
    turn { owner.connectedWith != nil }
    #expect(owner.connectedWith == EPROTO)
    #expect(owner.received.isEmpty)
  }

  @Test("a peer that leaves within the handshake ends it")
  func left() throws {
    let (owner, peer) = try pair()
    ToyTransport.secure(owner)
    close(peer)
    turn { owner.connectedWith != nil }
    #expect(owner.connectedWith == ECONNRESET)
  }

  @Test("a goodbye for which the socket has no room is owed, and follows")
  func owed() throws {
    let (owner, peer) = try pair()
    defer { close(peer) }
    ToyTransport.secure(owner)
    put("H", on: peer)
    turn { owner.connectedWith != nil }
    while send(owner.connection.value.fd, "filling", 7, 0) > 0 {}
    owner.connection.shutdownWrite()
    let owesGoodbye = owner.connection.value.owesGoodbye
    #expect(owesGoodbye)
    let before = owner.drainedCount
    var last: UInt8 = 0
    turn {
      var memory = [UInt8](repeating: 0, count: 65536)
      let n = recv(peer, &memory, memory.count, 0)
      if n > 0 { last = memory[n - 1] }
      return n == 0
    }
    #expect(last == ToyTransport.farewell)
    let stillOwes = owner.connection.value.owesGoodbye
    #expect(!stillOwes)
    #expect(owner.drainedCount == before + 1)
  }

  @Test("an orderly close says goodbye, a reset does not, and both release the transport")
  func goodbye() throws {
    for (reset, last) in [(false, "H\u{00FF}"), (true, "H")] {
      let (owner, peer) = try pair()
      defer { close(peer) }
      ToyTransport.secure(owner)
      put("H", on: peer)
      turn { owner.connectedWith != nil }
      let before = ToyTransport.released
      owner.connection.close(on: loop, reset: reset)
      #expect(ToyTransport.released == before + 1)
      var memory = [UInt8](repeating: 0, count: 8)
      let n = recv(peer, &memory, 8, 0)
      #expect(memory.prefix(max(0, n)).elementsEqual(last.unicodeScalars.map { UInt8($0.value) }))
    }
  }
}
