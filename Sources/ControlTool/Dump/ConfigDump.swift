/// What a proxy's `/config_dump` says, by kind of resource.
package struct ConfigDump: Equatable {
  package let document: JSONValue

  /// - Parameter origin: where it came from, for the error.
  package init(_ document: JSONValue, origin: String) throws(ToolError) {
    guard case .array = document["configs"] else {
      throw ToolError(
        "\(origin) is no configuration dump: it has no 'configs'",
        remedy: "A dump is what 'curl ADMIN/config_dump?include_eds' writes.")
    }
    self.document = document
  }

  /// The part of that kind: `ListenersConfigDump`.
  package func part(_ kind: String) -> JSONValue {
    document["configs"].items.first { $0["@type"].text.hasSuffix("." + kind) } ?? .null
  }

  package var bootstrap: JSONValue { part("BootstrapConfigDump")["bootstrap"] }

  /// Listeners that serve: first those that came while the proxy ran.
  package var listeners: [JSONValue] {
    let part = part("ListenersConfigDump")
    return
      (part["dynamic_listeners"].items.map { $0["active_state"]["listener"] }
      + part["static_listeners"].items.map { $0["listener"] }).filter { !$0.isNull }
  }

  /// Listeners whose last version the proxy refused, with its reason.
  package var refusedListeners: [(name: String, reason: String)] {
    part("ListenersConfigDump")["dynamic_listeners"].items.compactMap { entry in
      entry["error_state"].isNull
        ? nil : (entry["name"].text, entry["error_state"]["details"].text)
    }
  }

  package var clusters: [JSONValue] {
    let part = part("ClustersConfigDump")
    return resources(in: part, ["dynamic_active_clusters", "static_clusters"], member: "cluster")
  }

  /// Route configurations, also those that stand in a listener: a proxy lists the latter among the
  /// static ones, or not at all.
  package var routes: [JSONValue] {
    let listed = resources(
      in: part("RoutesConfigDump"), ["dynamic_route_configs", "static_route_configs"],
      member: "route_config")
    let names = Set(listed.map { $0["name"].text })
    let inline = listeners.flatMap { FilterChain.all(of: $0) }.flatMap(\.inlineRoutes)
      .filter { !names.contains($0["name"].text) }
    return listed + inline
  }

  /// What was sent for clusters' endpoints, and what stands in clusters; nil when the dump was taken
  /// without endpoints and no cluster has any.
  package var assignments: [JSONValue]? {
    let part = part("EndpointsConfigDump")
    let listed = resources(
      in: part, ["dynamic_endpoint_configs", "static_endpoint_configs"], member: "endpoint_config")
    let names = Set(listed.map { $0["cluster_name"].text })
    let inline = clusters.compactMap { cluster -> JSONValue? in
      let assignment = cluster["load_assignment"]
      guard !assignment.isNull, !names.contains(cluster["name"].text) else { return nil }
      return .object(
        [JSONMember("cluster_name", cluster["name"])]
          + assignment.members.filter { $0.name != "cluster_name" })
    }
    return part.isNull && inline.isEmpty ? nil : listed + inline
  }

  /// Secrets, and whether they are in use or awaited: `ACTIVE`, `WARMING`.
  package var secrets: [(status: String, secret: JSONValue)] {
    let part = part("SecretsConfigDump")
    let lists = [
      ("dynamic_active_secrets", "ACTIVE"), ("dynamic_warming_secrets", "WARMING"),
      ("static_secrets", "ACTIVE"),
    ]
    return lists.flatMap { list, status in
      part[list].items.map { entry in
        // A secret that is awaited has a name and nothing else.
        let secret = entry["secret"]
        let known =
          secret["name"].text.isEmpty
          ? JSONValue.object([JSONMember("name", entry["name"])]) : secret
        return (status, known)
      }
    }
  }

  private func resources(in part: JSONValue, _ lists: [String], member: String) -> [JSONValue] {
    lists.flatMap { part[$0].items }.map { $0[member] }.filter { !$0.isNull }
  }

  /// The addresses that the node is reached by, as its id and metadata tell.
  package var nodeAddresses: [String] {
    let node = bootstrap["node"]
    let parts = node["id"].text.split(separator: "~", omittingEmptySubsequences: false)
    let told = node["metadata"]["INSTANCE_IPS"].text.split(separator: ",").map(String.init)
    return (parts.count == 4 ? [String(parts[1])] : []) + told
  }
}
