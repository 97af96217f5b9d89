/// What the control plane sent to a proxy, against what the proxy runs.
package struct ConfigComparison {
  /// A kind of resource, and the differences.
  package struct Part: Equatable {
    package let kind: String
    package let differences: [String]
  }

  package let parts: [Part]

  package var isSame: Bool { parts.allSatisfy(\.differences.isEmpty) }

  package init(sent: ConfigDump, running: ConfigDump) {
    var parts = [
      Self.compare("Clusters", Self.clusters(sent), Self.clusters(running)),
      Self.compare(
        "Listeners", Self.listeners(sent), Self.listeners(running),
        refusals: running.refusedListeners),
      Self.compare("Routes", Self.routes(sent), Self.routes(running)),
    ]
    // A control plane may tell what it sent without endpoints.
    if !sent.part("EndpointsConfigDump").isNull {
      parts.append(
        Self.compare("Endpoints", Self.endpoints(sent), Self.endpoints(running, only: sent)))
    }
    self.parts = parts
  }

  /// `Clusters Match`, or how they differ.
  package var text: String {
    parts.map { part in
      part.differences.isEmpty
        ? "\(part.kind) Match\n"
        : "\(part.kind) Don't Match\n" + part.differences.joined()
    }.joined()
  }

  private static func clusters(_ dump: ConfigDump) -> [String: JSONValue] {
    let part = dump.part("ClustersConfigDump")
    let lists = ["dynamic_active_clusters", "dynamic_warming_clusters"]
    return named(lists.flatMap { part[$0].items }.map { $0["cluster"] })
  }

  private static func routes(_ dump: ConfigDump) -> [String: JSONValue] {
    let list = dump.part("RoutesConfigDump")["dynamic_route_configs"]
    return named(list.items.map { $0["route_config"] })
  }

  private static func listeners(_ dump: ConfigDump) -> [String: JSONValue] {
    let list = dump.part("ListenersConfigDump")["dynamic_listeners"]
    return named(
      list.items.map {
        let active = $0["active_state"]["listener"]
        return active.isNull ? $0["warming_state"]["listener"] : active
      })
  }

  private static func named(_ resources: [JSONValue]) -> [String: JSONValue] {
    Dictionary(
      resources.filter { !$0.isNull }.map { ($0["name"].text, $0.without("@type")) },
      uniquingKeysWith: { first, _ in first })
  }

  /// Addresses and states alone: a proxy tells its endpoints with all that it made of them.
  private static func endpoints(
    _ dump: ConfigDump, only other: ConfigDump? = nil
  ) -> [String: JSONValue] {
    let lists = { (dump: ConfigDump) in
      dump.part("EndpointsConfigDump")["dynamic_endpoint_configs"].items
        .map { $0["endpoint_config"] }
    }
    let wanted = other.map { Set(lists($0).map { $0["cluster_name"].text }) }
    var found: [String: JSONValue] = [:]
    for assignment in lists(dump) {
      let name = assignment["cluster_name"].text
      // A proxy also tells those of clusters that it was sent whole.
      guard wanted?.contains(name) ?? true else { continue }
      let selection = EndpointSelection(assignments: [assignment], EndpointQuery())
      let texts = selection.rows.map { "\(AddressText.endpoint($0.address)) \($0.status)" }
      // Envoy tells an empty list for every cluster that was given none.
      if !texts.isEmpty { found[name] = .array(texts.sorted().map { .string($0) }) }
    }
    return found
  }

  private static func compare(
    _ kind: String, _ sent: [String: JSONValue], _ running: [String: JSONValue],
    refusals: [(name: String, reason: String)] = []
  ) -> Part {
    let names = Set(sent.keys).union(running.keys).sorted()
    return Part(
      kind: kind,
      differences: names.compactMap { name in
        difference(name, sent[name], running[name]).map { text in
          text
            + refusals.filter { $0.name == name }
            .map { "  '\(name)' was refused by the proxy: \($0.reason)\n" }.joined()
        }
      })
  }

  private static func difference(
    _ name: String, _ sent: JSONValue?, _ running: JSONValue?
  ) -> String? {
    guard let sent else { return "  '\(name)' runs and was not sent\n" }
    guard let running else { return "  '\(name)' was sent and does not run\n" }
    let (left, right) = (Canonical.form(sent), Canonical.form(running))
    guard left != right else { return nil }
    return "  '\(name)': - sent, + running\n"
      + LineDifference.text(JSONWriter.write(left), JSONWriter.write(right))
  }
}

/// The same resource written by two programs is the same: in the order of names, without what is
/// empty, and whole numbers of 64 bits as numbers. False and zero stay: where a field has a wrapper,
/// they are not what its absence is.
package enum Canonical {
  package static func form(_ value: JSONValue) -> JSONValue {
    switch value {
    case .object(let members):
      return .object(
        members.map { JSONMember($0.name, form($0.value)) }.filter { !isEmpty($0.value) }
          .sorted { $0.name < $1.name })
    case .array(let items): return .array(items.map(form))
    case .number, .string:
      // Protobuf writes those of 64 bits as strings; some programs do not.
      return value.integerValue.map { .number(String($0)) } ?? value
    default: return value
    }
  }

  private static func isEmpty(_ value: JSONValue) -> Bool {
    switch value {
    case .null: true
    case .string(let text): text.isEmpty
    case .array(let items): items.isEmpty
    // An empty message may say something by being there: a router without options, a matcher.
    case .bool, .number, .object: false
    }
  }
}
