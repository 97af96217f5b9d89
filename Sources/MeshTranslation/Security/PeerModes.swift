import MeshMessages
import MeshModel

/// What a workload demands of those who connect to it: what its PeerAuthentications say.
struct PeerModes {
  enum Mode {
    /// No mutual TLS.
    case disable
    /// With it or without.
    case permissive
    case strict
  }

  /// The rule of the workload, of its namespace or of the mesh that says it; nil: none does.
  private(set) var origin: ObjectID?
  private var mode = Mode.permissive
  private var ports: [UInt32: Mode] = [:]

  /// For a port of the workload; nil: for all that are not named.
  func mode(_ port: UInt32?) -> Mode { port.flatMap { ports[$0] } ?? mode }

  /// The ports that have a word of their own, of services or not.
  var namedPorts: [UInt32] { ports.keys.sorted() }

  /// - Parameter notes: where to say what has no effect.
  init(
    of labels: [String: String], namespace: String, in snapshot: MeshSnapshot,
    notes: OmissionNotes? = nil
  ) {
    let root = snapshot.settings.rootNamespace
    let rules = snapshot.peerAuthentications
    guard !rules.isEmpty else { return }
    // The oldest of each kind counts, and says what it says in place of the one before it.
    let mesh = rules.first { $0.namespace == root && $0.isForAll }
    let own = namespace == root ? nil : rules.first { $0.namespace == namespace && $0.isForAll }
    // One of the root namespace that selects workloads is none of the mesh's (Istio).
    let selected = rules.first {
      $0.namespace == namespace && namespace != root && !$0.isForAll
        && labels.contains(labels: $0.spec.selector.matchLabels)
    }
    for rule in [mesh, own, selected].compactMap(\.self) {
      if let said = Self.mode(rule.spec.mtls.mode) {
        mode = said
        origin = rule.object.id
      }
      if rule.isForAll, !rule.spec.portLevelMtls.isEmpty {
        notes?.note(rule.object.id, "portLevelMtls", "no effect without a selector")
      }
    }
    guard let selected else { return }
    for (port, value) in selected.spec.portLevelMtls {
      guard let port = UInt32(port), let said = Self.mode(value.mode) else { continue }
      ports[port] = said
      origin = selected.object.id
    }
  }

  private static func mode(_ mode: PeerAuthentication.MutualTLS.Mode) -> Mode? {
    switch mode {
    case .disable: .disable
    case .permissive: .permissive
    case .strict: .strict
    case .unset, .UNRECOGNIZED: nil
    }
  }
}

extension Rule where Spec == PeerAuthentication {
  /// It selects no workloads.
  fileprivate var isForAll: Bool { spec.selector.matchLabels.isEmpty }
}

extension MeshSnapshot {
  /// Whether connections to a workload may begin with mutual TLS: it has a proxy that takes it, and no
  /// rule that forbids it.
  func takesMutualTLS(_ endpoint: MeshEndpoint) -> Bool {
    guard endpoint.takesMutualTLS else { return false }
    let modes = PeerModes(of: endpoint.labels, namespace: endpoint.namespace, in: self)
    return modes.mode(endpoint.port) != .disable
  }

  /// As whom the workloads of a service show themselves.
  package func identities(of service: MeshService) -> ServiceIdentities {
    var found = ServiceIdentities()
    for port in service.ports {
      for endpoint in registry.endpoints(of: service, port: port.number) {
        if !endpoint.serviceAccount.isEmpty {
          found.accounts.insert("ns/\(endpoint.namespace)/sa/\(endpoint.serviceAccount)")
        }
      }
    }
    return found
  }
}

/// What clusters know of the workloads of a service, besides where they are.
package struct ServiceIdentities: Equatable {
  /// `ns/<namespace>/sa/<service account>`
  var accounts: Set<String> = []
}
