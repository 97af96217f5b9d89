import Engine
import Glibc

/// A name server on loopback that a test's own loop runs: it answers over UDP from a small zone, and
/// over TCP what did not fit.
final class FakeNameServer {
  /// What it does with a query.
  enum Behaviour {
    case answer
    case silence
    /// Says so with this response code: 2 is a failure, 3 an unknown name.
    case refuse(code: UInt8)
  }

  struct Name {
    var v4: [String] = []
    var v6: [String] = []
    var ttl: UInt32 = 60
  }

  var behaviour = Behaviour.answer
  var zone: [String: Name] = [:]
  /// Answers larger than this many addresses are cut over UDP.
  var addressesOverUDP = 20
  private(set) var queryCount = 0
  private(set) var tcpQueryCount = 0

  /// EPOLLIN.
  private static let readable: UInt32 = 1

  private let loop: EventLoop
  private let udp: Int32
  private let tcp: Int32
  private var streams: [Stream] = []
  let address: SocketAddress

  init(on loop: EventLoop) {
    self.loop = loop
    // The kernel chooses the UDP port; TCP takes the same number, which is free almost always.
    var chosen: (Int32, Int32, SocketAddress)?
    while chosen == nil { chosen = Self.openPair() }
    guard let (udp, tcp, address) = chosen else { preconditionFailure("sockets are available") }
    self.udp = udp
    self.tcp = tcp
    self.address = address
    let context = Unmanaged.passUnretained(self).toOpaque()
    _ = loop.register(udp, events: Self.readable, context: context) { context, _ in
      Unmanaged<FakeNameServer>.fromOpaque(context).takeUnretainedValue().receive()
    }
    _ = loop.register(tcp, events: Self.readable, context: context) { context, _ in
      Unmanaged<FakeNameServer>.fromOpaque(context).takeUnretainedValue().accept()
    }
  }

  deinit {
    close(udp)
    close(tcp)
    for stream in streams { close(stream.fd) }
  }

  private static func openPair() -> (Int32, Int32, SocketAddress)? {
    let udp = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
    var name = sockaddr_in()
    name.sin_family = sa_family_t(AF_INET)
    name.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    let size = socklen_t(MemoryLayout<sockaddr_in>.size)
    _ = withUnsafePointer(to: &name) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(udp, $0, size) }
    }
    let address = ListenSocket.localAddress(of: udp)
    let tcp = ListenSocket.open(address, ListenSocket.Options())
    guard tcp >= 0 else {
      close(udp)
      return nil
    }
    return (udp, tcp, address)
  }

  // MARK: UDP

  private func receive() {
    var buffer = [UInt8](repeating: 0, count: 2048)
    var peer = sockaddr_storage()
    var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
    let n = withUnsafeMutablePointer(to: &peer) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        recvfrom(udp, &buffer, buffer.count, 0, $0, &length)
      }
    }
    guard n > 0 else { return }
    queryCount += 1
    guard let reply = reply(to: Array(buffer[..<n]), limit: addressesOverUDP) else { return }
    _ = withUnsafePointer(to: &peer) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        sendto(udp, reply, reply.count, 0, $0, length)
      }
    }
  }

  // MARK: TCP

  private final class Stream {
    unowned let server: FakeNameServer
    let fd: Int32
    var received: [UInt8] = []

    init(_ server: FakeNameServer, fd: Int32) {
      self.server = server
      self.fd = fd
    }
  }

  private func accept() {
    var peer = SocketAddress()
    let fd = ListenSocket.accept(tcp, peer: &peer)
    guard fd >= 0 else { return }
    let stream = Stream(self, fd: fd)
    streams.append(stream)
    let context = Unmanaged.passUnretained(stream).toOpaque()
    _ = loop.register(fd, events: Self.readable, context: context) { context, _ in
      let stream = Unmanaged<Stream>.fromOpaque(context).takeUnretainedValue()
      stream.server.read(stream)
    }
  }

  private func read(_ stream: Stream) {
    var buffer = [UInt8](repeating: 0, count: 2048)
    let n = recv(stream.fd, &buffer, buffer.count, 0)
    guard n > 0 else { return }
    stream.received += buffer[..<n]
    while stream.received.count >= 2 {
      let size = Int(stream.received[0]) << 8 | Int(stream.received[1])
      guard stream.received.count >= 2 + size else { return }
      let query = Array(stream.received[2..<2 + size])
      stream.received.removeFirst(2 + size)
      tcpQueryCount += 1
      guard let reply = reply(to: query, limit: .max) else { continue }
      let framed = [UInt8(reply.count >> 8), UInt8(reply.count & 255)] + reply
      // In two pieces, so that the reader has to come back for the second.
      _ = send(stream.fd, framed, 100, 0)
      _ = framed.withUnsafeBytes { send(stream.fd, $0.baseAddress! + 100, framed.count - 100, 0) }
    }
  }

  // MARK: Answers

  private func reply(to query: [UInt8], limit: Int) -> [UInt8]? {
    guard query.count > 16 else { return nil }
    var name = ""
    var at = 12
    while at < query.count, query[at] != 0 {
      let label = query[(at + 1)...].prefix(Int(query[at]))
      name += (name.isEmpty ? "" : ".") + String(decoding: label, as: UTF8.self)
      at += 1 + label.count
    }
    let question = Array(query[12..<min(at + 5, query.count)])
    let type = query[at + 2]
    var code: UInt8 = 0
    switch behaviour {
    case .silence: return nil
    case .refuse(let given): code = given
    case .answer: if zone[name] == nil { code = 3 }
    }
    let known = code == 0 ? zone[name] ?? Name() : Name()
    let addresses = type == 1 ? known.v4 : type == 28 ? known.v6 : []
    let isCut = addresses.count > limit
    let shown = isCut ? [] : addresses
    var reply = Array(query[..<2])
    reply += [0x81 | (isCut ? 2 : 0), 0x80 | code, 0, 1]
    reply += [UInt8(shown.count >> 8), UInt8(shown.count & 255), 0, 0, 0, 0]
    reply += question
    for text in shown {
      guard let address = SocketAddress(ip: text, port: 0) else { continue }
      let size = address.isIPv6 ? 16 : 4
      reply += [0xC0, 12, 0, type, 0, 1]
      reply += (0..<4).map { UInt8(truncatingIfNeeded: known.ttl >> UInt32(24 - 8 * $0)) }
      reply += [0, UInt8(size)]
      let bytes = address.ipBytes
      reply += (0..<size).map { bytes[$0] }
    }
    return reply
  }
}

extension EventLoop {
  /// Turns until something holds, or five seconds have passed. Says whether it holds.
  func turn(until condition: () -> Bool) -> Bool {
    let deadline = ContinuousClock.now + .seconds(5)
    while !condition() {
      guard ContinuousClock.now < deadline else { return false }
      turn(waitAtMost: 20)
    }
    return true
  }
}
