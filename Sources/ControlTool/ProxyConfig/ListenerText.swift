/// What a listener matches and leads to, in istioctl's words.
package enum ListenerText {
  /// The addresses it listens on; the main one first.
  package static func addresses(of listener: JSONValue) -> [String] {
    [AddressText.host(listener["address"])]
      + listener["additional_addresses"].items.map { AddressText.host($0["address"]) }
  }

  /// `HTTP`, `TCP`, `HTTP+TCP` or `UNKNOWN`.
  package static func type(of listener: JSONValue) -> String {
    let kinds = FilterChain.all(of: listener).map(\.last.kind)
    return switch (kinds.contains(.http), kinds.contains(.tcp)) {
    case (true, true): "HTTP+TCP"
    case (true, false): "HTTP"
    case (false, true): "TCP"
    case (false, false): "UNKNOWN"
    }
  }

  /// Lists of protocols that have a name.
  private static let protocols: [[String]: String] = [
    ["http/1.0", "http/1.1", "h2c"]: "App: HTTP",
    ["http/1.1", "h2c"]: "App: HTTP",
    ["istio", "istio-http/1.0", "istio-http/1.1", "istio-h2"]: "App: Istio HTTP Plain",
    ["http/1.0", "http/1.1", "h2c", "istio-http/1.0", "istio-http/1.1", "istio-h2"]:
      "App: HTTP TLS",
    ["istio-peer-exchange", "istio"]: "App: TCP TLS",
  ]

  /// Which connections a chain takes: `Trans: tls; App: TCP TLS; Addr: *:8090`.
  package static func match(of chain: FilterChain) -> String {
    let match = chain.match
    var parts: [String] = []
    let names = match["server_names"].texts
    if !names.isEmpty { parts.append("SNI: " + names.joined(separator: ",")) }
    let transport = match["transport_protocol"].text
    if !transport.isEmpty { parts.append("Trans: " + transport) }
    let applications = match["application_protocols"].texts
    if !applications.isEmpty {
      parts.append(protocols[applications] ?? "App: " + applications.joined(separator: ","))
    }
    let port = match["destination_port"].integerValue.map { ":\($0)" } ?? ""
    let ranges = match["prefix_ranges"].items.map {
      "\($0["address_prefix"].text)/\($0["prefix_len"].integerValue ?? 0)"
    }
    if !ranges.isEmpty {
      parts.append("Addr: " + ranges.joined(separator: ",") + port)
    } else if !port.isEmpty {
      parts.append("Addr: *" + port)
    }
    return parts.isEmpty ? "ALL" : parts.joined(separator: "; ")
  }

  /// Where a chain's connections go: `Route: 8090`, `Cluster: outbound|…`, `PassthroughCluster`.
  package static func destination(of chain: FilterChain) -> String {
    let (kind, config) = chain.last
    switch kind {
    case .other: return "Non-HTTP/Non-TCP"
    case .tcp:
      let weighted = config["weighted_clusters"]["clusters"].items
      guard weighted.isEmpty else {
        return "Clusters: "
          + weighted.map { "\($0["name"].text) (\($0["weight"].integerValue ?? 0))" }
          .joined(separator: ", ")
      }
      return cluster(config["cluster"].text)
    case .http:
      if !config["route_config"].isNull { return inline(config["route_config"]) }
      let name = config["rds"]["route_config_name"].text
      return name.isEmpty ? "HTTP" : "Route: " + name
    }
  }

  /// Istio's own clusters speak for themselves.
  private static func cluster(_ name: String) -> String {
    name.contains("Cluster") ? name : "Cluster: " + name
  }

  private static func inline(_ routes: JSONValue) -> String {
    if let only = onlyCluster(of: routes) { return cluster(only) }
    let hosts = routes["virtual_hosts"].items.map { host in
      let domains = host["domains"].texts
      let matches = host["routes"].items.map { RouteText.match($0["match"]) }
        .joined(separator: ", ")
      return domains == ["*"] ? matches : domains.joined(separator: "/") + " " + matches
    }
    return "Inline Route: " + hosts.joined(separator: "; ")
  }

  /// The cluster that routes send everything to, if that is all they do.
  private static func onlyCluster(of routes: JSONValue) -> String? {
    let hosts = routes["virtual_hosts"].items
    guard hosts.count == 1, hosts[0]["domains"].texts == ["*"],
      hosts[0]["routes"].items.count == 1
    else { return nil }
    let route = hosts[0]["routes"].items[0]
    guard route["match"]["prefix"].text == "/" else { return nil }
    return route["route"]["cluster"].stringValue
  }
}
