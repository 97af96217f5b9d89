import Engine
import Glibc
import Testing

/// An owner of one connection that remembers what it was told.
final class Owner {
  let connection = Ref.immortal(Connection())
  let loop: EventLoop
  var received: [UInt8] = []
  var readableCount = 0
  var drainedCount = 0
  var hungUpCount = 0
  var connectedWith: Int32?
  var sawEnd = false
  var failure: Int32?
  var readsAtOnce = true
  var capacity = 4096
  var whenReadable: (() -> Void)?
  var whenConnected: (() -> Void)?

  init(_ loop: EventLoop) { self.loop = loop }

  deinit { connection.close(on: loop) }

  var context: UnsafeMutableRawPointer { Unmanaged.passUnretained(self).toOpaque() }

  private static func of(_ context: UnsafeMutableRawPointer) -> Owner {
    Unmanaged<Owner>.fromOpaque(context).takeUnretainedValue()
  }

  nonisolated(unsafe) static let events = Ref.immortal(
    ConnectionEvents(
      readable: { Owner.of($0).readable() },
      drained: { Owner.of($0).drainedCount += 1 },
      connected: { context, error in
        let owner = Owner.of(context)
        owner.connectedWith = error
        owner.whenConnected?()
      },
      hungUp: { Owner.of($0).hungUpCount += 1 }))

  private func readable() {
    readableCount += 1
    whenReadable?()
    if readsAtOnce { readAll() }
  }

  func readAll() {
    var memory = [UInt8](repeating: 0, count: capacity)
    while connection.value.isOpen {
      switch connection.read(into: &memory, capacity: capacity) {
      case .bytes(let n): received += memory[..<n]
      case .wait: return
      case .end:
        sawEnd = true
        return
      case .failed(let error):
        failure = error
        return
      }
    }
  }

  var isOpen: Bool { connection.value.isOpen }
  var isConnecting: Bool { connection.value.isConnecting }
  var isAboveHighWatermark: Bool { connection.value.isAboveHighWatermark }
  var mayBeDead: Bool { connection.value.mayBeDead }
  var queuedBytes: Int { connection.value.queuedBytes }

  func open(_ fd: Int32) -> Bool {
    connection.open(fd, on: loop, events: Self.events, owner: context)
  }

  func connect(to address: SocketAddress) -> Int32 {
    connection.connect(to: address, on: loop, events: Self.events, owner: context)
  }

  func write(_ text: String) { connection.write(.immortal(text), on: loop) }
}

/// A listening socket on loopback.
private final class Listener {
  let fd: Int32
  let address: SocketAddress

  init() {
    let any = SocketAddress(ip: "127.0.0.1", port: 0) ?? SocketAddress()
    fd = ListenSocket.open(any, ListenSocket.Options())
    precondition(fd >= 0, "loopback can be listened on")
    address = ListenSocket.localAddress(of: fd)
  }

  deinit { Glibc.close(fd) }

  /// Accepts, waiting for the connection to arrive.
  func accept() -> Int32 {
    var poll = pollfd(fd: fd, events: Int16(POLLIN), revents: 0)
    _ = Glibc.poll(&poll, 1, 5000)
    var peer = SocketAddress()
    return ListenSocket.accept(fd, peer: &peer)
  }
}

@Suite("Connections")
struct ConnectionTests {
  private let loop = EventLoop()

  private func makeOpen() -> (Owner, far: Int32) {
    let pair = makePair()
    let owner = Owner(loop)
    #expect(owner.open(pair.near))
    return (owner, pair.far)
  }

  private func receive(_ fd: Int32, _ count: Int) -> [UInt8] {
    var bytes: [UInt8] = []
    var memory = [UInt8](repeating: 0, count: 65_536)
    while bytes.count < count {
      let n = recv(
        fd, &memory, min(memory.count, count - bytes.count), Int32(MSG_DONTWAIT))
      if n > 0 {
        bytes += memory[..<n]
      } else {
        loop.turn(waitAtMost: 1)
        if n == 0 { break }
      }
    }
    return bytes
  }

  @Test("Yields its turn however often its peer sends meanwhile")
  func yieldingStaysOneCallPerTurn() {
    let (owner, far) = makeOpen()
    defer { close(far) }
    owner.capacity = 1
    owner.readsAtOnce = false
    owner.whenReadable = { [loop] in
      var byte: UInt8 = 0
      _ = owner.connection.read(into: &byte, capacity: 1)
      owner.connection.yieldReading(on: loop)
    }
    for turn in 1...20 {
      // An event in every turn, and more to read than is read. The first turn has the event's call
      // and the one that was put off.
      #expect(send(far, "abc", 3, 0) == 3)
      loop.turn(waitAtMost: 1000)
      #expect(owner.readableCount <= turn + 1)
    }
    owner.whenReadable = nil
    #expect(owner.readableCount >= 19)
  }

