import AdminHTTP
import MeshModel
import MeshTranslation

/// What is known of the mesh.
enum MeshPages {
  /// Every service.
  static func services(_ mesh: MeshSource) -> AdminJSON {
    .array(
      mesh.snapshot.registry.services.map { service in
        .object([
          ("hostname", .string(service.hostname)),
          ("namespace", .string(service.namespace)),
          ("origin", .string(service.origin.description)),
          ("addresses", .array(service.addresses.map(AdminJSON.string))),
          (
            "ports",
            .array(
              service.ports.map { port in
                .object([
                  ("port", .integer(Int64(port.number))), ("name", .string(port.name)),
                  ("protocol", .string(port.spoken.rawValue)),
                ])
              })
          ),
        ])
      })
  }

  /// Every endpoint of every service, those that are not ready too.
  static func endpoints(_ mesh: MeshSource) -> AdminJSON {
    let registry = mesh.snapshot.registry
    return .array(
      registry.services.map { service in
        .object([
          ("service", .string(service.hostname)),
          (
            "endpoints",
            .array(
              service.ports.flatMap { port in
                registry.endpoints(of: service, port: port.number).map { endpoint in
                  .object([
                    ("port", .string(port.name)),
                    ("address", .string("\(endpoint.address):\(endpoint.port)")),
                    ("workload", .string(endpoint.workload)),
                    ("ready", .bool(endpoint.isReady)),
                    (
                      "labels",
                      .object(
                        endpoint.labels.sorted { $0.key < $1.key }
                          .map { ($0.key, .string($0.value)) })
                    ),
                  ])
                }
              })
          ),
        ])
      })
  }

  /// Every object, with where it is written, what is wrong with it, and its status.
  static func objects(
    _ mesh: MeshSource, _ analyst: MeshAnalyst?, clients: (current: Int, all: Int)
  ) -> AdminJSON {
    let findings = analyst?.findings ?? MeshAnalyst.Findings()
    let objects = mesh.store.entries.sorted { $0.key < $1.key }.map { id, entry in
      AdminJSON.object([
        ("kind", .string(id.kind.rawValue)), ("namespace", .string(id.namespace)),
        ("name", .string(id.name)),
        ("file", .string(entry.object?.file ?? entry.diagnostics.first?.file ?? "")),
        ("line", .integer(Int64(entry.object?.line ?? 0))),
        ("inForce", .bool(entry.object != nil)),
        ("refused", .bool(entry.isRefused)),
        ("messages", .array(entry.diagnostics.map { .string($0.description) })),
        ("status", AnalysisPages.status(entry, findings.messages(of: id), clients: clients)),
      ])
    }
    return .object([
      ("objects", .array(objects)),
      (
        "files",
        .array(mesh.store.fileDiagnostics.map { .string($0.description) })
      ),
    ])
  }
}
