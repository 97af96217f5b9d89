import AdminHTTP
import MeshTranslation
import Telemetry

/// What is known of clients.
enum ClientPages {
  /// Whether a person means this client: by its node's id, or as `<pod>.<namespace>`.
  static func names(_ wanted: String, _ stream: DiscoveryStream) -> Bool {
    guard let node = stream.node else { return false }
    return node.id == wanted || "\(node.name).\(node.namespace)" == wanted
  }

  /// Who is connected.
  static func connections(_ server: MeshServer) -> AdminJSON {
    .object([
      (
        "clients",
        .array(
          server.clients.map { stream in
            let node = stream.node
            var members: [(name: String, value: AdminJSON)] = [
              ("connectionId", .string(identifier(of: stream))),
              ("nodeId", .string(node?.id ?? "")),
              ("client", .string(node?.client.rawValue ?? "")),
              ("version", .string(node?.userAgent ?? "")),
              ("address", .string(stream.peer)),
              ("connectedAt", .string(RFC3339.text(nanoseconds: stream.connectedAt))),
            ]
            if let admin = node?.admin { members.append(("admin", .string(admin))) }
            return .object(members)
          })
      )
    ])
  }

  private static func identifier(of stream: DiscoveryStream) -> String {
    "\(stream.node?.id ?? "")-\(stream.number)"
  }

  /// What each client was sent, and what it says of it.
  static func states(_ server: MeshServer) -> AdminJSON {
    .array(
      server.clients.map { stream in
        let node = stream.node
        let omissions = node.map { server.source.omissions(for: $0) } ?? []
        return .object([
          ("proxy", .string(node?.id ?? "")),
          ("proxy_type", .string(node?.role.rawValue ?? "")),
          ("client", .string(node?.client.rawValue ?? "")),
          ("version", .string(node?.userAgent ?? "")),
          ("cluster_id", .string(node?.cluster ?? "")),
          ("types", .array(states(of: stream))),
          (
            "unsupported",
            .array(
              omissions.map { .string("\($0.object): \($0.field): \($0.effect)") })
          ),
        ])
      })
  }

  private static func states(of stream: DiscoveryStream) -> [AdminJSON] {
    let known = ResourceSet.TypeURL.pushOrder
    let types = known + stream.state.subscriptions.keys.filter { !known.contains($0) }.sorted()
    return types.map { type in
      let subscription = stream.state.subscriptions[type] ?? Subscription()
      let missing = type == ResourceSet.TypeURL.secret ? stream.missingSecret : nil
      return .object([
        ("type", .string(ResourceSet.TypeURL.shortName(type))),
        ("sent_version", .string(subscription.sentVersion)),
        ("acked_version", .string(subscription.acceptedVersion)),
        ("nonce_sent", .string(subscription.nonce)),
        ("nonce_acked", .string(subscription.acceptedNonce)),
        (
          "state",
          .string(missing == nil ? state(of: stream.state.subscriptions[type]) : "NOT SENT")
        ),
        ("reason", .string(subscription.refusal ?? missing ?? "")),
        ("resources", .integer(Int64(subscription.sent.count))),
        (
          "since",
          .string(stream.spokenAt[type].map { RFC3339.text(nanoseconds: $0) } ?? "")
        ),
      ])
    }
  }

  /// Istio's words.
  static func state(of subscription: Subscription?) -> String {
    guard let subscription else { return "IGNORED" }
    if subscription.refusal != nil { return "ERROR" }
    if subscription.nonce.isEmpty { return "NOT SENT" }
    return subscription.isAwaitingAnswer ? "STALE" : "SYNCED"
  }
}
