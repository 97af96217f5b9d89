import AdminHTTP
import MeshModel
import Resources

/// The objects of the mesh over HTTP: shown, changed, rolled back, and compared with what follows from
/// them.
final class ObjectPages {
  /// The most that one request may hold: a mesh of some ten thousand objects, and nothing that could take
  /// the process's memory.
  static let requestBytes = 16 << 20
  /// Of the name that somebody gives themselves.
  private static let authorBytes = 100

  private let editor: MeshEditor
  private let mesh: MeshSource
  private let server: MeshServer
  private let analyst: MeshAnalyst?
  private let writers: ControlPlane.Options.Writers
  private lazy var live = LivePages(editor, mesh: mesh, server: server)

  init(
    _ editor: MeshEditor, mesh: MeshSource, server: MeshServer, analyst: MeshAnalyst? = nil,
    writers: ControlPlane.Options.Writers
  ) {
    self.editor = editor
    self.mesh = mesh
    self.server = server
    self.analyst = analyst
    self.writers = writers
  }

  /// Answers `/api/v1/…`.
  func respond(to request: AdminRequest) -> AdminResponse {
    do throws(EditRefusal) {
      return AdminResponse(json: try answer(request))
    } catch {
      var response = AdminResponse(
        json: .object([
          ("status", .integer(Int64(error.status))),
          ("reasons", .array(error.reasons.map(AdminJSON.string))),
        ]))
      response.status = error.status
      return response
    }
  }

  private func answer(_ request: AdminRequest) throws(EditRefusal) -> AdminJSON {
    let parts = request.path.split(separator: "/").dropFirst(2).map(String.init)
    guard request.method == "GET" || request.header("origin") == nil else {
      throw EditRefusal(403, ["a web page may change nothing here, nor have it looked for"])
    }
    switch (request.method, parts.first ?? "", parts.count) {
    case ("GET", "objects", 1...3): return try show(Array(parts.dropFirst()), request)
    case ("DELETE", "objects", 3):
      return try change(request, "delete") { () throws(EditRefusal) in
        let id = try Self.id(kind: parts[1], name: parts[2], request)
        let version = request.parameter("resourceVersion").map { [id: $0] }
        return try editor.planDelete([id], versions: version ?? [:])
      }
    case ("POST", "apply", 1):
      return try change(request, "apply") { () throws(EditRefusal) in
        try editor.planApply(Self.files(request), namespace: Self.namespace(request))
      }
    case ("POST", "delete", 1):
      return try change(request, "delete") { () throws(EditRefusal) in
        let ids = try editor.identify(Self.files(request), namespace: Self.namespace(request))
        return try editor.planDelete(
          ids, ignoresMissing: request.parameter("ignoreNotFound") == "true")
      }
    case ("POST", "rollback", 1): return try rollBack(request)
    case ("GET", "history", 1): return try history(request)
    case ("GET", "live", 1): return live.state(of: [(try Self.id(request), nil)])
    case ("POST", "live", 1):
      return live.state(
        of: try editor.expected(Self.files(request), namespace: Self.namespace(request)))
    case ("GET", "describe", 1):
      return try DescribePages(mesh: mesh, server: server).answer(
        kind: request.parameter("kind") ?? "", name: request.parameter("name") ?? "",
        namespace: Self.namespace(request) ?? "default")
    case ("POST", "diff", 1):
      return try live.differences(Self.files(request), namespace: Self.namespace(request))
    default:
      throw EditRefusal(404, ["there is no \(request.method) \(request.path); see docs/mesh.md"])
    }
  }

  // MARK: What is asked

  private static func namespace(_ request: AdminRequest) -> String? {
    request.parameter("namespace").flatMap { $0.isEmpty ? nil : $0 }
  }

  /// The documents of a request: its body, or the files of a form.
  private static func files(_ request: AdminRequest) throws(EditRefusal) -> [SentFile] {
    guard let boundary = FormData.boundary(in: request.header("content-type") ?? "") else {
      let name = request.parameter("file") ?? "request"
      return [SentFile(name: String(name.prefix(1000)), bytes: request.body)]
    }
    guard let files = FormData.files(in: request.body, boundary: boundary) else {
      throw EditRefusal(400, ["the form in the request cannot be read"])
    }
    return files
  }

  private static func id(_ request: AdminRequest) throws(EditRefusal) -> ObjectID {
    guard let kind = request.parameter("kind"), let name = request.parameter("name"),
      !name.isEmpty
    else { throw EditRefusal(400, ["say which object: ?kind=…&name=…&namespace=…"]) }
    return try id(kind: kind, name: name, request)
  }

  private static func kind(_ text: String) throws(EditRefusal) -> MeshKind {
    guard let kind = MeshKind(named: text) else {
      throw EditRefusal(
        404,
        ["no kind '\(text)' is known here" + Suggestion.phrase(for: text, among: MeshKind.names)])
    }
    return kind
  }

  private static func id(
    kind: String, name: String, _ request: AdminRequest
  ) throws(EditRefusal) -> ObjectID {
    let kind = try Self.kind(kind)
    return ObjectID(kind, kind.isClusterWide ? "" : namespace(request) ?? "default", name)
  }

  // MARK: Changes