  @Test("bytes arrive, whether they came before the registration or after")
  func reading() {
    let pair = makePair()
    defer { close(pair.far) }
    _ = Glibc.write(pair.far, "ab", 2)
    let owner = Owner(loop)
    #expect(owner.open(pair.near))
    #expect(loop.turn { owner.received.count == 2 })
    _ = Glibc.write(pair.far, "c", 1)
    #expect(loop.turn { owner.received == Array("abc".utf8) })
    #expect(owner.connection.value.bytesRead == 3)
  }

  @Test("an end is told once the bytes before it are read", arguments: [1, 3, 4096])
  func end(capacity: Int) {
    let (owner, far) = makeOpen()
    owner.capacity = capacity
    _ = Glibc.write(far, "abc", 3)
    close(far)
    #expect(loop.turn { owner.sawEnd })
    #expect(owner.received == Array("abc".utf8))
    #expect(owner.mayBeDead)
  }

  @Test("while reading is paused nothing is announced; afterwards everything is")
  func pause() {
    let (owner, far) = makeOpen()
    defer { close(far) }
    loop.turn(waitAtMost: 0)
    let before = owner.readableCount
    owner.connection.pauseReading()
    owner.connection.pauseReading()
    _ = Glibc.write(far, "abc", 3)
    for _ in 0..<3 { loop.turn(waitAtMost: 5) }
    #expect(owner.readableCount == before)
    owner.connection.resumeReading(on: loop)
    for _ in 0..<3 { loop.turn(waitAtMost: 0) }
    #expect(owner.readableCount == before)
    owner.connection.resumeReading(on: loop)
    #expect(loop.turn { owner.received.count == 3 })
  }

  @Test("a hang-up is told even while reading is paused, and the end is read afterwards")
  func hangUpWhilePaused() {
    let (owner, far) = makeOpen()
    loop.turn(waitAtMost: 0)
    owner.connection.pauseReading()
    _ = Glibc.write(far, "abc", 3)
    close(far)
    #expect(loop.turn { owner.hungUpCount > 0 })
    owner.connection.resumeReading(on: loop)
    #expect(loop.turn { owner.sawEnd })
    #expect(owner.received.count == 3)
  }

  @Test("a resume that was announced dies with the connection, though the slot is used again")
  func resumeThenReuse() {
    let (owner, far) = makeOpen()
    loop.turn(waitAtMost: 0)
    owner.connection.pauseReading()
    _ = Glibc.write(far, "abc", 3)
    loop.turn(waitAtMost: 5)
    owner.connection.resumeReading(on: loop)
    owner.connection.close(on: loop)
    close(far)
    let pair = makePair()
    defer { close(pair.far) }
    let before = owner.readableCount
    #expect(owner.open(pair.near))
    owner.connection.pauseReading()
    for _ in 0..<3 { loop.turn(waitAtMost: 0) }
    #expect(owner.readableCount == before)
    #expect(owner.received.isEmpty)
  }

  @Test("what the socket does not take waits, and follows in order")
  func writing() {
    let (owner, far) = makeOpen()
    defer { close(far) }
    let piece = String(repeating: "0123456789", count: 30_000)
    for _ in 0..<5 { owner.connection.write(.immortal(piece), Bytes("|"), on: loop) }
    #expect(owner.queuedBytes > 0)
    let total = 5 * (300_000 + 1)
    let all = receive(far, total)
    #expect(all.count == total)
    #expect(all == Array(String(repeating: piece + "|", count: 5).utf8))
    #expect(loop.turn { owner.drainedCount > 0 })
    #expect(owner.queuedBytes == 0)
    #expect(owner.connection.value.bytesWritten == UInt64(total))
    #expect(loop.state.value.blocks.liveBytes == 0)
  }

  @Test("above the high watermark the source is told to stop, at half of it to go on")
  func watermarks() {
    let (owner, far) = makeOpen()
    defer { close(far) }
    owner.connection.value.highWatermark = 500_000
    let piece = String(repeating: "x", count: 100_000)
    while owner.queuedBytes <= 500_000 {
      #expect(!owner.isAboveHighWatermark)
      owner.write(piece)
    }
    #expect(owner.isAboveHighWatermark)
    while owner.isAboveHighWatermark {
      _ = receive(far, 10_000)
      loop.turn(waitAtMost: 0)
    }
    #expect(owner.drainedCount == 1)
    #expect(owner.queuedBytes <= 250_000)
    #expect(owner.queuedBytes > 0)
  }

