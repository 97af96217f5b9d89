import AdminHTTP
import CLinux
import Engine
import Routing
import Telemetry

/// The paths of the administration listener, under Envoy's names.
enum AdminPages {
  nonisolated(unsafe) static let all = unsafe shown + changing

  private static let formats = (name: "format", help: "File format to use; One of (text, json)")

  /// Pages that only show.
  nonisolated(unsafe) private static let shown: [AdminServer.Page] = [
    .init(path: "/", help: "Admin home page") { _, _ in AdminResponse(html: home) },
    .init(path: "/certs", help: "print certs on machine") { admin, _ in
      AdminResponse(json: CertificatesPage(server: admin.server).document)
    },
    .init(
      path: "/clusters", help: "upstream cluster status",
      parameters: [
        formats, ("filter", "Regular expression (Google re2) for filtering clusters by name"),
      ]
    ) { admin, request in
      guard let clusters = admin.server.clusters else { return AdminResponse(text: "") }
      do throws(Regex.Refusal) {
        let page = ClustersPage(
          manager: clusters, filter: try request.search("filter"),
          fixed: Set(admin.server.config.clusters.map(\.compiled.name)))
        return answer(request, text: page.text, json: page.document)
      } catch {
        return AdminResponse(status: 400, text: "Invalid re2 regex: \(error.message)\n")
      }
    },
    .init(
      path: "/config_dump", help: "dump current configuration",
      parameters: [
        ("resource", "The resource to dump, such as static_clusters"),
        ("mask", "The fields to show, by their paths; with a resource, of each element"),
        ("name_regex", "Only what has a name that matches as a whole"),
        ("include_eds", "Endpoints too"),
      ]
    ) { admin, request in
      ConfigDump(admin.server, lastUpdated: admin.startedAt).respond(to: request)
    },
    .init(path: "/help", help: "print out list of admin commands") { _, _ in
      AdminResponse(text: "admin commands are:\n" + help)
    },
    .init(path: "/hot_restart_version", help: "print the hot restart compatibility version") {
      _, _ in AdminResponse(text: "disabled")
    },
    .init(
      path: "/init_dump", help: "dump what listeners and clusters still wait for",
      parameters: [("mask", "Of what; One of (listener, cluster)")]
    ) { admin, request in
      let mask = request.parameter("mask").flatMap { $0.isEmpty ? nil : $0 }
      return AdminResponse(json: InitDump(server: admin.server).document(mask: mask))
    },
    .init(path: "/listeners", help: "print listener info", parameters: [formats]) {
      admin, request in
      let page = ServerPages(server: admin.server)
      return answer(request, text: page.listenersText, json: page.listeners)
    },
    .init(path: "/memory", help: "print current allocation/heap usage") { admin, _ in
      AdminResponse(json: ServerPages(server: admin.server).memory)
    },
    .init(path: "/ready", help: "print server state, return 200 if LIVE, otherwise return 503") {
      admin, _ in
      AdminResponse(
        status: admin.server.state == .live ? 200 : 503, text: admin.server.state.name + "\n")
    },
    .init(path: "/runtime", help: "print runtime values") { admin, _ in
      AdminResponse(json: ServerPages(server: admin.server).runtime)
    },
    .init(path: "/server_info", help: "print server version/status information") { admin, _ in
      AdminResponse(json: ServerPages(server: admin.server).info)
    },
    .init(
      path: "/stats", help: "print server stats",
      parameters: [
        ("usedonly", "Only include stats that have been written by system since restart"),
        ("filter", "Regular expression (Google re2) for filtering stats"),
        ("format", "Format to use; One of (text, json, prometheus)"),
        ("invert_filter", "Invert the filter regex"),
        (
          "type", "Stat types to include.; One of (All, Counters, Histograms, Gauges, TextReadouts)"
        ),
        (
          "histogram_buckets",
          "Histogram bucket display mode; One of (cumulative, disjoint, detailed, summary)"
        ),
      ]
    ) { admin, request in StatsPages.stats(admin, request) },
    .init(
      path: "/stats/prometheus", help: "print server stats in prometheus format",
      parameters: [
        ("usedonly", "Only include stats that have been written by system since restart"),
        ("text_readouts", "Show texts too, as gauges with a label"),
        ("filter", "Regular expression (Google re2) for filtering stats"),
        ("invert_filter", "Invert the filter regex"),
        ("histogram_buckets", "Histogram bucket display mode; One of (cumulative, summary)"),
      ]
    ) { admin, request in StatsPages.prometheus(admin, request) },
  ]

