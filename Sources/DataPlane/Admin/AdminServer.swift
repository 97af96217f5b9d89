import AdminHTTP
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
  /// When the configuration was taken into use, as `/config_dump` shows it.
  let startedAt: String
  private let listener: AdminListener
  var address: SocketAddress { listener.address }

  init(_ server: Server) throws(Server.StartError) {
    self.server = server
    startedAt = RFC3339.text(nanoseconds: fl_realtime_ns())
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
    do throws(AdminListener.ListenError) {
      listener = try AdminListener(on: parsed, loop: server.loop)
    } catch {
      throw Server.StartError(description: "admin: \(error.description)")
    }
    listener.respond = { [unowned self] in respond(to: $0) }
    ProcessLog.shared.info(.admin, "admin address: \(address.description)")
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
