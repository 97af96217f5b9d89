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
    let rules = snapshot.peerRules
    guard !rules.isEmpty else { return }
    // The oldest of each kind counts, and says what it says in place of the one before it.
    let mesh = rules[root]?.forAll
    let local = namespace == root ? nil : rules[namespace]
    let own = local?.forAll
    // One of the root namespace that selects workloads is none of the mesh's (Istio).
    let selected = local?.selecting.first {
      labels.contains(labels: $0.spec.selector.matchLabels)
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

/// The PeerAuthentications of one namespace, the oldest first: they are looked at for every endpoint.
struct PeerRules: Sendable {
  /// For all workloads; the oldest.
  private(set) var forAll: Rule<PeerAuthentication>?
  /// For those with certain labels.
  private(set) var selecting: [Rule<PeerAuthentication>] = []

  /// By namespace.
  /// - Parameter rules: the oldest first.
  static func index(_ rules: [Rule<PeerAuthentication>]) -> [String: PeerRules] {
    var found: [String: PeerRules] = [:]
    for rule in rules { found[rule.namespace, default: PeerRules()].add(rule) }
    return found
  }

  private mutating func add(_ rule: Rule<PeerAuthentication>) {
    if !rule.isForAll {
      selecting.append(rule)
    } else if forAll == nil {
      forAll = rule
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
