import Glibc
import MeshModel

/// Ports that only some may listen on.
enum LowPorts {
  /// What to say about ports of Services that this user's proxies cannot have.
  static func notes(on objects: [MeshObject]) -> [String] {
    guard geteuid() != 0 else { return [] }
    let setting = "net.ipv4.ip_unprivileged_port_start"
    let text = (try? FileText.read("/proc/sys/" + setting.replacing(".", with: "/"))) ?? []
    let digits = String(decoding: text, as: UTF8.self).prefix { $0.isNumber }
    return notes(on: objects, first: UInt32(digits) ?? 1024)
  }

  /// - Parameter first: the first port that is free to everyone.
  static func notes(on objects: [MeshObject], first: UInt32) -> [String] {
    objects.sorted { $0.id < $1.id }.flatMap { object -> [String] in
      guard case .service(let spec) = object.spec else { return [] }
      return spec.ports.map(\.port).filter { $0 < first }.map { port in
        """
        note: \(object.id): proxies cannot listen on port \(port), which is below \(first).
          Clients reach it through http_proxy alone. To have the port too, choose a higher one, or say
          sudo sysctl net.ipv4.ip_unprivileged_port_start=\(port)
        """
      }
    }
  }
}