  private func change(
    _ request: AdminRequest, _ action: String, _ plan: () throws(EditRefusal) -> EditPlan
  ) throws(EditRefusal) -> AdminJSON {
    try mayWrite(request)
    let isTrial = request.parameter("dryRun") == "All"
    let plan = try plan()
    var revision: UInt64?
    if !isTrial {
      revision = try editor.carryOut(plan, author: Self.author(request), action: action)
    }
    var members: [(name: String, value: AdminJSON)] = [
      ("dryRun", .bool(isTrial)),
      (
        "objects",
        .array(
          plan.steps.map { step in
            .object(
              Self.names(of: step.id) + [
                ("result", .string(step.outcome.rawValue)),
                (
                  "resourceVersion",
                  .string(isTrial ? "" : mesh.store.entries[step.id]?.object?.digest ?? "")
                ),
              ])
          })
      ),
    ]
    if let revision { members.append(("revision", .integer(Int64(clamping: revision)))) }
    return .object(members)
  }

  /// A page of some web site that a person of this machine looks at is not that person: browsers tell
  /// where a request that changes something comes from.
  private func mayWrite(_ request: AdminRequest) throws(EditRefusal) {
    guard request.header("origin") == nil else {
      throw EditRefusal(403, ["a web page may change nothing here"])
    }
    switch writers {
    case .any: return
    case .local where request.isLocal: return
    case .local:
      throw EditRefusal(
        403,
        [
          "changes are taken from this machine only, and \(request.peer.ip) is another; "
            + "see fairlead-control --http-writes"
        ])
    case .none:
      throw EditRefusal(
        403, ["no changes are taken: fairlead-control runs with --http-writes none"])
    }
  }

  private static func author(_ request: AdminRequest) -> String {
    let name = request.parameter("fieldManager") ?? ""
    let shown = String(decoding: name.utf8.prefix(authorBytes), as: UTF8.self)
    return (shown.isEmpty ? "somebody" : shown) + "@" + request.peer.ip
  }

  private func rollBack(_ request: AdminRequest) throws(EditRefusal) -> AdminJSON {
    let id = request.parameter("name") == nil ? nil : try Self.id(request)
    var revision: UInt64?
    if let text = request.parameter("revision") {
      guard let number = UInt64(text) else {
        throw EditRefusal(400, ["'\(text)' is no revision; see /api/v1/history"])
      }
      revision = number
    }
    let action = revision.map { "rollback to \($0)" } ?? "rollback"
    return try change(request, action) { () throws(EditRefusal) in
      try editor.planRollback(to: revision, of: id)
    }
  }

  // MARK: What is shown

  private static func names(of id: ObjectID) -> [(name: String, value: AdminJSON)] {
    [
      ("kind", .string(id.kind.rawValue)), ("resource", .string(id.kind.qualified)),
      ("namespace", .string(id.namespace)), ("name", .string(id.name)),
    ]
  }

  private func show(_ parts: [String], _ request: AdminRequest) throws(EditRefusal) -> AdminJSON {
    if parts.count == 2 {
      let id = try Self.id(kind: parts[0], name: parts[1], request)
      guard let found = editor.written(id) else { throw EditRefusal(404, ["there is no \(id)"]) }
      return object(id, found.value, found.file)
    }
    let kind = try parts.first.map { name throws(EditRefusal) in try Self.kind(name) }
    let namespace = Self.namespace(request)
    let found = editor.allWritten().filter { id, _ in
      (kind == nil || id.kind == kind)
        && (namespace == nil || id.kind.isClusterWide || id.namespace == namespace)
    }
    return .object([
      ("apiVersion", .string("v1")), ("kind", .string("List")),
      (
        "items",
        .array(
          found.sorted { $0.key < $1.key }.map { object($0.key, $0.value.value, $0.value.file) })
      ),
    ])
  }

  private func object(_ id: ObjectID, _ value: ObjectValue, _ file: String) -> AdminJSON {
    var value = ObjectForm.redacted(value, kind: id.kind)
    let entry = mesh.store.entries[id]
    var metadata = value["metadata"] ?? .map([])
    if !id.namespace.isEmpty { metadata["namespace"] = .string(id.namespace) }
    metadata["resourceVersion"] = .string(entry?.object?.digest ?? "")
    value["metadata"] = metadata
    guard case .object(var members) = ObjectForm.json(value) else { return .null }
    guard id.kind.isIstio else { return .object(members) }
    members.removeAll { $0.name == "status" }
    members.append(("status", status(of: id, entry, file)))
    return .object(members)
  }

  private func status(
    of id: ObjectID, _ entry: MeshStore.Entry?, _ file: String
  ) -> AdminJSON {
    let diagnostics = entry?.diagnostics ?? []
    let state = entry?.isRefused ?? false ? "False" : "True"
    return .object([
      (
        "conditions",
        .array([
          .object([
            ("type", .string("Accepted")), ("status", .string(state)),
            ("message", .string(diagnostics.map(\.description).joined(separator: "\n"))),
          ]),
          .object([
            ("type", .string("InForce")),
            ("status", .string(entry?.object == nil ? "False" : "True")),
            ("message", .string("written in '\(file)'")),
          ]),
        ])
      ),
      (
        "validationMessages",
        AnalysisPages.validationMessages(analyst?.findings.messages(of: id) ?? [])
      ),
    ])
  }

  private func history(_ request: AdminRequest) throws(EditRefusal) -> AdminJSON {
    let id = request.parameter("name") == nil ? nil : try Self.id(request)
    let records = (editor.history?.records ?? []).filter { record in
      id == nil || record.changes.contains { $0.id == id }
    }
    return .object([
      (
        "revisions",
        .array(
          records.map { record in
            .object([
              ("revision", .integer(Int64(clamping: record.revision))),
              ("time", .string(RFC3339.text(nanoseconds: record.time))),
              ("author", .string(record.author)), ("action", .string(record.action)),
              (
                "changes",
                .array(
                  record.changes.filter { id == nil || $0.id == id }.map { change in
                    .object(Self.names(of: change.id) + [("result", .string(change.outcome))])
                  })
              ),
            ])
          })
      )
    ])
  }
}
