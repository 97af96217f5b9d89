import CLinux
import Engine

/// A socket on which a program answers questions about itself, over HTTP/1.1, on one loop. Without
/// authentication, and therefore on loopback unless told otherwise.
package final class AdminListener {
  package private(set) var address = SocketAddress()
  private let loop: EventLoop
  private var fd: Int32 = -1
  private var registration: UInt32?
  private var connections: [ObjectIdentifier: AdminConnection] = [:]
  /// Connections at a time: far more than people and their tools open, and few enough that they cannot
  /// take the descriptors that traffic needs.
  private static let connections = 512
  /// The most that one request may hold, head and body.
  let requestBytes: Int
  /// Of all requests that are not answered yet, together: each may hold little, or some of them much.
  private let totalBytes: Int
  /// A request that holds no more than this is always heard.
  private static let smallBytes = 64 * 1024
  private var heldBytes = 0
  /// How many of its bytes a request may hold, by method and path; never more than `requestBytes`.
  package var limit: (_ method: String, _ path: String) -> Int = { _, _ in .max }
  /// Answers one request.
  package var respond: (AdminRequest) -> AdminResponse = { _ in
    AdminResponse(status: 404, text: "nothing is here\n")
  }

  /// Why it does not listen.
  package struct ListenError: Error {
    package let description: String
  }

  /// Listens at once.
  /// - Parameters:
  ///   - requestBytes: the most that one request may hold.
  ///   - totalBytes: the most that all of them may hold together.
  package init(
    on wanted: SocketAddress, loop: EventLoop, requestBytes: Int = 64 * 1024,
    totalBytes: Int = 64 << 20
  ) throws(ListenError) {
    self.totalBytes = totalBytes
    self.loop = loop
    self.requestBytes = requestBytes
    var options = ListenSocket.Options()
    options.reusePort = false
    fd = ListenSocket.open(wanted, options)
    guard fd >= 0 else {
      let reason = unsafe String(cString: strerror(-fd))
      throw ListenError(description: "cannot bind \(wanted.description): \(reason)")
    }
    address = wanted.isUnix ? wanted : ListenSocket.localAddress(of: fd)
    // SAFETY: `deinit` unregisters, on the same thread.
    registration = unsafe loop.register(
      fd, events: FL_EPOLL_LISTEN, context: Unmanaged.passUnretained(self).toOpaque()
    ) { raw, _ in unsafe Unmanaged<AdminListener>.fromOpaque(raw).takeUnretainedValue().accept() }
  }

  deinit {
    if let registration { loop.release(registration) }
    if fd >= 0 { _ = close(fd) }
  }

  private func accept() {
    while true {
      var peer = SocketAddress()
      let client = ListenSocket.accept(fd, peer: &peer)
      guard client >= 0 else { return }
      guard connections.count < Self.connections,
        let connection = AdminConnection(client, from: peer, listener: self, loop: loop)
      else {
        _ = close(client)
        continue
      }
      connections[ObjectIdentifier(connection)] = connection
    }
  }

  /// A connection holds so many bytes in place of others; whether it may go on.
  func hold(_ bytes: Int, insteadOf before: Int) -> Bool {
    heldBytes += bytes - before
    return heldBytes <= totalBytes || bytes <= Self.smallBytes
  }

  func closed(_ connection: AdminConnection) {
    // The caller is one of its methods: it goes when that has returned.
    let kept = unsafe Unmanaged.passRetained(connection)
    connections[ObjectIdentifier(connection)] = nil
    unsafe loop.later(context: kept.toOpaque()) { raw, _ in
      unsafe Unmanaged<AdminConnection>.fromOpaque(raw).release()
    }
  }

  /// Ends all connections.
  package func closeConnections() {
    for connection in connections.values { connection.close() }
  }
}
