import MeshMessages
import MeshModel

/// What `up` shows once everything is live.
enum MeshReport {
  static func text(
    _ workloads: [LocalWorkload], _ objects: [MeshObject], _ options: LocalMesh.Options,
    _ runtime: RuntimeDirectory
  ) -> String {
    var table = TextTable("WORKLOAD", "HEALTH", "ADDRESS", "OUTBOUND", "LOGS")
    for workload in workloads {
      table.append(
        workload.fullName, "live", workload.addresses.proxy, workload.addresses.outbound,
        "\(runtime.logs)/\(workload.fullName).*.log")
    }
    return table.text + "\nTry:\n"
      + suggestions(workloads, objects, options).map { "  \($0)\n" }
      .joined()
  }

  private static func suggestions(
    _ workloads: [LocalWorkload], _ objects: [MeshObject], _ options: LocalMesh.Options
  ) -> [String] {
    guard let client = workloads.first else { return [] }
    let control =
      options.control.description == ControlPlaneClient.defaultAddress
      ? "" : " --control \(options.control)"
    var lines = [
      "fairleadctl ps\(control)", "fairleadctl pc route \(client.fullName)\(control)",
    ]
    if let service = firstService(objects) {
      let proxy = "http://\(client.addresses.outbound):\(LocalWorkload.httpProxyPort)"
      lines.insert("curl --proxy \(proxy) http://\(service)/", at: 0)
    }
    let files = options.files.joined(separator: " ")
    return lines + [
      "edit the rules in \(files), such as a weight, and ask again: they count once saved",
      "fairleadctl down\(options.directory.map { " --directory \($0)" } ?? "")",
    ]
  }

  /// Name and port of the first Service.
  private static func firstService(_ objects: [MeshObject]) -> String? {
    for object in objects.sorted(by: { $0.id < $1.id }) {
      guard case .service(let spec) = object.spec, let port = spec.ports.first else { continue }
      let name = object.namespace == "default" ? object.name : "\(object.name).\(object.namespace)"
      return port.port == 80 ? name : "\(name):\(port.port)"
    }
    return nil
  }
}
