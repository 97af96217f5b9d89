/// An endpoint of a cluster, as the proxy sees it.
package struct EndpointRow: Equatable {
  package var cluster: String
  package var address: JSONValue
  /// `HEALTHY`, `UNHEALTHY`, `DRAINING`, `TIMEOUT`, `DEGRADED` or `UNKNOWN`.
  package var status: String
  /// Outlier detection has put it aside.
  package var isEjected = false

  package var host: String { AddressText.host(address) }
  package var port: Int { AddressText.port(address) }
}

extension EndpointRow {
  /// A host of `/clusters?format=json`.
  package init(status host: JSONValue, cluster: String) {
    let health = host["health_status"]
    let told = health["eds_health_status"].stringValue ?? "UNKNOWN"
    let hasFailed = health["failed_active_health_check"].boolValue == true
    self.init(
      cluster: cluster, address: host["address"], status: hasFailed ? "UNHEALTHY" : told,
      isEjected: health["failed_outlier_check"].boolValue == true)
  }

  /// An endpoint of a `ClusterLoadAssignment`.
  package init(assigned endpoint: JSONValue, cluster: String) {
    let told = endpoint["health_status"].stringValue ?? "UNKNOWN"
    // A proxy sends traffic to an endpoint of unknown health as to a healthy one, and says so.
    self.init(
      cluster: cluster, address: endpoint["endpoint"]["address"],
      status: told == "UNKNOWN" ? "HEALTHY" : told)
  }
}

/// Which endpoints a person wants to see.
package struct EndpointQuery: Equatable {
  package var address: String?
  package var port: Int?
  package var cluster: String?
  package var status: String?

  package init(
    address: String? = nil, port: Int? = nil, cluster: String? = nil, status: String? = nil
  ) {
    self.address = address
    self.port = port
    self.cluster = cluster
    self.status = status
  }

  package func fits(_ row: EndpointRow) -> Bool {
    if let address, row.host.lowercased() != address.lowercased() { return false }
    if let port, row.port != port { return false }
    if let cluster, row.cluster.lowercased() != cluster.lowercased() { return false }
    if let status, row.status.lowercased() != status.lowercased() { return false }
    return true
  }
}

/// The endpoints that fit, and the documents in which they stand, with what does not fit left out.
package struct EndpointSelection: Equatable {
  package private(set) var rows: [EndpointRow] = []
  package private(set) var documents: [JSONValue] = []

  /// Out of `/clusters?format=json`: what the proxy uses, with what it found out about each.
  package init(statuses document: JSONValue, _ query: EndpointQuery) {
    for cluster in document["cluster_statuses"].items {
      var kept: [JSONValue] = []
      for host in cluster["host_statuses"].items {
        let row = EndpointRow(status: host, cluster: cluster["name"].text)
        guard query.fits(row) else { continue }
        rows.append(row)
        kept.append(host)
      }
      if !kept.isEmpty { documents.append(cluster.replacing("host_statuses", with: .array(kept))) }
    }
    // A proxy tells them in the order of a hash table, which changes.
    documents.sort { $0["name"].text < $1["name"].text }
  }

  /// Out of what clusters were assigned: all that a dump tells.
  package init(assignments: [JSONValue], _ query: EndpointQuery) {
    for assignment in assignments {
      var isKept = false
      let localities = assignment["endpoints"].items.map { locality in
        locality.replacing(
          "lb_endpoints",
          with: .array(
            locality["lb_endpoints"].items.filter { endpoint in
              let row = EndpointRow(assigned: endpoint, cluster: assignment["cluster_name"].text)
              guard query.fits(row) else { return false }
              rows.append(row)
              isKept = true
              return true
            }))
      }
      if isKept {
        documents.append(
          assignment.without("@type").replacing("endpoints", with: .array(localities)))
      }
    }
  }
}

/// `pc endpoint`.
package enum EndpointTable {
  /// By address, port and cluster.
  package static func text(_ rows: [EndpointRow]) -> String {
    var table = TextTable("ENDPOINT", "STATUS", "OUTLIER CHECK", "CLUSTER")
    let sorted = rows.sorted {
      ($0.host, $0.port, $0.cluster) < ($1.host, $1.port, $1.cluster)
    }
    for row in sorted {
      table.append(
        AddressText.endpoint(row.address), row.status, row.isEjected ? "FAILED" : "OK", row.cluster)
    }
    return table.text
  }
}