  @Test("writing to a peer that went away is quiet, and reading tells how it ended")
  func brokenPipe() {
    let (owner, far) = makeOpen()
    loop.turn(waitAtMost: 0)
    owner.readsAtOnce = false
    close(far)
    owner.write("a")
    owner.write("b")
    #expect(owner.mayBeDead)
    #expect(loop.turn { owner.readableCount > 0 })
    owner.readAll()
    #expect(owner.sawEnd || owner.failure != nil)
  }

  @Test("closing in a callback stops everything else in that event")
  func closeInCallback() {
    let (owner, far) = makeOpen()
    let connection = owner.connection
    let loop = self.loop
    owner.whenReadable = { connection.close(on: loop) }
    _ = Glibc.write(far, "abc", 3)
    close(far)
    #expect(loop.turn { owner.readableCount == 1 })
    loop.turn(waitAtMost: 0)
    #expect(!owner.isOpen)
    #expect(owner.received.isEmpty)
    connection.close(on: loop)
  }

  @Test("a connection is made, never within the call")
  func connecting() {
    let listener = Listener()
    let owner = Owner(loop)
    #expect(owner.connect(to: listener.address) == 0)
    #expect(owner.connectedWith == nil)
    #expect(owner.isConnecting)
    #expect(loop.turn { owner.connectedWith != nil })
    #expect(owner.connectedWith == 0)
    #expect(!owner.isConnecting)
  }

  @Test("a refused connection says why")
  func refused() {
    var address: SocketAddress?
    do {
      let listener = Listener()
      address = listener.address
    }
    let owner = Owner(loop)
    guard let address else { return }
    let result = owner.connect(to: address)
    #expect(result == 0 || result == ECONNREFUSED)
    guard result == 0 else { return }
    #expect(loop.turn { owner.connectedWith != nil })
    #expect(owner.connectedWith == ECONNREFUSED)
    owner.connection.close(on: loop)
    #expect(!owner.isConnecting)
  }

  @Test("a Unix socket that does not exist fails at once")
  func unixMissing() throws {
    let owner = Owner(loop)
    let address = try #require(SocketAddress(unixPath: "/nonexistent/socket"))
    #expect(owner.connect(to: address) == ENOENT)
    #expect(!owner.isOpen)
  }

  @Test("what is written while connecting goes out once connected")
  func writeWhileConnecting() {
    let listener = Listener()
    let owner = Owner(loop)
    #expect(owner.connect(to: listener.address) == 0)
    owner.write("early")
    owner.whenConnected = { [unowned owner] in owner.write(" and late") }
    let far = listener.accept()
    defer { close(far) }
    #expect(loop.turn { owner.connectedWith == 0 })
    #expect(receive(far, 14) == Array("early and late".utf8))
  }

  @Test("a peer that speaks or hangs up before the loop looks is heard", arguments: [false, true])
  func speaksFirst(hangsUp: Bool) {
    let listener = Listener()
    let owner = Owner(loop)
    #expect(owner.connect(to: listener.address) == 0)
    let far = listener.accept()
    _ = Glibc.write(far, "hello", 5)
    if hangsUp { close(far) }
    #expect(loop.turn { owner.received.count == 5 && owner.sawEnd == hangsUp })
    if !hangsUp { close(far) }
  }

  @Test("a reset is seen by the peer as a failure, not as an end")
  func reset() {
    let listener = Listener()
    let owner = Owner(loop)
    #expect(owner.connect(to: listener.address) == 0)
    let far = listener.accept()
    #expect(loop.turn { owner.connectedWith == 0 })
    let peer = Owner(loop)
    #expect(peer.open(far))
    owner.connection.close(on: loop, reset: true)
    #expect(loop.turn { peer.failure != nil })
    #expect(peer.failure == ECONNRESET)
    #expect(!peer.sawEnd)
  }

  @Test("closing gives back what was queued")
  func closeReleases() {
    let (owner, far) = makeOpen()
    defer { close(far) }
    owner.write(String(repeating: "x", count: 2_000_000))
    #expect(loop.state.value.blocks.liveBytes > 0)
    owner.connection.close(on: loop)
    #expect(loop.state.value.blocks.liveBytes == 0)
    #expect(!owner.isAboveHighWatermark)
  }
}
