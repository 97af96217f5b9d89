/// What people call kinds on a command line and in a path: Kubernetes' plural and short names.
extension MeshKind {
  /// `virtualservices`, as it stands in paths.
  package var plural: String {
    let word = rawValue.lowercased()
    return word.hasSuffix("y") && !word.hasSuffix("ay") ? word.dropLast() + "ies" : word + "s"
  }

  /// `virtualservice`.
  package var singular: String { rawValue.lowercased() }

  /// `virtualservice.networking.istio.io`: how kubectl prints the kind of what it changed.
  package var qualified: String { group.isEmpty ? singular : singular + "." + group }

  /// What it may be shortened to.
  package var shortNames: [String] {
    switch self {
    case .namespace: ["ns"]
    case .node: ["no"]
    case .serviceAccount: ["sa"]
    case .service: ["svc"]
    case .pod: ["po"]
    case .deployment: ["deploy"]
    case .virtualService: ["vs"]
    case .destinationRule: ["dr"]
    case .gateway: ["gw"]
    case .serviceEntry: ["se"]
    case .workloadEntry: ["we"]
    case .workloadGroup: ["wg"]
    case .peerAuthentication: ["pa"]
    case .authorizationPolicy: ["ap"]
    case .requestAuthentication: ["ra"]
    case .endpointSlice, .secret, .meshConfig, .sidecar, .envoyFilter, .proxyConfig, .telemetry: []
    }
  }

  /// The kind that a person means: `VirtualService`, `virtualservices`, `vs`, or with its group behind a
  /// dot. Case does not matter.
  package init?(named text: String) {
    let wanted = text.lowercased()
    let found = Self.allCases.first { kind in
      let names = [kind.singular, kind.plural] + kind.shortNames
      return names.contains(wanted)
        || (!kind.group.isEmpty && names.contains { $0 + "." + kind.group == wanted })
    }
    guard let found else { return nil }
    self = found
  }

  /// Every name by which a kind may be called, for suggestions.
  package static var names: [String] {
    allCases.flatMap { [$0.singular, $0.plural] + $0.shortNames }
  }
}
