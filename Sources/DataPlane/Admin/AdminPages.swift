import Engine
import Telemetry

/// The paths of the administration listener.
enum AdminPages {
  nonisolated(unsafe) static let all: [AdminServer.Page] = [
    .init(path: "/help", help: "print out list of admin commands") { _, _ in
      AdminResponse(text: "admin commands are:\n" + help)
    },
    .init(path: "/ready", help: "print server state, return 200 if LIVE, otherwise return 503") {
      admin, _ in
      AdminResponse(
        status: admin.server.state == .live ? 200 : 503, text: admin.server.state.name + "\n")
    },
    .init(path: "/stats", help: "print server stats") { admin, request in
      StatsPages.stats(admin, request)
    },
    .init(path: "/stats/prometheus", help: "print server stats in prometheus format") {
      admin, request in StatsPages.prometheus(admin, request)
    },
    .init(path: "/quitquitquit", help: "exit the server", changes: true) { admin, _ in
      unsafe admin.server.loop.later(
        context: unsafe Unmanaged.passUnretained(admin.server).toOpaque()
      ) { raw, _ in unsafe Unmanaged<Server>.fromOpaque(raw).takeUnretainedValue().loop.stop() }
      return AdminResponse(text: "OK\n")
    },
  ]

  static var help: String {
    unsafe all.sorted { $0.path < $1.path }.map { page in
      "  \(page.path)\(page.changes ? " (POST)" : ""): \(page.help)\n"
    }.joined()
  }
}

/// `/stats` in its formats.
enum StatsPages {
  static func stats(_ admin: AdminServer, _ request: AdminRequest) -> AdminResponse {
    var query = StatsQuery()
    switch request.parameter("format") {
    case "json": query.format = .json
    case "prometheus": query.format = .prometheus
    case nil, "text", "": break
    case let other?:
      return AdminResponse(
        status: 400, text: "unknown format '\(other)'; text, json or prometheus\n")
    }
    return answer(admin, request, query)
  }

  static func prometheus(_ admin: AdminServer, _ request: AdminRequest) -> AdminResponse {
    answer(admin, request, StatsQuery(format: .prometheus))
  }

  private static func answer(
    _ admin: AdminServer, _ request: AdminRequest, _ base: StatsQuery
  ) -> AdminResponse {
    var query = base
    query.usedOnly = request.parameter("usedonly") != nil
    if let problem = StatsFilters.apply(request, to: &query) {
      return AdminResponse(status: 400, text: problem)
    }
    admin.server.refreshGauges()
    return AdminResponse(
      contentType: base.format == .json ? "application/json" : "text/plain; charset=UTF-8",
      pieces: StatsPieces(StatsExport(admin.server.config.store, query)))
  }
}

/// A statistics export as the connection takes it.
private struct StatsPieces: IteratorProtocol {
  private var export: StatsExport
  private var isDone = false

  init(_ export: StatsExport) { self.export = export }

  mutating func next() -> [UInt8]? {
    guard !isDone else { return nil }
    var bytes: [UInt8] = []
    isDone = !export.append(to: &bytes)
    return bytes
  }
}
