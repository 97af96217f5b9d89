import AdminHTTP
import Engine
import Routing
import Upstream

/// `/clusters`: every cluster with its hosts and what was counted for them.
struct ClustersPage {
  let manager: ClusterManager
  /// Only clusters in whose name this is found.
  var filter: RegexQuery?

  /// Names of the bootstrap's.
  var fixed: Set<String> = []

  private var shown: [ActiveCluster] {
    manager.active.compactMap(\.self).filter { filter?.isFound(in: $0.name) ?? true }
  }

  /// The counters and gauges of a host in the order in which Envoy prints them. We have no number for
  /// requests that wait for a connection to one host: they wait for the cluster's next.
  private static let order: [HostStat] = [
    .connectionsActive, .connectFailures, .connectionsTotal, .requestsActive, .requestsFailed,
    .requestsSucceeded, .requestsTimedOut, .requestsTotal,
  ]

  /// The same in the order of the JSON document.
  private static let counters: [HostStat] = [
    .connectFailures, .connectionsTotal, .requestsFailed, .requestsSucceeded, .requestsTimedOut,
    .requestsTotal,
  ]
  private static let gauges: [HostStat] = [.connectionsActive, .requestsActive]

  /// `name::host::key::value`, a line each.
  var text: String {
    var out = ""
    for cluster in shown {
      let config = cluster.config
      let name = cluster.name
      out += "\(name)::observability_name::\(config.value.statName.string)\n"
      append(config.value.defaultLimits, of: "\(name)::default_priority", to: &out)
      append(config.value.highLimits, of: "\(name)::high_priority", to: &out)
      out += "\(name)::added_via_api::\(!fixed.contains(name))\n"
      for entry in cluster.hosts.value.hosts.array {
        append(entry, of: "\(name)::\(Self.address(entry))", to: &out)
      }
    }
    return out
  }

  private func append(_ limits: BreakerLimits, of scope: String, to out: inout String) {
    out += "\(scope)::max_connections::\(limits.connections)\n"
    out += "\(scope)::max_pending_requests::\(limits.pendingRequests)\n"
    out += "\(scope)::max_requests::\(limits.requests)\n"
    out += "\(scope)::max_retries::\(limits.retries)\n"
  }

  private func append(_ entry: HostEntry, of scope: String, to out: inout String) {
    for stat in Self.order {
      out += "\(scope)::\(stat.name)::\(entry.host.value.total(stat))\n"
    }
    let locality = entry.endpoint.value.locality
    out += "\(scope)::hostname::\(entry.host.value.hostname.string)\n"
    out += "\(scope)::health_flags::\(entry.flags.text)\n"
    out += "\(scope)::weight::\(entry.weight)\n"
    out += "\(scope)::region::\(locality.value.region.string)\n"
    out += "\(scope)::zone::\(locality.value.zone.string)\n"
    out += "\(scope)::sub_zone::\(locality.value.subZone.string)\n"
    out += "\(scope)::canary::false\n"
    out += "\(scope)::priority::\(entry.priority)\n"
    out += "\(scope)::success_rate::-1\n"
    out += "\(scope)::local_origin_success_rate::-1\n"
  }

  private static func address(_ entry: HostEntry) -> String {
    entry.addresses.array.first?.description ?? ""
  }

  // MARK: JSON

  /// `envoy.admin.v3.Clusters`.
  var document: AdminJSON {
    let clusters = shown.map { cluster in
      let config = cluster.config
      let added: [(name: String, value: AdminJSON)] =
        fixed.contains(cluster.name) ? [] : [("added_via_api", .bool(true))]
      return AdminJSON.object(
        [("name", .string(cluster.name))] + added + [
          ("host_statuses", .array(cluster.hosts.value.hosts.array.map(host))),
          (
            "circuit_breakers",
            .object([
              (
                "thresholds",
                .array([
                  thresholds(config.value.defaultLimits, []),
                  thresholds(config.value.highLimits, [("priority", .string("HIGH"))]),
                ])
              )
            ])
          ),
          ("observability_name", .string(config.value.statName.string)),
        ])
    }
    return .object([("cluster_statuses", .array(clusters))])
  }

  private func thresholds(
    _ limits: BreakerLimits, _ first: [(name: String, value: AdminJSON)]
  ) -> AdminJSON {
    .object(
      first + [
        ("max_connections", .integer(Int64(clamping: limits.connections))),
        ("max_pending_requests", .integer(Int64(clamping: limits.pendingRequests))),
        ("max_requests", .integer(Int64(clamping: limits.requests))),
        ("max_retries", .integer(Int64(clamping: limits.retries))),
      ])
  }

  private func host(_ entry: HostEntry) -> AdminJSON {
    let locality = entry.endpoint.value.locality
    let places: [(name: String, value: AdminJSON)] = [
      ("region", locality.value.region), ("zone", locality.value.zone),
      ("sub_zone", locality.value.subZone),
    ].filter { !$0.1.isEmpty }.map { ($0.0, .string($0.1.string)) }
    // As in protobuf's JSON, what is zero or empty is left out.
    let stats = (Self.counters + Self.gauges).map { stat in
      let value = entry.host.value.total(stat)
      return AdminJSON.object(
        (Self.gauges.contains(stat) ? [("type", .string("GAUGE"))] : [])
          + [("name", .string("\(stat.name)"))]
          + (value == 0 ? [] : [("value", .string(String(value)))]))
    }
    var members: [(name: String, value: AdminJSON)] = [
      ("address", entry.addresses.array.first.map(AdminJSON.init(address:)) ?? .null),
      ("stats", .array(stats)),
      ("health_status", .object(Self.status(entry))),
      ("weight", .integer(Int64(entry.weight))),
    ]
    let hostname = entry.host.value.hostname
    if !hostname.isEmpty { members.append(("hostname", .string(hostname.string))) }
    if entry.priority != 0 { members.append(("priority", .integer(Int64(entry.priority)))) }
    return .object(members + [("locality", .object(places))])
  }

  /// `envoy.admin.v3.HostHealthStatus`.
  private static func status(_ entry: HostEntry) -> [(name: String, value: AdminJSON)] {
    let names: [(HostFlags, String)] = [
      (.failedActive, "failed_active_health_check"),
      (.degradedActive, "failed_active_degraded_check"),
      (.pendingRemoval, "pending_dynamic_removal"), (.pendingActive, "pending_active_hc"),
      (.excluded, "excluded_via_immediate_hc_fail"), (.timedOut, "active_hc_timeout"),
    ]
    let eds: String =
      switch entry.endpoint.value.health {
      case .healthy: "HEALTHY"
      case .degraded: "DEGRADED"
      case .unhealthy: "UNHEALTHY"
      }
    var members: [(name: String, value: AdminJSON)] = []
    for (flag, name) in names where entry.flags.contains(flag) {
      members.append((name, .bool(true)))
    }
    members.append(("eds_health_status", .string(eds)))
    return members
  }
}

extension AdminJSON {
  /// `envoy.config.core.v3.Address`.
  init(address: SocketAddress) {
    self =
      address.isUnix
      ? .object([("pipe", .object([("path", .string(address.ip))]))])
      : .object([
        (
          "socket_address",
          .object([
            ("address", .string(address.ip)), ("port_value", .integer(Int64(address.port))),
          ])
        )
      ])
  }
}
