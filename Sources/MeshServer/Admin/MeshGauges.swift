import MeshAnalysis
import MeshModel

/// What is counted when somebody asks.
enum MeshGauges {
  /// By Istio's names.
  static func all(
    _ server: MeshServer, _ mesh: MeshSource?, _ analyst: MeshAnalyst?
  ) -> [(name: String, labels: String, value: Double)] {
    var gauges: [(name: String, labels: String, value: Double)] = []
    let clients = Dictionary(grouping: server.clients) { $0.node?.client.rawValue ?? "" }
    for (client, streams) in clients.sorted(by: { $0.key < $1.key }) {
      gauges.append(("pilot_xds", "client=\"\(client)\"", Double(streams.count)))
    }
    for (name, value) in server.secured?.counters() ?? [] {
      gauges.append((name, "", Double(value)))
    }
    guard let mesh else { return gauges }
    let snapshot = mesh.snapshot
    let registry = snapshot.registry
    gauges.append(("pilot_services", "", Double(registry.services.count)))
    gauges.append(("pilot_virt_services", "", Double(snapshot.virtualServices.count)))
    let subsets = snapshot.destinationRules.reduce(0) { $0 + $1.spec.subsets.count }
    gauges.append(("pilot_destrule_subsets", "", Double(subsets)))
    let empty = registry.services.reduce(0) { sum, service in
      sum
        + service.ports.count {
          service.resolution == .endpoints
            && registry.endpoints(of: service, port: $0.number).isEmpty
        }
    }
    gauges.append(("pilot_eds_no_instances", "", Double(empty)))
    let refused = mesh.store.entries.values.count(where: \.isRefused)
    gauges.append(("galley_validation_failed", "", Double(refused)))
    let passed = mesh.store.entries.count - refused
    gauges.append(("galley_validation_passed", "", Double(passed)))
    if let analyst { gauges += analysis(analyst) }
    return gauges
  }

  private static func analysis(
    _ analyst: MeshAnalyst
  ) -> [(name: String, labels: String, value: Double)] {
    let counts = Dictionary(grouping: analyst.findings.messages) { $0.code.level }
    return AnalysisCode.Level.allCases.map { level in
      (
        "fairlead_analysis_messages", "level=\"\(level.rawValue)\"",
        Double(counts[level]?.count ?? 0)
      )
    } + [
      ("fairlead_analysis_runs", "", Double(analyst.runs)),
      ("fairlead_analysis_seconds", "", analyst.findings.seconds),
    ]
  }
}
