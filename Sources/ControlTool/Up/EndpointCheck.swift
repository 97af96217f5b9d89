/// Whether every proxy has heard that the workloads are ready.
enum EndpointCheck {
  static func isCurrent(_ options: LocalMesh.Options, _ workloads: [LocalWorkload]) -> Bool {
    let plane = ControlPlaneClient(options.control)
    guard let endpoints = try? plane.http.document("/debug/endpointz"),
      areReady(Set(workloads.map(\.name)), in: endpoints), let document = try? plane.syncStatus()
    else { return false }
    let all = SyncStatus.all(in: document)
    return all.count >= workloads.count && all.allSatisfy(\.hasAnswered)
  }

  /// Whether the control plane has none of these as an endpoint that is not ready.
  static func areReady(_ workloads: Set<String>, in document: JSONValue) -> Bool {
    document.items.flatMap { $0["endpoints"].items }.allSatisfy {
      !workloads.contains($0["workload"].text) || $0["ready"].boolValue == true
    }
  }
}
