import CLinux
import Engine
import Telemetry

/// The administration listener: Envoy's paths, on the main loop. Without authentication, as in Envoy,
/// and therefore on loopback unless told otherwise.
final class AdminServer {
  typealias Handler = (AdminServer, AdminRequest) -> AdminResponse

  /// One path.
  struct Page {
    let path: String
    let help: String
    var parameters: [(name: String, help: String)] = []
    /// It changes something: only POST.
    var changes = false
    let handler: Handler
  }

  unowned let server: Server
  private(set) var address = SocketAddress()
  /// When the configuration was taken into use, as `/config_dump` shows it.
  let startedAt: String
  private var fd: Int32 = -1
  private var connections: [ObjectIdentifier: AdminConnection] = [:]

  init(_ server: Server) throws(Server.StartError) {
    self.server = server
    startedAt = Self.timestamp(nanoseconds: fl_realtime_ns())
    let socket = server.config.bootstrap.admin.address
    let path = socket.pipe.path
    let parsed =
      path.isEmpty
      ? SocketAddress(
        ip: socket.socketAddress.address,
        port: UInt16(truncatingIfNeeded: socket.socketAddress.portValue))
      : SocketAddress(unixPath: path)
    guard let parsed else {
      throw Server.StartError(
        description: "admin: '\(socket.socketAddress.address)' is no IP address")
    }
    var options = ListenSocket.Options()
    options.reusePort = false
    fd = ListenSocket.open(parsed, options)
    guard fd >= 0 else {
      let reason = unsafe String(cString: strerror(-fd))
      throw Server.StartError(
        description: "admin: cannot bind \(parsed.description): \(reason)")
    }
    address = parsed.isUnix ? parsed : ListenSocket.localAddress(of: fd)
    // SAFETY: the server keeps its admin listener for as long as the loop runs.
    _ = unsafe server.loop.register(
      fd, events: FL_EPOLL_LISTEN, context: Unmanaged.passUnretained(self).toOpaque()
    ) { raw, _ in unsafe Unmanaged<AdminServer>.fromOpaque(raw).takeUnretainedValue().accept() }
    ProcessLog.shared.info(.admin, "admin address: \(address.description)")
  }

  /// `2026-11-22T23:38:39.545Z` (RFC 3339).
  static func timestamp(nanoseconds: UInt64) -> String {
    let seconds = Int(nanoseconds / 1_000_000_000)
    let (year, month, day) = HTTPDate.civil(fromDays: seconds / 86_400)
    func digits(_ number: Int, _ count: Int) -> String {
      let text = String(number)
      return String(repeating: "0", count: max(0, count - text.count)) + text
    }
    return "\(digits(year, 4))-\(digits(month, 2))-\(digits(day, 2))T"
      + "\(digits(seconds / 3600 % 24, 2)):\(digits(seconds / 60 % 60, 2)):"
      + "\(digits(seconds % 60, 2)).\(digits(Int(nanoseconds / 1_000_000 % 1000), 3))Z"
  }

  private func accept() {
    while true {
      var peer = SocketAddress()
      let client = ListenSocket.accept(fd, peer: &peer)
      guard client >= 0 else { return }
      guard let connection = AdminConnection(client, server: self, loop: server.loop) else {
        _ = close(client)
        continue
      }
      connections[ObjectIdentifier(connection)] = connection
    }
  }

  func closed(_ connection: AdminConnection) {
    // The caller is one of its methods: it goes when that has returned.
    let kept = unsafe Unmanaged.passRetained(connection)
    connections[ObjectIdentifier(connection)] = nil
    unsafe server.loop.later(context: kept.toOpaque()) { raw, _ in
      unsafe Unmanaged<AdminConnection>.fromOpaque(raw).release()
    }
  }

  func respond(to request: AdminRequest) -> AdminResponse {
    guard let page = unsafe AdminPages.all.first(where: { $0.path == request.path }) else {
      return AdminResponse(
        status: 404,
        text: "invalid path. admin commands are:\n" + AdminPages.help)
    }
    guard !page.changes || request.method == "POST" else {
      return AdminResponse(
        status: 405, text: "Method \(request.method) not allowed, POST required.")
    }
    ProcessLog.shared.debug(.admin, "\(request.method) \(request.path)")
    return page.handler(self, request)
  }
}
