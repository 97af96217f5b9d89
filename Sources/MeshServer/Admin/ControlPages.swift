import AdminHTTP
import CLinux
import Engine
import MeshModel
import MeshTranslation
import Resources
import Telemetry

/// What the control plane says of itself over HTTP: Istio's paths.
final class ControlPages {
  private let listener: AdminListener
  private unowned let server: MeshServer
  private let mesh: MeshSource?
  private let analyst: MeshAnalyst?
  private let version: String
  /// Nil where there is no mesh.
  private let objects: ObjectPages?

  /// The most that a request may hold which changes nothing.
  private static let questionBytes = 64 * 1024

  var address: SocketAddress { listener.address }

  init(
    on address: SocketAddress, loop: EventLoop, server: MeshServer, mesh: MeshSource?,
    analyst: MeshAnalyst?, version: String, objects: ObjectPages? = nil
  ) throws(AdminListener.ListenError) {
    self.server = server
    self.mesh = mesh
    self.analyst = analyst
    self.version = version
    self.objects = objects
    listener = try AdminListener(on: address, loop: loop, requestBytes: ObjectPages.requestBytes)
    listener.limit = { method, path in
      let mayChange = path.hasPrefix("/api/") && method != "GET" && method != "HEAD"
      return mayChange ? ObjectPages.requestBytes : Self.questionBytes
    }
    listener.respond = { [unowned self] in respond(to: $0) }
  }

  func close() { listener.closeConnections() }

  private static let help = """
    /ready                     whether clients are served
    /version                   what is running
    /metrics                   counters, in Prometheus' text
    /debug/connections         who is connected
    /debug/syncz               what each client was sent, and what it says of it
    /debug/config_dump         what a client is to run; ?proxyID=<pod>.<namespace>
    /debug/registryz           the services of the mesh
    /debug/endpointz           where they run
    /debug/configz             the objects in force, what is wrong with those that are not, and each status
    /debug/analysis            what is wrong or doubtful in the mesh as a whole
    /api/v1/objects            the same with all that they say: …/<kind>/<name>?namespace=
    /api/v1/history            what was changed here, when and by whom

    """

  private func respond(to request: AdminRequest) -> AdminResponse {
    if request.path.hasPrefix("/api/") { return objects?.respond(to: request) ?? noMesh }
    return switch request.path {
    case "/", "/help", "/debug", "/debug/list": AdminResponse(text: Self.help)
    case "/ready": AdminResponse(text: "ready\n")
    case "/version": AdminResponse(json: .object([("version", .string(version))]))
    case "/metrics": metrics()
    case "/debug/connections": AdminResponse(json: ClientPages.connections(server))
    case "/debug/syncz": AdminResponse(json: ClientPages.states(server))
    case "/debug/config_dump": configDump(request)
    case "/debug/registryz": mesh.map { AdminResponse(json: MeshPages.services($0)) } ?? noMesh
    case "/debug/endpointz": mesh.map { AdminResponse(json: MeshPages.endpoints($0)) } ?? noMesh
    case "/debug/configz": mesh.map(objectPage) ?? noMesh
    case "/debug/analysis":
      analyst.map { AdminResponse(json: AnalysisPages.messages($0)) } ?? noMesh
    default: AdminResponse(status: 404, text: "no such page; there are\n" + Self.help)
    }
  }

  private var noMesh: AdminResponse {
    AdminResponse(
      status: 404, text: "resources are served from a file: there is no mesh to tell of\n")
  }

  private func objectPage(_ mesh: MeshSource) -> AdminResponse {
    let clients = server.clients
    let current = clients.count { stream in
      stream.state.subscriptions.values.allSatisfy {
        ["SYNCED", "NOT SENT", "IGNORED"].contains(ClientPages.state(of: $0))
      }
    }
    return AdminResponse(
      json: MeshPages.objects(mesh, analyst, clients: (current, clients.count)))
  }

  private func metrics() -> AdminResponse {
    var response = AdminResponse(
      text: server.metrics.text(gauges: MeshGauges.all(server, mesh, analyst)))
    response.contentType = "text/plain; version=0.0.4"
    return response
  }

  private func configDump(_ request: AdminRequest) -> AdminResponse {
    guard let wanted = request.parameter("proxyID"), !wanted.isEmpty else {
      return AdminResponse(
        status: 400, text: "say whose: ?proxyID=<pod>.<namespace>, or a node's id\n")
    }
    guard let stream = server.clients.last(where: { ClientPages.names(wanted, $0) }) else {
      return AdminResponse(
        status: 404, text: "no client '\(wanted)' is connected; see /debug/connections\n")
    }
    return AdminResponse(json: ClientDump.dump(stream, server))
  }
}
