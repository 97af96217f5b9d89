/// `pc bootstrap -o short`: who the proxy is, in a few lines.
package enum BootstrapSummary {
  package static func text(_ bootstrap: JSONValue, serverInfo: JSONValue) -> String {
    let node = bootstrap["node"]
    let (clusters, listeners) = (
      bootstrap["static_resources"]["clusters"].items,
      bootstrap["static_resources"]["listeners"]
        .items
    )
    let lines: [(String, String)] = [
      ("Node", node["id"].text), ("Cluster", node["cluster"].text),
      ("Version", serverInfo["version"].text), ("State", serverInfo["state"].text),
      ("Uptime", serverInfo["uptime_current_epoch"].text),
      ("Admin", AddressText.endpoint(bootstrap["admin"]["address"])),
      ("Static listeners", "\(listeners.count)"), ("Static clusters", "\(clusters.count)"),
      ("Configuration from", sources(of: bootstrap["dynamic_resources"])),
    ]
    let width = lines.map(\.0.count).max() ?? 0
    return lines.filter { !$0.1.isEmpty }.map { name, value in
      "\(name):" + String(repeating: " ", count: width - name.count + 1) + value + "\n"
    }.joined()
  }

  /// Where listeners and clusters come from.
  private static func sources(of dynamic: JSONValue) -> String {
    let services = dynamic["ads_config"]["grpc_services"].items.map {
      $0["envoy_grpc"]["cluster_name"].stringValue ?? $0["google_grpc"]["target_uri"].text
    }
    let ads = services.isEmpty ? [] : ["ADS (\(services.joined(separator: ", ")))"]
    let files = ["lds_config", "cds_config"].compactMap {
      dynamic[$0]["path_config_source"]["path"].stringValue
    }
    return (ads + files).joined(separator: ", ")
  }
}
