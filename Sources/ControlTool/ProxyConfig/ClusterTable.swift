/// Which clusters a person wants to see.
package struct ClusterQuery: Equatable {
  package var fqdn: String?
  package var port: Int?
  package var subset: String?
  package var direction: String?

  package init(
    fqdn: String? = nil, port: Int? = nil, subset: String? = nil, direction: String? = nil
  ) {
    self.fqdn = fqdn
    self.port = port
    self.subset = subset
    self.direction = direction
  }

  package func fits(_ cluster: JSONValue) -> Bool {
    let name = cluster["name"].text
    let parts = ClusterName(name)
    if let fqdn, !name.contains(fqdn), !stands(cluster, for: fqdn) { return false }
    if let port, parts.port != port { return false }
    if let subset, parts.subset != subset { return false }
    if let direction, parts.direction != direction { return false }
    return true
  }

  /// An inbound cluster's name says only its port; the metadata says for which services it is.
  private func stands(_ cluster: JSONValue, for fqdn: String) -> Bool {
    IstioMetadata.services(of: cluster).contains {
      $0["host"].text.contains(fqdn) || $0["name"].text == fqdn
        || "\($0["name"].text).\($0["namespace"].text)" == fqdn
    }
  }
}

/// `pc cluster`.
package enum ClusterTable {
  /// By service, subset, port and direction.
  package static func sorted(_ clusters: [JSONValue]) -> [JSONValue] {
    clusters.map { ($0, ClusterName($0["name"].text)) }.sorted { first, second in
      let (left, right) = (first.1, second.1)
      return (left.fqdn, left.subset, left.port, left.direction)
        < (right.fqdn, right.subset, right.port, right.direction)
    }.map(\.0)
  }

  package static func text(_ clusters: [JSONValue]) -> String {
    var table = TextTable(
      "SERVICE FQDN", "PORT", "SUBSET", "DIRECTION", "TYPE", "DESTINATION RULE")
    for cluster in sorted(clusters) {
      let name = ClusterName(cluster["name"].text)
      // An inbound cluster's name has no service in it, but its metadata may.
      let noted = IstioMetadata.services(of: cluster).first?["host"].text ?? ""
      let fqdn = name.fqdn.isEmpty ? noted : name.fqdn
      table.append(
        fqdn.isEmpty ? "-" : fqdn, name.port == 0 ? "-" : String(name.port),
        name.subset.isEmpty ? "-" : name.subset, name.direction.isEmpty ? "-" : name.direction,
        type(of: cluster), IstioMetadata.origin(of: cluster))
    }
    return table.text
  }

  private static func type(of cluster: JSONValue) -> String {
    cluster["type"].stringValue ?? cluster["cluster_type"]["name"].stringValue ?? "STATIC"
  }
}
