import AdminHTTP
import MeshModel
import MeshTranslation

/// What follows from objects for the proxies that are connected: whether it is there, and what would be
/// another.
final class LivePages {
  private let editor: MeshEditor
  private let mesh: MeshSource
  private let server: MeshServer
  private var distribution: Distribution
  /// Gaps that are told of one proxy: a person reads them.
  private static let gaps = 20

  init(_ editor: MeshEditor, mesh: MeshSource, server: MeshServer) {
    self.editor = editor
    self.mesh = mesh
    self.server = server
    distribution = Distribution(mesh)
  }

  /// Whether objects are live.
  /// - Parameter wanted: the digests that they have as somebody wants them; nil for whatever is in force.
  func state(of wanted: [(id: ObjectID, digests: Set<String>?)]) -> AdminJSON {
    var reasons: [AdminJSON] = []
    for (id, digests) in wanted {
      let entry = mesh.store.entries[id]
      if entry?.isRefused ?? false {
        let said = entry?.diagnostics.map(\.description).joined(separator: "\n") ?? ""
        reasons.append(.string("\(id) is refused: \(said)"))
      } else if let object = entry?.object {
        if let digests, !digests.contains(object.digest) {
          reasons.append(.string("\(id) is in force with other content, from '\(object.file)'"))
        }
      } else {
        reasons.append(.string("there is no \(id)"))
      }
    }
    let clients = server.clients
    var waiting: [AdminJSON] = []
    for stream in clients {
      guard let node = stream.node else { continue }
      let gaps = distribution.gaps(of: stream, for: node, wanted.map(\.id))
      if !gaps.isEmpty { waiting.append(Self.json(gaps, of: node)) }
    }
    return .object([
      ("live", .bool(reasons.isEmpty && waiting.isEmpty)),
      ("connected", .integer(Int64(clients.count))),
      ("reasons", .array(reasons)),
      ("waiting", .array(waiting)),
    ])
  }

  private static func json(_ gaps: [Distribution.Gap], of node: ProxyNode) -> AdminJSON {
    .object([
      ("proxy", .string(node.id)),
      (
        "resources",
        .array(
          gaps.prefix(Self.gaps).map { gap in
            .object([
              ("type", .string(ResourceSet.TypeURL.shortName(gap.type))),
              ("name", .string(gap.name)), ("state", .string(gap.standing.rawValue)),
              ("reason", .string(gap.reason)),
            ])
          })
      ),
    ])
  }

  // MARK: Differences

  /// What documents would alter, client by client; clients that are served alike together.
  func differences(_ sent: [SentFile], namespace: String?) throws(EditRefusal) -> AdminJSON {
    let examined = try editor.examine(sent, namespace: namespace)
    let ids = Set(examined.map(\.id))
    let other = mesh.aside(
      mesh.store.objects.filter { !ids.contains($0.id) } + examined.map { $0.object })
    var groups: [[ProxyNode.Key]: (ids: [String], node: ProxyNode)] = [:]
    var order: [[ProxyNode.Key]] = []
    for node in server.clients.compactMap(\.node) {
      let key = [
        node.inboundKey(in: mesh.snapshot), node.outboundKey(in: mesh.snapshot),
        node.inboundKey(in: other.snapshot), node.outboundKey(in: other.snapshot),
      ]
      if groups[key] == nil { order.append(key) }
      groups[key, default: ([], node)].ids.append(node.id)
    }
    let objects = examined.map { one in
      AdminJSON.object([
        ("kind", .string(one.id.kind.rawValue)), ("resource", .string(one.id.kind.qualified)),
        ("namespace", .string(one.id.namespace)), ("name", .string(one.id.name)),
        ("result", .string(one.outcome.rawValue)),
      ])
    }
    return .object([
      ("connected", .integer(Int64(server.clients.count))),
      ("objects", .array(objects)),
      (
        "differences",
        .array(
          order.compactMap { key in
            guard let group = groups[key] else { return nil }
            let changes = Self.changes(
              mesh.resources(for: group.node), other.resources(for: group.node))
            guard !changes.isEmpty else { return nil }
            return .object([
              ("proxies", .array(group.ids.map(AdminJSON.string))),
              ("client", .string(group.node.client.rawValue)),
              ("changes", .array(changes)),
            ])
          })
      ),
    ])
  }

  private static func changes(_ now: ResourceSet, _ then: ResourceSet) -> [AdminJSON] {
    let names = Distribution.differences(now, then)
    return ResourceSet.TypeURL.pushOrder.flatMap { type in
      (names[type] ?? []).sorted().map { name in
        let (before, after) = (now.resource(of: type, name), then.resource(of: type, name))
        var members: [(name: String, value: AdminJSON)] = [
          ("type", .string(ResourceSet.TypeURL.shortName(type))), ("name", .string(name)),
          (
            "change", .string(before == nil ? "added" : after == nil ? "removed" : "changed")
          ),
        ]
        if let before { members.append(("before", ClientDump.json(before))) }
        if let after { members.append(("after", ClientDump.json(after))) }
        return .object(members)
      }
    }
  }
}