  /// Pages that change something: only POST.
  nonisolated(unsafe) private static let changing: [AdminServer.Page] = [
    .init(
      path: "/drain_listeners", help: "drain listeners",
      parameters: [
        ("graceful", "Answers ask clients to go for the drain time; then listeners stop"),
        ("skip_exit", "Answers ask clients to go; listeners never stop"),
        ("inboundonly", "Only listeners whose traffic_direction is INBOUND"),
      ], changes: true
    ) { admin, request in
      admin.server.drainListeners(
        Server.ListenerDrain(
          isGraceful: request.parameter("graceful") != nil,
          keepsListening: request.parameter("skip_exit") != nil,
          onlyInbound: request.parameter("inboundonly") != nil))
      return AdminResponse(text: "OK\n")
    },
    .init(
      path: "/healthcheck/fail", help: "cause the server to fail health checks", changes: true
    ) { admin, _ in setHealthCheckFailed(true, admin) },
    .init(path: "/healthcheck/ok", help: "cause the server to pass health checks", changes: true) {
      admin, _ in setHealthCheckFailed(false, admin)
    },
    .init(
      path: "/logging", help: "query/change logging levels",
      parameters: [
        ("paths", "Change multiple levels: <name1>:<level1>,<name2>:<level2>"),
        ("level", "desired logging level, this will change all loggers's level"),
      ], changes: true
    ) { _, request in LoggingPage.respond(request) },
    .init(path: "/quitquitquit", help: "exit the server", changes: true) { admin, _ in
      unsafe admin.server.loop.later(
        context: unsafe Unmanaged.passUnretained(admin.server).toOpaque()
      ) { raw, _ in unsafe Unmanaged<Server>.fromOpaque(raw).takeUnretainedValue().loop.stop() }
      return AdminResponse(text: "OK\n")
    },
    .init(path: "/reopen_logs", help: "reopen access logs", changes: true) { admin, _ in
      admin.server.reopenLogs()
      return AdminResponse(text: "OK\n")
    },
    .init(path: "/reset_counters", help: "reset all counters to zero", changes: true) { admin, _ in
      admin.server.config.store.resetCounters()
      return AdminResponse(text: "OK\n")
    },
  ]

  private static var sorted: [AdminServer.Page] { unsafe all.sorted { $0.path < $1.path } }

  /// Every path with what it does and its parameters.
  static var help: String {
    sorted.map { page in
      "  \(page.path)\(page.changes ? " (POST)" : ""): \(page.help)\n"
        + page.parameters.map { "      \($0.name): \($0.help)\n" }.joined()
    }.joined()
  }

  /// The list of paths for a browser: what only shows is a link, what changes something a button.
  private static var home: String {
    let rows = sorted.map { page in
      let path =
        page.changes
        ? "<form method=post action=\"\(page.path.dropFirst())\"><button>\(page.path)</button></form>"
        : "<a href=\"\(page.path.dropFirst())\">\(page.path)</a>"
      return "<tr><td>\(path)</td><td>\(escaped(page.help))</td></tr>\n"
    }
    return "<!DOCTYPE html>\n<title>Fairlead</title>\n<table>\n\(rows.joined())</table>\n"
  }

  private static func escaped(_ text: String) -> String {
    text.map { $0 == "<" ? "&lt;" : $0 == "&" ? "&amp;" : String($0) }.joined()
  }

  private static func answer(
    _ request: AdminRequest, text: @autoclosure () -> String, json: @autoclosure () -> AdminJSON
  ) -> AdminResponse {
    request.parameter("format") == "json"
      ? AdminResponse(json: json()) : AdminResponse(text: text())
  }

  private static func setHealthCheckFailed(_ fails: Bool, _ admin: AdminServer) -> AdminResponse {
    unsafe fl_flag_set(admin.server.healthCheckFailed.pointer, fails ? 1 : 0)
    return AdminResponse(text: "OK\n")
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
