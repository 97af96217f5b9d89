import CLinux
import Engine
import HTTPCodec

/// Answers calls on one loop, over HTTP/2: with prior knowledge, or over TLS.
///
///     let server = RPCServer(RPCRuntime(loop: loop))
///     server.methods["/helloworld.Greeter/SayHello"] = { call in Greeting(call) }
///     let address = try server.listen(on: address)
package final class RPCServer {
  /// Why a server does not listen.
  package struct ListenError: Error {
    package let description: String
  }

  let runtime: RPCRuntime
  /// What begins a call, by its path.
  package var methods: [String: (RPCServerCall) -> RPCServerHandler] = [:]
  private let keepalive: HTTP2Keepalive
  /// Called with the address of a peer whose connection ended before it could carry calls, and why.
  package var onRefusal: (SocketAddress, String) -> Void = { _, _ in }
  private var sockets: [ListeningSocket] = []
  private var connections: [ObjectIdentifier: RPCConnection] = [:]

  /// A peer that is gone without a word is noticed after a minute at most, as with Istio's control
  /// plane.
  package static var defaultKeepalive: HTTP2Keepalive {
    var keepalive = HTTP2Keepalive()
    keepalive.interval = 30_000
    keepalive.timeout = 10_000
    keepalive.jitter = 15
    return keepalive
  }

  package init(_ runtime: RPCRuntime, keepalive: HTTP2Keepalive = RPCServer.defaultKeepalive) {
    self.runtime = runtime
    self.keepalive = keepalive
  }

  deinit { stopListening() }

  /// Open connections.
  package var connectionCount: Int { connections.count }

  /// Listens; returns the address with the port that the kernel chose, if it was to choose.
  /// - Parameter security: the TLS that connections begin with; nil for plain bytes.
  package func listen(
    on address: SocketAddress, security: RPCSecurity? = nil
  ) throws(ListenError) -> SocketAddress {
    var options = ListenSocket.Options()
    options.reusePort = false
    options.ipv4Compatible = true
    let fd = ListenSocket.open(address, options)
    guard fd >= 0 else {
      throw ListenError(
        description: "cannot bind \(address.description): \(RPCConnection.reason(-fd))")
    }
    sockets.append(
      ListeningSocket(fd, on: runtime.loop) { [unowned self] in accept($0, from: $1, security) })
    return address.isUnix ? address : ListenSocket.localAddress(of: fd)
  }

  private func accept(_ fd: Int32, from peer: SocketAddress, _ security: RPCSecurity?) {
    guard connections.count < RPCLimits.connections else {
      _ = CLinux.close(fd)
      return
    }
    let connection = RPCConnection(runtime, owner: self, peer: peer, keepalive: keepalive)
    guard connection.accept(fd, security) else { return }
    connections[ObjectIdentifier(connection)] = connection
  }

  /// Takes no more connections.
  package func stopListening() { sockets = [] }

  /// Takes no more connections nor calls; connections end with their last call.
  package func drain() {
    stopListening()
    for connection in connections.values { connection.drain() }
  }

  /// Ends everything at once.
  package func close() {
    stopListening()
    for connection in connections.values {
      connection.close(RPCStatus(.unavailable, "the server is going away"))
    }
  }
}

extension RPCServer: RPCConnectionOwner {
  func streamOpened(on connection: RPCConnection) -> RPCStream? { RPCServerCall(self) }
  func goesAway(_ connection: RPCConnection) {}
  func failedToBegin(_ connection: RPCConnection, _ reason: String) {
    onRefusal(connection.peer, reason)
  }
  func closed(_ connection: RPCConnection) { connections[ObjectIdentifier(connection)] = nil }
}

/// A descriptor that accepts, until nobody holds it.
private final class ListeningSocket {
  private let fd: Int32
  private let loop: EventLoop
  private let take: (Int32, SocketAddress) -> Void
  private var registration: UInt32?
  private let pauseTimer: LoopTimer

  /// How long to wait when there are no descriptors left: the socket would report itself without end.
  private static let pauseMilliseconds: UInt64 = 100

  init(_ fd: Int32, on loop: EventLoop, take: @escaping (Int32, SocketAddress) -> Void) {
    self.fd = fd
    self.loop = loop
    self.take = take
    pauseTimer = LoopTimer(on: loop)
    watch()
  }

  deinit {
    stopWatching()
    _ = CLinux.close(fd)
  }

  private func watch() {
    // SAFETY: `deinit` unregisters, on the same thread.
    registration = unsafe loop.register(
      fd, events: FL_EPOLL_LISTEN, context: Unmanaged.passUnretained(self).toOpaque()
    ) { raw, _ in
      unsafe Unmanaged<ListeningSocket>.fromOpaque(raw).takeUnretainedValue().accept()
    }
  }

  private func stopWatching() {
    if let registration { loop.release(registration) }
    registration = nil
  }

  private func accept() {
    while true {
      var peer = SocketAddress()
      let client = ListenSocket.accept(fd, peer: &peer)
      if client >= 0 {
        take(client, peer)
      } else if client == -EMFILE || client == -ENFILE {
        stopWatching()
        return pauseTimer.set(milliseconds: Self.pauseMilliseconds) { [unowned self] in watch() }
      } else if client != -ECONNABORTED, client != -EINTR {
        return
      }
    }
  }
}
